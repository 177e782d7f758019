"""Conditions of a scenario in one line: `hit_ratio >= 0.8`, `error_ratio(eu-central-1) < 1 %`, `live_nodes == 13`. Pure.

A figure, perhaps of one place (a region, a node), a comparison and a number with a unit. Steps wait for them, stop rules end a run by them and gates judge a run by
them: which figures there are is figures.py's (while a run goes on) and checkers/gates.py's (afterwards).
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from lab.errors import UsageError

_CONDITION: Final = re.compile(
    r"(?P<figure>[a-z][a-z0-9_]*)(?:\((?P<place>[A-Za-z0-9_.-]+)\))?\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<number>-?\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s|KiB|MiB)?",
    re.ASCII,
)
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_UNITS: Final = {"": 1.0, "%": 0.01, "ms": 0.001, "s": 1.0, "KiB": 1024.0, "MiB": 1024.0**2}
"""Figures are in seconds, bytes and shares of 1."""


class Measure(StrEnum):
    """What a figure's number is. A bound in another one holds always, or never, and is a mistake."""

    COUNT = "a number without a unit"
    SHARE = "a share: from 0 to 1, or with %, as in 5 %"
    TIME = "a duration with its unit: ms or s"
    BYTES = "bytes: without a unit, or with KiB or MiB"


_UNITS_OF: Final[Mapping[Measure, tuple[str, ...]]] = {
    Measure.COUNT: ("",),
    Measure.SHARE: ("", "%"),
    Measure.TIME: ("ms", "s"),
    Measure.BYTES: ("", "KiB", "MiB"),
}


class Measured(Protocol):
    """What figures have in common."""

    @property
    def measure(self) -> Measure:
        """Of its number."""

    @property
    def place(self) -> str:
        """What may stand in brackets; empty: nothing may."""

    @property
    def places(self) -> tuple[str, ...]:
        """All that may stand there, where that is known without a lab."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a figure is as it should be."""

    figure: str
    place: str
    sign: str
    bound: float
    text: str

    def holds(self, value: float) -> bool:
        """For a figure of this value."""
        return _SIGNS[self.sign](value, self.bound)

    def __str__(self) -> str:
        return self.text


def parse_condition(text: str, figures: Mapping[str, Measured]) -> Condition:
    """UsageError for what is no condition, about a figure that is not among `figures`, or with a place or a unit that this one does not have."""
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no condition: write FIGURE >= NUMBER or FIGURE(PLACE) < NUMBER UNIT, as in `hit_ratio >= 80 %`, `p99(eu-central-1) <= 400 ms`"
        )
    if match["figure"] not in figures:
        raise UsageError(f"no figure {match['figure']!r}: there are {', '.join(figures)}")
    bound = float(match["number"]) * _UNITS[match["unit"] or ""]
    _check(match["figure"], match["place"] or "", match["unit"] or "", bound, figures[match["figure"]])
    return Condition(match["figure"], match["place"] or "", match["sign"], bound, " ".join(text.split()))


def check_place(name: str, place: str, figure: Measured) -> None:
    """UsageError for a place that a figure does not have."""
    if place and not figure.place:
        raise UsageError(f"{name} has no place: write it without ({place})")
    if place and figure.places and place not in figure.places:
        raise UsageError(f"{name} is of the {figure.place} {' or '.join(figure.places)}, not {place!r}")


def _check(name: str, place: str, unit: str, bound: float, figure: Measured) -> None:
    check_place(name, place, figure)
    is_share = figure.measure is Measure.SHARE
    if unit not in _UNITS_OF[figure.measure] or (is_share and not 0 <= bound <= 1):
        raise UsageError(f"{name} is {figure.measure.value}")
