"""The change log as it goes over the wire: entries from changes, frames from entries; DESIGN section 3. What it is stored in is the business of `store.py`."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Protocol

from control_plane.nodes import Role
from control_plane.receipts import IssuedInvalidation
from control_plane.resource_kinds import CACHES, kinds_for
from control_plane.state import Change, Delete, Invalidate, Put
from control_plane.trouble import Trouble
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.resources import ResourceName, changed_name, delete_change

READ_ENTRIES = 128
"""Entries that are read from the database at a time for a node that lags."""

DIGEST_BYTES = 16
"""As many as are too many to guess: a position that is made up is never taken for one of this log."""

EMPTY_HISTORY = b""
"""The digest before the first entry."""

MAXIMUM_CACHED_FRAMES = 2048
MAXIMUM_CACHED_BYTES = 32 * 1024 * 1024

PIECE_BYTES = 1024 * 1024
"""Of a snapshot: as much as one message should hold, so that a lease has not to wait behind more."""
GROWN_TOO_MUCH = 4
"""A snapshot is made anew when the entries since then are more than one part in so many of its size: nodes that start together get one and the same, and the entries
after it."""


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


def to_entry(changes: Iterable[Change], after: LogPosition, now: float) -> sync_pb2.Entry:
    """The entry that publishes `changes` as the next one, with the digest of the history that ends with it."""
    entry = sync_pb2.Entry(log_id=after.log_id, index=after.index + 1)
    entry.committed_at.FromDatetime(datetime.fromtimestamp(now, UTC))
    for change in changes:
        match change:
            case Put(name, body):
                entry.changes.add(put=resource_message(name, entry.index, body))
            case Delete(name):
                entry.changes.append(delete_change(name))
            case Invalidate(invalidation):
                entry.invalidations.append(invalidation)
    _check(entry)
    entry.digest = next_digest(after.digest, entry.SerializeToString())
    return entry


def resource_message(name: ResourceName, revision: int, body: bytes) -> sync_pb2.Resource:
    """As it goes over the wire."""
    kind = sync_pb2.ResourceKind.ValueType(name.kind)
    return sync_pb2.Resource(kind=kind, id=name.identifier, revision=revision, body=body)


def _check(entry: sync_pb2.Entry) -> None:
    names = [changed_name(change) for change in entry.changes]
    if len(set(names)) != len(names):
        raise ValueError("an entry changes a resource twice")
    if len(entry.invalidations) > 1:
        raise ValueError("an entry holds two invalidations, and receipts are by index")


def next_digest(digest: bytes, entry: bytes) -> bytes:
    """The digest of a history that goes on with these bytes (DESIGN section 4, rule 9).

    Each digest is over the one before, so that one comparison is about all entries. The bytes are hashed once, here; the digest then travels and is stored as what it is,
    and nobody has to serialize an entry again in the same way. The index is in the bytes, and so are the time of the commit and the identifier of an invalidation: two
    logs that part do not come together again by having the same said to them.
    """
    return hashlib.blake2b(digest.ljust(DIGEST_BYTES, b"\0") + entry, digest_size=DIGEST_BYTES).digest()


def issued_invalidation(entry: sync_pb2.Entry, now: float) -> IssuedInvalidation | None:
    """What a receipt is owed for, if the entry has an invalidation."""
    for invalidation in entry.invalidations:
        return IssuedInvalidation(
            identifier=invalidation.id,
            distribution_id=invalidation.distribution_id,
            index=entry.index,
            paths=tuple(invalidation.paths),
            issued_at=now,
        )
    return None


def part_for(entry: sync_pb2.Entry, role: Role) -> sync_pb2.Entry:
    """What of an entry concerns nodes of a role; the same entry if all of it does."""
    kinds = kinds_for(role)
    changes = [change for change in entry.changes if changed_name(change).kind in kinds]
    is_invalidating = bool(entry.invalidations) and role in CACHES
    if len(changes) == len(entry.changes) and is_invalidating == bool(entry.invalidations):
        return entry
    part = sync_pb2.Entry(log_id=entry.log_id, index=entry.index, digest=entry.digest, changes=changes)
    part.committed_at.CopyFrom(entry.committed_at)
    if is_invalidating:
        part.invalidations.extend(entry.invalidations)
    return part


def snapshot_pieces(snapshot: sync_pb2.Snapshot, role: Role) -> list[sync_pb2.Snapshot]:
    """What of a snapshot concerns nodes of a role, in pieces that follow each other."""
    kinds = kinds_for(role)
    pieces: list[sync_pb2.Snapshot] = []
    room = 0
    for resource in snapshot.resources:
        if int(resource.kind) not in kinds:
            continue
        room -= resource.ByteSize()
        if room < 0 or not pieces:
            pieces.append(_empty_piece(snapshot))
            room = PIECE_BYTES - resource.ByteSize()
        pieces[-1].resources.append(resource)
    pieces = pieces or [_empty_piece(snapshot)]
    for number, piece in enumerate(pieces, 1):
        piece.remaining_pieces = len(pieces) - number
    return pieces


def _empty_piece(snapshot: sync_pb2.Snapshot) -> sync_pb2.Snapshot:
    return sync_pb2.Snapshot(log_id=snapshot.log_id, index=snapshot.index, digest=snapshot.digest)


@dataclass(frozen=True, slots=True)
class SnapshotFrames:
    """One snapshot as it goes over the wire."""

    index: int
    pieces: Sequence[bytes]


class Frames:
    """Entries and snapshots as serialized ControlMessages, made once for all nodes of a role and kept while they are likely to be wanted."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._cached: dict[int, Mapping[Role, bytes]] = {}
        self._cached_bytes = 0
        self._snapshots: dict[Role, SnapshotFrames] = {}
        self._snapshot_bytes = 0
        self._grown_bytes = 0
        """Since the snapshots were made."""

    def of(self, role: Role) -> "RoleFrames":
        """What nodes of a role get."""
        return RoleFrames(self, role)

    def after(self, index: int, role: Role) -> bytes | None:
        """The entry that follows `index`; None at the head."""
        if index >= self._log.head_index:
            return None
        if index + 1 not in self._cached:
            for entry in self._log.entries_after(index, READ_ENTRIES):
                self.add(entry)
        frames = self._cached.get(index + 1)
        if frames is None:
            self._snapshots.clear()  # what follows them may be gone as well
            raise TooFarBehindError
        return frames[role]

    def add(self, entry: sync_pb2.Entry) -> None:
        """Keep the frames of an entry, at the cost of those that were kept first."""
        self._cached_bytes -= _size(self._cached.pop(entry.index, _NO_FRAMES))
        frames = self._cached[entry.index] = _frames_of(entry)
        self._cached_bytes += _size(frames)
        self._grown_bytes += _size(frames)
        while len(self._cached) > 1 and self._is_over_budget():
            self._cached_bytes -= _size(self._cached.pop(next(iter(self._cached))))

    def snapshot(self, role: Role) -> SnapshotFrames:
        """A snapshot at the head, or a little before it."""
        if not self._snapshots or self._grown_bytes * GROWN_TOO_MUCH > self._snapshot_bytes:
            whole = self._log.snapshot()
            self._snapshots = {each: _snapshot_frames(whole, each) for each in Role}
            self._snapshot_bytes, self._grown_bytes = whole.ByteSize(), 0
        return self._snapshots[role]

    def _is_over_budget(self) -> bool:
        return len(self._cached) > MAXIMUM_CACHED_FRAMES or self._cached_bytes > MAXIMUM_CACHED_BYTES


