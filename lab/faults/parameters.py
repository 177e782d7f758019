"""How long, how much, how many: what a fault may be told, with unit and bounds, and how people and JSON write it. Pure."""

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lab.durations import format_duration, parse_duration
from lab.errors import UsageError

Value = str | float | int
"""A duration is in seconds."""

_MOST_CHARACTERS = 2000
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
"""A token (RFC 9110, 5.1); `*` is one too."""
_MOST_TEXT_CHARACTERS = 500
"""As programs have it (proto/injected_faults.py)."""


class Kind(StrEnum):
    """How a parameter is written."""

    DURATION = "duration"
    CHOICE = "choice"
    """One of some words."""
    NAMES = "names"
    """Of places and nodes, with commas."""
    INTEGER = "integer"
    NUMBER = "number"
    PATH = "path"
    TEXT = "text"
    ADDRESS = "address"
    FIELD_NAMES = "field_names"


NO_FIELD_NAMES = "none"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of a fault; None as its default means that it has to be given. Bounds are of numbers and durations (seconds)."""

    name: str
    kind: Kind
    unit: str
    does: str
    least: float = 0.0
    most: float = math.inf
    default: Value | None = None
    words: tuple[str, ...] = ()
    """Of a choice."""

    def to_json(self) -> dict[str, object]:
        is_number = self.kind in (Kind.DURATION, Kind.INTEGER, Kind.NUMBER)
        bounds: dict[str, object] = {"least": self.least, "most": self.most} if is_number else {}
        if self.kind is Kind.CHOICE:
            bounds = {"words": list(self.words)}
        named = {"name": self.name, "kind": self.kind.value, "unit": self.unit, "does": self.does}
        return {**named, **bounds, "default": self.default}

    def read(self, given: object) -> Value:
        """UsageError for what is none, or out of bounds."""
        value = self._value(given)
        if isinstance(value, str) or self.least <= value <= self.most:
            return value
        raise UsageError(f"{self.name} must be from {self.show(self.least)} to {self.show(self.most)}")

    def show(self, value: Value) -> str:
        """As people read it."""
        match self.kind:
            case Kind.DURATION:
                return "-" * (float(value) < 0) + format_duration(abs(float(value)))
            case Kind.INTEGER | Kind.NUMBER:
                return f"{float(value):.15g}"
            case Kind.PATH | Kind.TEXT | Kind.ADDRESS | Kind.FIELD_NAMES | Kind.CHOICE | Kind.NAMES:
                return str(value)

    def _value(self, given: object) -> Value:
        match self.kind:
            case Kind.DURATION:
                return _number(self.name, given, "a duration") if _is_number(given) else _either_way(str(given))
            case Kind.INTEGER:
                value = _number(self.name, given, "a whole number")
                if value != int(value):
                    raise UsageError(f"{self.name} must be a whole number, not {given!r}")
                return int(value)
            case Kind.NUMBER:
                return _number(self.name, given, "a number")
            case Kind.PATH:
                return _path(self.name, given)
            case Kind.TEXT:
                return _text(self.name, given)
            case Kind.ADDRESS:
                return _address(self.name, given)
            case Kind.FIELD_NAMES:
                return _field_names(self.name, given)
            case Kind.CHOICE:
                return _choice(self.name, given, self.words)
            case Kind.NAMES:
                return _names(self.name, given)


def read_parameters(parameters: tuple[Parameter, ...], given: Mapping[str, object]) -> dict[str, Value]:
    """All of a fault's parameters, with defaults for those that are not given. UsageError with everything that is wrong."""
    names = [each.name for each in parameters]
    problems = [f"no parameter {name!r}: there are {', '.join(names) or 'none'}" for name in given if name not in names]
    values: dict[str, Value] = {}
    for each in parameters:
        if each.name in given:
            try:
                values[each.name] = each.read(given[each.name])
            except UsageError as error:
                problems.append(str(error))
        elif each.default is None:
            problems.append(f"{each.name} has to be given: {each.does}")
        else:
            values[each.name] = each.default
    if problems:
        raise UsageError("; ".join(problems))
    return values


def _either_way(text: str) -> float:
    """One that may be negative; whether this one may, its bounds say."""
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _number(name: str, given: object, what: str) -> float:
    try:
        value = float(given) if isinstance(given, int | float | str) and not isinstance(given, bool) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name} must be {what}, not {str(given)[:40]!r}")
    return value


def _path(name: str, given: object) -> str:
    text = str(given)
    if not text.startswith("/") or len(text) > _MOST_CHARACTERS or not text.isascii() or not text.isprintable():
        raise UsageError(f"{name} must begin with / and be at most {_MOST_CHARACTERS} printable ASCII characters")
    return text


def _text(name: str, given: object) -> str:
    text = str(given)
    if not text or len(text) > _MOST_TEXT_CHARACTERS or not text.isprintable():
        raise UsageError(f"{name} must be a printable text of 1 to {_MOST_TEXT_CHARACTERS} characters")
    return text


def _address(name: str, given: object) -> str:
    try:
        return str(ipaddress.ip_address(str(given)))
    except ValueError as error:
        raise UsageError(f"{name} must be an address of IPv4 or IPv6, not {str(given)[:40]!r}") from error


def _field_names(name: str, given: object) -> str:
    """`none`, or names as in a Vary field (RFC 9110, 12.5.5)."""
    names = [each.strip() for each in str(given).split(",")]
    if len(str(given)) > _MOST_CHARACTERS or not all(map(_FIELD_NAME.fullmatch, names)):
        raise UsageError(
            f"{name} must be {NO_FIELD_NAMES}, * or names of header fields with commas, not {str(given)[:40]!r}"
        )
    return ", ".join(names)


def _choice(name: str, given: object, words: tuple[str, ...]) -> str:
    if given not in words:
        raise UsageError(f"{name} is one of {', '.join(words)}, not {str(given)[:40]!r}")
    return str(given)


def _names(name: str, given: object) -> str:
    names = [each.strip() for each in str(given).split(",")]
    if not all(names) or len(str(given)) > _MOST_CHARACTERS:
        raise UsageError(f"{name} must be names with commas between them, {_MOST_CHARACTERS} characters at most")
    return ",".join(names)
