"""Heads and trailers of HTTP/2, put together from HEADERS and CONTINUATION and decoded: RFC 9113 sections 4.3, 6.2 and 6.10, RFC 7541."""

from dataclasses import dataclass
from typing import Final

from hpack import Decoder, HPACKError

from control_plane.http2_frames import (
    END_HEADERS,
    END_STREAM,
    ConnectionFailedError,
    ErrorCode,
    Frame,
    Kind,
    content,
)

LONGEST_HEAD: Final = 16_384
FIRST_TABLE_BYTES: Final = 4_096
"""What a peer may use of a table until it has seen our settings (RFC 7541 section 4.2)."""


@dataclass(frozen=True, slots=True)
class Head:
    """One that has come whole."""

    stream: int
    fields: dict[str, str]
    is_last: bool
    """Nothing comes after it on its stream."""


class HeadReader:
    """Frames in, whole heads out; what waits is at most one head. Every one is decoded, also of a stream that is over: the table is the connection's (section 4.3)."""

    __slots__ = ("_block", "_decoder", "_first")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._block = b""
        self._first: Frame | None = None
        """Of a head that goes on in CONTINUATION frames."""

    @property
    def is_within_head(self) -> bool:
        """Whether the next frame must be a CONTINUATION (section 6.10)."""
        return self._first is not None

    def feed(self, received: Frame) -> Head | None:
        """The head, if it is whole with this frame."""
        if received.kind == Kind.HEADERS:
            self._first, self._block = received, content(received)
        elif self._first is None or self._first.stream != received.stream:
            raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "a head that goes on without a beginning")
        else:
            self._block += received.payload
        if len(self._block) > LONGEST_HEAD:
            raise ConnectionFailedError(ErrorCode.ENHANCE_YOUR_CALM, "a head that is too long")
        if not received.flags & END_HEADERS:
            return None
        first, block = self._first, self._block
        self._first, self._block = None, b""
        return Head(first.stream, self._decoded(block), is_last=bool(first.flags & END_STREAM))

    def _decoded(self, block: bytes) -> dict[str, str]:
        if self._decoder is None:
            self._decoder = Decoder(LONGEST_HEAD)
            self._decoder.max_allowed_table_size = FIRST_TABLE_BYTES
        try:
            fields = self._decoder.decode(block, raw=True)
        except HPACKError as error:
            raise ConnectionFailedError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
