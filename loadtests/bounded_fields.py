"""Fields of a frozen dataclass with bounds, and what is wrong with the values that one was given. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from typing import Any


def bounded(default: float, low: float, high: float) -> Any:
    """A field of a dataclass whose value is a number from `low` to `high`, both included."""
    return field(default=default, metadata={"bounds": (low, high)})


def number_problem(name: str, value: object, kind: type, low: float, high: float) -> str:
    """What is wrong with a number, or nothing. `kind` is int or float; true and false are neither."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int and not isinstance(value, int):
        is_number = False
    if is_number and low <= value <= high:  # type: ignore[operator]  # is_number has said that it is one
        return ""
    return f"{name} must be a {'whole number' if kind is int else 'number'} from {low:g} to {high:g}, not {value!r}"


def field_problems(value: Any) -> Iterator[str]:
    """Of each field of a dataclass that is `bounded` or a text."""
    for each in fields(value):
        own = getattr(value, each.name)
        if "bounds" in each.metadata:
            problem = number_problem(
                each.name, own, int if each.type in (int, "int") else float, *each.metadata["bounds"]
            )
            if problem:
                yield problem
        elif each.type in (str, "str") and not isinstance(own, str):
            yield f"{each.name} must be a text, not {own!r}"


def unknown_keys(document: Mapping[str, Any], known: Any) -> str:
    """Those that no field of this dataclass has, as one problem; empty: none."""
    names = [each.name for each in fields(known)]
    unknown = sorted(str(key) for key in document if key not in names)
    if not unknown:
        return ""
    return f"unknown: {', '.join(unknown)} (there are {', '.join(names) or 'none'})"
