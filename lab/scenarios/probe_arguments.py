"""What probes of a scenario are asked with, checked when the file is read: a condition with a mistake is not found out in the middle of a run. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from lab.checkers.conditions import check_place, parse_condition
from lab.errors import UsageError
from lab.scenarios.figures import FIGURES
from lab.scenarios.values import duration, text_if_any
from lab.topology.sections import Section

Asked = tuple[str, str]
"""A figure, and the place in brackets behind it, or nothing."""


def check_probe(name: str, arguments: Section) -> Asked | None:
    """What it asks for, if that is a figure. Reports what is wrong to the section; `name` is one of PROBES."""
    asked = PROBES[name](arguments)
    arguments.finish()
    return asked


def _figure(arguments: Section) -> Asked | None:
    arguments.choice("name", "", tuple(FIGURES))
    if "name" not in arguments.values:
        arguments.report(f"name is missing in {arguments.what}: one of {', '.join(FIGURES)}")
    name, place = text_if_any(arguments, "name"), text_if_any(arguments, "place")
    try:
        if name in FIGURES:
            check_place(name, place, FIGURES[name])
    except UsageError as error:
        arguments.report(f"place: {error}", arguments.values["place"])
    return (name, place) if name in FIGURES else None


def _holds(arguments: Section) -> Asked | None:
    text = arguments.text("condition")
    duration(arguments, "within", None)
    if not text:
        return None
    try:
        condition = parse_condition(text, FIGURES)
    except UsageError as error:
        arguments.report(f"condition: {error}", arguments.values["condition"])
        return None
    return condition.figure, condition.place


def _lab_is_whole(arguments: Section) -> Asked | None:
    duration(arguments, "within", None)
    return None


PROBES: Final[Mapping[str, Callable[[Section], Asked | None]]] = {
    "figure": _figure,
    "holds": _holds,
    "lab_is_whole": _lab_is_whole,
}
"""By the names of the functions in chaos/probes.py."""
