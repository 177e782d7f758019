"""A link at work: its two queues, those who wait for room in them, and those who have to hear of a cut and of its end.

When bytes leave a queue is links.py's; this adds the timers.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lab.wan.links import Link, Path, SharedQueue
from lab.wan.toxics import Stream, Toxic

Clock = Callable[[], float]

LEAST_WAIT_SECONDS: Final = 0.001
"""The loop's timers are no finer."""


class WaitsForRoom(Protocol):
    """A stream that reads nothing until there is room in its queue."""

    def room_is_there(self) -> None:
        """Read a piece; to read another one, ask again."""


class TakesLink(Protocol):
    """What is relayed over a link."""

    def link_changed(self, now: float) -> None:
        """A path is another one, a cut has begun or ended, or there are other toxics."""


class RunningPath:
    """One direction of a link. Whoever waits for room gets it in turn, a piece at a time, so that connections share the bandwidth alike."""

    def __init__(self, path: Path, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.queue = SharedQueue(path)
        self._clock = clock
        self._loop = loop
        self._waiting: dict[WaitsForRoom, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def has_room(self, now: float) -> bool:
        """For another piece of a stream, if nobody came before."""
        return not self._waiting and self.queue.has_room(self.queue.path.piece_bytes, now)

    def wait(self, stream: WaitsForRoom) -> None:
        """Its `room_is_there` is called later."""
        self._waiting[stream] = None
        self._arm()

    def leave(self, stream: WaitsForRoom) -> None:
        """It does not wait any more."""
        self._waiting.pop(stream, None)

    def change(self, path: Path, now: float) -> None:
        """Another path from now on."""
        self.queue.change(path, now)
        self._grant()

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            now = self._clock()
            at = self.queue.room_at(self.queue.path.piece_bytes, now)
            self._timer = self._loop.call_later(max(LEAST_WAIT_SECONDS, at - now), self._grant)

    def _grant(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        queue = self.queue
        room = queue.path.most_queued_bytes - queue.queued_bytes(self._clock())
        grants = len(self._waiting) if not queue.path.bytes_per_second else max(1, int(room / queue.path.piece_bytes))
        for stream in list(itertools.islice(self._waiting, grants)):
            del self._waiting[stream]
            stream.room_is_there()
        self._arm()

    def close(self) -> None:
        """Nobody takes it any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()


class RunningLink:
    """Both directions."""

    def __init__(self, link: Link, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.link = link
        self.configured = link
        """As the file says it."""
        self._clock = clock
        self.forward = RunningPath(link.forward, clock, loop)
        self.backward = RunningPath(link.backward, clock, loop)
        self.toxics: tuple[Toxic, ...] = ()
        """Of every connection that takes this link, whatever its proxy; `upstream` is from the client to the server, `forward` along the link."""
        self.takers: set[TakesLink] = set()

    def way_from(self, place: str) -> "Way":
        """As a client at that place sees it."""
        if place == self.link.ends[0]:
            return Way(self, self.forward, self.backward, Stream.FORWARD, Stream.BACKWARD)
        return Way(self, self.backward, self.forward, Stream.BACKWARD, Stream.FORWARD)

    def change(self, link: Link) -> None:
        """Other paths from now on, for what is under way as well; what has left a queue comes at its time."""
        now = self._clock()
        self.link = link
        self.forward.change(link.forward, now)
        self.backward.change(link.backward, now)
        for taker in tuple(self.takers):
            taker.link_changed(now)

    def change_toxics(self, toxics: Sequence[Toxic]) -> None:
        """Others from now on."""
        self.toxics = tuple(toxics)
        now = self._clock()
        for taker in tuple(self.takers):
            taker.link_changed(now)

    def close(self) -> None:
        """The end of the process."""
        self.forward.close()
        self.backward.close()


@dataclass(frozen=True, slots=True)
class Way:
    """The paths of a connection over a link, seen from the client."""

    link: RunningLink
    up: RunningPath
    down: RunningPath
    up_along: Stream
    """The link's direction that leads up."""
    down_along: Stream
