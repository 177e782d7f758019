"""Every finished request is counted and logged here, and nowhere else.

The request path only appends a record; counting and writing are done for many at once, when a batch is full, once a second, and before anybody reads the counters.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_record import HitRecord, Record, SentResponse, record_of
from edge_node.model.counters import Counters, RequestStats

BATCH_RECORDS: Final = 128
"""Settling so many takes 0.15 ms, in which nobody is answered; 512 took 0.55 ms, and not less for each (docs/benchmarks.md)."""
FLUSH_SECONDS: Final = 1.0


class RecordSink(Protocol):
    """Where the records go: `observability/access_log.py`."""

    @property
    def is_enabled(self) -> bool:
        """Whether they go anywhere."""

    def write(self, records: Sequence[Record]) -> None:
        """Write a batch."""


class RequestRecorder:
    """Counts and logs."""

    def __init__(
        self, counters: Counters, access_log: RecordSink, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._counters = counters
        self._access_log = access_log
        self._clock = clock
        self._monotonic = monotonic
        self.records: list[Record] = []
        """What has been taken and not been counted; the fast path adds to it by itself."""
        counters.flush = self.flush

    def end(self, context: RequestContext, sent: SentResponse) -> None:
        """A request has ended."""
        self.take(record_of(context, sent, self._clock(), self._monotonic()))

    def take(self, record: Record) -> None:
        """One finished request."""
        records = self.records
        records.append(record)
        if len(records) >= BATCH_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Count and write what has been taken."""
        records, self.records = self.records, []
        stats_by_outcome = self._counters.stats_by_outcome
        hits: dict[int, RequestStats] = {}
        for record in records:
            if isinstance(record, HitRecord):
                status = record.status
                stats = hits.get(status)
                if stats is None:
                    stats = hits[status] = stats_by_outcome[Result.HIT, Reason.FRESH, status]
                seconds = record.seconds
            else:
                stats = stats_by_outcome[record.result, record.reason, record.status]
                # A tunnel took as long as the handshake did; how long it was open is no latency.
                seconds = record.first_byte_seconds if record.status == 101 else record.seconds
            stats.add(seconds, record.sent_bytes, record.received_bytes)
        if self._access_log.is_enabled:
            self._access_log.write(records)

    async def flush_regularly(self) -> None:
        """Until cancelled, then once more."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                self.flush()
        finally:
            self.flush()
