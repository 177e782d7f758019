"""What a load plan says of how much and what: stages, a rate, a seed, a name, and the options of a profile. Pure.

Read from JSON with all problems at once; which profile takes what is catalogue.py's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.bounded_fields import number_problem
from loadtests.schedule import ARRIVALS, CONSTANT
from loadtests.stages import MOST_SECONDS, MOST_USERS, Stage, StageError, peak_users, read_stages

DEFAULT_NAME = "load"
MOST_REQUESTS_A_SECOND = 1_000_000.0
LOAD_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Intensity:
    """The part of a load plan that says what viewers do, and how many; the other part says where."""

    name: str = DEFAULT_NAME
    """Tells the load generators of one run apart: part of the ids of viewers and of their requests."""
    seed: int | None = None
    """From which every random choice of viewers derives; None: it is not said."""
    users: int | None = None
    """Locust's number of users, which a rate is divided by; None: those of the populations. With stages it is the most that they have."""
    stages: tuple[Stage, ...] = ()
    duration_seconds: float | None = None
    """When the run ends; only with stages. Otherwise Locust's own --run-time says."""
    rate: float | None = None
    """Requests a second of all users together, when the most users are there; None: each user pauses as its profile has it."""
    arrivals: str = CONSTANT
    """Of a rate: one of ARRIVALS (schedule.py)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the profile, as they were given."""

    def to_json(self) -> dict[str, Any]:
        """Only what is not as it is by itself."""
        document: dict[str, Any] = {
            "name": self.name if self.name != DEFAULT_NAME else None,
            "seed": self.seed,
            "users": self.users,
            "stages": [each.to_json() for each in self.stages] or None,
            "duration_seconds": self.duration_seconds,
            "rate": self.rate,
            "arrivals": self.arrivals if self.arrivals != CONSTANT else None,
            "options": dict(self.options) or None,
        }
        return {name: value for name, value in document.items() if value is not None}


def read_intensity(document: Mapping[str, Any]) -> tuple[Intensity, list[str]]:
    """From the load plan, and what is wrong with it. With problems the value is not to be used."""
    problems: list[str] = []
    stages: tuple[Stage, ...] = ()
    try:
        stages = read_stages(document.get("stages") or ())
    except StageError as error:
        problems.append(f"stages: {error}")
    given = {name: document.get(name) for name in ("seed", "users", "duration_seconds", "rate")}
    problems.extend(_number_problems(given))
    problems.extend(_problems_together(given, bool(document.get("stages"))))
    arrivals = document.get("arrivals") or CONSTANT
    problems.extend(arrivals_problems(arrivals, given["rate"]))
    name, options = document.get("name", DEFAULT_NAME), document.get("options", {})
    if not isinstance(name, str) or not LOAD_NAME.fullmatch(name):
        problems.append(f"name must be of small letters, digits, '-', '_' and '.', at most 63, not {name!r}")
    if not isinstance(options, Mapping):
        problems.append(f"options must be an object, not {options!r}")
    if problems:
        return Intensity(), problems
    if stages:
        given["users"] = peak_users(stages)
    return Intensity(name=name, stages=stages, options=dict(options), arrivals=arrivals, **given), []


def arrivals_problems(arrivals: object, rate: object) -> list[str]:
    """What is wrong with how requests of a rate are meant to arrive."""
    if arrivals not in ARRIVALS:
        return [f"arrivals must be one of {', '.join(ARRIVALS)}, not {arrivals!r}"]
    if arrivals != CONSTANT and rate is None:
        return [f"arrivals: {arrivals} is for a rate: without one each user pauses as its profile has it"]
    return []


def _number_problems(given: Mapping[str, Any]) -> list[str]:
    bounds = {
        "seed": (int, -(2**63), 2**63 - 1),
        "users": (int, 1, MOST_USERS),
        "duration_seconds": (float, 1, MOST_SECONDS),
        "rate": (float, 0.001, MOST_REQUESTS_A_SECOND),
    }
    found = (number_problem(name, given[name], *of) for name, of in bounds.items() if given[name] is not None)
    return [problem for problem in found if problem]


def _problems_together(given: Mapping[str, Any], has_stages: bool) -> list[str]:
    problems = []
    if has_stages and given["duration_seconds"] is None:
        problems.append("stages need duration_seconds: when the run ends")
    if given["duration_seconds"] is not None and not has_stages:
        problems.append("duration_seconds is for stages: without them Locust's --run-time says when the run ends")
    return problems
