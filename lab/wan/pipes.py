"""One direction of one relayed connection: what waits in it, and what comes out when. Pure.

Bytes take the link's path first (links.py), then the toxics in their order (stages.py), and wait here until their time. A pipe is bounded: `is_full` says that nothing
more may be read. A cut holds back everything that would come out, and what was held up comes with the next retransmission after it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from math import inf
from typing import Final, assert_never

from lab.wan.links import LARGEST_PIECE_BYTES, LEAST_RETRANSMISSION_SECONDS, StreamPath
from lab.wan.stages import Close, End, Event, Piece, Reset, Stage

MOST_WAITING_PIECES: Final = 4_096
"""Of one pipe, beyond which nothing is read: what is cut into small pieces must not take memory without bound."""


class Pipe:
    """See above. `path` is None where nothing is modelled but toxics."""

    def __init__(self, path: StreamPath | None, stages: Sequence[Stage], window_bytes: int) -> None:
        self.path = path
        self._stages = stages
        self._window_bytes = window_bytes
        self._events: deque[Piece | End | Close] = deque()
        self._alarm: Event | None = None
        """What ends the connection whatever waits: a toxic's doing,"""
        self._reset: Reset | None = None
        """or the sender's."""
        self.waiting_bytes = 0
        self.has_ended = False
        """Nothing more goes in."""
        self.is_severed = False
        """By a cut between its client and its proxy, whatever the path is (cuts.py)."""
        self._was_cut = self.is_cut

    def change_stages(self, stages: Sequence[Stage], now: float) -> None:
        """Other toxics for what comes from now on; what waits keeps its time. A stream that would go on with a gap is reset instead."""
        gone = [stage for stage in self._stages if stage not in stages]
        self._stages = stages
        self._set_alarm()
        if any(stage.has_dropped for stage in gone):
            self._reset = Reset(now)

    def _set_alarm(self) -> None:
        alarms = [
            passed
            for at, stage in enumerate(self._stages)
            if stage.alarm is not None
            for passed in self._pass(stage.alarm, self._stages[at + 1 :])
        ]
        self._alarm = min(alarms, key=lambda alarm: alarm.at, default=None)

    # -- what goes in

    def feed(self, data: bytes, now: float) -> None:
        """Bytes that were read."""
        at = now if self.path is None else self.path.arrival(len(data), now)
        self._take(Piece(at, data))

    def end(self, now: float) -> None:
        """The sender has said all."""
        self.has_ended = True
        self._take(End(now if self.path is None else self.path.arrival(0, now)))

    def reset(self, now: float) -> None:
        """The sender is gone. A reset is sent once: what it meets at a cut never hears of it."""
        self.has_ended = True
        if not self.is_cut:
            self._take(Reset(now if self.path is None else self.path.arrival(0, now)))

    def _take(self, event: Event) -> None:
        for passed in self._pass(event, self._stages):
            if isinstance(passed, Reset):
                self._reset = passed
            else:
                self._put(passed)

    def _pass(self, event: Event, stages: Sequence[Stage]) -> Iterator[Event]:
        if not stages:
            yield event
            return
        for passed in stages[0].take(event):
            yield from self._pass(passed, stages[1:])

    def _put(self, event: Piece | End | Close) -> None:
        if self._events:  # a toxic that was removed may have made later what came before
            event = _no_earlier(event, self._events[-1].at)
        self._events.append(event)
        if isinstance(event, Piece):
            self.waiting_bytes += len(event.data)

    # -- what comes out

    @property
    def is_cut(self) -> bool:
        """Nothing gets through now."""
        return self.is_severed or (self.path is not None and self.path.queue.path.is_cut)

    @property
    def is_direct(self) -> bool:
        """What goes in now comes out now."""
        return not (self._stages or self._events or self.is_severed) and (
            self.path is None or (self.path.queue.path.is_plain and not self.path.not_before)
        )

    @property
    def is_full(self) -> bool:
        """Nothing more may be read."""
        return self.waiting_bytes >= self._window_bytes or len(self._events) >= MOST_WAITING_PIECES or self.is_cut

    @property
    def is_drained(self) -> bool:
        """Nothing more goes in, and nothing more comes out."""
        return self.has_ended and not self._events and self._alarm is None and self._reset is None

    @property
    def read_bytes(self) -> int:
        """How much may be read at a time."""
        most = LARGEST_PIECE_BYTES if self.path is None else self.path.queue.path.piece_bytes
        return min([most, *(stage.read_bytes for stage in self._stages)])

    def next_at(self, *, may_write: bool) -> float:
        """When `take_due` has something; never: infinity."""
        return min(self._first_at(may_write=may_write), self._ends_at)

    def take_due(self, now: float, *, may_write: bool) -> Event | None:
        """What is to be done next, if its time has come. Without `may_write` only what ends the connection: the receiver does not follow."""
        first_at = self._first_at(may_write=may_write)
        if min(first_at, self._ends_at) > now:
            return None
        if self._ends_at < first_at:
            ending = min((end for end in (self._alarm, self._reset) if end is not None), key=lambda end: end.at)
            self._alarm = self._reset = None
            return ending
        event = self._events.popleft()
        if isinstance(event, Piece):
            self.waiting_bytes -= len(event.data)
        return event

    def _first_at(self, *, may_write: bool) -> float:
        return self._events[0].at if self._events and may_write and not self.is_cut else inf

    @property
    def _ends_at(self) -> float:
        """Of what comes whatever waits, and behind what was there before it."""
        return min([inf, *(end.at for end in (self._alarm, self._reset) if end is not None)])

    def look_at_cut(self, now: float) -> None:
        """When a cut is over, what it held up is sent again."""
        was_cut, self._was_cut = self._was_cut, self.is_cut
        if not was_cut or self._was_cut:
            return
        again_at = now + LEAST_RETRANSMISSION_SECONDS if self.path is None else self.path.retransmitted_at(now)
        self._events = deque(_no_earlier(event, again_at) for event in self._events)

    def drop(self) -> int:
        """The end of the connection: how many bytes waited."""
        waited, self.waiting_bytes = self.waiting_bytes, 0
        self._events.clear()
        self._alarm = self._reset = None
        return waited


def _no_earlier(event: Piece | End | Close, at: float) -> Piece | End | Close:
    if event.at >= at:
        return event
    match event:
        case Piece(_, data):
            return Piece(at, data)
        case End():
            return End(at)
        case Close():
            return Close(at)
        case _:
            assert_never(event)
