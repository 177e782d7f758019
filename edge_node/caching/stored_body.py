"""Stored bodies that are too large to be kept in one piece with their header section.

A body in memory is a tuple of the chunks it came in, shared with whoever is sending them. Bodies on disk have the same face (`storage/`), so that an answer does not
care where its bytes are.
"""

from collections.abc import Iterator
from typing import Protocol

from edge_node.caching.partial import PartialBody, cut
from edge_node.http.ranges import ByteRange

Piece = bytes | memoryview


class LentPiece(Protocol):
    """Bytes of a file that only the system may touch: whoever reads them in this process could be ended by a signal, were the file cut meanwhile."""

    @property
    def length(self) -> int:
        """In bytes."""

    def write_to(self, descriptor: int, first: int) -> int:
        """How many of the bytes from position `first` on a socket took; OSError when it takes none. Raises BodyLostError when they are not what was stored."""

    def copy(self, first: int, length: int) -> bytes:
        """These bytes, read. Raises BodyLostError when they cannot be read any more."""


class Body(Protocol):
    """The body of a stored response, whole or in part."""

    @property
    def length(self) -> int:
        """Of the whole representation, bytes."""

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory."""

    def pieces(self, first: int, last: int, buffer: memoryview | None = None) -> Iterator[Piece]:
        """The bytes from position `first` to `last`, both included, in order. Raises BodyLostError when they cannot be read any more.

        What has to be read is read into the buffer, if there is one: such a piece lasts only until the buffer is used again.
        """

    def sendable_pieces(self, first: int, last: int, buffer: memoryview) -> Iterator[Piece | LentPiece]:
        """The same for a socket, which may be given some of them without anybody reading them."""

    def holds(self, first: int, last: int) -> bool:
        """Whether all of these bytes are there."""


class BodyLostError(Exception):
    """Stored bytes that cannot be read, or are not what was written."""


class MemoryBody:
    """A whole body in the chunks in which it came."""

    __slots__ = ("_chunks", "length")

    def __init__(self, chunks: tuple[Piece, ...], length: int) -> None:
        self._chunks = chunks
        self.length = length

    @property
    def memory_bytes(self) -> int:
        """All of it."""
        return self.length

    def holds(self, first: int, last: int) -> bool:
        """It is whole."""
        return 0 <= first <= last < self.length

    def pieces(self, first: int, last: int, buffer: memoryview | None = None) -> Iterator[Piece]:
        """Without copying whole chunks."""
        del buffer  # nothing has to be read
        return iter(cut(self._chunks, ByteRange(first, last)))

    def sendable_pieces(self, first: int, last: int, buffer: memoryview) -> Iterator[Piece | LentPiece]:
        """The same: they are in memory."""
        return self.pieces(first, last, buffer)


class PartialStoredBody:
    """A body of which only parts have come (RFC 9111 section 3.3)."""

    __slots__ = ("parts",)

    def __init__(self, parts: PartialBody) -> None:
        self.parts = parts

    @property
    def length(self) -> int:
        """Of the whole representation."""
        return self.parts.complete_length

    @property
    def memory_bytes(self) -> int:
        """What has come."""
        return self.parts.stored_bytes

    def holds(self, first: int, last: int) -> bool:
        """Whether this range has come without a gap."""
        return self.parts.covers(ByteRange(first, last))

    def pieces(self, first: int, last: int, buffer: memoryview | None = None) -> Iterator[Piece]:
        """Of a range that has come."""
        del buffer  # nothing has to be read
        return iter(self.parts.cut(ByteRange(first, last)))

    def sendable_pieces(self, first: int, last: int, buffer: memoryview) -> Iterator[Piece | LentPiece]:
        """The same: they are in memory."""
        return self.pieces(first, last, buffer)
