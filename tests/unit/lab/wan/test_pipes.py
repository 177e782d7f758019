"""One direction of a connection on virtual time: what comes out, when, in which order, and what bounds it."""

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.wan.links import Path, SharedQueue, StreamPath
from lab.wan.pipes import MOST_WAITING_PIECES, Pipe
from lab.wan.stages import Close, End, Event, Piece, Reset
from lab.wan.toxics import Stream, Toxic, ToxicsAtWork, read_toxic


def toxic(kind: str, toxicity: float = 1.0, **attributes: int) -> Toxic:
    return read_toxic({"type": kind, "stream": "upstream", "toxicity": toxicity, "attributes": attributes})


class Wire:
    """A pipe and its clock."""

    def __init__(
        self, *toxics: Toxic, path: Path | None = None, back: Path | None = None, window: int = 1 << 20
    ) -> None:
        self.now = 0.0
        self.chance = random.Random(1)
        self.queue = SharedQueue(path or Path())
        stream = None if path is None else StreamPath(self.queue, SharedQueue(back or Path()), self.chance)
        self.pipe = Pipe(stream, (), window)
        self.at_work = ToxicsAtWork(Stream.UPSTREAM, self.chance)
        self.change(*toxics)

    def change(self, *toxics: Toxic) -> None:
        self.pipe.change_stages(self.at_work.update(toxics, self.now), self.now)

    def feed(self, data: bytes) -> None:
        self.pipe.feed(data, self.now)

    def run(self, until: float = inf, *, may_write: bool = True) -> list[Event]:
        """Everything that comes out until then, at exactly its time."""
        found: list[Event] = []
        while (at := self.pipe.next_at(may_write=may_write)) <= until and at < inf:
            self.now = max(self.now, at)
            while (event := self.pipe.take_due(self.now, may_write=may_write)) is not None:
                found.append(event)
        if until < inf:
            self.now = until
        return found


def data_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Piece))


def times_of(events: list[Event]) -> list[float]:
    return [event.at for event in events]


def test_a_plain_pipe_hands_on_at_once() -> None:
    wire = Wire()
    assert wire.pipe.is_direct
    wire.feed(b"a")
    wire.pipe.end(0.0)
    assert wire.run() == [Piece(0.0, b"a"), End(0.0)]


def test_data_and_end_take_the_path() -> None:
    wire = Wire(path=Path(0.05, bytes_per_second=10_000))
    assert not wire.pipe.is_direct
    wire.feed(bytes(1_000))
    wire.pipe.end(0.0)
    assert times_of(wire.run()) == pytest.approx([0.15, 0.15])


def test_latency_adds_to_the_path() -> None:
    wire = Wire(toxic("latency", latency=100), path=Path(0.05))
    wire.feed(b"a")
    assert times_of(wire.run()) == pytest.approx([0.15])


def test_latency_varies_by_its_jitter_and_keeps_order() -> None:
    wire = Wire(toxic("latency", latency=100, jitter=50))
    for number in range(200):
        wire.now = number * 0.2
        wire.feed(b"a")
    lateness = [at - number * 0.2 for number, at in enumerate(times_of(wire.run()))]
    assert 0.05 <= min(lateness) < 0.06 and 0.14 < max(lateness) <= 0.15


def test_bandwidth_is_for_each_connection() -> None:
    wire = Wire(toxic("bandwidth", rate=10))
    for _ in range(3):
        wire.feed(bytes(100))
    assert times_of(wire.run()) == pytest.approx([0.01, 0.02, 0.03])
    assert wire.pipe.read_bytes == 200


def test_a_slicer_cuts_by_size_and_pauses() -> None:
    wire = Wire(toxic("slicer", average_size=10, size_variation=5, delay=1_000))
    data = bytes(range(250))
    wire.feed(data)
    wire.pipe.end(0.0)
    found = wire.run()
    sizes = [len(event.data) for event in found if isinstance(event, Piece)]
    assert data_of(found) == data and min(sizes[:-1]) >= 5 and max(sizes) <= 15 and len(set(sizes)) > 2
    assert times_of(found) == pytest.approx([number * 0.001 for number in range(len(found))])


