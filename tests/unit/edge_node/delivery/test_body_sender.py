"""A stored body on its way to one viewer: its pace, its turns, and its ends (edge_node/delivery/body_sender.py)."""

import asyncio
from collections.abc import Iterator, Sequence

from edge_node.caching.lookup import Reason, Result
from edge_node.caching.stored_body import BodyLostError, LentPiece, Piece
from edge_node.delivery.body_sender import LARGEST_TURN_BYTES, BodySender
from edge_node.delivery.downstream import DownstreamHead, ResponseSource
from edge_node.model.connection_facts import NO_CONNECTION
from edge_node.model.http import Headers
from edge_node.model.tunnel import TunnelEnd

PIECE = memoryview(bytes(200_000))


HEAD = DownstreamHead(200, b"", Result.HIT, Reason.FRESH, b"Hit from cloudfront", b"id", 0, b"", None)


class Stream:
    """Takes what it is sent, until the test says that it is blocked."""

    connection = NO_CONNECTION
    received_bytes = 0
    is_open = True

    def __init__(self) -> None:
        self.is_write_blocked = False
        self.written: list[bytes] = []
        self.sent_bytes = 0
        self.is_reset = False
        self.is_released = False
        self.blocked_after: int | None = None
        self.takes: list[int] = []
        """How many bytes of a lent piece it takes each time; then all."""

    def begin(self, source: ResponseSource, *, is_unbuffered: bool = False) -> None:
        assert is_unbuffered, "pieces are in a shared buffer"

    def take_over(self, head: DownstreamHead) -> TunnelEnd:
        raise AssertionError("no tunnels from a cache")

    def send_interim(self, status: int, phrase: bytes, fields: Headers) -> None:
        raise AssertionError("no interim responses from a cache")

    def send_head(self, head: DownstreamHead) -> None:
        self._keep(b"head")

    def send_body(self, piece: Piece) -> None:
        self._keep(bytes(piece))
        self.sent_bytes += len(piece)

    def send_whole(self, head: DownstreamHead, pieces: Sequence[Piece]) -> None:
        raise AssertionError("piece by piece")

    def end(self) -> None:
        assert not self.is_released

    def release(self) -> None:
        self.is_released = True

    def reset(self) -> None:
        self.is_reset = True

    may_lend = True

    def send_lent(self, piece: LentPiece, first: int) -> int:
        until = first + self.takes.pop(0) if self.takes else piece.length
        self._keep(piece.copy(first, until - first))
        self.sent_bytes += until - first
        return until

    def _keep(self, data: bytes) -> None:
        self.written.append(data)
        self.is_write_blocked = self.is_write_blocked or len(self.written) == self.blocked_after


class Lent:
    """A piece of a file, of which some may have been cut off."""

    def __init__(self, data: bytes, good_bytes: int | None = None) -> None:
        self._data = data
        self._good_bytes = len(data) if good_bytes is None else good_bytes
        self.length = len(data)

    def write_to(self, descriptor: int, first: int) -> int:
        raise NotImplementedError

    def copy(self, first: int, length: int) -> bytes:
        if first + length > self._good_bytes:
            raise BodyLostError
        return self._data[first : first + length]


class Ends:
    """What the owner was told."""

    def __init__(self, stream: Stream) -> None:
        self.told: list[tuple[int, bool]] = []
        self._stream = stream

    def __call__(self, is_whole: bool) -> None:
        self.told.append((self._stream.sent_bytes, is_whole))


def start(stream: Stream, pieces: Iterator[Piece | LentPiece]) -> tuple[BodySender, Ends]:
    ends = Ends(stream)
    sender = BodySender(stream, HEAD, pieces, ends)
    sender.start()
    return sender, ends


