"""Every fault that there is: what it does, what it may be told, whom it can hit, for how long. Pure.

How each is injected and undone is in actions.py, which has a row for each name here (a test compares them); docs/faults.md is checked against
this table. Faults of names, clocks, disks, of the control plane and of a CDN are added here when they are there, and not before.
"""

from lab.cluster.interface import LEAST_MEMORY_MIB, MOST_CPUS
from lab.errors import UsageError
from lab.faults.fault import Aspect, Fault
from lab.faults.link_catalogue import LINK_FAULTS
from lab.faults.parameters import Kind, Parameter, format_duration
from lab.topology.layout import Role

ORIGINS = (Role.ORIGIN,)

_MOST_BYTES = float(1 << 50)


_PATH = Parameter("path", Kind.PATH, "", "requests whose path begins so", default="/")
_PROBABILITY = Parameter("probability", Kind.NUMBER, "", "of how many requests, of 1", 0.000001, 1, 1.0)


def _of_answers(name: str, does: str, *parameters: Parameter) -> Fault:
    """One that an origin's admin port takes as a behavior."""
    told = (*parameters, _PATH, _PROBABILITY)
    return Fault(name, Aspect.ANSWERS, does, "answers are as before", ORIGINS, told)


def _bytes(name: str, does: str, default: int) -> Parameter:
    return Parameter(name, Kind.INTEGER, "bytes", does, 0, _MOST_BYTES, default)


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
        *LINK_FAULTS,
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
