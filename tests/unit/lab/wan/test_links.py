"""When bytes come out of a link: queues against a slow reference, delays and losses by their distributions with a seed, handshakes."""

import math
import random
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.wan.links import (
    Distribution,
    Link,
    Path,
    SharedQueue,
    StreamPath,
    datagram_arrival,
    retransmission_seconds,
    sample_handshake,
)

MS = 0.001


def byte_by_byte(sends: list[tuple[int, int]], rate: int) -> list[Fraction]:
    """When the last byte of each has left, one byte after the other."""
    free_at, left = Fraction(0), []
    for now, size in sends:
        for _ in range(size):
            free_at = max(free_at, Fraction(now, 1000)) + Fraction(1, rate)
        left.append(max(free_at, Fraction(now, 1000)))
    return left


SENDS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), max_size=20)


@given(SENDS, st.integers(1_460, 20_000))
def test_a_queue_lets_out_one_byte_after_the_other(gaps: list[tuple[int, int]], rate: int) -> None:
    now, sends = 0, []
    for gap, size in gaps:
        now += gap
        sends.append((now, size))
    queue = SharedQueue(Path(bytes_per_second=rate))
    found = [queue.transmit(size, now * MS) for now, size in sends]
    assert found == pytest.approx([float(at) for at in byte_by_byte(sends, rate)])


@given(SENDS, st.integers(1_460, 20_000))
def test_what_is_queued_is_what_has_not_left(gaps: list[tuple[int, int]], rate: int) -> None:
    queue, now = SharedQueue(Path(bytes_per_second=rate)), 0.0
    for gap, size in gaps:
        now += gap * MS
        before = queue.queued_bytes(now)
        left = queue.transmit(size, now)
        assert queue.queued_bytes(now) == pytest.approx(before + size)
        assert queue.queued_bytes(left) == pytest.approx(0, abs=1e-6)


def test_there_is_room_again_when_enough_has_left() -> None:
    queue = SharedQueue(Path(bytes_per_second=10_000, queue_bytes=4_000))
    assert queue.has_room(9_000, 0.0)  # anything fits into an empty queue
    queue.transmit(4_000, 0.0)
    assert not queue.has_room(1_000, 0.0)
    at = queue.room_at(1_000, 0.0)
    assert at == pytest.approx(0.1)
    assert queue.has_room(1_000, at + 1e-9) and not queue.has_room(1_000, at - 0.001)


def test_connections_share_a_queue() -> None:
    queue, back = SharedQueue(Path(0.01, bytes_per_second=100_000)), SharedQueue(Path(0.01))
    one, other = (StreamPath(queue, back, random.Random(1)) for _ in range(2))
    assert [one.arrival(1_000, 0.0), other.arrival(1_000, 0.0)] == pytest.approx([0.02, 0.03])


def test_a_path_that_changes_keeps_what_is_queued() -> None:
    queue = SharedQueue(Path(bytes_per_second=10_000))
    queue.transmit(10_000, 0.0)
    queue.change(Path(bytes_per_second=50_000), 0.5)
    assert queue.queued_bytes(0.5) == pytest.approx(5_000)
    assert queue.transmit(5_000, 0.5) == pytest.approx(0.7)
    queue.change(Path(), 0.6)
    assert queue.transmit(1_000_000, 0.6) == 0.6


@pytest.mark.parametrize("distribution", Distribution)
def test_delays_are_distributed_as_they_say(distribution: Distribution) -> None:
    path, chance = Path(0.1, 0.01, distribution), random.Random(7)
    samples = [path.sample_delay(chance) for _ in range(20_000)]
    assert statistics.mean(samples) == pytest.approx(0.1, abs=0.0005)
    assert statistics.median(samples) == pytest.approx(path.median_delay_seconds, abs=0.0005)
    spread = 0.01 / math.sqrt(3) if distribution is Distribution.UNIFORM else 0.01
    assert statistics.stdev(samples) == pytest.approx(spread, rel=0.12)
    if distribution is Distribution.UNIFORM:
        assert min(samples) >= 0.09 and max(samples) <= 0.11


