"""A stored body on its way to one viewer: its pace, its turns, and its ends (edge_node/sending.py)."""

import asyncio
from collections.abc import Callable, Iterator

from edge_node.caching.bodies import BodyLostError, LentPiece, Piece
from edge_node.sending import LARGEST_TURN_BYTES, BodySender

PIECE = memoryview(bytes(200_000))


class Wire:
    """Takes what it is sent, until the test says that it is held up."""

    def __init__(self) -> None:
        self.is_held_up = False
        self.written: list[bytes] = []
        self.is_aborted = False
        self.held_up_after: int | None = None
        self.takes: list[int] = []
        """How many bytes of a lent piece it takes each time; then all."""
        self.write: Callable[[Piece], None] = self._keep
        self.write_lent: Callable[[LentPiece, int], int] | None = self._keep_lent

    def begin_paced(self, exchange: BodySender) -> None:
        del exchange

    def _keep(self, data: Piece) -> None:
        self.written.append(bytes(data))
        self.is_held_up = self.is_held_up or len(self.written) == self.held_up_after

    def _keep_lent(self, piece: LentPiece, first: int) -> int:
        until = first + self.takes.pop(0) if self.takes else piece.length
        self._keep(piece.copy(first, until - first))
        return until

    def abort(self) -> None:
        self.is_aborted = True


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

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def __call__(self, sent_bytes: int, is_whole: bool) -> None:
        self.told.append((sent_bytes, is_whole))


def start(wire: Wire, pieces: Iterator[Piece | LentPiece]) -> tuple[BodySender, Ends]:
    ends = Ends()
    sender = BodySender(wire, b"head", pieces, ends)
    sender.start()
    return sender, ends


async def test_a_viewer_that_takes_everything_leaves_the_others_a_turn() -> None:
    wire = Wire()
    _, ends = start(wire, iter([PIECE] * 60))
    turns = [sum(map(len, wire.written))]
    while not ends.told:
        await asyncio.sleep(0)
        turns.append(sum(map(len, wire.written)))
    steps = [after - before for before, after in zip([0, *turns], turns, strict=False)]
    assert max(steps) < LARGEST_TURN_BYTES + len(PIECE) + len(b"head") and len(turns) >= 5
    assert ends.told == [(60 * len(PIECE), True)] and wire.written[0] == b"head"


async def test_nothing_is_read_for_a_viewer_that_is_held_up() -> None:
    wire, taken = Wire(), []
    wire.held_up_after = 3

    def pieces() -> Iterator[Piece]:
        for number in range(5):
            taken.append(number)
            yield PIECE

    sender, ends = start(wire, pieces())
    await asyncio.sleep(0)
    assert taken == [0, 1] and not ends.told
    wire.is_held_up = False
    sender.resume()
    assert taken == [0, 1, 2, 3, 4] and ends.told == [(5 * len(PIECE), True)]


async def test_a_viewer_that_left_between_two_turns_gets_nothing_more() -> None:
    wire = Wire()
    sender, ends = start(wire, iter([PIECE] * 30))
    written = len(wire.written)
    sender.viewer_left()
    await asyncio.sleep(0)
    assert len(wire.written) == written and ends.told == [((written - 1) * len(PIECE), False)]


async def test_a_body_that_is_lost_on_the_way_cuts_the_connection_and_ends_once() -> None:
    wire = Wire()

    def pieces() -> Iterator[Piece]:
        yield PIECE
        raise BodyLostError

    sender, ends = start(wire, pieces())
    sender.viewer_left()
    assert wire.is_aborted and ends.told == [(len(PIECE), False)]


async def test_a_lent_piece_is_sent_from_where_the_viewer_took_it_to() -> None:
    wire, data = Wire(), bytes(range(256))
    wire.takes, wire.held_up_after = [100, 1, 60], 3
    sender, ends = start(wire, iter([b"before", Lent(data), b"behind"]))
    assert wire.written == [b"head", b"before", data[:100]] and not ends.told
    wire.is_held_up = False
    sender.resume()
    assert b"".join(wire.written) == b"headbefore" + data + b"behind"
    assert ends.told == [(len(data) + 12, True)] and wire.written[3:6] == [data[100:101], data[101:161], data[161:]]


async def test_a_lent_piece_counts_for_the_turn_of_the_others() -> None:
    wire = Wire()
    _, ends = start(wire, iter([Lent(bytes(PIECE))] * 30))
    assert sum(map(len, wire.written)) < LARGEST_TURN_BYTES + len(PIECE) + len(b"head")
    while not ends.told:
        await asyncio.sleep(0)
    assert ends.told == [(30 * len(PIECE), True)]


async def test_a_lent_piece_that_is_lost_half_way_cuts_the_connection_and_says_what_was_sent() -> None:
    wire = Wire()
    wire.takes = [70, 50]
    _, ends = start(wire, iter([Lent(bytes(200), good_bytes=100), b"never"]))
    assert wire.is_aborted and ends.told == [(70, False)] and wire.written == [b"head", bytes(70)]


async def test_a_viewer_that_leaves_in_the_middle_of_a_lent_piece_gets_nothing_more() -> None:
    wire = Wire()
    wire.takes, wire.held_up_after = [70], 2
    sender, ends = start(wire, iter([Lent(bytes(200))]))
    sender.viewer_left()
    wire.is_held_up = False
    sender.resume()
    assert ends.told == [(70, False)] and len(wire.written) == 2
