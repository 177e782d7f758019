"""The second implementation of `DownstreamStream`, in the place of the HTTP/2 that is to come: many streams on one connection, with a credit each and one for all.

What leaves is frames, kept in one transcript in the order in which they were sent; `tests/fuzz/strict_frames.py` judges it. The viewer's side gives credit back in steps
of any size, and may leave one stream without touching the others. It is as strict with the pipeline as a protocol can be: nothing leaves beyond the credit, and whoever
calls out of turn is written down (`mistakes`).
"""

from collections import deque
from collections.abc import Callable, Sequence

from edge_node.caching.stored_body import LentPiece, Piece
from edge_node.delivery.downstream import DownstreamHead, ResponseSource
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.http import Headers
from edge_node.model.tunnel import TunnelEnd
from edge_node.policy.response_head import LocalNode
from tests.fuzz.strict_frames import (
    CONNECTION,
    Asked,
    Credit,
    Data,
    Ended,
    Frame,
    Head,
    Interim,
    Left,
    Reset,
    StreamResponse,
    TranscriptReader,
)

DEFAULT_CREDIT = 65_535
"""RFC 9113 section 6.9.2, for a stream and for the connection."""
DEFAULT_FRAME = 16_384
"""Section 6.5.2."""
FRAME_HEAD_BYTES = 9
"""Section 4.1; heads count as if they were not compressed."""
REQUEST_BYTES = 100
VIEWER = ConnectionFacts("192.0.2.7", 40_000)


class MultiplexedConnection:
    """One viewer's connection to a node."""

    def __init__(
        self,
        node: LocalNode,
        *,
        stream_credit: int = DEFAULT_CREDIT,
        connection_credit: int = DEFAULT_CREDIT,
        largest_frame: int = DEFAULT_FRAME,
    ) -> None:
        self.node = node
        self.transcript: list[Frame] = []
        self.mistakes: list[str] = []
        """Calls out of turn."""
        self._reader = TranscriptReader(
            stream_credit=stream_credit, connection_credit=connection_credit, largest_frame=largest_frame
        )
        self._read = 0
        self.credit = connection_credit
        self.first_stream_credit = stream_credit
        self.largest_frame = largest_frame
        self.streams: dict[int, MultiplexedStream] = {}
        """Those that are not over, in the order of their turns."""
        self._last_id = -1

    def opens(self, method: bytes, hears: Callable[[Frame], None] | None = None) -> "MultiplexedStream":
        """A request of the viewer; `hears` is told each frame of the answer."""
        self._last_id += 2  # those of viewers are odd (section 5.1.1)
        self.transcript.append(Asked(self._last_id, method))
        stream = self.streams[self._last_id] = MultiplexedStream(self, self._last_id, hears)
        return stream

    def gives_credit(self, stream_id: int, count: int) -> None:
        """The viewer takes so many bytes more, of one stream or of all. For a stream that is over it changes nothing (section 6.9)."""
        stream = self.streams.get(stream_id)
        if stream_id == CONNECTION:
            self.credit += count
        elif stream is not None:
            stream.credit += count
        else:
            return
        self.transcript.append(Credit(stream_id, count))
        self.pump()
        for waiting in tuple(self.streams.values()):
            waiting.tell_credit()

    def pump(self) -> None:
        """Send what waits, one frame of each stream in turn, as far as the credit goes."""
        ready = True
        while ready:
            ready = False
            for stream in tuple(self.streams.values()):
                ready = stream.send_frame() or ready

    def says(self, stream: "MultiplexedStream", frame: Frame) -> None:
        """A frame of the node leaves."""
        self.transcript.append(frame)
        if isinstance(frame, Ended | Reset):
            self.streams.pop(stream.id, None)
        if stream.hears is not None:
            stream.hears(frame)

    def responses(self) -> dict[int, StreamResponse]:
        """All that was said, read strictly; by stream."""
        assert not self.mistakes, self.mistakes
        while self._read < len(self.transcript):
            self._read += 1
            self._reader.read(self.transcript[self._read - 1])
        return self._reader.responses