@pytest.mark.parametrize(("limit", "expected"), [(5, b"hello"), (7, b"hello, ")])
def test_limit_data_closes_after_its_bytes(limit: int, expected: bytes) -> None:
    wire = Wire(toxic("limit_data", bytes=limit))
    wire.feed(b"hello")
    wire.feed(b", world")
    found = wire.run()
    assert data_of(found) == expected and isinstance(found[-1], Close)


def test_limit_data_of_nothing_closes_at_once() -> None:
    assert Wire(toxic("limit_data", bytes=0)).run() == [Close(0.0)]


def test_limit_data_closes_when_its_last_byte_is_there() -> None:
    wire = Wire(toxic("limit_data", bytes=5), path=Path(0.5))
    wire.feed(b"hello")
    assert wire.run() == [Piece(0.5, b"hello"), Close(0.5)]


def test_timeout_drops_and_closes_by_its_own_clock() -> None:
    wire = Wire(toxic("timeout", timeout=300))
    wire.feed(b"a")
    wire.pipe.end(0.0)
    assert wire.run() == [Close(0.3)]


def test_timeout_of_zero_is_silence_and_its_end_a_reset_since_bytes_are_missing() -> None:
    wire = Wire(toxic("timeout", timeout=0))
    wire.feed(b"a")
    assert wire.run(10.0) == []
    wire.change()
    assert wire.run() == [Reset(10.0)]


def test_a_timeout_that_had_nothing_to_drop_goes_without_a_trace() -> None:
    wire = Wire(toxic("timeout", timeout=0))
    wire.change()
    wire.feed(b"a")
    assert data_of(wire.run()) == b"a"


@pytest.mark.parametrize("milliseconds", [0, 200])
def test_reset_peer_resets_whatever_waits(milliseconds: int) -> None:
    wire = Wire(toxic("reset_peer", timeout=milliseconds))
    wire.feed(b"a")
    assert wire.run(may_write=False) == [Reset(milliseconds / 1000)]


def test_slow_close_is_late_with_the_end_only() -> None:
    wire = Wire(toxic("slow_close", delay=400))
    wire.feed(b"a")
    wire.pipe.end(0.0)
    assert wire.run() == [Piece(0.0, b"a"), End(0.4)]


def test_half_open_tells_nobody_of_the_end() -> None:
    for end in Pipe.end, Pipe.reset:
        wire = Wire(toxic("half_open"))
        wire.feed(b"a")
        end(wire.pipe, 0.0)
        assert wire.run() == [Piece(0.0, b"a")]


def test_a_reset_overtakes_what_the_receiver_does_not_take() -> None:
    wire = Wire(path=Path(0.1))
    wire.feed(b"a")
    wire.pipe.reset(0.0)
    assert wire.run(may_write=False) == [Reset(0.1)]


def test_a_reset_comes_behind_what_was_sent_before_it() -> None:
    wire = Wire(path=Path(0.1))
    wire.feed(b"a")
    wire.pipe.reset(0.0)
    assert wire.run() == [Piece(0.1, b"a"), Reset(0.1)]


def test_a_toxic_that_stays_goes_on_where_it_was() -> None:
    limit, latency = toxic("limit_data", bytes=10), toxic("latency", latency=10)
    wire = Wire(limit)
    wire.feed(bytes(6))
    wire.change(limit, latency)
    wire.feed(bytes(6))
    assert len(data_of(wire.run())) == 10


def test_toxicity_decides_once_for_each_connection() -> None:
    half = toxic("reset_peer", 0.5, timeout=0)
    chance = random.Random(3)
    hit = 0
    for _ in range(1_000):
        at_work = ToxicsAtWork(Stream.UPSTREAM, chance)
        first = at_work.update([half], 0.0)
        assert all(at_work.update([half], 1.0) == first for _ in range(3))
        hit += len(first)
    assert 450 < hit < 550


def test_a_cut_holds_back_and_sends_again() -> None:
    wire = Wire(path=Path(0.1), back=Path(0.1))
    wire.feed(b"a")
    wire.queue.change(Path(0.1, is_cut=True), 0.05)
    wire.pipe.look_at_cut(0.05)
    assert wire.pipe.is_full  # nothing more is read
    assert wire.run(5.0) == []
    wire.queue.change(Path(0.1), 5.0)
    wire.pipe.look_at_cut(5.0)
    (piece,) = wire.run()
    assert isinstance(piece, Piece) and piece.data == b"a"
    assert piece.at == pytest.approx(5.0 + 0.1 + 0.2)


