"""The change log as it goes over the wire: entries from changes, frames from entries; DESIGN section 3. What it is stored in is the business of `store.py`."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from control_plane.receipts import IssuedInvalidation
from control_plane.state import Change, Invalidate, PutDistribution, PutGeoTable, PutRoutingTable, RemoveDistribution
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition

READ_ENTRIES = 128
"""Entries that are read from the database at a time for a node that lags."""

DIGEST_BYTES = 16
"""As many as are too many to guess: a position that is made up is never taken for one of this log."""

EMPTY_HISTORY = b""
"""The digest before the first entry."""

MAXIMUM_CACHED_FRAMES = 2048
MAXIMUM_CACHED_BYTES = 32 * 1024 * 1024


class TooFarBehindError(Exception):
    """The entry asked for is no longer in the log: the node needs a snapshot."""


class Log(Protocol):
    """Reading what is committed."""

    @property
    def head_index(self) -> int:
        """Newest index."""

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        """The entries that follow `index`, oldest first."""

    def snapshot(self) -> sync_pb2.Snapshot:
        """All that is configured, at the head."""


def to_entry(change: Change, after: LogPosition, now: float) -> sync_pb2.Entry:
    """The entry that publishes `change` as the next one, with the digest of the history that ends with it."""
    entry = sync_pb2.Entry(log_id=after.log_id, index=after.index + 1)
    entry.committed_at.FromDatetime(datetime.fromtimestamp(now, UTC))
    match change:
        case PutDistribution(distribution):
            entry.put_distribution.CopyFrom(distribution)
        case RemoveDistribution(distribution_id):
            entry.remove_distribution_id = distribution_id
        case Invalidate(invalidation):
            entry.invalidation.CopyFrom(invalidation)
        case PutRoutingTable(routing_table):
            entry.put_routing_table.CopyFrom(routing_table)
        case PutGeoTable(geo_table):
            entry.put_geo_table.CopyFrom(geo_table)
    entry.digest = next_digest(after.digest, entry.SerializeToString())
    return entry


def next_digest(digest: bytes, entry: bytes) -> bytes:
    """The digest of a history that goes on with these bytes (DESIGN section 4, rule 9).

    Each digest is over the one before, so that one comparison is about all entries. The bytes are hashed once, here; the digest then travels and is stored as what it is,
    and nobody has to serialize an entry again in the same way. The index is in the bytes, and so are the time of the commit and the identifier of an invalidation: two
    logs that part do not come together again by having the same said to them.
    """
    return hashlib.blake2b(digest.ljust(DIGEST_BYTES, b"\0") + entry, digest_size=DIGEST_BYTES).digest()


def committed_at(entry: sync_pb2.Entry) -> float:
    """In seconds, by the clock of the process that appended it."""
    return entry.committed_at.ToNanoseconds() / 1e9


def issued_invalidation(entry: sync_pb2.Entry, now: float) -> IssuedInvalidation | None:
    """What a receipt is owed for, if the entry is an invalidation."""
    if not entry.HasField("invalidation"):
        return None
    invalidation = entry.invalidation
    return IssuedInvalidation(
        identifier=invalidation.id,
        distribution_id=invalidation.distribution_id,
        index=entry.index,
        paths=tuple(invalidation.paths),
        issued_at=now,
    )


class Frames:
    """Entries and snapshots as serialized ControlMessages, made once for all nodes and kept while they are likely to be wanted."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._cached: dict[int, bytes] = {}
        self._cached_bytes = 0
        self._snapshot: tuple[int, bytes] | None = None

    def after(self, index: int) -> bytes | None:
        """The entry that follows `index`; None at the head."""
        if index >= self._log.head_index:
            return None
        frame = self._cached.get(index + 1)
        if frame is not None:
            return frame
        for entry in self._log.entries_after(index, READ_ENTRIES):
            self.add(entry)
        frame = self._cached.get(index + 1)
        if frame is None:
            raise TooFarBehindError
        return frame

    def add(self, entry: sync_pb2.Entry) -> None:
        """Keep a frame for an entry, at the cost of the one that was kept first."""
        frame = sync_pb2.ControlMessage(entry=entry).SerializeToString()
        self._cached_bytes += len(frame) - len(self._cached.pop(entry.index, b""))
        self._cached[entry.index] = frame
        while len(self._cached) > 1 and self._is_over_budget():
            self._cached_bytes -= len(self._cached.pop(next(iter(self._cached))))

    def snapshot(self) -> tuple[int, bytes]:
        """The snapshot at the head, and its index."""
        head_index = self._log.head_index
        if self._snapshot is None or self._snapshot[0] != head_index:
            frame = sync_pb2.ControlMessage(snapshot=self._log.snapshot()).SerializeToString()
            self._snapshot = (head_index, frame)
        return self._snapshot

    def _is_over_budget(self) -> bool:
        return len(self._cached) > MAXIMUM_CACHED_FRAMES or self._cached_bytes > MAXIMUM_CACHED_BYTES


Subscriber = Callable[[sync_pb2.Entry, float], None]
"""Told of each entry after its transaction has committed, with the moment of the commit."""
