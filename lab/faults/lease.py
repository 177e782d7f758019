"""A fault that is in force, until when, and what stands against another one beside it. Pure: `now` is in seconds of the host's clock."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from lab.errors import LabError, UsageError
from lab.faults.catalogue import CATALOGUE
from lab.faults.fault import STACKING, Aspect, Fault, Targets
from lab.faults.link_targets import read_part
from lab.faults.parameters import Value

MOST_LEASES = 256
MOST_ATTEMPTS = 30
"""With the pauses below, five minutes."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 15.0

Memory = Mapping[str, Value]
"""What a fault has to know to be undone."""


LEASE_ID = "lease_id"
"""A parameter that nobody gives: for faults that name what they do after their lease."""


class ConflictError(LabError):
    """The node is not as the fault needs it: another one has hold of it, or it does not run."""


class NotInForceError(UsageError):
    """No such lease: never, or not any more."""


class Phase(StrEnum):
    """Whoever finds a lease that is being injected knows that nobody was told of it: it is undone."""

    INJECTING = "injecting"
    INJECTED = "injected"
    HEALING = "healing"
    GIVEN_UP = "given_up"
    HEALED = "healed"


@dataclass(frozen=True, slots=True)
class Place:
    """One node or link that is hit."""

    name: str
    """The node's id; of a link as link_targets.LinkPart writes it."""
    memory: Memory = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """A fault at some nodes, or of some links."""

    id: str
    fault: str
    target: str
    parameters: Mapping[str, Value]
    places: tuple[Place, ...]
    boot_id: str
    lease_seconds: float
    injected_at: float
    due_at: float
    phase: Phase = Phase.INJECTING
    attempts: int = 0
    """To undo it, that have failed."""
    trouble: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all its places."""
        return tuple(place.name for place in self.places)

    @property
    def nodes(self) -> tuple[str, ...]:
        """None for a fault of links."""
        return () if is_of_links(self.fault) else self.names

    @property
    def links(self) -> tuple[str, ...]:
        """None for a fault of nodes."""
        return self.names if is_of_links(self.fault) else ()

    def is_due(self, now: float) -> bool:
        return self.phase is not Phase.GIVEN_UP and self.due_at <= now

    def without(self, name: str) -> "Lease":
        return replace(self, places=tuple(place for place in self.places if place.name != name))

    def failed(self, trouble: str, now: float) -> "Lease":
        """To be undone again after a pause that doubles, until that has been tried often enough."""
        attempts = self.attempts + 1
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** (attempts - 1), _LONGEST_PAUSE_SECONDS)
        phase = Phase.HEALING if attempts < MOST_ATTEMPTS else Phase.GIVEN_UP
        return replace(self, phase=phase, attempts=attempts, trouble=trouble, due_at=now + pause)

    def found_again(self, boot_id: str, now: float) -> "Lease":
        """By an agent that has just started: what had not been injected for sure, or is of another boot, is due; what had been given up gets another chance."""
        if self.boot_id == boot_id and self.phase is Phase.INJECTED:
            return self
        return replace(self, boot_id=boot_id, phase=Phase.HEALING, attempts=0, due_at=now)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def lease_from_json(document: Mapping[str, Any]) -> Lease:
    """KeyError, TypeError or ValueError for what is none."""
    places = tuple(Place(str(each["name"]), dict(each["memory"])) for each in document["places"])
    return Lease(**{**document, "places": places, "phase": Phase(document["phase"])})


def is_of_links(fault: str) -> bool:
    """Or of nodes."""
    row = CATALOGUE.get(fault)
    return row is not None and row.targets is not Targets.NODES


def check_room(fault: Fault, parameters: Mapping[str, Value], places: Iterable[str], leases: Iterable[Lease]) -> None:
    """ConflictError when one of the places is in the hands of another fault."""
    listed, wanted = list(leases), _held(fault.name, places)
    if len(listed) >= MOST_LEASES:
        raise ConflictError(f"{MOST_LEASES} faults at once are the most: clear some with `cdnlab faults clear`")
    for lease in listed:
        both = [name for name in lease.names if wanted & _held(lease.fault, (name,))]
        if both and _collide(fault, parameters, lease):
            raise ConflictError(
                f"{fault.name} is not possible: {both[0]} has {lease.fault} already ({lease.id}); `cdnlab faults clear {lease.id}` ends that"
            )


def _held(fault: str, places: Iterable[str]) -> frozenset[object]:
    """Nodes as they are, links path by path: two faults may each have one direction of a link."""
    if not is_of_links(fault):
        return frozenset(places)
    return frozenset(path for place in places for path in read_part(place).paths)


def _collide(fault: Fault, parameters: Mapping[str, Value], lease: Lease) -> bool:
    other = CATALOGUE.get(lease.fault)
    if other is None or other.aspect is not fault.aspect:
        return False
    if fault.aspect in STACKING:
        return False
    match fault.aspect:
        case Aspect.ANSWERS:
            return _hides(parameters, lease.parameters)
        case Aspect.PROGRAM:
            return fault.name == lease.fault
        case _:
            return True


def _hides(newer: Mapping[str, Value], older: Mapping[str, Value]) -> bool:
    """An origin applies the newest behavior that matches, alone (docs/origin.md): the older one would never be seen."""
    return newer["probability"] == 1 and str(older["path"]).startswith(str(newer["path"]))


def next_due(leases: Iterable[Lease]) -> float | None:
    """When somebody has to look again."""
    return min((lease.due_at for lease in leases if lease.phase is not Phase.GIVEN_UP), default=None)
