"""Sending a stored body at the viewer's own pace, piece by piece, so that no more of it is in memory than what is on its way.

Pieces that are lent (`LentPiece`: of a file, proven before) go from the page cache to the socket. What the socket does not take stays in the file, but for a few KiB
that wait in the transport, which tells when to go on.

All others are read into one buffer of the node. A piece is in it only from the moment it is read until `send_body` has returned, within one call: the stream gives it
to the socket and copies the rest. Nothing that waits for a viewer lies in the buffer, however many viewers there are, and what is read and sent stays in the
processor's cache.
"""

import asyncio
import mmap
from collections.abc import Callable, Iterator
from typing import Final

from edge_node.caching.entry import Entry
from edge_node.caching.stored_body import BodyLostError, LentPiece, Piece
from edge_node.delivery.downstream import DownstreamHead, DownstreamStream
from edge_node.policy.representation import Representation

LARGEST_COPIED_PIECE_BYTES: Final = 16_384
BUFFER_BYTES: Final = 786_432
"""Of a body on disk that are read and sent at once, and at most copied for a viewer that does not follow. Less, and more, costs processor time (docs/disk-format.md)."""
LARGEST_TURN_BYTES: Final = 2_097_152
"""Once so much has been sent to one viewer, the others have their turn: half a millisecond to one. With half of it a mapped body takes a tenth more processor time."""


def new_buffer() -> memoryview:
    """Of a node. It takes no memory before a body is read into it."""
    return memoryview(mmap.mmap(-1, BUFFER_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def pieces_of(entry: Entry, content: Representation, buffer: memoryview | None = None) -> Iterator[Piece]:
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


def pieces_to_send(
    entry: Entry, content: Representation, buffer: memoryview, downstream: DownstreamStream
) -> Iterator[Piece | LentPiece]:
    """The same for an answer at the viewer's pace: with pieces that are lent, if the stream can send those."""
    body = entry.body
    if body is None or not downstream.may_lend:
        yield from pieces_of(entry, content, buffer)
        return
    for head, part in content.parts:
        if head:
            yield head
        yield from body.sendable_pieces(part.first, part.last, buffer)
    if content.closing:
        yield content.closing


def _cut_block(block: bytes, first: int, end: int) -> Piece:
    """Small pieces are copied, so that a slow viewer of a few bytes does not keep the whole block."""
    return block[first:end] if end - first <= LARGEST_COPIED_PIECE_BYTES else memoryview(block)[first:end]


class BodySender:
    """One answer under way: who a stream is told to ask for more."""

    def __init__(
        self,
        downstream: DownstreamStream,
        head: DownstreamHead,
        pieces: Iterator[Piece | LentPiece],
        ended: Callable[[bool], None],
    ) -> None:
        self._downstream = downstream
        self._head = head
        self._pieces = pieces
        self._lent: LentPiece | None = None
        """The piece that the viewer has taken to a part."""
        self._lent_until = 0
        self._ended = ended
        """Told once whether all was sent."""
        self._sent_bytes = 0
        self._is_ended = False

    def start(self) -> None:
        """Begin to send."""
        self._downstream.begin(self, is_unbuffered=True)
        self._downstream.send_head(self._head)
        self.credit_returned()

    def credit_returned(self) -> None:
        """Send as long as the viewer takes it, and others do not wait for too long."""
        turn_end = self._sent_bytes + LARGEST_TURN_BYTES
        while not self._downstream.is_write_blocked and not self._is_ended:
            if self._sent_bytes >= turn_end:
                asyncio.get_running_loop().call_soon(self.credit_returned)
                return
            try:
                is_more = self._send_some()
            except BodyLostError:
                self._end(is_whole=False)
                self._downstream.reset()
                return
            if not is_more:
                self._downstream.end()
                self._end(is_whole=True)
                self._downstream.release()

    def _send_some(self) -> bool:
        """The next piece, or what the viewer takes of it; False: that was all."""
        if self._lent is None:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            if isinstance(piece, (bytes, memoryview)):
                self._sent_bytes += len(piece)
                self._downstream.send_body(piece)
                return True
            self._lent, self._lent_until = piece, 0
        until = self._downstream.send_lent(self._lent, self._lent_until)
        self._sent_bytes += until - self._lent_until
        self._lent_until = until
        if until >= self._lent.length:
            self._lent = None
        return True

    def viewer_left(self) -> None:
        """The connection is gone."""
        self._end(is_whole=False)

    def _end(self, *, is_whole: bool) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._lent = None
            self._ended(is_whole)
