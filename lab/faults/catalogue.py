"""Every fault that there is: what it does, what it may be told, whom it can hit, for how long. Pure.

How each is injected and undone is in actions.py, which has a row for each name here (a test compares them); docs/faults.md is checked against
this table. Faults of names, clocks, disks, of the control plane and of a CDN are added here when they are there, and not before.
"""

from dataclasses import dataclass
from enum import StrEnum

from lab.cluster.interface import LEAST_MEMORY_MIB, MOST_CPUS
from lab.errors import UsageError
from lab.faults.parameters import Kind, Parameter, format_duration
from lab.topology.layout import Role

ALL_ROLES = tuple(Role)
ORIGINS = (Role.ORIGIN,)

_LEASE_SECONDS, _LONGEST_SECONDS = 30.0, 3600.0
"""The longest is that of an origin's own leases, too (docs/origin.md)."""
_MOST_BYTES = float(1 << 50)


class Aspect(StrEnum):
    """What of a node or a link a fault takes hold of. Two at once of the same aspect would undo each other."""

    PROCESS = "process"
    CPUS = "cpus"
    MEMORY = "memory"
    ANSWERS = "answers"
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


_PATH = Parameter("path", Kind.PATH, "", "requests whose path begins so", default="/")
_PROBABILITY = Parameter("probability", Kind.NUMBER, "", "of how many requests, of 1", 0.000001, 1, 1.0)


def _of_answers(name: str, does: str, *parameters: Parameter) -> Fault:
    """One that an origin's admin port takes as a behavior."""
    told = (*parameters, _PATH, _PROBABILITY)
    return Fault(name, Aspect.ANSWERS, does, "answers are as before", ORIGINS, told)


def _bytes(name: str, does: str, default: int) -> Parameter:
    return Parameter(name, Kind.INTEGER, "bytes", does, 0, _MOST_BYTES, default)


_REACHED = tuple(role for role in Role if role is not Role.WAN)
_DIRECTION = Parameter(
    "direction",
    Kind.CHOICE,
    "",
    "from the place that is named first, or to it",
    default="both",
    words=("both", "forward", "backward"),
)
_SHARE = Parameter("probability", Kind.NUMBER, "", "of how many connections, of 1", 0, 1, 1.0)
_AFTER = Parameter("after", Kind.DURATION, "s", "how long after the fault or the connection begins", 0, 3600, 0.0)
_AS_BEFORE = "the link is as before"


def _of_values(name: str, aspect: Aspect, does: str, *parameters: Parameter) -> Fault:
    """Other values of links, for everything that crosses them."""
    told = (*parameters, _DIRECTION)
    return Fault(name, aspect, does, _AS_BEFORE, (), told, targets=Targets.LINKS)


def _of_connections(name: str, does: str, *parameters: Parameter) -> Fault:
    """Toxics of links, which are for TCP."""
    told = (*parameters, _SHARE, _DIRECTION)
    return Fault(name, Aspect.CONNECTIONS, does, "connections are left alone", (), told, targets=Targets.LINKS)


_OF_LINKS = (
    Fault(
        "cut",
        Aspect.REACH,
        "a black hole between the node and others, at the relays: nothing gets through, and nobody is told",
        "what was held back is sent again",
        _REACHED,
        (
            Parameter("from", Kind.NAMES, "", "from which places and nodes", default="all"),
            Parameter(
                "direction",
                Kind.CHOICE,
                "",
                "what it hears, what it says, or both",
                default="both",
                words=("both", "in", "out"),
            ),
        ),
    ),
    _of_values(
        "link-delay",
        Aspect.LINK_DELAY,
        "everything is so much later, each way",
        Parameter("by", Kind.DURATION, "s", "how much later", 0, 59),
        Parameter("jitter", Kind.DURATION, "s", "how much more jitter, at most as much as the delay", 0, 59, 0.0),
        Parameter(
            "distribution", Kind.CHOICE, "", "of delays", default="same", words=("same", "uniform", "normal", "pareto")
        ),
    ),
    _of_values(
        "link-loss",
        Aspect.LINK_LOSS,
        "loses at least so much: datagrams are gone, streams stall",
        Parameter("percent", Kind.NUMBER, "%", "of segments and datagrams", 0.0001, 99),
    ),
    _of_values(
        "link-bandwidth",
        Aspect.LINK_BANDWIDTH,
        "has at most so much, which all that crosses it shares",
        Parameter("mbit", Kind.NUMBER, "Mbit/s", "how much", 0.012, 1e5),
        Parameter("queue", Kind.INTEGER, "KiB", "the queue before it; 0 as it is", 0, 1 << 20, 0),
    ),
    _of_values("link-cut", Aspect.LINK_CUT, "a black hole: nothing gets through, and nobody is told"),
    Fault(
        "partition",
        Aspect.LINK_CUT,
        "cuts between groups of regions",
        _AS_BEFORE,
        targets=Targets.PARTITIONS,
        roles=(),
    ),
    _of_connections(
        "link-throttle",
        "each connection has so much for itself; 0: nothing",
        Parameter("rate", Kind.INTEGER, "kB/s", "how much", 0, 1e9, 100),
    ),
    _of_connections("link-reset", "resets connections, and lets nothing through until then", _AFTER),
    _of_connections("link-timeout", "drops everything, and closes connections then; 0: never", _AFTER),
    _of_connections("link-half-open", "closing and resets are never told to the other side"),
    _of_connections(
        "link-slow-close",
        "the end is told later",
        Parameter("by", Kind.DURATION, "s", "how much later", 0.001, 3600, 1.0),
    ),
    _of_connections(
        "link-slice",
        "small pieces",
        Parameter("size", Kind.INTEGER, "bytes", "their average", 1, 1e6, 64),
        Parameter("variation", Kind.INTEGER, "bytes", "how much more or less", 0, 1e6, 0),
        Parameter("gap", Kind.DURATION, "s", "between them", 0, 60, 0.001),
    ),
    _of_connections("link-limit-data", "closes each connection after so many bytes", _bytes("after", "how many", 1000)),
)


