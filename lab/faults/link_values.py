"""Faults that are other values of a link: delay, loss, bandwidth, cuts.

What was before is remembered, and put back field by field, where the link still has what the fault has set: relays that were started again
have the file's values, and what somebody has set by hand meanwhile is his.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.cluster.interface import Cluster
from lab.errors import LabError
from lab.faults.lease import Memory
from lab.faults.link_targets import LinkPart, read_part
from lab.faults.parameters import Value
from lab.faults.relays import RelaysApi, relays_of, running_relays

PathValues = Mapping[str, Value]
"""Of one direction, with the names and units of docs/wan.md; `cut` is 0 or 1."""
Parameters = Mapping[str, Value]

SAME = "same"
"""The distribution that the link has anyway."""
_ROUNDED = 1e-5
"""Relays round to a millionth."""


@dataclass(frozen=True, slots=True)
class LinkValues:
    """A fault of this kind: `change` says what becomes of a path's values, of which it has to do with `fields`. It is pure, and names no others."""

    fields: tuple[str, ...]
    change: Callable[[PathValues, Parameters], PathValues]

    def remember(self, lab: Cluster, place: str) -> Memory:
        return _flat(self._now(relays_of(lab), read_part(place)))

    def inject(self, lab: Cluster, place: str, parameters: Parameters) -> Memory:
        """Returns what was there just before, whatever was remembered."""
        api, part = relays_of(lab), read_part(place)
        before = self._now(api, part)
        api.change_link(part.link, {way: _document(self.change(values, parameters)) for way, values in before.items()})
        return _flat(before)

    def undo(self, lab: Cluster, place: str, parameters: Parameters, memory: Memory) -> None:
        api, part = running_relays(lab), read_part(place)
        link = None if api is None else api.link(part.link)
        if api is None or link is None:
            return
        changes: dict[str, dict[str, object]] = {}
        for way in part.directions:
            before = {name: memory[f"{way}.{name}"] for name in self.fields if f"{way}.{name}" in memory}
            ours = self.change(before, parameters) if before else {}
            left = {name: before[name] for name, value in ours.items() if _is_same(link[way][name], value)}
            if left:
                changes[way] = _document(left)
        if changes:
            api.change_link(part.link, changes)

    def _now(self, api: RelaysApi, part: LinkPart) -> dict[str, PathValues]:
        link = api.link(part.link)
        if link is None:
            raise LabError(f"the relays have no link {part.link} any more")
        return {way: {name: _value(link[way][name]) for name in self.fields} for way in part.directions}


def later(values: PathValues, given: Parameters) -> PathValues:
    """More delay and more jitter than the link has."""
    distribution = values["distribution"] if given["distribution"] == SAME else given["distribution"]
    return {
        "delay_ms": float(values["delay_ms"]) + 1000 * float(given["by"]),
        "jitter_ms": float(values["jitter_ms"]) + 1000 * float(given["jitter"]),
        "distribution": distribution,
    }


def lossier(values: PathValues, given: Parameters) -> PathValues:
    """At least so much."""
    return {"loss_percent": max(float(values["loss_percent"]), float(given["percent"]))}


def narrower(values: PathValues, given: Parameters) -> PathValues:
    """At most so much: 0 is a link without a limit, and a queue of 0 what the bandwidth makes of it."""
    own, wanted = float(values["bandwidth_mbit"]), float(given["mbit"])
    return {"bandwidth_mbit": min(own or wanted, wanted), "queue_kib": given["queue"] or values["queue_kib"]}


def cut(_values: PathValues, _given: Parameters) -> PathValues:
    """A black hole."""
    return {"cut": 1}


def _flat(values: Mapping[str, PathValues]) -> Memory:
    return {f"{way}.{name}": value for way, path in values.items() for name, value in path.items()}


def _value(given: object) -> Value:
    if isinstance(given, bool):
        return int(given)
    return given if isinstance(given, str | float | int) else str(given)


def _document(values: PathValues) -> dict[str, object]:
    return {name: bool(value) if name == "cut" else value for name, value in values.items()}


def _is_same(one: object, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(float(str(_value(one))), float(other), abs_tol=_ROUNDED)
