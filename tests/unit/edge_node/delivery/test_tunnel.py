"""Joining two ends, of which neither is a socket: credit, ends, time limits and mistakes, on a clock that the test moves."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.downstream import DownstreamHead, DownstreamStream
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_record import LogRecord, Record
from edge_node.delivery.request_recorder import RequestRecorder
from edge_node.delivery.tunnel import (
    FLUSH_TIMEOUT_SECONDS,
    IDLE_TIMEOUT_SECONDS,
    LOOK_SECONDS,
    Tunnel,
    TunnelDependencies,
)
from edge_node.model.configuration import NO_HEAD
from edge_node.model.connection_facts import NO_CONNECTION
from edge_node.model.counters import Counters
from edge_node.model.tunnel import TunnelReceiver
from edge_node.pipeline.exception_barrier import ExceptionBarrier


class FakeEnd:
    """An end whose peer is the test: takes bytes without end until it is told to take none."""

    def __init__(self) -> None:
        self.receiver: TunnelReceiver | None = None
        self.taken = b""
        self.sent_bytes = self.received_bytes = self.unsent_bytes = 0
        self.is_write_blocked = self.is_paused = self.is_ended = self.is_closed = self.is_reset = False
        self.before = b""
        """What had come behind the head."""
        self.fails = False

    @property
    def is_open(self) -> bool:
        return self.receiver is not None

    def open(self, receiver: TunnelReceiver) -> None:
        self.receiver = receiver
        if self.before:
            self.says(self.before)

    def send(self, data: bytes) -> None:
        self._may_fail()
        assert not self.is_ended and not self.is_closed and not self.is_reset
        self.taken += data
        self.sent_bytes += len(data)

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self._may_fail()
        self.is_paused = False

    def end(self) -> None:
        self._may_fail()
        self.is_ended = True

    def _may_fail(self) -> None:
        if self.fails:
            raise ZeroDivisionError

    def close(self) -> None:
        self.is_closed = True
        if not self.unsent_bytes:
            self.is_lost()

    def reset(self) -> None:
        self.is_reset = True
        self.is_lost()

    # -- the peer

    def says(self, data: bytes) -> None:
        assert self.receiver is not None
        self.received_bytes += len(data)
        self.receiver.bytes_arrived(data)

    def is_lost(self, *, is_reset: bool = False) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.end_lost(is_reset=is_reset)


class FakeStream:
    """A viewer's stream that is handed over."""

    connection = NO_CONNECTION
    sent_bytes, received_bytes = 200, 300

    def __init__(self) -> None:
        self.viewer = FakeEnd()

    def take_over(self, head: DownstreamHead) -> FakeEnd:
        return self.viewer


class Log:
    is_enabled = True

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        self.records += records