async def test_a_viewer_that_takes_everything_leaves_the_others_a_turn() -> None:
    wire = Stream()
    _, ends = start(wire, iter([PIECE] * 60))
    turns = [sum(map(len, wire.written))]
    while not ends.told:
        await asyncio.sleep(0)
        turns.append(sum(map(len, wire.written)))
    steps = [after - before for before, after in zip([0, *turns], turns, strict=False)]
    assert max(steps) < LARGEST_TURN_BYTES + len(PIECE) + len(b"head") and len(turns) >= 5
    assert ends.told == [(60 * len(PIECE), True)] and wire.written[0] == b"head"


async def test_a_turn_is_over_when_it_is_used_up() -> None:
    wire, half = Stream(), memoryview(bytes(LARGEST_TURN_BYTES // 2))
    _, ends = start(wire, iter([half] * 3))
    assert wire.sent_bytes == LARGEST_TURN_BYTES and not ends.told
    await asyncio.sleep(0)
    assert ends.told == [(3 * len(half), True)]


async def test_nothing_is_read_for_a_viewer_that_is_write_blocked() -> None:
    wire, taken = Stream(), []
    wire.blocked_after = 3

    def pieces() -> Iterator[Piece]:
        for number in range(5):
            taken.append(number)
            yield PIECE

    sender, ends = start(wire, pieces())
    await asyncio.sleep(0)
    assert taken == [0, 1] and not ends.told
    wire.is_write_blocked = False
    sender.credit_returned()
    assert taken == [0, 1, 2, 3, 4] and ends.told == [(5 * len(PIECE), True)]


async def test_a_viewer_that_left_between_two_turns_gets_nothing_more() -> None:
    wire = Stream()
    sender, ends = start(wire, iter([PIECE] * 30))
    written = len(wire.written)
    sender.viewer_left()
    await asyncio.sleep(0)
    assert len(wire.written) == written and ends.told == [((written - 1) * len(PIECE), False)]


async def test_a_body_that_is_lost_on_the_way_cuts_the_connection_and_ends_once() -> None:
    wire = Stream()

    def pieces() -> Iterator[Piece]:
        yield PIECE
        raise BodyLostError

    sender, ends = start(wire, pieces())
    sender.viewer_left()
    assert wire.is_reset and ends.told == [(len(PIECE), False)]


async def test_a_lent_piece_is_sent_from_where_the_viewer_took_it_to() -> None:
    wire, data = Stream(), bytes(range(256))
    wire.takes, wire.blocked_after = [100, 1, 60], 3
    sender, ends = start(wire, iter([b"before", Lent(data), b"behind"]))
    assert wire.written == [b"head", b"before", data[:100]] and not ends.told
    wire.is_write_blocked = False
    sender.credit_returned()
    assert b"".join(wire.written) == b"headbefore" + data + b"behind"
    assert ends.told == [(len(data) + 12, True)] and wire.written[3:6] == [data[100:101], data[101:161], data[161:]]


async def test_a_lent_piece_counts_for_the_turn_of_the_others() -> None:
    wire = Stream()
    _, ends = start(wire, iter([Lent(bytes(PIECE))] * 30))
    assert sum(map(len, wire.written)) < LARGEST_TURN_BYTES + len(PIECE) + len(b"head")
    while not ends.told:
        await asyncio.sleep(0)
    assert ends.told == [(30 * len(PIECE), True)]


async def test_a_lent_piece_that_is_lost_half_way_cuts_the_connection_and_says_what_was_sent() -> None:
    wire = Stream()
    wire.takes = [70, 50]
    _, ends = start(wire, iter([Lent(bytes(200), good_bytes=100), b"never"]))
    assert wire.is_reset and ends.told == [(70, False)] and wire.written == [b"head", bytes(70)]


async def test_a_viewer_that_leaves_in_the_middle_of_a_lent_piece_gets_nothing_more() -> None:
    wire = Stream()
    wire.takes, wire.blocked_after = [70], 2
    sender, ends = start(wire, iter([Lent(bytes(200))]))
    sender.viewer_left()
    wire.is_write_blocked = False
    sender.credit_returned()
    assert ends.told == [(70, False)] and len(wire.written) == 2
