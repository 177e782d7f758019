"""Parameters of checkers as scenarios give them: what there is, and what may not be given. Problems are values, all of them at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lab.durations import parse_duration
from lab.errors import UsageError

Value = bool | int | float | str | tuple[str, ...] | None


class Kind(StrEnum):
    """What a value is."""

    SHARE = "a share from 0 to 1"
    SECONDS = "a duration: seconds, or a text such as 500ms or 1m30s"
    MILLISECONDS = "milliseconds"
    COUNT = "a whole number from 0"
    FLAG = "true or false"
    NAMES = 'a list of names, one name, or "*" for all'
    CHOICE = "one of some words"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that a checker takes."""

    name: str
    kind: Kind
    default: Value
    """None: it is not judged."""
    does: str
    words: tuple[str, ...] = ()
    """Of a choice."""


def share(name: str, default: float | None, does: str) -> Parameter:
    """A number from 0 to 1."""
    return Parameter(name, Kind.SHARE, default, does)


def duration(name: str, default: float | None, does: str) -> Parameter:
    """In seconds."""
    return Parameter(name, Kind.SECONDS, default, does)


def count(name: str, default: int, does: str) -> Parameter:
    """A whole number."""
    return Parameter(name, Kind.COUNT, default, does)


def flag(name: str, does: str) -> Parameter:
    """False unless it is given."""
    return Parameter(name, Kind.FLAG, False, does)


def choice(name: str, words: tuple[str, ...], does: str) -> Parameter:
    """The first word unless it is given."""
    return Parameter(name, Kind.CHOICE, words[0], does, words)


def values_of(
    parameters: tuple[Parameter, ...], given: Mapping[object, object], defaults: Mapping[str, Value]
) -> tuple[dict[str, Value], list[str]]:
    """The value of each parameter, and what is wrong with what was given. `defaults` are those of this lab, in place of the table's."""
    known = {each.name: each for each in parameters}
    names = ", ".join(known) or "it takes none"
    problems = [f"no parameter {name!r}: {names}" for name in given if name not in known]
    values: dict[str, Value] = {}
    for each in parameters:
        values[each.name] = defaults.get(each.name, each.default)
        if each.name in given and not (given[each.name] is None and each.default is None):
            try:
                values[each.name] = _value(each, given[each.name])
            except (ValueError, UsageError):
                wanted = ", ".join(each.words) if each.kind is Kind.CHOICE else each.kind.value
                problems.append(f"{each.name}: {given[each.name]!r} is not {wanted}")
    return values, problems


def _value(parameter: Parameter, given: object) -> Value:
    """ValueError or UsageError for what is none."""
    match parameter.kind, given:
        case Kind.FLAG, bool():
            return given
        case Kind.NAMES, str() if given:
            return given if given == "*" else (given,)
        case Kind.NAMES, list() if given and all(isinstance(each, str) and each for each in given):
            return tuple(given)
        case Kind.CHOICE, str() if given in parameter.words:
            return given
        case Kind.SECONDS, str():
            return parse_duration(given)
        case _, bool() | str():
            raise ValueError(given)
        case Kind.COUNT, int() if given >= 0:
            return given
        case Kind.SHARE, int() | float() if 0 <= given <= 1:
            return float(given)
        case ((Kind.SECONDS | Kind.MILLISECONDS), int() | float()) if 0 <= given < float("inf"):
            return float(given)
    raise ValueError(given)
