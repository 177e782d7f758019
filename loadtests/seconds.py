"""What one second looked like to the viewers of one region: the arithmetic behind `load.jsonl` (docs/contracts.md).

Pure. Latencies are kept in logarithmic bins of 1 % width, so seconds of several workers add up without keeping every
sample and a percentile is at most 1 % off; the maximum is exact. Who reports what to whom is recording.py's.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proto.moments import NANOSECONDS_PER_SECOND, ClockAnchor

_BIN_WIDTH = math.log(1.01)
# One microsecond; below it a latency is noise of the clock.
_SMALLEST_MILLISECONDS = 0.001

# The words of X-Cache before "from cloudfront" (reference 2.12) that load.jsonl counts.
RESULT_WORDS = frozenset({"Hit", "Miss", "RefreshHit", "Error", "Redirect"})


def latency_bin(milliseconds: float) -> int:
    return round(math.log(max(milliseconds, _SMALLEST_MILLISECONDS)) / _BIN_WIDTH)


def bin_milliseconds(latency_bin_number: int) -> float:
    return math.exp(latency_bin_number * _BIN_WIDTH)


def percentile_milliseconds(bins: Mapping[int, int], share: float) -> float:
    """Nearest rank. Zero when there are no samples."""
    rank = math.ceil(share * sum(bins.values()))
    seen = 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= rank > 0:
            return bin_milliseconds(number)
    return 0.0


def result_word(x_cache: str) -> str | None:
    """`Hit from cloudfront` counts as Hit; what does not say so counts as nothing."""
    word = x_cache.split(" ", 1)[0]
    return word if word in RESULT_WORDS else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request of a viewer, all its attempts together."""

    region: str
    latency_milliseconds: float
    received_bytes: int
    is_failure: bool
    x_cache: str = ""


@dataclass(slots=True)
class RegionSecond:
    """Sums of one second and region."""

    requests: int = 0
    failures: int = 0
    received_bytes: int = 0
    stalls: int = 0
    users: int = 0
    maximum_milliseconds: float = 0.0
    bins: Counter[int] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Outcome) -> None:
        self.requests += 1
        self.failures += outcome.is_failure
        self.received_bytes += outcome.received_bytes
        self.maximum_milliseconds = max(self.maximum_milliseconds, outcome.latency_milliseconds)
        self.bins[latency_bin(outcome.latency_milliseconds)] += 1
        word = result_word(outcome.x_cache)
        if word is not None:
            self.results[word] += 1

    def add(self, other: "RegionSecond") -> None:
        """The same second as another worker saw it; its users are other users."""
        self.requests += other.requests
        self.failures += other.failures
        self.received_bytes += other.received_bytes
        self.stalls += other.stalls
        self.users += other.users
        self.maximum_milliseconds = max(self.maximum_milliseconds, other.maximum_milliseconds)
        self.bins.update(other.bins)
        self.results.update(other.results)

    def to_message(self) -> dict[str, Any]:
        """Plain values that Locust can send from a worker to its master."""
        return {
            "requests": self.requests,
            "failures": self.failures,
            "bytes": self.received_bytes,
            "stalls": self.stalls,
            "users": self.users,
            "maximum": self.maximum_milliseconds,
            "bins": list(self.bins.items()),
            "results": dict(self.results),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> "RegionSecond":
        return cls(
            requests=message["requests"],
            failures=message["failures"],
            received_bytes=message["bytes"],
            stalls=message["stalls"],
            users=message["users"],
            maximum_milliseconds=message["maximum"],
            bins=Counter(dict(message["bins"])),
            results=Counter(message["results"]),
        )

    def to_line(self, second: int, anchor: ClockAnchor, region: str, profile: str) -> dict[str, Any]:
        """One object of load.jsonl, of a second of the clock with this anchor."""
        times = {"time": round(anchor.wall_seconds(second), 3), "monotonic_ns": second * NANOSECONDS_PER_SECOND}
        return times | {"region": region, "profile": profile} | self.to_totals() | {"users": self.users}

    def to_totals(self) -> dict[str, Any]:
        """Everything that adds up, over however many seconds were added."""
        latency = {name: round(percentile_milliseconds(self.bins, share), 3) for name, share in _PERCENTILES}
        return {
            "requests": self.requests,
            "failures": self.failures,
            "bytes": self.received_bytes,
            "latency_ms": latency | {"max": round(self.maximum_milliseconds, 3)},
            "results": dict.fromkeys(("Hit", "Miss", "RefreshHit", "Error"), 0) | dict(self.results),
            "stalls": self.stalls,
        }


_PERCENTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))


class SecondsByRegion:
    """Open seconds, waiting to be closed. A second is closed once and in order; what comes later for it is counted in
    the oldest one still open, so that no request is lost."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], RegionSecond] = {}
        self._first_open = 0

    def at(self, second: int, region: str) -> RegionSecond:
        return self._open.setdefault((max(second, self._first_open), region), RegionSecond())

    def close_before(self, second: int) -> list[tuple[int, str, RegionSecond]]:
        """Every second before this one, in order of time and region."""
        due = sorted(key for key in self._open if key[0] < second)
        self._first_open = max(self._first_open, second)
        return [(*key, self._open.pop(key)) for key in due]
