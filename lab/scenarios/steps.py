"""What a scenario can do to a lab, as values, and how each is written: one literal table. Pure.

A step of the file is an activity of Chaos Toolkit whose provider is a function of chaos/actions.py with these arguments; both the file and the running
experiment are read by the parsers here. When a step is due is part of it: at a time since viewers came, or as soon as a condition holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from lab.checkers.conditions import Condition, parse_condition
from lab.durations import format_duration, parse_duration
from lab.errors import UsageError
from lab.faults.catalogue import find_fault, lease_of
from lab.faults.parameters import Value, read_parameters
from lab.scenarios.figures import FIGURES
from lab.scenarios.values import duration, plain_mapping, text_if_any, words
from lab.topology.sections import Section

WITHIN_SECONDS: Final = 30.0
RECEIPT_SECONDS: Final = 30.0
MOST_OBJECT_BYTES: Final = 64 << 20
MOST_INVALIDATIONS: Final = 1000
ALL: Final = "all"
SHORTEST_LEASE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Due:
    """When a step begins: at once, at a time since viewers came, when a condition holds (after that time), but after `within_seconds` it has failed."""

    at_seconds: float | None = None
    condition: Condition | None = None
    within_seconds: float = WITHIN_SECONDS

    def __str__(self) -> str:
        at = "" if self.at_seconds is None else f"{self.at_seconds:g} s"
        when = "" if self.condition is None else f"when {self.condition} (within {self.within_seconds:g} s)"
        return ", ".join(part for part in (at, when) if part) or "then"


@dataclass(frozen=True, slots=True)
class Inject:
    """A fault, which heals by itself when its lease is over."""

    due: Due
    fault: str
    target: str
    lease_seconds: float
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        told = "".join(f" {name}={value}" for name, value in self.parameters.items())
        return f"{self.fault}{told} at {self.target} for {self.lease_seconds:g} s"


@dataclass(frozen=True, slots=True)
class Heal:
    """Faults that the scenario has injected, before their time: those of this name, or all of them."""

    due: Due
    fault: str = ALL

    def __str__(self) -> str:
        return f"heals {self.fault}"


@dataclass(frozen=True, slots=True)
class Restart:
    """Each node of a target, one after the other; the next one when the one before is live again and `pause_seconds` are over."""

    due: Due
    target: str
    pause_seconds: float = 0.0

    def __str__(self) -> str:
        return f"restarts {self.target}, one after the other"


@dataclass(frozen=True, slots=True)
class Put:
    """A new version of an object in the buckets of origins."""

    due: Due
    path: str
    origins: tuple[str, ...] = ()
    """Empty: all of the lab."""
    size_bytes: int = 1024
    cache_control: str = ""

    def __str__(self) -> str:
        return f"puts a new version of {self.path}"


@dataclass(frozen=True, slots=True)
class Invalidate:
    """Paths of a distribution; done when the receipt is there, or at once."""

    due: Due
    paths: tuple[str, ...]
    distribution: str = ""
    """Empty: the first one."""
    awaits_receipt: bool = True
    receipt_seconds: float = RECEIPT_SECONDS
    times: int = 1
    """So many invalidations of the same paths, each issued as soon as the one before it is taken; receipts are waited for when all are."""

    def __str__(self) -> str:
        times = f" {self.times} times" if self.times > 1 else ""
        waits = f", and waits for the receipt ({self.receipt_seconds:g} s)" if self.awaits_receipt else ""
        return f"invalidates {' '.join(self.paths)}{times}{waits}"


@dataclass(frozen=True, slots=True)
class Configure:
    """Changes a distribution: what is given of the DistributionConfig is laid over what it is."""

    due: Due
    config: Mapping[str, object]
    distribution: str = ""
    awaits_deployed: bool = True

    def __str__(self) -> str:
        waits = ", and waits until it is deployed" if self.awaits_deployed else ""
        return f"changes {', '.join(self.config)}{waits}"


@dataclass(frozen=True, slots=True)
class MoveTime:
    """The lab's clock forward, on all nodes."""

    due: Due
    by_seconds: float

    def __str__(self) -> str:
        return f"moves the lab's clock forward by {self.by_seconds:g} s"


@dataclass(frozen=True, slots=True)
class Wait:
    """Until the step is due; nothing else."""

    due: Due

    def __str__(self) -> str:
        return "waits"


def stretched(step: "Step", scale: float) -> "Step":
    """In a run that takes so many times as long as its scenario says: faults do, too. Waits for what the lab does by itself stay as they are."""
    if not isinstance(step, Inject) or scale == 1:
        return step
    longest = find_fault(step.fault).longest_lease_seconds
    return replace(step, lease_seconds=min(longest, max(SHORTEST_LEASE_SECONDS, step.lease_seconds * scale)))


