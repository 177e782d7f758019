"""Faults of the management API: the control plane is told of them on its admin port, and the API is a process of its own, so they go there over the
channel (`api_channel.py`).

What goes is one line with all that are in force, whenever that changes, and first of all to a process that has just started. Each ends there by its own lease, too. Pure.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from proto.injected_faults import InjectedFault, Values


@dataclass(frozen=True, slots=True)
class ApiFault:
    """One, as the process of the API knows it; `ends_at` is in seconds of the host's clock."""

    kind: str
    parameters: Values
    ends_at: float
    seed: int = 0
    """Of its dice."""


class ApiFaults:
    """Those that the process of the API has been told of last."""

    def __init__(self) -> None:
        self._all: tuple[ApiFault, ...] = ()

    def told(self, line: bytes) -> None:
        """Of all that are in force. From any thread: what is known is replaced in one assignment."""
        self._all = parse(line)

    def in_force(self, kind: str, now: float) -> ApiFault | None:
        """The one of this kind, if its lease goes on."""
        return next((fault for fault in self._all if fault.kind == kind and now < fault.ends_at), None)


def encode(faults: Iterable[InjectedFault]) -> bytes:
    """One line."""
    told = [
        {"kind": each.kind, "parameters": dict(each.parameters), "ends_at": each.ends_at, "seed": each.seed}
        for each in faults
    ]
    return json.dumps(told).encode() + b"\n"


def parse(line: bytes) -> tuple[ApiFault, ...]:
    """What `encode` has written."""
    return tuple(ApiFault(each["kind"], each["parameters"], each["ends_at"], each["seed"]) for each in json.loads(line))
