"""Every fault that there is: what it does, what it may be told, whom it can hit, for how long. Pure.

How each is injected and undone is in actions.py, which has a row for each name here (a test compares them); docs/faults.md is checked against
this table. Faults of links, names, clocks, disks, of the control plane and of a CDN are added here when they are there, and not before.
"""

from dataclasses import dataclass
from enum import StrEnum

from lab.cluster.interface import LEAST_MEMORY_MIB, MOST_CPUS
from lab.errors import UsageError
from lab.faults.parameters import NO_FIELD_NAMES, Kind, Parameter, format_duration
from lab.topology.layout import Role

ALL_ROLES = tuple(Role)
ORIGINS = (Role.ORIGIN,)
CACHES = (Role.EDGE, Role.REGIONAL)

_LEASE_SECONDS, _LONGEST_SECONDS = 30.0, 3600.0
"""The longest is that of an origin's own leases, too (docs/origin.md)."""
MOST_OFFSET_SECONDS = 100.0 * 365 * 86_400
LEAST_RATE, MOST_RATE = -0.9, 100.0
MOST_PAUSE_SECONDS = 0.25
"""As the programs have them (proto/clock_faults.py, edge_node/storage/disk/faulty_files.py)."""
_MOST_BYTES = float(1 << 50)


class Aspect(StrEnum):
    """What of a node a fault takes hold of. Two at once of the same aspect would undo each other."""

    PROCESS = "process"
    CPUS = "cpus"
    MEMORY = "memory"
    ANSWERS = "answers"
    PROGRAM = "program"
    """What a program does to itself: a second one of the same name is refused."""


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

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "aspect": self.aspect.value,
            "does": self.does,
            "heals": self.heals,
            "roles": [role.value for role in self.roles],
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


def _of_control_plane(name: str, does: str, heals: str, *parameters: Parameter) -> Fault:
    return Fault(name, Aspect.PROGRAM, does, heals, (Role.CONTROL_PLANE,), parameters)


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
            "answers with this status; below 400 with the body that it had, also 304 to who asked for none",
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
        _of_answers(
            "wrong-vary",
            "answers name these fields in `Vary`, or have none: caches mix variants, or keep too many",
            Parameter("names", Kind.FIELD_NAMES, "", "which fields, or none", default=NO_FIELD_NAMES),
        ),
        _of_answers("lying-304", "answers 304 to every conditional request, whatever became of the content"),
        _of_answers(
            "constant-etag", "every version of the content has the same `ETag`, by which it answers conditions"
        ),
        Fault(
            "clock-offset",
            Aspect.PROGRAM,
            "its wall clock is set by so much, negative: back",
            "the clock is set right",
            (*CACHES, Role.CONTROL_PLANE),
            (Parameter("by", Kind.DURATION, "s", "how much", -MOST_OFFSET_SECONDS, MOST_OFFSET_SECONDS),),
        ),
        Fault(
            "clock-drift",
            Aspect.PROGRAM,
            "its clocks gain so much of each second, negative: they lose it",
            "the clocks run right",
            (*CACHES, Role.DNS_ROUTER, Role.CONTROL_PLANE),
            (Parameter("rate", Kind.NUMBER, "", "how much", LEAST_RATE, MOST_RATE),),
        ),
        Fault(
            "disk-full",
            Aspect.PROGRAM,
            "its disk has no room: no state file, no journal and no response is written",
            "there is room",
            CACHES,
        ),
        Fault(
            "disk-slow",
            Aspect.PROGRAM,
            "each operation on its disk tier takes so long, and all of the node waits for it",
            "the disk is as before",
            CACHES,
            (Parameter("by", Kind.DURATION, "s", "how long", 0.001, MOST_PAUSE_SECONDS, 0.05),),
        ),
        Fault(
            "disk-read-error",
            Aspect.PROGRAM,
            "its disk tier cannot be read",
            "the disk is as before",
            CACHES,
            (_PROBABILITY,),
        ),
        Fault(
            "disk-bit-flip",
            Aspect.PROGRAM,
            "what is read of its disk tier has a wrong bit",
            "the disk is as before",
            CACHES,
            (_PROBABILITY,),
        ),
        _of_control_plane(
            "control-plane-deaf", "its port for nodes stands still: streams stay, nothing is read or sent", "it goes on"
        ),
        _of_control_plane("control-plane-refuse", "it takes no new streams of nodes", "they are taken"),
        _of_control_plane(
            "api-error", "the management API answers `ServiceUnavailable`, 503", "it answers", _PROBABILITY
        ),
        _of_control_plane("api-throttle", "the management API answers `Throttling`, 400", "it answers", _PROBABILITY),
        _of_control_plane(
            "api-delay",
            "the management API waits before each answer",
            "it answers at once",
            Parameter("by", Kind.DURATION, "s", "how long", 0.001, 20, 0.5),
            _PROBABILITY,
        ),
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