def test_a_reset_into_a_cut_is_never_heard_of() -> None:
    wire = Wire(path=Path(0.1, is_cut=True))
    wire.pipe.reset(0.0)
    wire.queue.change(Path(0.1), 1.0)
    wire.pipe.look_at_cut(1.0)
    assert wire.run() == []


def test_a_pipe_is_full_in_bytes_and_in_pieces() -> None:
    wire = Wire(path=Path(1.0), window=1_000)
    wire.feed(bytes(999))
    before = wire.pipe.is_full
    wire.feed(bytes(1))
    assert (before, wire.pipe.is_full, wire.pipe.waiting_bytes) == (False, True, 1_000)
    wire, found = Wire(path=Path(1.0)), []
    for _ in range(MOST_WAITING_PIECES):
        found.append(wire.pipe.is_full)
        wire.feed(b"a")
    assert not any(found) and wire.pipe.is_full


KEEPS_EVERYTHING = st.lists(
    st.sampled_from(
        [
            toxic("latency", latency=20, jitter=20),
            toxic("bandwidth", rate=5),
            toxic("slicer", average_size=7, size_variation=6, delay=500),
            toxic("slow_close", delay=5),
        ]
    ),
    max_size=4,
)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), KEEPS_EVERYTHING, st.data())
def test_nothing_is_lost_or_moved_by_what_only_delays(
    pieces: list[bytes], toxics: list[Toxic], data: st.DataObject
) -> None:
    wire = Wire(*toxics, path=Path(0.01, 0.005, bytes_per_second=20_000, loss=0.05))
    found: list[Event] = []
    for number, piece in enumerate(pieces):
        found += wire.run(wire.now + data.draw(st.integers(0, 20)) / 1000)
        if number == len(pieces) // 2:
            wire.change(*data.draw(KEEPS_EVERYTHING))
        wire.feed(piece)
    wire.pipe.end(wire.now)
    found += wire.run()
    assert data_of(found) == b"".join(pieces)
    assert times_of(found) == sorted(times_of(found)) and isinstance(found[-1], End)
    assert wire.pipe.waiting_bytes == 0


def test_what_is_severed_holds_back_as_a_cut_does_with_and_without_a_link() -> None:
    for path, least in ((Path(0.05), 0.05 + 0.2), (None, 0.2)):
        wire = Wire(path=path)
        wire.pipe.is_severed = True
        wire.pipe.look_at_cut(0.0)
        assert not wire.pipe.is_direct and wire.pipe.is_full
        wire.feed(b"a")
        assert wire.run(10.0) == []
        wire.pipe.is_severed = False
        wire.pipe.look_at_cut(10.0)
        (piece,) = wire.run()
        assert (piece, piece.at) == (Piece(10.0 + least, b"a"), 10.0 + least)


def test_a_cut_of_the_link_goes_on_when_one_of_the_client_ends() -> None:
    wire = Wire(path=Path(is_cut=True))
    wire.pipe.is_severed = True
    wire.pipe.look_at_cut(0.0)
    wire.feed(b"a")
    wire.pipe.is_severed = False
    wire.pipe.look_at_cut(1.0)
    assert wire.run(5.0) == []


def test_toxics_along_a_link_are_of_whichever_direction_leads_that_way() -> None:
    along = [
        read_toxic({"type": "latency", "stream": word, "attributes": {"latency": late}}, tuple(Stream))
        for word, late in (("forward", 10), ("backward", 20), ("upstream", 40))
    ]
    for link_s, late in ((Stream.FORWARD, 0.05), (Stream.BACKWARD, 0.06), (None, 0.04)):
        pipe = Pipe(None, ToxicsAtWork(Stream.UPSTREAM, random.Random(1), link_s).update(along, 0.0), 1 << 20)
        pipe.feed(b"a", 0.0)
        assert pipe.next_at(may_write=True) == pytest.approx(late)
