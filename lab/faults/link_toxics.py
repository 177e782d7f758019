"""Faults that are toxics of a link: what becomes of the connections over it. Each toxic is named after its lease, so that any number of them stand beside each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.cluster.interface import Cluster
from lab.faults.lease import LEASE_ID, Memory
from lab.faults.link_targets import Direction, read_part
from lab.faults.parameters import Value
from lab.faults.relays import relays_of, running_relays

Parameters = Mapping[str, Value]

_NO_MEMORY: Memory = {}


@dataclass(frozen=True, slots=True)
class LinkToxic:
    """A fault of this kind: the toxic's type, and its attributes from the fault's parameters (docs/wan.md)."""

    kind: str
    attributes: Callable[[Parameters], Mapping[str, int]]

    def inject(self, lab: Cluster, place: str, parameters: Parameters) -> Memory:
        api, part = relays_of(lab), read_part(place)
        for way in sorted(part.directions):
            toxic = {
                "name": _name(parameters, way),
                "type": self.kind,
                "stream": way.value,
                "toxicity": parameters["probability"],
                "attributes": dict(self.attributes(parameters)),
            }
            api.add_toxic(part.link, toxic)
        return _NO_MEMORY

    def undo(self, lab: Cluster, place: str, parameters: Parameters, _memory: Memory) -> None:
        api, part = running_relays(lab), read_part(place)
        if api is not None:
            for way in part.directions:
                api.remove_toxic(part.link, _name(parameters, way))


def milliseconds(seconds: Value) -> int:
    """As toxics count."""
    return round(1000 * float(seconds))


def microseconds(seconds: Value) -> int:
    """As a slicer counts."""
    return round(1e6 * float(seconds))


def _name(parameters: Parameters, way: Direction) -> str:
    return f"{parameters[LEASE_ID]}.{way}"
