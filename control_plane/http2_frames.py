"""Frames of HTTP/2 as bytes, as far as a gRPC server needs them: RFC 9113 sections 4 and 6, RFC 7541 section 6.2.2. Pure; what follows from one: `grpc_connection.py`."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD_BYTES: Final = 9
FRAME_BYTES: Final = 16_384
"""The most that is received in one, and is sent in one unless the peer takes more (section 4.2)."""
WINDOW_BYTES: Final = 65_535
"""Of a connection and of a stream, until something else is said (section 6.9.2)."""
LARGEST_WINDOW: Final = 2**31 - 1

END_STREAM, ACKNOWLEDGED, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


class Kind(IntEnum):
    """Types of frames (section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Those that matter here (section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Those that are said here (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFailedError(Exception):
    """The peer broke a rule, and the connection has to end (section 5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Frame(NamedTuple):
    """One that has come whole. Made for each message of each node, and a tuple is made in less than half the time of a frozen dataclass."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class FrameReader:
    """Bytes in, whole frames out; what is left over is at most one frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with this."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end_of_data = 0, len(data)
        while end_of_data - at >= FRAME_HEAD_BYTES:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > FRAME_BYTES:
                raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            begin = at + FRAME_HEAD_BYTES
            if end_of_data < begin + length:
                break
            stream = int.from_bytes(data[at + 5 : begin], "big") & 0x7FFFFFFF
            yield Frame(data[at + 3], data[at + 4], stream, data[begin : begin + length])
            at = begin + length
        self._rest = data[at:]


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def data_head(length: int, stream: int) -> bytes:
    """What comes before so many bytes of data."""
    return length.to_bytes(3, "big") + b"\x00\x00" + stream.to_bytes(4, "big")


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items())
    return frame(Kind.SETTINGS, 0, 0, payload)


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Names and values in their order."""
    if len(payload) % 6:
        raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "settings that are cut off")
    for at in range(0, len(payload), 6):
        yield int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")


def window_update(stream: int, number: int) -> bytes:
    """More may be sent to us."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, number.to_bytes(4, "big"))


def read_number(payload: bytes) -> int:
    """The one number of a WINDOW_UPDATE (31 bits) or RST_STREAM."""
    if len(payload) != 4:
        raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "a frame of another length than its kind has")
    return int.from_bytes(payload, "big")


def reset(stream: int, code: ErrorCode) -> bytes:
    """The stream is over."""
    return frame(Kind.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def go_away(last_stream: int, code: ErrorCode, reason: str = "") -> bytes:
    """The connection is over."""
    return frame(Kind.GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + reason.encode())


def content(received: Frame) -> bytes:
    """A payload without its padding and priority (sections 6.1 and 6.2)."""
    payload, begin, end = received.payload, 0, len(received.payload)
    if received.flags & PADDED:
        if not payload:
            raise ConnectionFailedError(ErrorCode.FRAME_SIZE_ERROR, "padding without a length")
        begin, end = 1, end - payload[0]
    if received.kind == Kind.HEADERS and received.flags & PRIORITY:
        begin += 5
    if begin > end:
        raise ConnectionFailedError(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[begin:end]


def literal(name: bytes, value: bytes) -> bytes:
    """A field that is in no table, without indexing and without Huffman's code; each below 127 bytes, or the value is cut."""
    value = value[:126]
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
