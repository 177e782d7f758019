"""What waits to be sent to one node, and in which order.

Bounded by nature: a position in the shared log, one in the shared directory and the newest lease, never a queue of copies.
"""

import asyncio
from collections import deque

from control_plane.change_log import Frames, SnapshotFrames
from control_plane.directory import DirectoryFrames
from control_plane.nodes import NodeDescription


class NodeStream:
    """The sending half of one Sync stream."""

    def __init__(self, node: NodeDescription, number: int, frames: Frames, directory: DirectoryFrames) -> None:
        self.node_id = node.identifier
        self.number = number
        self._role = node.role
        self._frames = frames
        self._sent_index: int | None = None
        self._pieces: deque[bytes] = deque()
        """Of a snapshot; they are shared by all nodes that get it."""
        self._lease: bytes | None = None
        self._directory = directory
        self._told_version: int | None = None
        """Of the directory that was sent last."""
        self._wake = asyncio.Event()
        self._end = asyncio.Event()
        self._end_reason = ""

    def start_after(self, index: int) -> None:
        """The node has everything up to `index`."""
        self._sent_index = index
        self._wake.set()

    def start_with_snapshot(self, snapshot: SnapshotFrames) -> None:
        """The node starts over."""
        self._pieces = deque(snapshot.pieces)
        self.start_after(snapshot.index)

    def put_lease(self, frame: bytes) -> None:
        """Replaces an answer that is not sent yet: the newest heartbeat is what counts."""
        self._lease = frame
        self._wake.set()

    def directory_changed(self) -> None:
        """There may be something new in the directory: all of it goes out at once, however often it changed before."""
        self._wake.set()

    def log_grew(self) -> None:
        """There may be another entry."""
        self._wake.set()

    def end(self, reason: str) -> None:
        """Have the stream closed; the first reason counts."""
        self._end_reason = self._end_reason or reason
        self._end.set()

    async def ended(self) -> str:
        """Wait until it has to be closed; why."""
        await self._end.wait()
        return self._end_reason

    async def next_frame(self) -> bytes:
        """What to send next, as soon as there is something: a lease, a directory, a piece of a snapshot, entries.

        A lease must not wait behind a long catching up, and neither must the news that a node is dead: until a router has it, viewers are sent there.
        """
        while (frame := self._take()) is None:
            self._wake.clear()
            await self._wake.wait()
        return frame

    def _take(self) -> bytes | None:
        if self._lease is not None:
            frame, self._lease = self._lease, None
            return frame
        return self._next_directory() or self._next_piece() or self._next_entry()

    def _next_piece(self) -> bytes | None:
        return self._pieces.popleft() if self._pieces else None

    def _next_directory(self) -> bytes | None:
        frame = self._directory.since(self._told_version)
        if frame is not None:
            self._told_version = self._directory.version
        return frame

    def _next_entry(self) -> bytes | None:
        if self._sent_index is None:
            return None
        frame = self._frames.after(self._sent_index, self._role)
        if frame is not None:
            self._sent_index += 1
        return frame