CATALOGUE: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("kill", Aspect.PROCESS, "SIGKILL: no drain, no goodbye", "started again"),
        Fault("stop", Aspect.PROCESS, "ends in order, as for maintenance", "started again"),
        Fault("pause", Aspect.PROCESS, "nothing of it runs, its connections stay: as a machine that hangs", "goes on"),
        Fault("restart", Aspect.PROCESS, "ends in order and is started again", "runs again", is_momentary=True),
        Fault(
            "limit-cpu",
            Aspect.CPUS,
            "may use so much of the processors (labs in containers)",
            "the limit from before",
            parameters=(Parameter("cpus", Kind.NUMBER, "processors", "how many", 0.01, MOST_CPUS),),
        ),
        Fault(
            "limit-memory",
            Aspect.MEMORY,
            "may have so much memory; what it asks for beyond is refused, in containers it is killed",
            "the limit from before",
            parameters=(Parameter("mib", Kind.INTEGER, "MiB", "how much", LEAST_MEMORY_MIB, float(1 << 20)),),
        ),
        _of_answers(
            "http-status",
            "answers with this status; below 400 with the body that it had, so 304 lies",
            Parameter("status", Kind.INTEGER, "", "which", 200, 599, 503),
        ),
        _of_answers(
            "http-delay",
            "waits before each answer",
            Parameter("by", Kind.DURATION, "s", "how long", 0.001, 3600, 0.5),
        ),
        _of_answers(
            "http-stall",
            "sends the head and then, for so long, nothing",
            Parameter("by", Kind.DURATION, "s", "how long", 0.001, 3600, 30.0),
        ),
        _of_answers(
            "http-trickle",
            "sends bodies slowly",
            Parameter("rate", Kind.INTEGER, "bytes/s", "how fast", 1, 1e12, 1000),
        ),
        _of_answers(
            "http-truncate",
            "closes in good order after so many bytes of the body",
            _bytes("after", "how many", 100),
        ),
        _of_answers(
            "http-reset", "resets the connection after so many bytes of the body", _bytes("after", "how many", 100)
        ),
        _of_answers("http-corrupt", "inverts one byte of the body", _bytes("at", "at which position", 0)),
        _of_answers("http-drop", "closes without an answer"),
        *_OF_LINKS,
    )
}


def find_fault(name: str) -> Fault:
    """UsageError for one that there is not."""
    fault = CATALOGUE.get(name)
    if fault is None:
        raise UsageError(f"no fault {name!r}: there are {', '.join(CATALOGUE)}")
    return fault


def lease_of(fault: Fault, wanted_seconds: float | None) -> float:
    """How long it is to last; UsageError when it may not."""
    if wanted_seconds is None:
        return fault.lease_seconds
    if fault.is_momentary:
        raise UsageError(f"{fault.name} is over as soon as it is done: it has no lease to be given")
    if not 0 < wanted_seconds <= fault.longest_lease_seconds:
        raise UsageError(
            f"{fault.name} can last up to {format_duration(fault.longest_lease_seconds)}, not {format_duration(wanted_seconds)}"
        )
    return wanted_seconds
