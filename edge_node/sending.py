"""Sending a stored body at the viewer's own pace, piece by piece, so that no more of it is in memory than what is on its way.

All answers of a node are read into one buffer. A piece is in it only from the moment it is read until `write` has returned, within one call: the connection gives it
to the socket and copies the rest. Nothing that waits for a viewer lies in the buffer, however many viewers there are, and what is read and sent stays in the
processor's cache.
"""

import asyncio
import mmap
from collections.abc import Callable, Iterator
from typing import Protocol

from edge_node.caching.bodies import BodyLostError, Piece
from edge_node.caching.entry import Entry
from edge_node.policy.contents import Content

LARGEST_COPIED_PIECE_BYTES = 16_384
BUFFER_BYTES = 786_432
"""Of a body on disk that are read and sent at once, and at most copied for a viewer that does not follow. Less, and more, costs processor time (docs/disk-format.md)."""
LARGEST_TURN_BYTES = 1_048_576
"""Once so much has been sent to one viewer, the others have their turn: half a millisecond."""


class PacedWire(Protocol):
    """The viewer's connection, as a paced answer needs it."""

    is_held_up: bool
    """The viewer does not take what was sent; the connection calls `resume` when it does."""
    write: Callable[[Piece], None]
    """Send bytes, later than everything before. They are the caller's again when this returns."""

    def begin_paced(self, exchange: "BodySender") -> None:
        """From now on the connection tells the sender when it can send and when the viewer leaves; it is held up while anything waits."""

    def abort(self) -> None:
        """Cut the connection: the only honest end of a response that broke off."""


def new_buffer() -> memoryview:
    """Of a node. It takes no memory before a body is read into it."""
    return memoryview(mmap.mmap(-1, BUFFER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def pieces_of(entry: Entry, content: Content, buffer: memoryview | None = None) -> Iterator[Piece]:
    """The body of an answer; raises BodyLostError where stored bytes cannot be read. For the buffer see `Body.pieces`."""
    body, start = entry.body, entry.body_start
    for head, part in content.parts:
        if head:
            yield head
        if body is None:
            yield _cut_block(entry.block, start + part.first, start + part.last + 1)
        else:
            yield from body.pieces(part.first, part.last, buffer)
    if content.closing:
        yield content.closing


def _cut_block(block: bytes, first: int, end: int) -> Piece:
    """Small pieces are copied, so that a slow viewer of a few bytes does not keep the whole block."""
    return block[first:end] if end - first <= LARGEST_COPIED_PIECE_BYTES else memoryview(block)[first:end]


class BodySender:
    """One answer under way. It takes the place of an exchange at its connection."""

    body = None
    """Of the request: there is none."""

    def __init__(
        self, wire: PacedWire, head: bytes, pieces: Iterator[Piece], ended: Callable[[int, bool], None]
    ) -> None:
        self._wire = wire
        self._head = head
        self._pieces = pieces
        self._ended = ended
        """Told once how many bytes were sent, and whether that was all."""
        self._sent_bytes = 0
        self._is_ended = False

    def start(self) -> None:
        """Begin to send."""
        self._wire.begin_paced(self)
        self._wire.write(self._head)
        self.resume()

    def resume(self) -> None:
        """Send as long as the viewer takes it, and others do not wait for too long."""
        turn_end = self._sent_bytes + LARGEST_TURN_BYTES
        while not self._wire.is_held_up and not self._is_ended:
            if self._sent_bytes >= turn_end:
                asyncio.get_running_loop().call_soon(self.resume)
                return
            try:
                piece = next(self._pieces, None)
            except BodyLostError:
                self._end(is_whole=False)
                self._wire.abort()
                return
            if piece is None:
                self._end(is_whole=True)
                return
            self._sent_bytes += len(piece)
            self._wire.write(piece)

    def viewer_left(self) -> None:
        """The connection is gone."""
        self._end(is_whole=False)

    def _end(self, *, is_whole: bool) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._ended(self._sent_bytes, is_whole)
