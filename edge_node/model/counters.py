"""What a node counts, as plain integers: the request path adds, the collector in `observability/metrics.py` reads when it is scraped."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from typing import Final

LATENCY_BOUNDS_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
FIRST_BOUND_SECONDS: Final = LATENCY_BOUNDS_SECONDS[0]


class RequestStats:
    """What is counted of finished requests that ended alike."""

    __slots__ = ("buckets", "count", "received_bytes", "sent_bytes", "sum_seconds")

    def __init__(self) -> None:
        self.count = 0
        self.buckets = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0
        self.sent_bytes = 0
        self.received_bytes = 0

    def add(self, seconds: float, sent_bytes: int, received_bytes: int) -> None:
        """Count one."""
        self.count += 1
        self.buckets[0 if seconds <= FIRST_BOUND_SECONDS else bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds
        self.sent_bytes += sent_bytes
        self.received_bytes += received_bytes


class Counters:
    """Everything that only grows."""

    def __init__(self) -> None:
        self.stats_by_outcome: defaultdict[tuple[str, str, int], RequestStats] = defaultdict(RequestStats)
        """Finished requests by result, reason and status, as far as they have been counted."""
        self.flush: Callable[[], None] = lambda: None
        """Counts what has finished since; set by who records."""
        self.received_bytes: defaultdict[str, int] = defaultdict(int)
        self.sent_bytes: defaultdict[str, int] = defaultdict(int)
        """By upstream tier; those of viewers are in the stats."""
        self.collapsed_requests = 0
        self.upstream_fetches: defaultdict[str, int] = defaultdict(int)
        self.upstream_errors: defaultdict[tuple[str, ...], int] = defaultdict(int)
        self.upstream_waits: defaultdict[str, int] = defaultdict(int)
        """Attempts that had to wait for a place, by tier."""
        self.upstream_ejections = 0
        self.refused_connections = 0
        self.shed_connections = 0
        self.internal_errors = 0
        self.opened_tunnels = self.closed_tunnels = 0
        self.log_records_dropped = 0

    @property
    def transferred(self) -> defaultdict[tuple[str, ...], int]:
        """Bytes by upstream tier and direction."""
        transferred: defaultdict[tuple[str, ...], int] = defaultdict(int)
        for direction, by_tier in (("received", self.received_bytes), ("sent", self.sent_bytes)):
            for tier, count in by_tier.items():
                transferred[tier, direction] = count
        return transferred

    @property
    def finished(self) -> defaultdict[tuple[str, str, int], RequestStats]:
        """Finished requests by result, reason and status."""
        self.flush()
        return self.stats_by_outcome

    @property
    def requests_total(self) -> int:
        """Finished requests."""
        return sum(stats.count for stats in self.finished.values())
