"""What a node counts, as plain integers: the request path adds, the collector in `metrics.py` reads when it is scraped."""

from bisect import bisect_left
from collections import defaultdict

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


class LatencyHistogram:
    """Observations by upper bound, and their sum."""

    __slots__ = ("buckets", "sum_seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
        self.sum_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.buckets[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds


class Counters:
    """Everything that only grows."""

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str], int] = defaultdict(int)
        """By result and reason."""
        self.responses = [0] * 6
        """By hundreds of the status."""
        self.durations: defaultdict[str, LatencyHistogram] = defaultdict(LatencyHistogram)
        self.transferred: defaultdict[tuple[str, str], int] = defaultdict(int)
        """Bytes by peer and direction."""
        self.collapsed_requests = 0
        self.upstream_fetches: defaultdict[str, int] = defaultdict(int)
        self.upstream_errors: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.requests_total = 0
        self.refused_connections = 0
        self.internal_errors = 0
        self.log_records_dropped = 0
