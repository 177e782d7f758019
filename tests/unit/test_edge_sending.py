"""A stored body on its way to one viewer: its pace, its turns, and its ends (edge_node/sending.py)."""

import asyncio
from collections.abc import Callable, Iterator

from edge_node.caching.bodies import BodyLostError, Piece
from edge_node.sending import LARGEST_TURN_BYTES, BodySender

PIECE = memoryview(bytes(200_000))


class Wire:
    """Takes what it is sent, until the test says that it is held up."""

    def __init__(self) -> None:
        self.is_held_up = False
        self.written: list[bytes] = []
        self.is_aborted = False
        self.held_up_after: int | None = None
        self.write: Callable[[Piece], None] = self._keep

    def begin_paced(self, exchange: BodySender) -> None:
        del exchange

    def _keep(self, data: Piece) -> None:
        self.written.append(bytes(data))
        self.is_held_up = self.is_held_up or len(self.written) == self.held_up_after

    def abort(self) -> None:
        self.is_aborted = True


class Ends:
    """What the owner was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def __call__(self, sent_bytes: int, is_whole: bool) -> None:
        self.told.append((sent_bytes, is_whole))


def start(wire: Wire, pieces: Iterator[Piece]) -> tuple[BodySender, Ends]:
    ends = Ends()
    sender = BodySender(wire, b"head", pieces, ends)
    sender.start()
    return sender, ends


async def test_a_viewer_that_takes_everything_leaves_the_others_a_turn() -> None:
    wire = Wire()
    _, ends = start(wire, iter([PIECE] * 30))
    turns = [sum(map(len, wire.written))]
    while not ends.told:
        await asyncio.sleep(0)
        turns.append(sum(map(len, wire.written)))
    steps = [after - before for before, after in zip([0, *turns], turns, strict=False)]
    assert max(steps) < LARGEST_TURN_BYTES + len(PIECE) + len(b"head") and len(turns) >= 5
    assert ends.told == [(30 * len(PIECE), True)] and wire.written[0] == b"head"


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
