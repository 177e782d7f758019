"""What a connection that carries many streams may say, read strictly: frames as values, judged one by one as HTTP/2 would (RFC 9113), sharing nothing with the node.

A transcript has the frames of both sides in the order in which they were sent, so that whether a body keeps within its credit is found here and not believed.
Section numbers are those of RFC 9113, if no other is named.
"""

import re
from dataclasses import dataclass, field
from enum import Enum

from tests.fuzz.strict_http import Fields, InvalidError

CONNECTION = 0
"""In the place of a stream: the credit of all of them together (section 5.2.1)."""
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
"""Section 8.2.1: a token without capitals; none begins with a colon but those of the protocol itself."""
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_CONNECTION_SPECIFIC = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Section 8.2.2; TE is a field of requests, so it has no place in a response at all."""
_STATUSES_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True)
class Asked:
    """The viewer opens a stream."""

    stream: int
    method: bytes


@dataclass(frozen=True)
class Credit:
    """The viewer takes so many bytes more of a body; fewer than it said before, where the number is negative (section 6.9.2)."""

    stream: int
    count: int


@dataclass(frozen=True)
class Left:
    """The viewer wants no more of this stream."""

    stream: int


@dataclass(frozen=True)
class Interim:
    stream: int
    status: int
    fields: Fields


@dataclass(frozen=True)
class Head:
    stream: int
    status: int
    fields: Fields


@dataclass(frozen=True)
class Data:
    stream: int
    data: bytes


@dataclass(frozen=True)
class Ended:
    stream: int


@dataclass(frozen=True)
class Reset:
    """The node breaks the response off."""

    stream: int


Frame = Asked | Credit | Left | Interim | Head | Data | Ended | Reset


class StreamEnd(Enum):
    """How far a stream has come."""

    OPEN = "more may come"
    WHOLE = "the response is whole"
    RESET = "the node broke it off"
    LEFT = "the viewer broke it off"


@dataclass
class StreamResponse:
    """What a viewer has got on one stream."""

    method: bytes
    status: int = 0
    """Of the final head; 0: it has not come."""
    fields: Fields = ()
    interims: list[Interim] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    end: StreamEnd = StreamEnd.OPEN

    def values(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.fields if given == name]

    @property
    def may_have_body(self) -> bool:
        return self.method != b"HEAD" and self.status not in _STATUSES_WITHOUT_BODY


class TranscriptReader:
    """Reads a transcript frame by frame; InvalidError where the node said something that it must not say."""

    def __init__(self, *, stream_credit: int, connection_credit: int, largest_frame: int) -> None:
        self.responses: dict[int, StreamResponse] = {}
        """By stream."""
        self._stream_credit = stream_credit
        self._credit = {CONNECTION: connection_credit}
        self._largest_frame = largest_frame

    def read(self, frame: Frame) -> None:
        responses = self.responses
        match frame:
            case Asked(stream=stream, method=method):
                responses[stream] = StreamResponse(method)
                self._credit[stream] = self._stream_credit
            case Credit(stream=stream, count=count):
                self._credit[stream] += count
            case Left(stream=stream):
                if responses[stream].end is StreamEnd.OPEN:
                    responses[stream].end = StreamEnd.LEFT
            case Data():
                self._spend(frame)
                _take(responses[frame.stream], frame)
            case _:
                _take(responses[frame.stream], frame)

    def _spend(self, frame: Data) -> None:
        size = len(frame.data)
        if not 0 < size <= self._largest_frame:
            raise InvalidError(f"a frame of {size} bytes (section 4.2)")
        for account in (frame.stream, CONNECTION):
            self._credit[account] -= size
            if self._credit[account] < 0:
                raise InvalidError(f"more than the credit of {account or 'the connection'} (section 6.9)")


def _take(response: StreamResponse, frame: Interim | Head | Data | Ended | Reset) -> None:
    """One frame of the node (section 8.1)."""
    if response.end is not StreamEnd.OPEN:
        raise InvalidError(f"{frame} on a stream where {response.end.value}")
    match frame:
        case Interim() | Head():
            _take_head(response, frame)
        case Data():
            if not response.status or not response.may_have_body:
                raise InvalidError("a body where there is none (RFC 9110 section 6.4.1)")
            response.body += frame.data
            length = _length(response)
            if length is not None and len(response.body) > length:
                raise InvalidError("more than content-length (section 8.1.1)")
        case Ended():
            length = _length(response)
            if not response.status:
                raise InvalidError("the end of a response without a head")
            if length is not None and response.may_have_body and len(response.body) != length:
                raise InvalidError(f"{len(response.body)} bytes, content-length {length} (section 8.1.1)")
            response.end = StreamEnd.WHOLE
        case Reset():
            response.end = StreamEnd.RESET


def _take_head(response: StreamResponse, frame: Interim | Head) -> None:
    """Interim heads and one final one; 100 is the listener's own to say, and 101 has no meaning here (section 8.6)."""
    is_interim = isinstance(frame, Interim)
    if response.status or frame.status not in (range(102, 200) if is_interim else range(200, 600)):
        raise InvalidError(f"a head out of its place: {frame}")
    _judge_fields(frame.fields)
    if isinstance(frame, Interim):
        response.interims.append(frame)
        if any(name == b"content-length" for name, _ in frame.fields):
            raise InvalidError("an interim response with a length (RFC 9110 section 8.6)")
        return
    response.status, response.fields = frame.status, frame.fields
    if _length(response) is not None and frame.status == 204:
        raise InvalidError("204 with a length (RFC 9110 section 8.6)")


def _judge_fields(fields: Fields) -> None:
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidError(f"no field (section 8.2.1): {name!r}: {value!r}")
        if name in _CONNECTION_SPECIFIC or name == b"te":
            raise InvalidError(f"{name!r} belongs to a connection (section 8.2.2)")


def _length(response: StreamResponse) -> int | None:
    lengths = response.values(b"content-length")
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]+", lengths[0]):
        raise InvalidError(f"no length: {lengths}")
    return int(lengths[0])
