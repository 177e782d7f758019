"""Probes of Chaos Toolkit: figures of the run, whose values its tolerances are for."""

from collections.abc import Mapping
from typing import Any

from lab.checkers.conditions import parse_condition
from lab.durations import parse_duration
from lab.experiments.chaos.running import run_of
from lab.scenarios.figures import FIGURES
from lab.scenarios.steps import WITHIN_SECONDS, Due

__all__ = ("figure", "holds", "lab_is_whole")


def figure(name: str, place: str = "", configuration: Mapping[str, Any] | None = None) -> float | None:
    """A figure of figures.py, of the last seconds; None when there is none yet."""
    return run_of(configuration).value(name, place)


def holds(condition: str, within: str | float = WITHIN_SECONDS, configuration: Mapping[str, Any] | None = None) -> bool:
    """Whether a condition holds, now or within some time."""
    parsed = parse_condition(condition, FIGURES)
    seconds = parse_duration(within) if isinstance(within, str) else float(within)
    return run_of(configuration).wait_until_due(Due(None, parsed, seconds))


def lab_is_whole(within: str | float = 0.0, configuration: Mapping[str, Any] | None = None) -> bool:
    """Whether every node is live, now or within some time."""
    seconds = parse_duration(within) if isinstance(within, str) else float(within)
    return run_of(configuration).is_whole(seconds)
