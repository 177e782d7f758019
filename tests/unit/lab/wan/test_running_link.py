"""Who waits for room in a queue: in turn, and only as many as there is room for. On a loop whose timers the test fires."""

import asyncio
from typing import Any, cast

from lab.wan.links import Path
from lab.wan.running_link import RunningPath

PIECE = 10_000
"""Of a path with 2 MB/s: what leaves in 5 ms."""
PATH = Path(bytes_per_second=2e6, queue_bytes=3 * PIECE)


class Timers:
    """A loop, as far as a path needs it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Any]] = []

    def call_later(self, delay: float, call: Any) -> asyncio.TimerHandle:
        self.due.append((self.now + delay, call))
        return cast("asyncio.TimerHandle", self)

    def cancel(self) -> None:
        self.due.clear()

    def fire(self) -> None:
        """The next one, at its time."""
        ((self.now, call),) = self.due
        self.due.clear()
        call()


class Stream:
    """Reads a piece when it may, and asks for the next one at once."""

    def __init__(self, name: str, path: RunningPath, timers: Timers, turns: list[str]) -> None:
        self._name, self._path, self._timers, self._turns = name, path, timers, turns

    def room_is_there(self) -> None:
        self._turns.append(self._name)
        self._path.queue.transmit(PIECE, self._timers.now)
        self._path.wait(self)


def waiting(names: str) -> tuple[RunningPath, Timers, list[str]]:
    timers, turns = Timers(), list[str]()
    path = RunningPath(PATH, lambda: timers.now, cast("asyncio.AbstractEventLoop", timers))
    path.queue.transmit(3 * PIECE, 0.0)
    for name in names:
        path.wait(Stream(name, path, timers, turns))
    return path, timers, turns


def test_streams_take_turns_and_the_queue_is_never_beyond_its_size() -> None:
    path, timers, turns = waiting("abcdefgh")
    for _ in range(24):
        timers.fire()
        assert path.queue.queued_bytes(timers.now) <= PATH.queue_bytes + 1
    assert "".join(turns[:24]) == "abcdefgh" * 3


def test_who_leaves_has_no_turn_and_a_path_without_a_limit_lets_all_through() -> None:
    path, timers, turns = waiting("a")
    leaving = Stream("b", path, timers, turns)
    path.wait(leaving)
    path.leave(leaving)
    timers.fire()
    assert turns == ["a"]
    assert not path.has_room(timers.now)  # somebody else waits
    path.change(Path(), timers.now)
    assert turns == ["a", "a"]
