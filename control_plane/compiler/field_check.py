"""Holds a configuration against the table of fields: what is not honoured is refused by name, and every Quantity counts its Items (reference 1.1)."""

from collections.abc import Iterator
from typing import Any

from control_plane.compiler.fields import Honoured, Only, Refused, Table, WithoutEffect
from control_plane.compiler.problems import Config, Problem, invalid


def field_problems(config: Config, table: Table, root: str) -> Iterator[Problem]:
    """Every member that is not honoured; `root` is what the whole is called in messages."""
    for name, value in config.items():
        yield from _check(value, name, f"{root}.{name}", table)


def quantity_problems(value: Any, path: str) -> Iterator[Problem]:
    """Every structure whose Quantity is not the number of its Items."""
    if isinstance(value, dict):
        count = len(value.get("Items") or ())
        if value.get("Quantity", count) != count:
            yield Problem("InconsistentQuantities", f"{path}.Quantity is {value['Quantity']}, Items are {count}")
        for name, member in value.items():
            yield from quantity_problems(member, f"{path}.{name}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from quantity_problems(item, f"{path}[{position}]")


def _check(value: Any, pattern: str, path: str, table: Table) -> Iterator[Problem]:
    match table.get(pattern):
        case Honoured() | WithoutEffect():
            return
        case Only(values, reason):
            if value not in values:
                yield invalid(path, f"is not supported yet with the value {_show(value)}: {reason}")
        case Refused(reason):
            if not _is_empty(value):
                yield invalid(path, f"is not supported yet: {reason}")
        case None:
            yield from _check_below(value, pattern, path, table)


def _check_below(value: Any, pattern: str, path: str, table: Table) -> Iterator[Problem]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _check(member, f"{pattern}.{name}", f"{path}.{name}", table)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _check(item, f"{pattern}[]", f"{path}[{position}]", table)
    elif value is not None:
        yield invalid(path, "is not supported")


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _show(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:64]
