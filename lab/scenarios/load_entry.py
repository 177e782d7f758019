"""One load of a scenario: which viewers, what they do, how many, from when on. A value that checks itself; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtests.bounded_fields import bounded, field_problems, number_problem, unknown_keys
from loadtests.catalogue import PROFILES, read_options, refuse_rate
from loadtests.intensity import LOAD_NAME, MOST_REQUESTS_A_SECOND, arrivals_problems
from loadtests.profile_options import OptionsError
from loadtests.schedule import CONSTANT
from loadtests.stages import MOST_SECONDS, MOST_USERS, Stage, StageError, read_stages, stage_problems

_NEEDED = ("name", "profile")


class LoadEntryError(ValueError):
    """The entry cannot be used; the message names it and every problem, `problems` only these."""

    def __init__(self, name: object, problems: Sequence[str]) -> None:
        self.problems = "; ".join(filter(None, problems))
        super().__init__(f"load {name}: {self.problems}")


@dataclass(frozen=True, slots=True)
class LoadEntry:
    """Several of one run are told apart by their names."""

    name: str
    profile: str
    regions: tuple[str, ...] = ()
    """Empty: all populations of the lab."""
    users: int | None = None
    """At once, over these regions; None: as many as the topology says, or the stages."""
    rate: float | None = None
    """Requests a second of all of them together; None: each user pauses as its profile has it."""
    arrivals: str = CONSTANT
    """Of a rate: at even times, or at random ones (loadtests/schedule.py)."""
    stages: tuple[Stage, ...] = ()
    """In seconds from the beginning of this load."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the profile (docs/load.md)."""
    begins_seconds: float = bounded(0.0, 0.0, MOST_SECONDS)
    """After the beginning of the run."""
    lasts_seconds: float = bounded(30.0, 1.0, MOST_SECONDS)

    def __post_init__(self) -> None:
        problems = [*field_problems(self), *self._problems_of_name_and_profile(), *self._problems_of_amount()]
        if any(problems):
            raise LoadEntryError(self.name, problems)

    def _problems_of_name_and_profile(self) -> Iterator[str]:
        if isinstance(self.name, str) and not LOAD_NAME.fullmatch(self.name):
            yield f"name must be of small letters, digits, '-', '_' and '.', at most 63, not {self.name!r}"
        if self.profile not in PROFILES:
            yield f"no profile {self.profile!r}: there are {', '.join(PROFILES)}"
            return
        try:
            refuse_rate(self.profile, self.rate)
            read_options(self.profile, self.options)
        except OptionsError as error:
            yield str(error)

    def _problems_of_amount(self) -> Iterator[str]:
        if len(set(self.regions)) < len(self.regions):
            yield "a region is named twice"
        if self.users is not None:
            yield number_problem("users", self.users, int, 1, MOST_USERS)
        if self.rate is not None:
            yield number_problem("rate", self.rate, float, 0.001, MOST_REQUESTS_A_SECOND)
        yield from arrivals_problems(self.arrivals, self.rate)
        if self.stages and self.users is not None:
            yield "users and stages exclude each other: stages say how many there are"
        yield from stage_problems(self.stages)
        if self.stages and self.stages[-1].at_seconds >= self.lasts_seconds:
            yield f"the last stage begins at {self.stages[-1].at_seconds:g} s, when the load of {self.lasts_seconds:g} s is over"

    @property
    def ends_seconds(self) -> float:
        """After the beginning of the run."""
        return self.begins_seconds + self.lasts_seconds


def read_load_entry(document: Mapping[str, Any]) -> LoadEntry:
    """From what YAML or JSON has: the names of the fields, regions a list, stages a list of objects. LoadEntryError with all problems."""
    problems = [unknown_keys(document, LoadEntry), *(f"{key} is missing" for key in _NEEDED if not document.get(key))]
    regions = document.get("regions") or ()
    stages: tuple[Stage, ...] = ()
    if not isinstance(regions, list | tuple) or not all(isinstance(each, str) for each in regions):
        problems.append(f"regions must be a list of names, not {regions!r}")
    try:
        stages = read_stages(document.get("stages") or ())
    except StageError as error:
        problems.append(f"stages: {error}")
    if any(problems):
        raise LoadEntryError(document.get("name") or "without a name", problems)
    return LoadEntry(**{**document, "regions": tuple(regions), "stages": stages})
