"""What can be known of a run while it goes on: the newest seconds of load and metrics, as figures by name and place. Pure.

Conditions of steps and stop rules are about these. A figure without a value (nobody came yet) is None, and no condition about it holds.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lab.checkers.conditions import Measure
from proto.moments import NANOSECONDS_PER_SECOND

WINDOW_SECONDS: Final = 3.0
"""Figures are of the last seconds that are over: a second of load is written about a second after its end."""
_CACHED: Final = ("hit", "refresh_hit")


@dataclass(slots=True)
class RunFigures:
    """Fed with the lines of load.jsonl and metrics.jsonl (docs/contracts.md) and with answers of routers."""

    load: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=600))
    samples: dict[str, deque[Mapping[str, Any]]] = field(default_factory=dict)
    named: dict[str, frozenset[str]] = field(default_factory=dict)
    """By region: the nodes that a router names first."""
    requests_total: int = 0
    failures_total: int = 0

    def add_load(self, lines: Iterable[Mapping[str, Any]]) -> None:
        for line in lines:
            self.load.append(line)
            self.requests_total += int(line["requests"])
            self.failures_total += int(line["failures"])

    def add_sample(self, sample: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl."""
        self.samples.setdefault(str(sample["node"]), deque(maxlen=int(WINDOW_SECONDS) + 1)).append(sample)

    def value(self, figure: str, place: str, now: float) -> float | None:
        """`now` in seconds of the host's clock."""
        return FIGURES[figure].of(self, place, now)

    def recent(self, region: str, now: float) -> list[Mapping[str, Any]]:
        oldest = now - WINDOW_SECONDS - 1.0
        return [
            line
            for line in self.load
            if line["monotonic_ns"] / NANOSECONDS_PER_SECOND >= oldest and region in ("", line["region"])
        ]


Of = Callable[[RunFigures, str, float], float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One that conditions may be about, and what its place is, if it may have one."""

    of: Of
    says: str
    measure: Measure
    place: str = ""
    places: tuple[str, ...] = ()
    """All that there are, where a scenario can know."""


def _rate(run: RunFigures, region: str, now: float) -> float | None:
    """Over the seconds that are written by now, which are two or three of the window."""
    lines = run.recent(region, now)
    seconds = len({line["monotonic_ns"] for line in run.recent("", now)})
    return sum(line["requests"] for line in lines) / seconds if lines else None


def _error_ratio(run: RunFigures, region: str, now: float) -> float | None:
    lines = run.recent(region, now)
    requests = sum(line["requests"] for line in lines)
    return sum(line["failures"] for line in lines) / requests if requests else None


def _failures(run: RunFigures, _place: str, _now: float) -> float | None:
    return float(run.failures_total)


def _requests(run: RunFigures, _place: str, _now: float) -> float | None:
    return float(run.requests_total)


def _p95(run: RunFigures, region: str, now: float) -> float | None:
    """The worst of the seconds."""
    return max((line["latency_ms"]["p95"] / 1000 for line in run.recent(region, now) if line["requests"]), default=None)


def _hit_ratio(run: RunFigures, tier: str, _now: float) -> float | None:
    """Of what nodes of a tier answered in the window."""
    hits = total = 0
    for samples in run.samples.values():
        if samples[-1]["role"] != (tier or "edge") or not (samples[0]["up"] and samples[-1]["up"]):
            continue
        first, last = samples[0]["requests"], samples[-1]["requests"]
        grown = {name: max(0, count - first.get(name, 0)) for name, count in last.items()}
        hits += sum(grown.get(name, 0) for name in _CACHED)
        total += sum(grown.get(name, 0) for name in (*_CACHED, "miss"))
    return hits / total if total else None


def _live_nodes(run: RunFigures, _place: str, _now: float) -> float | None:
    return float(sum(bool(samples[-1]["up"]) for samples in run.samples.values())) if run.samples else None


def _down_nodes(run: RunFigures, _place: str, _now: float) -> float | None:
    return float(sum(not samples[-1]["up"] for samples in run.samples.values())) if run.samples else None


def _origin_fetches(run: RunFigures, _place: str, _now: float) -> float | None:
    """Caches count them since their start; one that is started again begins anew, one that is down is as it was last seen."""
    newest = [next((each for each in reversed(samples) if each["up"]), None) for samples in run.samples.values()]
    return float(sum(each["origin_fetches"] for each in newest if each is not None)) if any(newest) else None


def _named(run: RunFigures, node: str, _now: float) -> float | None:
    """In how many regions."""
    return float(sum(node in nodes for nodes in run.named.values())) if run.named else None


FIGURES: Final[Mapping[str, Figure]] = {
    "requests_per_second": Figure(_rate, "that viewers sent in the last 3 s", Measure.COUNT, "region"),
    "error_ratio": Figure(_error_ratio, "share of them that failed", Measure.SHARE, "region"),
    "p95": Figure(_p95, "95th percentile of their latency, of the worst of the last seconds", Measure.TIME, "region"),
    "requests": Figure(_requests, "since viewers came", Measure.COUNT),
    "failures": Figure(_failures, "that viewers have seen since they came", Measure.COUNT),
    "hit_ratio": Figure(
        _hit_ratio, "of edges, or of a tier, in the last 3 s", Measure.SHARE, "tier", ("edge", "regional")
    ),
    "live_nodes": Figure(_live_nodes, "that answer", Measure.COUNT),
    "down_nodes": Figure(_down_nodes, "that do not answer", Measure.COUNT),
    "origin_fetches": Figure(
        _origin_fetches, "that caches have sent to origins since these caches were started", Measure.COUNT
    ),
    "named": Figure(_named, "in how many regions routers name a node to viewers", Measure.COUNT, "node"),
}