class World:
    """One tunnel."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []
        self.counters, self.log = Counters(), Log()
        recorder = RequestRecorder(self.counters, self.log, lambda: self.now, lambda: self.now)
        barrier = ExceptionBarrier(self.counters)
        self.stream, self.origin = FakeStream(), FakeEnd()
        self.viewer = self.stream.viewer
        downstream: DownstreamStream = self.stream  # type: ignore[assignment]  # nothing else of it is used
        self.context = RequestContext(downstream, NO_HEAD, None, b"id", self.now)
        self.context.result, self.context.reason = Result.MISS, Reason.WEBSOCKET
        self.tools = TunnelDependencies(recorder, self.counters, lambda: self.now, self.call_later, barrier.note)
        self.head = DownstreamHead(101, b"", Result.MISS, Reason.WEBSOCKET, b"Miss", b"id", None, b"", None)
        if is_open:
            self.open()

    def open(self) -> None:
        Tunnel(self.context, self.head, self.origin, self.tools).open()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        handle = asyncio.TimerHandle(self.now + seconds, callback, (), asyncio.get_running_loop())
        self.timers.append((self.now + seconds, callback, handle))
        return handle

    def passes(self, seconds: float) -> None:
        """Time, timer by timer."""
        end = self.now + seconds
        while due := sorted(
            (timer for timer in self.timers if timer[0] <= end and not timer[2].cancelled()), key=lambda timer: timer[0]
        ):
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = end

    @property
    def records(self) -> list[LogRecord]:
        self.counters.flush()
        return [record for record in self.log.records if isinstance(record, LogRecord)]

    def was_reset(self) -> bool:
        return self.viewer.is_reset

    def is_over(self) -> bool:
        return (self.viewer.receiver, self.origin.receiver) == (None, None)

    def is_recorded_once(self) -> bool:
        timers = [timer for timer in self.timers if not timer[2].cancelled()]
        return (
            len(self.records) == 1 and not timers and self.counters.opened_tunnels == self.counters.closed_tunnels == 1
        )


async def test_bytes_go_both_ways_and_those_that_had_come_go_first() -> None:
    world = World(is_open=False)
    world.viewer.before, world.origin.before = b"early ", b"first "
    world.open()
    world.viewer.says(b"bird")
    world.origin.says(b"words")
    assert (world.origin.taken, world.viewer.taken) == (b"early bird", b"first words")


async def test_who_does_not_follow_holds_the_other_one_up_and_only_that_one() -> None:
    world = World()
    world.viewer.is_write_blocked = True
    world.origin.says(b"x")
    assert world.origin.is_paused and not world.viewer.is_paused
    world.viewer.is_write_blocked = False
    assert world.viewer.receiver is not None
    world.viewer.receiver.credit_returned()
    assert not world.origin.is_paused


@pytest.mark.parametrize("first", ["viewer", "origin"])
async def test_each_direction_ends_by_itself_and_the_tunnel_with_the_second(first: str) -> None:
    world = World()
    one, other = (world.viewer, world.origin) if first == "viewer" else (world.origin, world.viewer)
    assert one.receiver is not None and other.receiver is not None
    one.receiver.peer_ended()
    assert (one.is_ended, other.is_ended, world.is_over()) == (False, True, False)
    other.says(b"still talking")
    assert one.taken == b"still talking"
    other.receiver.peer_ended()
    assert one.is_ended and world.is_over() and world.is_recorded_once()
    assert not one.is_reset and not other.is_reset


@pytest.mark.parametrize("is_reset", [True, False])
@pytest.mark.parametrize("first", ["viewer", "origin"])
async def test_the_loss_of_one_end_is_that_of_the_other_in_the_same_way(first: str, is_reset: bool) -> None:
    world = World()
    one, other = (world.viewer, world.origin) if first == "viewer" else (world.origin, world.viewer)
    one.is_lost(is_reset=is_reset)
    assert (other.is_reset, other.is_closed) == (is_reset, not is_reset)
    assert world.is_over() and world.is_recorded_once()


async def test_the_record_has_the_bytes_of_both_directions_and_of_both_heads() -> None:
    world = World()
    world.viewer.says(b"x" * 7)
    world.origin.says(b"y" * 11)
    world.passes(5)
    world.viewer.is_lost()
    (record,) = world.records
    assert (record.status, record.result, record.reason) == (101, Result.MISS, Reason.WEBSOCKET)
    assert (record.sent_bytes, record.received_bytes) == (200 + 11, 300 + 7)
    assert record.seconds == 5
    stats = world.counters.finished[Result.MISS, Reason.WEBSOCKET, 101]
    assert (stats.count, stats.sent_bytes, stats.received_bytes) == (1, 211, 307)
    assert stats.sum_seconds == 0, "how long it was open is no latency"


async def test_ten_minutes_without_a_byte_end_it() -> None:
    world = World()
    for sends in (world.viewer.says, world.origin.says) * 3:
        world.passes(IDLE_TIMEOUT_SECONDS - 1)
        sends(b"x")
    world.passes(IDLE_TIMEOUT_SECONDS - 1)
    assert not world.is_over()
    world.passes(1)
    assert world.is_over() and world.is_recorded_once()
    assert world.viewer.is_closed and world.origin.is_closed


async def test_a_peer_that_takes_what_waits_is_not_idle_and_one_that_takes_nothing_is() -> None:
    world = World()
    world.viewer.unsent_bytes = 100_000
    for _ in range(8):
        world.passes(IDLE_TIMEOUT_SECONDS / 2)
        world.viewer.unsent_bytes -= 1_000
    assert not world.viewer.is_closed
    world.passes(IDLE_TIMEOUT_SECONDS)  # the last of it was noticed at the first look of these
    assert not world.viewer.is_closed
    world.passes(LOOK_SECONDS)
    assert world.viewer.is_closed


async def test_what_was_sent_may_still_be_taken_after_the_end_but_not_for_ever() -> None:
    world = World()
    world.viewer.unsent_bytes = 1
    world.origin.is_lost()
    assert world.viewer.is_closed and not world.was_reset() and world.records == []
    world.passes(FLUSH_TIMEOUT_SECONDS - 1)
    assert not world.was_reset()
    world.passes(1)
    assert world.was_reset() and world.is_recorded_once()


async def test_a_node_that_leaves_closes_both_ends() -> None:
    world = World()
    assert world.viewer.receiver is not None
    world.viewer.receiver.node_leaves()
    assert world.viewer.is_closed and world.origin.is_closed and world.is_recorded_once()


@pytest.mark.parametrize("event", ["bytes", "credit", "end"])
@pytest.mark.parametrize("failing", ["viewer", "origin"])
async def test_a_mistake_costs_this_tunnel_and_is_counted(failing: str, event: str) -> None:
    world = World()
    one, other = (world.viewer, world.origin) if failing == "viewer" else (world.origin, world.viewer)
    one.fails = True
    receiver = other.receiver
    assert receiver is not None
    if event == "bytes":
        receiver.bytes_arrived(b"x")
    elif event == "credit":
        receiver.credit_returned()
    else:
        receiver.peer_ended()
    assert world.counters.internal_errors == 1
    assert one.is_reset and other.is_reset and world.is_recorded_once()


async def test_a_mistake_with_the_first_bytes_does_as_well() -> None:
    world = World(is_open=False)
    world.origin.before, world.viewer.fails = b"x", True
    world.open()
    assert world.counters.internal_errors == 1
    assert world.viewer.is_reset and world.origin.is_reset


class FramedEnd(FakeEnd):
    """One of many streams on a connection, as HTTP/2 has them (RFC 8441): bytes leave as DATA frames, as far as its own credit goes."""

    def __init__(self, credit: int) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self._credit = credit
        self._kept = b""

    def send(self, data: bytes) -> None:
        super().send(data)
        self._kept += data
        self._pump()

    def gives_credit(self, count: int) -> None:
        self._credit += count
        self._pump()
        if not self.is_write_blocked and self.receiver is not None:
            self.receiver.credit_returned()

    def _pump(self) -> None:
        frame, self._kept = self._kept[: self._credit], self._kept[self._credit :]
        self._credit -= len(frame)
        if frame:
            self.frames.append(frame)
        self.unsent_bytes = len(self._kept)
        self.is_write_blocked = self.unsent_bytes > 0
        if self.is_closed and not self._kept:
            self.is_lost()


async def test_a_stream_with_its_own_credit_is_an_end_like_any_other() -> None:
    world = World(is_open=False)
    world.stream.viewer = world.viewer = framed = FramedEnd(credit=4)
    world.open()
    world.origin.says(b"abc")
    assert (world.origin.is_paused, framed.frames) == (False, [b"abc"])
    world.origin.says(b"defgh")
    assert (world.origin.is_paused, framed.frames) == (True, [b"abc", b"d"])
    framed.gives_credit(2)
    assert framed.frames[-1] == b"ef" and framed.unsent_bytes == 2
    world.origin.is_lost()
    assert framed.is_closed and world.records == [], "what was sent has still to be taken"
    framed.gives_credit(100)
    assert framed.frames == [b"abc", b"d", b"ef", b"gh"] and world.is_recorded_once()
