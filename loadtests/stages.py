"""How many users there are when: stages of a load, each a step or a linear ramp. Pure.

A stage holds until the next one. With `ramp` the number of users has left that of the stage before at once and goes in
a straight line, so that it is the stage's own at the stage's time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from loadtests.bounded_fields import bounded, field_problems, unknown_keys

MOST_USERS = 100_000
MOST_SECONDS = 86_400.0
MOST_STAGES = 1_000


class StageError(ValueError):
    """The stages cannot be used; the message names every problem."""


@dataclass(frozen=True, slots=True)
class Stage:
    """From this second of the run on there are so many users."""

    at_seconds: float = bounded(0.0, 0.0, MOST_SECONDS)
    users: int = bounded(0, 0, MOST_USERS)
    ramp: bool = False

    def __post_init__(self) -> None:
        problems = list(field_problems(self))
        if self.ramp not in (True, False):
            problems.append(f"ramp must be true or false, not {self.ramp!r}")
        if problems:
            raise StageError("; ".join(problems))

    def to_json(self) -> dict[str, Any]:
        return {"at_seconds": self.at_seconds, "users": self.users, **({"ramp": True} if self.ramp else {})}


def read_stages(value: object) -> tuple[Stage, ...]:
    """From what JSON or YAML has. StageError with all problems."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise StageError(f"stages must be a list, not {value!r}")
    if len(value) > MOST_STAGES:
        raise StageError(f"{len(value):,} stages are too many: at most {MOST_STAGES:,}")
    stages: list[Stage] = []
    problems: list[str] = []
    for number, entry in enumerate(value, 1):
        try:
            stages.append(_stage(entry))
        except StageError as error:
            problems.append(f"stage {number}: {error}")
    problems.extend(stage_problems(stages) if not problems else ())
    if problems:
        raise StageError("; ".join(problems))
    return tuple(stages)


def _stage(entry: object) -> Stage:
    if isinstance(entry, Stage):
        return entry
    if not isinstance(entry, Mapping):
        raise StageError(f"must be an object with at_seconds and users, not {entry!r}")
    problems = [
        unknown_keys(entry, Stage),
        *(f"{name} is missing" for name in ("at_seconds", "users") if name not in entry),
    ]
    if any(problems):
        raise StageError("; ".join(filter(None, problems)))
    return Stage(**entry)


def stage_problems(stages: Sequence[Stage]) -> Iterator[str]:
    """Of stages that are right by themselves, what is wrong with them together."""
    if not stages:
        return
    if stages[0].at_seconds != 0:
        yield f"the first stage must be at_seconds 0, not {stages[0].at_seconds:g}"
    if stages[0].ramp:
        yield "the first stage has nothing to ramp from: leave out its ramp"
    for before, after in pairwise(stages):
        if after.at_seconds <= before.at_seconds:
            yield f"stages must be in order of time: {after.at_seconds:g} comes after {before.at_seconds:g}"
    if peak_users(stages) == 0:
        yield "no stage has a user"


def users_at(stages: Sequence[Stage], seconds: float) -> int:
    """At this second of the run. `stages` are as `read_stages` returns them, and not empty."""
    for before, after in pairwise(stages):
        if seconds < after.at_seconds:
            if not after.ramp:
                return before.users
            share = (seconds - before.at_seconds) / (after.at_seconds - before.at_seconds)
            return round(before.users + share * (after.users - before.users))
    return stages[-1].users


def crowd(users: int, seconds: float) -> tuple[Stage, ...]:
    """The stages of a flash crowd in a run of so many seconds: a tenth of it, all within a second or so, and the tenth again."""
    few = max(1, users // 10)
    arrives, gone = round(seconds * 0.25, 3), round(seconds * 0.75, 3)
    return (Stage(0, few), Stage(arrives, users), Stage(gone, few))


def peak_users(stages: Sequence[Stage]) -> int:
    """The most that there are at any time."""
    return max((each.users for each in stages), default=0)