class MultiplexedStream:
    """One request's stream (`edge_node/delivery/downstream.py`)."""

    def __init__(
        self, connection: MultiplexedConnection, stream_id: int, hears: Callable[[Frame], None] | None
    ) -> None:
        self.id = stream_id
        self.hears = hears
        self.connection = VIEWER
        self.sent_bytes = 0
        self.received_bytes = REQUEST_BYTES
        self.credit = connection.first_stream_credit
        self.source: ResponseSource | None = None
        self.is_open = True
        self.is_released = False
        self.waiting_bytes = 0
        """Taken from the pipeline beyond the credit."""
        self._wire = connection
        self._waiting: deque[memoryview] = deque()
        self._is_unbuffered = self._owes_credit = False
        self._has_head = self._is_whole = self._has_ended = False

    # -- what the pipeline calls

    @property
    def is_write_blocked(self) -> bool:
        """No credit, or something waits for it."""
        is_blocked = self.waiting_bytes > 0 or self.credit <= 0 or self._wire.credit <= 0
        self._owes_credit = self._owes_credit or is_blocked
        return is_blocked

    def begin(self, source: ResponseSource, *, is_unbuffered: bool = False) -> None:
        self._is_unbuffered = is_unbuffered
        if not self.is_released and self.is_open:
            self.source = source

    def send_interim(self, status: int, phrase: bytes, fields: Headers) -> None:
        del phrase  # there are none (section 8.3.2)
        if self._may_send("an interim response", has_head=False):
            self._says(Interim(self.id, status, tuple(fields)), fields)

    def send_head(self, head: DownstreamHead) -> None:
        if self._may_send("a head", has_head=False):
            self._has_head = True
            fields = head.fields(self._wire.node)
            self._says(Head(self.id, head.status, tuple(fields)), fields)

    def send_body(self, piece: Piece) -> None:
        if not self._may_send("a body", has_head=True) or not len(piece):
            return
        if self._is_unbuffered and self.waiting_bytes:
            self._wire.mistakes.append("a piece of an unbuffered body, while another one waits")
        self._keep(memoryview(bytes(piece)))

    @property
    def may_lend(self) -> bool:
        """What is sent is framed, and some day encrypted."""
        return False

    def send_lent(self, piece: LentPiece, first: int) -> int:
        del first
        self._wire.mistakes.append("a lent piece")
        return piece.length

    def send_whole(self, head: DownstreamHead, pieces: Sequence[Piece]) -> None:
        if not self.is_open or self.is_released:
            return
        self.send_head(head)
        for piece in pieces:
            if len(piece):
                self._keep(memoryview(piece))
        self._is_whole = True

    def take_over(self, head: DownstreamHead) -> TunnelEnd:
        """Tunnels have ends with frames of their own: tests/unit/edge_node/delivery/test_tunnel.py."""
        raise AssertionError("no conversation here asks for a tunnel")

    def end(self) -> None:
        if self._may_send("an end", has_head=True):
            self._has_ended = True
            self.sent_bytes += FRAME_HEAD_BYTES
            self._end_if_sent()

    def release(self) -> None:
        if not self._has_ended and self.is_open:
            self._wire.mistakes.append("released before its end")
        self.is_released = True
        self.source = None

    def reset(self) -> None:
        """Break the response off; who answered learns that the stream is gone."""
        if not self.is_released and self.is_open:
            self._is_gone()
            self._wire.says(self, Reset(self.id))

    # -- the viewer's side

    def leaves(self) -> None:
        """The viewer wants no more of this one."""
        if self.id in self._wire.streams:
            self._wire.transcript.append(Left(self.id))
            self._wire.streams.pop(self.id)
            self._is_gone()

    def tell_credit(self) -> None:
        """Whoever was told to wait may go on."""
        if self._owes_credit and not self.is_write_blocked:
            self._owes_credit = False
            if self.source is not None:
                self.source.credit_returned()

    # -- inside

    def send_frame(self) -> bool:
        """As much as one frame holds and the credit allows; False: nothing."""
        room = min(self.credit, self._wire.credit, self._wire.largest_frame)
        if not self._waiting or room <= 0:
            return False
        piece = self._waiting.popleft()
        if len(piece) > room:
            self._waiting.appendleft(piece[room:])
        data = bytes(piece[:room])
        self.waiting_bytes -= len(data)
        self.credit -= len(data)
        self._wire.credit -= len(data)
        self._wire.says(self, Data(self.id, data))
        self._end_if_sent()
        return True

    def _keep(self, piece: memoryview) -> None:
        self._waiting.append(piece)
        self.waiting_bytes += len(piece)
        self.sent_bytes += FRAME_HEAD_BYTES + len(piece)
        self._wire.pump()

    def _end_if_sent(self) -> None:
        if self._has_ended and not self._waiting and self.is_open:
            self.is_open = False
            self._wire.says(self, Ended(self.id))

    def _may_send(self, what: str, *, has_head: bool) -> bool:
        """A stream that is gone takes everything and sends nothing; calls in another order are a mistake."""
        if not self.is_open or self.is_released:
            return False
        if self._has_head != has_head or self._has_ended or (self._is_whole and what != "an end"):
            self._wire.mistakes.append(f"{what} out of turn on stream {self.id}")
            return False
        return True

    def _says(self, frame: Frame, fields: Headers) -> None:
        self.sent_bytes += FRAME_HEAD_BYTES + sum(len(name) + len(value) for name, value in fields)
        self._wire.says(self, frame)

    def _is_gone(self) -> None:
        self.is_open = False
        self._waiting.clear()
        self.waiting_bytes = 0
        source, self.source = self.source, None
        if source is not None:
            source.viewer_left()
