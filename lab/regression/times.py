"""Which times are compared, and when one of them is a regression: the rule, and what it can see. Pure.

The unit is a session: both labs started anew, and asked in turns. What differs within a session by chance is averaged over its turns; what differs between two starts of
one build (where its memory lies, how its hashes fall) is only averaged over sessions, so the test counts sessions, not turns.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from lab.regression.signed_ranks import Interval, estimate, interval, is_large, p_greater, p_less

FALSE_ALARMS: Final = 0.01
"""Over all figures together, when nothing differs."""
CONFIDENCE: Final = 0.99
SEEN: Final = 0.95
"""What the power is told for."""
CHANGES: Final = tuple(0.0025 * 1.15**step for step in range(44))
"""Those of which it is told whether they would have been found: from 0.25 % to double."""
_TRIALS: Final = 200


class Change(StrEnum):
    """Of the second subject against the first."""

    WORSE = "worse"
    BETTER = "better"
    EQUAL = "equal"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TimeFigure:
    """One that is measured in each turn. All are times: more is worse."""

    name: str
    says: str
    minimum: float
    """The smallest relative change that counts."""
    must_be_resolved: bool = False
    """Whether it is unknown, and not equal, when it could not have seen a change of the size that was asked for."""


TIME_FIGURES: Final = (
    TimeFigure("hit.processor", "processor time of the edge for a hit", 0.01, must_be_resolved=True),
    TimeFigure(
        "miss.processor", "processor time of all nodes for a miss through both tiers", 0.01, must_be_resolved=True
    ),
    TimeFigure("hit.median", "median latency of hits", 0.015),
    TimeFigure("miss.median", "median latency of misses", 0.015),
    TimeFigure("hit.mean", "time for a hit while four viewers ask at once: the inverse of throughput", 0.03),
    TimeFigure("miss.mean", "the same of misses", 0.03),
    TimeFigure("hit.p99", "99th percentile of the latency of hits", 0.1),
    TimeFigure("miss.p99", "99th percentile of the latency of misses", 0.1),
)
LEVEL: Final = FALSE_ALARMS / len(TIME_FIGURES)
"""Of the test of one figure."""
Session = Mapping[str, float]
"""What one session says: the logarithm of the second subject's time over the first's, by figures."""


@dataclass(frozen=True, slots=True)
class TimeFinding:
    """What all sessions say of one figure. Changes are relative: 0.05 is 5 % slower."""

    figure: TimeFigure
    change: Change
    effect: float
    interval: Interval
    p: float
    """Of the rank test, on the side on which the effect is."""
    could_see: float
    """The smallest change for the worse that this rule finds in 95 % of such comparisons; infinite when none."""
    sessions: int


def judge_times(sessions: Sequence[Session], resolution: float) -> list[TimeFinding]:
    """A finding for each figure; `resolution` is the change that one wants to be sure to see, as in 0.05."""
    return [_judge(figure, [each[figure.name] for each in sessions], resolution) for figure in TIME_FIGURES]


def is_worse(figure: TimeFigure, differences: Sequence[float]) -> bool:
    """The rule: improbable by chance, on the worse side, and large enough to matter."""
    return p_greater(differences) <= LEVEL and estimate(differences) >= math.log1p(figure.minimum)


def could_see(figure: TimeFigure, differences: Sequence[float]) -> float:
    """The smallest of CHANGES that the rule finds often enough, by resampling the sessions with their own effect taken out and a known one put in.

    A seeded generator: the same sessions say the same.
    """
    if len(differences) < 2:
        return math.inf
    around = estimate(differences)
    noise = [each - around for each in differences]
    rng = Random(len(noise))
    samples = [rng.choices(noise, k=len(noise)) for _ in range(_TRIALS)]
    first = bisect_left(CHANGES, True, key=lambda change: _is_seen(figure, samples, change))
    return CHANGES[first] if first < len(CHANGES) else math.inf


def _is_seen(figure: TimeFigure, samples: Sequence[Sequence[float]], change: float) -> bool:
    """Often enough."""
    shift = math.log1p(change)
    moved = ([each + shift for each in sample] for sample in samples)
    found = sum(is_large(each, LEVEL) and estimate(each) >= math.log1p(figure.minimum) for each in moved)
    return found >= SEEN * len(samples)


def _judge(figure: TimeFigure, differences: Sequence[float], resolution: float) -> TimeFinding:
    effect = estimate(differences)
    between = interval(differences, CONFIDENCE)
    seen = could_see(figure, differences)
    worse, better = is_worse(figure, differences), is_worse(figure, [-each for each in differences])
    if worse or better:
        change = Change.WORSE if worse else Change.BETTER
    elif figure.must_be_resolved and seen > resolution:
        change = Change.UNKNOWN
    else:
        change = Change.EQUAL
    p = p_greater(differences) if effect >= 0 else p_less(differences)
    relative = Interval(math.expm1(between.low), _expm1(between.high))
    return TimeFinding(figure, change, math.expm1(effect), relative, p, seen, len(differences))


def _expm1(value: float) -> float:
    return math.inf if value == math.inf else math.expm1(value)