Step = Inject | Heal | Restart | Put | Invalidate | Configure | MoveTime | Wait


def subject_of(step: Step) -> str:
    """What it is about, in a word or two."""
    match step:
        case Inject():
            return f"{step.fault} {step.target}"
        case Heal():
            return step.fault
        case Restart():
            return step.target
        case Put():
            return step.path
        case Invalidate():
            return " ".join(step.paths)
        case Configure():
            return ", ".join(step.config)
        case MoveTime():
            return format_duration(step.by_seconds)
        case Wait():
            return str(step.due)
    assert_never(step)


def parse_step(action: str, arguments: Section) -> Step | None:
    """The step that an action with these arguments is; problems are reported to the section, and then it may be None."""
    step = STEPS[action](arguments)
    arguments.finish()
    return step


def _due(arguments: Section) -> Due:
    at = duration(arguments, "at", None)
    within = duration(arguments, "within", WITHIN_SECONDS)
    text = text_if_any(arguments, "when")
    condition = None
    if text:
        try:
            condition = parse_condition(text, FIGURES)
        except UsageError as error:
            arguments.report(f"when: {error}", arguments.values["when"])
    return Due(at, condition, WITHIN_SECONDS if within is None else within)


def _inject(arguments: Section) -> Inject | None:
    due, name, target = _due(arguments), arguments.text("fault"), arguments.text("target")
    lease = text_if_any(arguments, "lease")
    given = plain_mapping(arguments, "parameters")
    try:
        fault = find_fault(name)
        seconds = lease_of(fault, parse_duration(lease) if lease else None)
        return Inject(due, name, target, seconds, read_parameters(fault.parameters, given))
    except UsageError as error:
        arguments.report(f"{name}: {error}", arguments.values.get("parameters") or arguments.values.get("fault"))
        return None


def _heal(arguments: Section) -> Heal:
    due, name = _due(arguments), arguments.text("fault", ALL)
    try:
        if name != ALL:
            find_fault(name)
    except UsageError as error:
        arguments.report(f"fault: {error}", arguments.values["fault"])
    return Heal(due, name)


def _restart(arguments: Section) -> Restart:
    return Restart(_due(arguments), arguments.text("target"), duration(arguments, "pause", 0.0) or 0.0)


def _put(arguments: Section) -> Put:
    path = arguments.text("path")
    if path and not path.startswith("/bucket/"):
        arguments.report(f"path must begin with /bucket/NAME/, not {path!r}", arguments.values["path"])
    return Put(
        _due(arguments),
        path,
        words(arguments, "origins"),
        arguments.integer("size_bytes", 1024, 64, MOST_OBJECT_BYTES),
        text_if_any(arguments, "cache_control"),
    )


def _invalidate(arguments: Section) -> Invalidate:
    paths = words(arguments, "paths")
    if not paths:
        arguments.report("paths must be a list of at least one path, as in ['/bucket/*']")
    return Invalidate(
        _due(arguments),
        paths,
        text_if_any(arguments, "distribution"),
        arguments.flag("awaits_receipt", True),
        _receipt_within(arguments),
        arguments.integer("times", 1, 1, MOST_INVALIDATIONS),
    )


def _receipt_within(arguments: Section) -> float:
    seconds = duration(arguments, "receipt_within", RECEIPT_SECONDS)
    if not seconds:
        arguments.report("receipt_within must be more than 0s", arguments.values["receipt_within"])
    return seconds or RECEIPT_SECONDS


def _configure(arguments: Section) -> Configure:
    if not plain_mapping(arguments, "config"):
        arguments.report("config must say what changes, as in {Enabled: false}", arguments.values.get("config"))
    return Configure(
        _due(arguments),
        plain_mapping(arguments, "config"),
        text_if_any(arguments, "distribution"),
        arguments.flag("awaits_deployed", True),
    )


def _move_time(arguments: Section) -> MoveTime:
    due, seconds = _due(arguments), duration(arguments, "by", 0.0) or 0.0
    if seconds < 1:
        arguments.report("by must be at least 1s: how far the clock goes forward", arguments.values.get("by"))
    return MoveTime(due, seconds)


def _wait(arguments: Section) -> Wait:
    return Wait(_due(arguments))


STEPS: Final[Mapping[str, Callable[[Section], Step | None]]] = {
    "inject": _inject,
    "heal": _heal,
    "restart": _restart,
    "put": _put,
    "invalidate": _invalidate,
    "configure": _configure,
    "move_time": _move_time,
    "wait": _wait,
}
