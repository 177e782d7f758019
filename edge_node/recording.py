"""Every finished request is counted and logged here, and nowhere else."""

from edge_node.access_log import AccessLog, LogRecord
from edge_node.counters import Counters


class RequestRecorder:
    """Counts and logs."""

    def __init__(self, counters: Counters, access_log: AccessLog) -> None:
        self._counters = counters
        self._access_log = access_log
        self._is_logging = access_log.is_enabled

    def take(self, record: LogRecord) -> None:
        """One finished request."""
        counters = self._counters
        counters.requests_total += 1
        counters.requests[record.result, record.reason] += 1
        counters.responses[record.status // 100] += 1
        counters.durations[record.result].observe(record.seconds)
        transferred = counters.transferred
        transferred["viewer", "sent"] += record.sent_bytes
        transferred["viewer", "received"] += record.received_bytes
        if self._is_logging:
            self._access_log.append(record)
