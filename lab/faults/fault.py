"""What a fault is: a row of the catalogue, what it takes hold of, and what it is done to. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from lab.faults.parameters import Parameter
from lab.topology.layout import Role

ALL_ROLES = tuple(Role)

_LEASE_SECONDS, _LONGEST_SECONDS = 30.0, 3600.0
"""The longest is that of an origin's own leases, too (docs/origin.md)."""


class Aspect(StrEnum):
    """What of a node or a link a fault takes hold of. Two at once of the same aspect would undo each other."""

    PROCESS = "process"
    CPUS = "cpus"
    MEMORY = "memory"
    ANSWERS = "answers"
    PROGRAM = "program"
    """What a program does to itself: a second one of the same name is refused."""
    REACH = "reach"
    """Who hears whom: a node may be cut off by several faults at once."""
    LINK_DELAY = "link_delay"
    LINK_LOSS = "link_loss"
    LINK_BANDWIDTH = "link_bandwidth"
    LINK_CUT = "link_cut"
    CONNECTIONS = "connections"
    """Those over a link: what is done to them stands beside each other."""


STACKING = frozenset((Aspect.REACH, Aspect.CONNECTIONS))
"""Any number of them at one place: none undoes another one."""


class Targets(StrEnum):
    """What a fault is done to: how its target is written (targets.py, link_targets.py)."""

    NODES = "nodes"
    LINKS = "links"
    PARTITIONS = "partitions"


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the catalogue."""

    name: str
    aspect: Aspect
    does: str
    heals: str
    roles: tuple[Role, ...] = ALL_ROLES
    parameters: tuple[Parameter, ...] = ()
    lease_seconds: float = _LEASE_SECONDS
    longest_lease_seconds: float = _LONGEST_SECONDS
    is_momentary: bool = False
    """Over as soon as it is done: it needs no lease but for what an interruption would leave."""
    targets: Targets = Targets.NODES

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "aspect": self.aspect.value,
            "does": self.does,
            "heals": self.heals,
            "targets": self.targets.value,
            "roles": [role.value for role in self.roles] if self.targets is Targets.NODES else [],
            "parameters": [each.to_json() for each in self.parameters],
            "lease_seconds": self.lease_seconds,
            "longest_lease_seconds": self.longest_lease_seconds,
            "is_momentary": self.is_momentary,
        }
