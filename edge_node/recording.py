"""Every finished request is counted and logged here, and nowhere else."""

from edge_node.access_log import AccessLog, LogRecord
from edge_node.counters import Counters


class RequestRecorder:
    """Counts and logs."""

    def __init__(self, counters: Counters, access_log: AccessLog) -> None:
        self._finished = counters.finished
        self._access_log = access_log
        self._is_logging = access_log.is_enabled

    def take(self, record: LogRecord) -> None:
        """One finished request."""
        self._finished[record.result, record.reason, record.status].add(
            record.seconds, record.sent_bytes, record.received_bytes
        )
        if self._is_logging:
            self._access_log.append(record)
