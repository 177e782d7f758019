"""Faults that a program has been told to suffer, each until its lease is over: what may be asked for, what is in force, and until when. Pure.

One table a program, and only where it was started with `--allow-faults`; a program without the flag has no table at all. Which kinds there are, and what each may be
told, a program says in one literal tuple of `FaultKind`. A fault ends with its process, or by its lease, whichever comes first: nothing of it is written anywhere.
`now` is in seconds of the host's steady clock (`host_clock.py`). What a fault does belongs to the program; the HTTP half is `fault_port.py`.
"""

import ipaddress
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from proto.moments import NANOSECONDS_PER_SECOND

Value = str | float | int
Values = Mapping[str, Value]

MOST_AT_ONCE = 16
LONGEST_LEASE_SECONDS = 3600.0
MOST_TEXT_CHARACTERS = 500

_MEMBERS = ("kind", "parameters", "lease_seconds")


class ValueKind(StrEnum):
    """How a parameter is written in JSON."""

    NUMBER = "number"
    INTEGER = "integer"
    TEXT = "text"
    ADDRESS = "address"
    """Of IPv4 or IPv6, as text."""


@dataclass(frozen=True, slots=True)
class FaultParameter:
    """One thing that a fault may be told. Bounds are of numbers; a default of None means that it has to be given."""

    name: str
    kind: ValueKind
    least: float = 0.0
    most: float = math.inf
    default: Value | None = None

    def problem_with(self, value: object) -> str | None:
        """Why it cannot be this."""
        match self.kind:
            case ValueKind.NUMBER | ValueKind.INTEGER:
                is_whole = self.kind is ValueKind.INTEGER
                kinds = (int,) if is_whole else (int, float)
                if isinstance(value, kinds) and not isinstance(value, bool) and self.least <= value <= self.most:
                    return None
                what = "a whole number" if is_whole else "a number"
                return f"{self.name} must be {what} from {self.least:g} to {self.most:g}"
            case ValueKind.TEXT:
                if isinstance(value, str) and 0 < len(value) <= MOST_TEXT_CHARACTERS and value.isprintable():
                    return None
                return f"{self.name} must be a printable text of 1 to {MOST_TEXT_CHARACTERS} characters"
            case ValueKind.ADDRESS:
                return None if _is_address(value) else f"{self.name} must be an address of IPv4 or IPv6, as text"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A row of a program's table."""

    name: str
    parameters: tuple[FaultParameter, ...] = ()


def _always() -> float:
    """Of a fault that no program has taken."""
    return 0.0


@dataclass(slots=True)
class InjectedFault:
    """One that is in force."""

    id: str
    kind: str
    parameters: Values
    lease_seconds: float
    ends_at: float
    times: int = 0
    """How often it has done something."""
    seed: int = 0
    """Of its dice, for who throws them elsewhere."""
    dice: Callable[[], float] = _always
    """A number from 0 to 1, drawn anew each time: it does something when that is below its probability."""

    def to_json(self, now: float) -> dict[str, object]:
        """As `GET /faults` lists it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "lease_seconds": self.lease_seconds,
            "lease_remaining_seconds": round(max(0.0, self.ends_at - now), 3),
            "ends_monotonic_ns": round(self.ends_at * NANOSECONDS_PER_SECOND),
            "times": self.times,
        }


class UnusableFaultError(ValueError):
    """The document asks for nothing that this program can do; the text has everything that is wrong with it."""


class FaultCollisionError(Exception):
    """Not now: another one is in force, or too many are."""


class InjectedFaults:
    """The table of one program: at most one fault of a kind at a time."""

    def __init__(self, kinds: Iterable[FaultKind]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._in_force: dict[str, InjectedFault] = {}

    def inject(self, document: object, identifier: str, now: float) -> InjectedFault:
        """Put the fault of a JSON document in force, `{"kind", "parameters", "lease_seconds"}`. UnusableFaultError, FaultCollisionError."""
        kind, parameters, lease_seconds = self._read(document)
        self.ended(now)
        known = self._in_force.get(kind)
        if known is not None:
            raise FaultCollisionError(f"{kind} is in force already, as {known.id}")
        if len(self._in_force) >= MOST_AT_ONCE:
            raise FaultCollisionError(f"{MOST_AT_ONCE} faults at once are the most")
        fault = InjectedFault(identifier, kind, parameters, lease_seconds, now + lease_seconds)
        self._in_force[kind] = fault
        return fault

    def end(self, identifier: str, now: float) -> InjectedFault | None:
        """End one before its lease does; None when it is not in force."""
        self.ended(now)
        return next((self._in_force.pop(f.kind) for f in tuple(self._in_force.values()) if f.id == identifier), None)

    def ended(self, now: float) -> list[InjectedFault]:
        """Those whose lease has ended since this was asked last; they are not listed any more."""
        over = [fault for fault in self._in_force.values() if now >= fault.ends_at]
        for fault in over:
            del self._in_force[fault.kind]
        return over

    @property
    def is_empty(self) -> bool:
        """So that nobody needs to ask for the time."""
        return not self._in_force

    def in_force(self, kind: str, now: float) -> InjectedFault | None:
        """The fault of this kind, if there is one and its lease goes on."""
        fault = self._in_force.get(kind)
        return fault if fault is not None and now < fault.ends_at else None

    def all_in_force(self, now: float) -> list[InjectedFault]:
        """Oldest first."""
        return [fault for fault in self._in_force.values() if now < fault.ends_at]

    def _read(self, document: object) -> tuple[str, Values, float]:
        if not isinstance(document, dict):
            raise UnusableFaultError("a fault is a JSON object with kind, parameters and lease_seconds")
        problems = [f"unknown member {name!r}" for name in sorted(map(str, document)) if name not in _MEMBERS]
        lease_seconds = document.get("lease_seconds")
        lease = FaultParameter("lease_seconds", ValueKind.NUMBER, 0.001, LONGEST_LEASE_SECONDS)
        problems += filter(None, [lease.problem_with(lease_seconds)])
        kind = self._kinds.get(str(document.get("kind")))
        given = document.get("parameters", {})
        values: dict[str, Value] = {}
        if kind is None:
            problems.append(f"kind must be one of {', '.join(self._kinds) or 'none: this program knows no faults'}")
        elif not isinstance(given, dict):
            problems.append("parameters must be an object")
        else:
            problems += _read_parameters(kind, given, values)
        if problems or kind is None or not isinstance(lease_seconds, int | float):
            raise UnusableFaultError("; ".join(problems))
        return kind.name, values, float(lease_seconds)


def _read_parameters(kind: FaultKind, given: Mapping[object, object], values: dict[str, Value]) -> Iterator[str]:
    """Fills in what is right, yields what is wrong."""
    names = [each.name for each in kind.parameters]
    for name in given:
        if name not in names:
            yield f"{kind.name} has no parameter {name!r}: there are {', '.join(names) or 'none'}"
    for each in kind.parameters:
        value = given.get(each.name, each.default)
        problem = f"{each.name} has to be given" if value is None else each.problem_with(value)
        if problem is not None:
            yield problem
        elif isinstance(value, str | float | int):
            values[each.name] = value


def _is_address(value: object) -> bool:
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True
