"""Every fault that there is: what it does, what it may be told, whom it can hit, for how long. Pure.

How each is injected and undone is in actions.py, which has a row for each name here (a test compares them); docs/faults.md is checked against
this table.
"""

from lab.cluster.interface import LEAST_MEMORY_MIB, MOST_CPUS
from lab.durations import format_duration
from lab.errors import UsageError
from lab.faults.fault import Aspect, Fault
from lab.faults.link_catalogue import LINK_FAULTS
from lab.faults.parameters import NO_FIELD_NAMES, Kind, Parameter
from lab.topology.layout import Role

ORIGINS = (Role.ORIGIN,)
CACHES = (Role.EDGE, Role.REGIONAL)
FOLLOWERS = (*CACHES, Role.DNS_ROUTER)
"""Who follows the log."""
ROUTERS = (Role.DNS_ROUTER,)
CONTROL_PLANES = (Role.CONTROL_PLANE,)

MOST_OFFSET_SECONDS = 100.0 * 365 * 86_400
LEAST_RATE, MOST_RATE = -0.9, 100.0
MOST_PAUSE_SECONDS = 0.25
"""As the programs have them (proto/clock_faults.py, edge_node/storage/disk/faulty_files.py)."""
_MOST_BYTES = float(1 << 50)


_PATH = Parameter("path", Kind.PATH, "", "requests whose path begins so", default="/")
_PROBABILITY = Parameter("probability", Kind.NUMBER, "", "of how many requests, of 1", 0.000001, 1, 1.0)


def _of_answers(name: str, does: str, *parameters: Parameter) -> Fault:
    """One that an origin's admin port takes as a behavior."""
    told = (*parameters, _PATH, _PROBABILITY)
    return Fault(name, Aspect.ANSWERS, does, "answers are as before", ORIGINS, told)


def _bytes(name: str, does: str, default: int) -> Parameter:
    return Parameter(name, Kind.INTEGER, "bytes", does, 0, _MOST_BYTES, default)


def _of_program(name: str, does: str, heals: str, roles: tuple[Role, ...], *parameters: Parameter) -> Fault:
    """One that a program does to itself (`--allow-faults`)."""
    return Fault(name, Aspect.PROGRAM, does, heals, roles, parameters)


def _chance(does: str, default: float = 1.0) -> Parameter:
    return Parameter("probability", Kind.NUMBER, "", does, 0.000001, 1, default)


_OF_ENTRIES = "of how many entries, of 1"
_OF_QUERIES = "of how many queries, of 1"
_STREAM_ANEW = "its stream begins anew"

_OF_A_CDN = (
    _of_program(
        "log-lose",
        "entries of the log never reach it",
        _STREAM_ANEW,
        FOLLOWERS,
        _chance(_OF_ENTRIES),
        Parameter("count", Kind.INTEGER, "entries", "so many and no more; 0: no limit", 0, 1e6, 0),
    ),
    _of_program(
        "log-delay",
        "entries of the log reach it late, leases in time",
        _STREAM_ANEW,
        FOLLOWERS,
        Parameter("by", Kind.DURATION, "s", "how long", 0.001, 3600, 1.0),
    ),
    _of_program("log-duplicate", "entries of the log reach it twice", _STREAM_ANEW, FOLLOWERS, _chance(_OF_ENTRIES)),
    _of_program(
        "log-reorder",
        "an entry of the log reaches it after the next one, or a second late",
        _STREAM_ANEW,
        FOLLOWERS,
        _chance(_OF_ENTRIES, 0.5),
    ),
    _of_program(
        "lying-acknowledgement",
        "acknowledges entries that it does not apply: stale content after a receipt",
        "its stream begins anew, from what it has",
        FOLLOWERS,
    ),
    _of_program(
        "reject-configuration",
        "refuses whatever is new or changed, and says why",
        "what was refused is tried again",
        FOLLOWERS,
        Parameter("reason", Kind.TEXT, "", "what it says", default="an injected fault refuses it"),
    ),
    _of_program("directory-lost", "never hears who has come or gone", _STREAM_ANEW, FOLLOWERS),
    _of_program(
        "stale-regional",
        "applies entries without what they invalidate, and claims to be up to date: stale content after a receipt",
        "what it has stored is void",
        CACHES,
    ),
    _of_program("dns-servfail", "answers SERVFAIL", "answers are as before", ROUTERS, _chance(_OF_QUERIES)),
    _of_program("dns-silence", "does not answer", "answers are as before", ROUTERS, _chance(_OF_QUERIES)),
    _of_program(
        "dns-wrong-answer",
        "answers with this address wherever it has one of the family",
        "answers are as before",
        ROUTERS,
        Parameter("address", Kind.ADDRESS, "", "which"),
    ),
    _of_program(
        "dns-delay",
        "answers late (UDP)",
        "answers are as before",
        ROUTERS,
        Parameter("by", Kind.DURATION, "s", "how long", 0.001, 60, 0.5),
    ),
)

_OF_READS = "of how many reads, of 1"
_OF_CALLS = "of how many calls, of 1"

_OF_MACHINES = (
    _of_program(
        "clock-offset",
        "its wall clock is set by so much, negative: back",
        "the clock is set right",
        (*CACHES, Role.CONTROL_PLANE),
        Parameter("by", Kind.DURATION, "s", "how much", -MOST_OFFSET_SECONDS, MOST_OFFSET_SECONDS),
    ),
    _of_program(
        "clock-drift",
        "its clocks gain so much of each second, negative: they lose it",
        "the clocks run right",
        (*FOLLOWERS, Role.CONTROL_PLANE),
        Parameter("rate", Kind.NUMBER, "", "how much", LEAST_RATE, MOST_RATE),
    ),
    _of_program(
        "disk-full",
        "its disk has no room: no state file, no journal and no response is written",
        "there is room",
        CACHES,
    ),
    _of_program(
        "disk-slow",
        "each operation on its disk tier takes so long, and all of the node waits for it",
        "the disk is as before",
        CACHES,
        Parameter("by", Kind.DURATION, "s", "how long", 0.001, MOST_PAUSE_SECONDS, 0.05),
    ),
    _of_program(
        "disk-read-error",
        "its disk tier cannot be read",
        "the disk is as before",
        CACHES,
        _chance(_OF_READS),
    ),
    _of_program(
        "disk-bit-flip",
        "what is read of its disk tier has a wrong bit",
        "the disk is as before",
        CACHES,
        _chance(_OF_READS),
    ),
)

_OF_CONTROL_PLANES = (
    _of_program(
        "control-plane-deaf",
        "its port for nodes stands still: streams stay, nothing is read or sent",
        "it goes on",
        CONTROL_PLANES,
    ),
    _of_program("control-plane-refuse", "it takes no new streams of nodes", "they are taken", CONTROL_PLANES),
    _of_program(
        "api-error",
        "the management API answers `ServiceUnavailable`, 503",
        "it answers",
        CONTROL_PLANES,
        _chance(_OF_CALLS),
    ),
    _of_program(
        "api-throttle", "the management API answers `Throttling`, 400", "it answers", CONTROL_PLANES, _chance(_OF_CALLS)
    ),
    _of_program(
        "api-delay",
        "the management API waits before each answer",
        "it answers at once",
        CONTROL_PLANES,
        Parameter("by", Kind.DURATION, "s", "how long", 0.001, 20, 0.5),
        _chance(_OF_CALLS),
    ),
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
        *_OF_A_CDN,
        *_OF_MACHINES,
        *_OF_CONTROL_PLANES,
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
