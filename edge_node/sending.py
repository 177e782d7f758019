"""Sending a stored body at the viewer's own pace, piece by piece, so that no more of it is in memory than what is on its way."""

from collections.abc import Callable, Iterator
from typing import Protocol

from edge_node.caching.bodies import BodyLostError, Piece
from edge_node.caching.entry import Entry
from edge_node.policy.contents import Content

LARGEST_COPIED_PIECE_BYTES = 16_384


class PacedWire(Protocol):
    """The viewer's connection, as a paced answer needs it."""

    is_held_up: bool
    """The viewer does not take what was sent; the connection calls `resume` when it does."""

    def send(self, data: Piece) -> None:
        """Send bytes, later than everything before."""

    def begin_exchange(self, exchange: "BodySender") -> None:
        """From now on the connection tells the sender when it can send and when the viewer leaves."""

    def abort(self) -> None:
        """Cut the connection: the only honest end of a response that broke off."""


def pieces_of(entry: Entry, content: Content) -> Iterator[Piece]:
    """The body of an answer; raises BodyLostError where stored bytes cannot be read."""
    body, start = entry.body, entry.body_start
    for head, part in content.parts:
        if head:
            yield head
        if body is None:
            yield _cut_block(entry.block, start + part.first, start + part.last + 1)
        else:
            yield from body.pieces(part.first, part.last)
    if content.closing:
        yield content.closing


def _cut_block(block: bytes, first: int, end: int) -> Piece:
    """Small pieces are copied, so that a slow viewer of a few bytes does not keep the whole block."""
    return block[first:end] if end - first <= LARGEST_COPIED_PIECE_BYTES else memoryview(block)[first:end]


class BodySender:
    """One answer under way. It takes the place of an exchange at its connection."""

    body = None
    """Of the request: there is none."""

    def __init__(self, wire: PacedWire, pieces: Iterator[Piece], ended: Callable[[int, bool], None]) -> None:
        self._wire = wire
        self._pieces = pieces
        self._ended = ended
        """Told once how many bytes were sent, and whether that was all."""
        self._sent_bytes = 0
        self._is_ended = False

    def start(self) -> None:
        """Begin to send."""
        self._wire.begin_exchange(self)
        self.resume()

    def resume(self) -> None:
        """Send as long as the viewer takes it."""
        while not self._wire.is_held_up and not self._is_ended:
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
            self._wire.send(piece)

    def viewer_left(self) -> None:
        """The connection is gone."""
        self._end(is_whole=False)

    def _end(self, *, is_whole: bool) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._ended(self._sent_bytes, is_whole)
