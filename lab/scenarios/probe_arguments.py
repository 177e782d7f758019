"""What probes of a scenario are asked with, checked when the file is read: a condition with a mistake is not found out in the middle of a run. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from lab.checkers.conditions import check_place, parse_condition
from lab.errors import UsageError
from lab.scenarios.figures import FIGURES
from lab.scenarios.values import duration, text_if_any
from lab.topology.sections import Section


def check_probe(name: str, arguments: Section) -> None:
    """Reports what is wrong to the section; `name` is one of PROBES."""
    PROBES[name](arguments)
    arguments.finish()


def _figure(arguments: Section) -> None:
    arguments.choice("name", "", tuple(FIGURES))
    if "name" not in arguments.values:
        arguments.report(f"name is missing in {arguments.what}: one of {', '.join(FIGURES)}")
    name, place = text_if_any(arguments, "name"), text_if_any(arguments, "place")
    try:
        if name in FIGURES:
            check_place(name, place, FIGURES[name])
    except UsageError as error:
        arguments.report(f"place: {error}", arguments.values["place"])


def _holds(arguments: Section) -> None:
    text = arguments.text("condition")
    duration(arguments, "within", None)
    if not text:
        return
    try:
        parse_condition(text, FIGURES)
    except UsageError as error:
        arguments.report(f"condition: {error}", arguments.values["condition"])


def _lab_is_whole(arguments: Section) -> None:
    duration(arguments, "within", None)


PROBES: Final[Mapping[str, Callable[[Section], None]]] = {
    "figure": _figure,
    "holds": _holds,
    "lab_is_whole": _lab_is_whole,
}
"""By the names of the functions in chaos/probes.py."""
