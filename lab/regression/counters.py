"""What is counted of a workload, from the metrics of all nodes before and after it, and what a difference between two subjects means. Pure.

Equal means equal. A count that already differs between two runs of one subject says nothing, and is told as unsteady; one that a build does not tell is not compared.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from lab.regression.times import Change

_SAMPLE: Final = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})?")
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
Counts = Mapping[str, float]
"""By name of the counter; one that cannot be told is not in it."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What the metrics of all nodes of a role gained over a workload."""

    role: str
    gains: Mapping[str, float]

    def total(self, name: str, **labels: str | tuple[str, ...]) -> float | None:
        """Over all samples of this name with these labels, each one value or one of several; None: no node tells this metric."""
        found = [(_labels(sample), gain) for sample, gain in self.gains.items() if _name(sample) == name]
        if not found:
            return None
        return sum(gain for its, gain in found if all(_has(its.get(key), wanted) for key, wanted in labels.items()))


def _has(value: str | None, wanted: str | tuple[str, ...]) -> bool:
    return value == wanted or (isinstance(wanted, tuple) and value in wanted)


def _name(sample: str) -> str:
    match = _SAMPLE.match(sample)
    return match["name"] if match else sample


def _labels(sample: str) -> dict[str, str]:
    match = _SAMPLE.match(sample)
    return dict(_LABEL.findall(match["labels"] or "")) if match else {}


@dataclass(frozen=True, slots=True)
class Counter:
    """`of` gets what each role has gained; None when it cannot be told. `worse_is_more`: None where neither side is better."""

    name: str
    says: str
    of: Callable[[Mapping[str, Delta]], float | None]
    worse_is_more: bool | None = True
    tolerance: float = 0.0
    """Relative differences up to this are none: of what depends a little on the clock."""


def _gain(role: str, name: str, **labels: str | tuple[str, ...]) -> Callable[[Mapping[str, Delta]], float | None]:
    return lambda deltas: deltas[role].total(name, **labels) if role in deltas else None


_HITS: Final = ("hit", "refresh_hit")
_CHANGES: Final = ("entry", "entries")
COUNTERS: Final = (
    Counter(
        "edge.hits",
        "requests that edges answered from their stores",
        _gain("edge", "cdn_requests_total", result="hit"),
        False,
    ),
    Counter(
        "edge.refresh_hits",
        "those that edges answered after a confirmation",
        _gain("edge", "cdn_requests_total", result="refresh_hit"),
        None,
    ),
    Counter("edge.misses", "those that edges had to fetch", _gain("edge", "cdn_requests_total", result="miss")),
    Counter("edge.errors", "those that edges could not answer", _gain("edge", "cdn_requests_total", result="error")),
    Counter(
        "edge.collapsed",
        "requests that waited for the fetch of another one",
        _gain("edge", "cdn_collapsed_requests_total"),
        False,
    ),
    Counter("edge.evictions", "responses that left edges for others", _gain("edge", "cdn_store_evictions_total")),
    Counter(
        "regional.hits",
        "requests that regional caches answered from their stores",
        _gain("regional", "cdn_requests_total", result="hit"),
        False,
    ),
    Counter("regional.misses", "those that they had to fetch", _gain("regional", "cdn_requests_total", result="miss")),
    Counter(
        "regional.evictions",
        "responses that left regional caches for others",
        _gain("regional", "cdn_store_evictions_total"),
    ),
    Counter(
        "regional.fetches",
        "requests of edges to regional caches",
        _gain("edge", "cdn_upstream_fetches_total", tier="regional"),
    ),
    Counter("origin.fetches", "requests that origins were sent", _gain("origin", "cdn_origin_requests_total")),
    Counter("origin.bytes", "bodies that origins sent", _gain("origin", "cdn_origin_response_bytes_total")),
    Counter("log.entries", "entries of the change log", _gain("control_plane", "cdn_control_head_index")),
    Counter(
        "log.messages",
        "messages with entries that edges were sent",
        _gain("edge", "cdn_sync_messages_total", kind=_CHANGES),
    ),
    Counter("log.bytes", "their sizes", _gain("edge", "cdn_sync_message_bytes_total", kind=_CHANGES), tolerance=0.01),
    Counter(
        "log.acknowledgements",
        "what edges answered them",
        _gain("edge", "cdn_sync_messages_total", kind="acknowledgement"),
    ),
)
"""From metrics."""
OTHER_COUNTERS: Final = (
    Counter("viewer.bytes", "bodies that viewers received", lambda _: None, None),
    Counter("viewer.failures", "answers with a status of 400 or more", lambda _: None),
    Counter("edge.system_calls", "system calls of an edge for a hit", lambda _: None, tolerance=0.02),
)
"""What viewers see, and what the kernel counts."""
BY_NAME: Final = {each.name: each for each in (*COUNTERS, *OTHER_COUNTERS)}


def gains(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]], roles: Mapping[str, str]
) -> dict[str, Delta]:
    """By role. Samples by node, before and after; what a node began to tell meanwhile began at 0."""
    by_role: dict[str, dict[str, float]] = {}
    for node, samples in after.items():
        total = by_role.setdefault(roles[node], {})
        for sample, value in samples.items():
            total[sample] = total.get(sample, 0.0) + value - before[node].get(sample, 0.0)
    return {role: Delta(role, total) for role, total in by_role.items()}


def counts_of(deltas: Mapping[str, Delta]) -> dict[str, float]:
    """Those that can be told."""
    told = {each.name: each.of(deltas) for each in COUNTERS}
    return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class CounterFinding:
    """Of one counter and one workload; the values of each run of both subjects."""

    workload: str
    counter: Counter
    change: Change
    first: tuple[float, ...]
    second: tuple[float, ...]
    is_steady: bool = True

    @property
    def name(self) -> str:
        return f"{self.workload}: {self.counter.name}"


def compare_counts(workload: str, first: Sequence[Counts], second: Sequence[Counts]) -> list[CounterFinding]:
    """A finding for each counter that both subjects tell in all their runs."""
    names = [name for name in BY_NAME if all(name in each for each in (*first, *second))]
    return [
        _compare(workload, BY_NAME[name], tuple(each[name] for each in first), tuple(each[name] for each in second))
        for name in names
    ]


def _compare(workload: str, counter: Counter, first: tuple[float, ...], second: tuple[float, ...]) -> CounterFinding:
    spread = counter.tolerance * max(*first, *second)
    if max(first) - min(first) > spread or max(second) - min(second) > spread:
        apart = max(first) + spread < min(second) or max(second) + spread < min(first)
        change = Change.UNKNOWN if apart else Change.EQUAL
        return CounterFinding(workload, counter, change, first, second, is_steady=False)
    difference = fmean(second) - fmean(first)
    if abs(difference) <= spread:
        return CounterFinding(workload, counter, Change.EQUAL, first, second)
    is_worse = counter.worse_is_more is None or (difference > 0) is counter.worse_is_more
    return CounterFinding(workload, counter, Change.WORSE if is_worse else Change.BETTER, first, second)