class RoleFrames:
    """The entries that nodes of one role get. See entry_batches.EntryFrames."""

    def __init__(self, frames: Frames, role: Role) -> None:
        self._frames = frames
        self._role = role

    def after(self, index: int) -> bytes | None:
        """The entry that follows `index`; None at the head."""
        return self._frames.after(index, self._role)


_NO_FRAMES: Final[Mapping[Role, bytes]] = MappingProxyType({})


def _frames_of(entry: sync_pb2.Entry) -> Mapping[Role, bytes]:
    """Serialized once for all roles that get the same."""
    frames: dict[Role, bytes] = {}
    known: dict[bytes, bytes] = {}
    for role in Role:
        frame = sync_pb2.ControlMessage(entry=part_for(entry, role)).SerializeToString()
        frames[role] = known.setdefault(frame, frame)
    return frames


def _size(frames: Mapping[Role, bytes]) -> int:
    return sum({id(frame): len(frame) for frame in frames.values()}.values())


def _snapshot_frames(snapshot: sync_pb2.Snapshot, role: Role) -> SnapshotFrames:
    pieces = snapshot_pieces(snapshot, role)
    frames = [sync_pb2.ControlMessage(snapshot=piece).SerializeToString() for piece in pieces]
    return SnapshotFrames(snapshot.index, frames)


@dataclass(frozen=True, slots=True)
class CommittedEntry:
    """An entry that is durable, by whichever process."""

    entry: sync_pb2.Entry
    invalidation: IssuedInvalidation | None
    """What a receipt is owed for, as that process has recorded it."""


Subscriber = Callable[[CommittedEntry, float], None]
"""Told of each entry after its transaction has committed, and when it was heard of here."""


class FollowedLog(Log, Protocol):
    """The log as those read it who tell nodes of it. `store.py` has the real one."""

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing can be written; None while it can."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have `subscriber` called for each entry after its commit."""

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """It is told of nothing more."""

    def catch_up(self) -> None:
        """Tell subscribers of what has been committed since the last time, by whomever. StoreError when it cannot be read; LogGapError."""

    def try_to_write(self) -> None:
        """See whether the database takes writes again."""
