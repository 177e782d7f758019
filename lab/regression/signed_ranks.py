"""Wilcoxon's signed-rank test and the estimate that belongs to it (Hodges and Lehmann), for paired differences. Pure.

Exact up to `MOST_EXACT` pairs, also with ties (ranks are then means, and the distribution is that of the ranks that there are); beyond that by the normal approximation.
Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, chapter 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median
from typing import Final

MOST_EXACT: Final = 60


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it."""

    low: float
    high: float


def p_greater(differences: Sequence[float]) -> float:
    """How probable so large a sum of the ranks of positive differences is, if signs fall like coins; zeros are left out. 1 for nothing."""
    present = [each for each in differences if each]
    if not present:
        return 1.0
    doubled = _doubled_ranks([abs(each) for each in present])
    positive = sum(rank for rank, each in zip(doubled, present, strict=True) if each > 0)
    if len(present) > MOST_EXACT:
        return _normal_tail(doubled, positive)
    ways = _ways(doubled)
    return float(sum(ways[positive:]) / 2 ** len(present))


def is_large(differences: Sequence[float], level: float) -> bool:
    """Whether p_greater is at most `level`, by the distribution of ranks without ties: the same where there are none, and fast, for many samples of one size."""
    present = [each for each in differences if each]
    doubled = _doubled_ranks([abs(each) for each in present])
    positive = sum(rank for rank, each in zip(doubled, present, strict=True) if each > 0)
    return positive >= _critical(len(present), level)


@lru_cache(maxsize=64)
def _critical(count: int, level: float) -> float:
    """The smallest doubled sum of positive ranks that is as improbable; infinite when none is."""
    if count > MOST_EXACT:
        mean, deviation = count * (count + 1) / 2, math.sqrt(count * (count + 1) * (2 * count + 1) / 6)
        return mean + 0.5 + NormalDist().inv_cdf(1 - level) * deviation
    tail = 0
    ways = _ways(list(range(1, count + 1)))
    for rank_sum in range(len(ways) - 1, -1, -1):
        tail += ways[rank_sum]
        if tail > level * 2**count:
            return 2 * (rank_sum + 1) if rank_sum + 1 < len(ways) else math.inf
    return 0.0


def p_less(differences: Sequence[float]) -> float:
    """The same of negative ones."""
    return p_greater([-each for each in differences])


def estimate(differences: Sequence[float]) -> float:
    """Hodges and Lehmann's: the median of the means of all pairs, each with itself as well. ValueError for none."""
    return median(_walsh_means(differences))


def interval(differences: Sequence[float], confidence: float) -> Interval:
    """Of the estimate: what a two-sided test of this level would not refuse. Infinite where there are too few differences for it."""
    means = _walsh_means(differences)
    skipped = _most_skipped(len(differences), (1 - confidence) / 2)
    if skipped < 0:
        return Interval(-math.inf, math.inf)
    return Interval(means[skipped], means[len(means) - 1 - skipped])


def _walsh_means(differences: Sequence[float]) -> list[float]:
    pairs = range(len(differences))
    return sorted((differences[one] + differences[other]) / 2 for one in pairs for other in range(one + 1))


def _most_skipped(count: int, tail: float) -> int:
    """How many means may be left out at each end: the largest w with P(W <= w) <= tail; -1 when there is none."""
    if count > MOST_EXACT:
        mean, deviation = count * (count + 1) / 4, math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
        return math.floor(mean + NormalDist().inv_cdf(tail) * deviation)
    ways, total, skipped = _ways(list(range(1, count + 1))), 0, -1
    for rank_sum, each in enumerate(ways):
        total += each
        if total > tail * 2**count:
            break
        skipped = rank_sum
    return skipped


def _doubled_ranks(magnitudes: Sequence[float]) -> list[int]:
    """Twice the rank of each, so that the mean rank of those that are equal is a whole number, too."""
    ordered = sorted(magnitudes)
    first: dict[float, int] = {}
    last: dict[float, int] = {}
    for position, each in enumerate(ordered, start=1):
        first.setdefault(each, position)
        last[each] = position
    return [first[each] + last[each] for each in magnitudes]


def _ways(ranks: Sequence[int]) -> list[int]:
    """How many choices of signs give each sum of the positive ranks, from 0 to the sum of all."""
    ways = [1] + [0] * sum(ranks)
    reached = 0
    for rank in ranks:
        reached += rank
        for total in range(reached, rank - 1, -1):
            ways[total] += ways[total - rank]
    return ways


def _normal_tail(doubled: Sequence[int], positive: int) -> float:
    mean = sum(doubled) / 2
    deviation = math.sqrt(sum(rank * rank for rank in doubled)) / 2
    return 1 - NormalDist().cdf((positive - 0.5 - mean) / deviation)
