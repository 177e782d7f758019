"""What the lab asks of its relays (docs/wan.md): the self-test, and what it found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.clients.http_client import UnreachableError, ask

_LONGEST_CHECK_SECONDS = 600.0
"""400 links take two minutes (docs/wan.md); a busy machine tries each three times."""


class CheckFailedError(Exception):
    """There was no self-test; the message says why."""


@dataclass(frozen=True, slots=True)
class LinkMeasurement:
    """One property of one link, as asked and as it is; None where it could not be measured."""

    link: str
    direction: str
    what: str
    """`delay`, `handshake`, `bandwidth` or `loss`."""
    unit: str
    asked: float
    measured: float | None
    allowed: float
    """The difference that is still right."""
    is_off: bool

    def __str__(self) -> str:
        measured = "nothing" if self.measured is None else f"{self.measured:g} {self.unit}"
        return f"{self.link} ({self.direction}): {self.what} of {self.asked:g} {self.unit} asked, {measured} measured, {self.allowed:g} {self.unit} allowed"


def measure_links(address: str) -> tuple[LinkMeasurement, ...]:
    """Has the relays at this address measure every link. CheckFailedError when they do not."""
    try:
        reply = ask(address, "/check", method="POST", timeout_seconds=_LONGEST_CHECK_SECONDS)
    except UnreachableError as error:
        raise CheckFailedError(str(error)) from error
    if reply.status != 200:
        said = reply.body[:200].decode("utf-8", "replace").strip()
        raise CheckFailedError(f"http://{address}/check: status {reply.status}: {said}")
    return tuple(_measurement(each) for each in json.loads(reply.body)["measurements"])


def _measurement(document: Mapping[str, Any]) -> LinkMeasurement:
    return LinkMeasurement(**{name: document[name] for name in LinkMeasurement.__slots__})


def round_trips(measurements: Sequence[LinkMeasurement]) -> list[tuple[str, float, float | None]]:
    """Of each link: its name, and the round trip in milliseconds, asked and measured: both ways together."""
    delays: dict[str, list[LinkMeasurement]] = {}
    for each in measurements:
        if each.what == "delay":
            delays.setdefault(each.link, []).append(each)
    return [(link, sum(way.asked for way in ways), _sum(ways)) for link, ways in delays.items()]


def _sum(ways: Sequence[LinkMeasurement]) -> float | None:
    measured = [way.measured for way in ways if way.measured is not None]
    return sum(measured) if len(measured) == len(ways) else None
