"""Every finished request is counted and logged here, and nowhere else.

The request path only appends a record; counting and writing are done for many at once, when a batch is full, once a second, and before anybody reads the counters.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from edge_node.access_log import LogRecord, Record
from edge_node.caching.decisions import Reason, Result
from edge_node.counters import Counters, Tally

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

    def __init__(self, counters: Counters, access_log: RecordsLog) -> None:
        self._counters = counters
        self._access_log = access_log
        self.records: list[Record] = []
        """What has been taken and not been counted; the short way adds to it by itself."""
        counters.settle = self.settle

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
        plain: dict[int, Tally] = {}
        for record in records:
            if isinstance(record, LogRecord):
                tally = tallies[record.result, record.reason, record.status]
                tally.add(record.seconds, record.sent_bytes, record.received_bytes)
                continue
            _, _, _, _, traits, sent_bytes, received_bytes, _, seconds, _, part = record
            status = traits.status if part is None else part.status
            plain_tally = plain.get(status)
            if plain_tally is None:
                plain_tally = plain[status] = tallies[Result.HIT, Reason.FRESH, status]
            plain_tally.add(seconds, sent_bytes, received_bytes)
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
