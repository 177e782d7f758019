"""What waits to be sent to one node, and in which order.

Bounded by nature: a position in the shared log, one in the shared directory and the newest lease, never a queue of copies. What is sent is taken when the call can be
written, so that it is the newest there is; a node that does not read costs no more than one message.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from control_plane.change_log import SnapshotFrames
from control_plane.directory import DirectoryFrames
from control_plane.entry_batches import EntryBatches


def _always(_now: float) -> bool:
    return True


def _nobody_reads(_index: int) -> None:
    pass


def _nothing() -> None:
    """Is to be done."""


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What streams and what is told on them depend on."""

    silence_seconds: float
    """A stream whose node has been silent for so long is closed."""
    may_act: Callable[[float], bool] = _always
    """Whether anything may be told now, by the clock: a leader may not whose tenure is over (`leadership.py`)."""
    save_settled: Callable[[int], None] = _nobody_reads
    """Told up to which index all live nodes have acknowledged the log: see ledger.SqlLedger."""
    settled: Callable[[], None] = _nothing
    """Called when something may have been decided about nodes."""


class Wire(Protocol):
    """See grpc_calls.Call."""

    @property
    def is_writable(self) -> bool:
        """Whether more may be sent."""

    def send(self, message: bytes) -> None:
        """One message."""


class NodeStream:
    """The sending half of one Sync stream."""

    __slots__ = (
        "_clock",
        "_directory",
        "_entries",
        "_lease",
        "_pieces",
        "_sent_index",
        "_told_version",
        "_wire",
        "blocked_since",
        "node_id",
        "number",
    )

    def __init__(
        self,
        node_id: str,
        number: int,
        wire: Wire,
        shared: tuple[EntryBatches, DirectoryFrames],
        clock: Callable[[], float],
    ) -> None:
        self.node_id = node_id
        self.number = number
        self._wire = wire
        self._entries, self._directory = shared
        self._clock = clock
        self._sent_index: int | None = None
        self._pieces: deque[bytes] = deque()
        """Of a snapshot; they are shared by all nodes that get it."""
        self._lease: bytes | None = None
        self._told_version: int | None = None
        """Of the directory that was sent last."""
        self.blocked_since: float | None = None
        """Since when the node has not read what was sent to it."""

    def start_after(self, index: int) -> None:
        """The node has everything up to `index`."""
        self._sent_index = index

    def start_with_snapshot(self, snapshot: SnapshotFrames) -> None:
        """The node starts over."""
        self._pieces = deque(snapshot.pieces)
        self.start_after(snapshot.index)

    def set_lease(self, frame: bytes) -> None:
        """Replaces an answer that is not sent yet: the newest heartbeat is what counts."""
        self._lease = frame

    def push(self) -> None:
        """Send what there is for as long as the node takes it; to be called when there may be something new, and when it can be written again.

        TooFarBehindError and StoreError when the log cannot be read where the node stands.
        """
        wire = self._wire
        while wire.is_writable:
            frame = self._take()
            if frame is None:
                self.blocked_since = None
                return
            wire.send(frame)
        if self.blocked_since is None:
            self.blocked_since = self._clock()

    def _take(self) -> bytes | None:
        """What to send next: a lease, a directory, a piece of a snapshot, entries.

        A lease must not wait behind a long catching up, and neither must the news that a node is dead: until a router has it, viewers are sent there.
        """
        if self._lease is not None:
            frame, self._lease = self._lease, None
            return frame
        return self._next_directory() or self._next_piece() or self._next_entries()

    def _next_piece(self) -> bytes | None:
        return self._pieces.popleft() if self._pieces else None

    def _next_directory(self) -> bytes | None:
        frame = self._directory.since(self._told_version)
        if frame is not None:
            self._told_version = self._directory.version
        return frame

    def _next_entries(self) -> bytes | None:
        if self._sent_index is None:
            return None
        batch = self._entries.after(self._sent_index)
        if batch is None:
            return None
        self._sent_index, frame = batch
        return frame
