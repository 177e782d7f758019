"""What gRPC says over HTTP/2: heads, messages with their lengths, trailers with a status (gRPC over HTTP/2, "PROTOCOL-HTTP2"). Pure."""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final
from urllib.parse import quote, unquote

from control_plane.http2_frames import END_HEADERS, END_STREAM, Kind, frame, literal

LONGEST_MESSAGE: Final = 1024 * 1024
"""Nodes say little, but for one that refuses thousands of resources."""
MESSAGE_HEAD_BYTES: Final = 5

_STATUS_200: Final = b"\x88"
"""`:status: 200`, of the static table (RFC 7541 appendix A)."""
_CONTENT_TYPE: Final = literal(b"content-type", b"application/grpc")
_LONGEST_QUOTED: Final = 120


class Status(IntEnum):
    """Those that are answered here."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14


class MessageError(Exception):
    """The call cannot go on; the message says why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class MessageReader:
    """Data in, whole messages out; what waits is at most one message. A long one that comes in many pieces is put together once: whoever sends it byte by byte must not
    have it copied for each."""

    __slots__ = ("_longest", "_pieces", "_wanted")

    def __init__(self, longest: int = LONGEST_MESSAGE) -> None:
        """A message of more than `longest` bytes is a MessageError."""
        self._longest = longest
        self._pieces: bytearray | None = None
        self._wanted = 0
        """Before so many bytes have come, there is nothing to look at."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole with this."""
        if self._pieces is not None:
            self._pieces += data
            if len(self._pieces) < self._wanted:
                return
            data, self._pieces = bytes(self._pieces), None
        at, end_of_data = 0, len(data)
        self._wanted = MESSAGE_HEAD_BYTES
        while end_of_data - at >= MESSAGE_HEAD_BYTES:
            begin = at + MESSAGE_HEAD_BYTES
            end = begin + int.from_bytes(data[at + 1 : begin], "big")
            if data[at]:
                raise MessageError(Status.UNIMPLEMENTED, "messages must not be compressed")
            if end - begin > self._longest:
                raise MessageError(
                    Status.RESOURCE_EXHAUSTED, f"a message of {end - begin} bytes; {self._longest} at most"
                )
            if end_of_data < end:
                self._wanted = end - at
                break
            yield data[begin:end]
            at = end
        if at < end_of_data:
            self._pieces = bytearray(data[at:])


def message_head(length: int) -> bytes:
    """What comes before a message of so many bytes."""
    return b"\x00" + length.to_bytes(4, "big")


def response_head(stream: int) -> bytes:
    """The call is taken."""
    return frame(Kind.HEADERS, END_HEADERS, stream, _STATUS_200 + _CONTENT_TYPE)


def trailers(stream: int, status: Status, reason: str, *, is_first: bool) -> bytes:
    """The end of a call; with the head, if nothing came before. Trailers are HEADERS again, and the stream is over for us."""
    head = _STATUS_200 + _CONTENT_TYPE if is_first else b""
    block = head + literal(b"grpc-status", str(int(status)).encode())
    if reason:
        block += literal(b"grpc-message", _quoted(reason))
    return frame(Kind.HEADERS, END_HEADERS | END_STREAM, stream, block)


def request_head(method: str, scheme: str, authority: str) -> bytes:
    """The block of a head with which a call begins; the same for all calls of a method on a connection."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", scheme.encode()),
        (b":path", method.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    return b"".join(literal(name, value) for name, value in fields)


def end_of(fields: Mapping[str, str], *, is_last: bool) -> str | None:
    """What a server's head or trailers say of why the call is over; None when it is not."""
    status = fields.get(":status", "200")
    if status != "200":
        return f"the leader answered with the status {status} of HTTP"
    if not is_last:
        return None
    return unquote(fields.get("grpc-message", "")) or "the leader closed the stream"


def _quoted(reason: str) -> bytes:
    """Percent-encoded, and cut where it is too long, but not within a character."""
    cut = reason
    while len(quoted := quote(cut, safe=" !\"#$&'()*+,/:;<=>?@[]^`{|}~")) > _LONGEST_QUOTED:
        cut = cut[: max(1, len(cut) * _LONGEST_QUOTED // len(quoted)) - 1]
    return quoted.encode("ascii")


def problem_with(fields: dict[str, str]) -> str | None:
    """Why this is not the head of a gRPC request."""
    if fields.get(":method") != "POST":
        return "the method must be POST"
    if not fields.get("content-type", "").startswith("application/grpc"):
        return "the content type must be application/grpc"
    return None
