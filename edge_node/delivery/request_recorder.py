"""Every finished request is counted and logged here, and nowhere else.

The request path only appends a record; counting and writing are done for many at once, when a batch is full, once a second, and before anybody reads the counters.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_node.caching.decisions import Reason, Result
from edge_node.counters import Counters, Tally
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_record import HitRecord, Record, SentResponse, record_of

BATCH_RECORDS = 128
"""Settling so many takes 0.15 ms, in which nobody is answered; 512 took 0.55 ms, and not less for each (docs/benchmarks.md)."""
SETTLE_SECONDS = 1.0


class RecordsLog(Protocol):
    """Where the records go: `access_log.py`."""

    @property
    def is_enabled(self) -> bool:
        """Whether they go anywhere."""

    def write(self, records: Sequence[Record]) -> None:
        """Write a batch."""


class RequestRecorder:
    """Counts and logs."""

    def __init__(
        self, counters: Counters, access_log: RecordsLog, clock: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._counters = counters
        self._access_log = access_log
        self._clock = clock
        self._monotonic = monotonic
        self.records: list[Record] = []
        """What has been taken and not been counted; the fast path adds to it by itself."""
        counters.settle = self.settle

    def end(self, context: RequestContext, sent: SentResponse) -> None:
        """A request has ended."""
        self.take(record_of(context, sent, self._clock(), self._monotonic()))

    def take(self, record: Record) -> None:
        """One finished request."""
        records = self.records
        records.append(record)
        if len(records) >= BATCH_RECORDS:
            self.settle()

    def settle(self) -> None:
        """Count and write what has been taken."""
        records, self.records = self.records, []
        tallies = self._counters.tallies
        hits: dict[int, Tally] = {}
        for record in records:
            if isinstance(record, HitRecord):
                status = record.status
                tally = hits.get(status)
                if tally is None:
                    tally = hits[status] = tallies[Result.HIT, Reason.FRESH, status]
            else:
                tally = tallies[record.result, record.reason, record.status]
            tally.add(record.seconds, record.sent_bytes, record.received_bytes)
        if self._access_log.is_enabled:
            self._access_log.write(records)

    async def settle_regularly(self) -> None:
        """Until cancelled, then once more."""
        try:
            while True:
                await asyncio.sleep(SETTLE_SECONDS)
                self.settle()
        finally:
            self.settle()
