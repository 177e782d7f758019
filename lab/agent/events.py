"""What happens, told to whoever listens: a bounded queue for each listener. One that is too slow is let go, with a last event that says so."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from lab.errors import LabError

MOST_LISTENERS = 16
MOST_WAITING = 256
ALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Event:
    """In the words of server-sent events: a name and one line of data."""

    name: str
    data: Mapping[str, object]

    def to_bytes(self) -> bytes:
        return f"event: {self.name}\ndata: {json.dumps(self.data)}\n\n".encode()


@dataclass(slots=True, eq=False)
class Listener:
    """What one has not been told yet."""

    waiting: deque[Event] = field(default_factory=deque)
    something: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def put(self, event: Event) -> None:
        if self.is_over:
            return
        if len(self.waiting) >= MOST_WAITING:
            event = Event("dropped", {"reason": f"you are {MOST_WAITING} events behind: listen anew"})
            self.is_over = True
        self.waiting.append(event)
        self.something.set()

    def end(self) -> None:
        self.is_over = True
        self.something.set()


class Events:
    """All listeners. Used in one event loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._is_over = False

    @property
    def has_listeners(self) -> bool:
        return bool(self._listeners)

    def tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener.put(event)

    def end(self) -> None:
        """Nobody is told anything more."""
        self._is_over = True
        for listener in self._listeners:
            listener.end()

    def listen(self) -> Listener:
        """LabError when there are too many."""
        if len(self._listeners) >= MOST_LISTENERS or self._is_over:
            raise LabError(f"{MOST_LISTENERS} listeners are the most")
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def forget(self, listener: Listener) -> None:
        """It has left."""
        self._listeners.discard(listener)

    async def stream(self, listener: Listener) -> AsyncGenerator[bytes, None]:
        """What is said to one, with a comment now and then that shows whether it is there."""
        try:
            yield b": listening\n\n"
            while True:
                while listener.waiting:
                    yield listener.waiting.popleft().to_bytes()
                if listener.is_over:
                    return
                yield await _wait(listener)
        finally:
            self.forget(listener)


async def _wait(listener: Listener) -> bytes:
    listener.something.clear()
    try:
        async with asyncio.timeout(ALIVE_SECONDS):
            await listener.something.wait()
    except TimeoutError:
        return b": alive\n\n"
    return b""