def test_no_delay_is_negative() -> None:
    path, chance = Path(0.001, 0.001), random.Random(7)
    assert min(path.sample_delay(chance) for _ in range(5_000)) == 0.0


@given(st.lists(st.integers(0, 50), max_size=50), st.sampled_from(Distribution))
def test_a_stream_stays_in_order(gaps: list[int], distribution: Distribution) -> None:
    queue, back = SharedQueue(Path(0.05, 0.05, distribution, loss=0.1)), SharedQueue(Path(0.05))
    stream, now, arrivals = StreamPath(queue, back, random.Random(3)), 0.0, []
    for gap in gaps:
        now += gap * MS
        arrivals.append(stream.arrival(100, now))
        assert arrivals[-1] >= now
    assert arrivals == sorted(arrivals)


def test_losses_are_stalls_as_often_as_segments_are_lost() -> None:
    path = Path(0.01, loss=0.02)
    queue, back, chance = SharedQueue(path), SharedQueue(Path(0.03)), random.Random(11)
    assert retransmission_seconds(path, back.path) == 0.2
    rounds, segments = 3_000, 10
    late = [StreamPath(queue, back, chance).arrival(segments * 1_460, 0.0) - 0.01 for _ in range(rounds)]
    stalls = [each for each in late if each > 1e-9]
    assert len(stalls) / rounds == pytest.approx(1 - 0.98**segments, rel=0.1)
    assert min(stalls) == pytest.approx(0.2)
    assert {round(each, 6) for each in stalls} <= {0.2, 0.6, 1.4, 3.0}


def test_the_timeout_grows_with_the_round_trip_and_its_variation() -> None:
    assert retransmission_seconds(Path(0.15, 0.01), Path(0.1, 0.005)) == pytest.approx(0.31)


def test_datagrams_are_lost_late_and_out_of_order() -> None:
    queue, chance = SharedQueue(Path(0.05, 0.02, loss=0.1)), random.Random(5)
    found = [datagram_arrival(queue, 100, number * MS, chance) for number in range(2_000)]
    came = [at for at in found if at is not None]
    assert len(came) / 2_000 == pytest.approx(0.9, abs=0.02)
    assert came != sorted(came)


def test_datagrams_beyond_the_queue_and_into_a_cut_are_dropped() -> None:
    queue, chance = SharedQueue(Path(bytes_per_second=10_000, queue_bytes=2_000)), random.Random(5)
    assert [datagram_arrival(queue, 1_000, 0.0, chance) is None for _ in range(3)] == [False, False, True]
    assert datagram_arrival(queue, 1_000, 0.1, chance) == pytest.approx(0.3)
    queue.change(Path(is_cut=True), 1.0)
    assert datagram_arrival(queue, 1, 1.0, chance) is None


def test_a_handshake_is_three_crossings() -> None:
    found = sample_handshake(Path(0.01), Path(0.03), random.Random(1))
    assert (found.syn_seconds, found.client_seconds, found.server_seconds) == pytest.approx((0.01, 0.04, 0.05))


def test_a_lost_syn_costs_a_second_then_two() -> None:
    chance = random.Random(2)
    found = {round(sample_handshake(Path(0.01, loss=0.3), Path(0.01), chance).syn_seconds, 6) for _ in range(400)}
    assert {0.01, 1.01, 3.01} <= found


@pytest.mark.parametrize(
    "path",
    [
        Path(-1),
        Path(61),
        Path(0.01, 0.02),
        Path(0.0, bytes_per_second=100),
        Path(loss=1.0),
        Path(loss=-0.1),
        Path(queue_bytes=5),
    ],
)
def test_what_makes_no_sense_is_told(path: Path) -> None:
    assert len(list(path.problems())) == 1


def test_a_link_is_cut_when_one_of_its_directions_is() -> None:
    assert Link(("a", "b"), Path(), Path(is_cut=True)).is_cut
    assert not Link(("a", "b"), Path(), Path()).is_cut
