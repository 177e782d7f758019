"""The body of a request on its way upstream, at the pace of whoever is slower."""

import asyncio
from collections import deque
from typing import Final, Protocol

from edge_node.model.errors import ViewerLeftError

REQUEST_BODY_WINDOW_BYTES: Final = 65_536
"""The viewer is paused above this many bytes that upstream has not taken."""


class BodyWire(Protocol):
    """The viewer's end, as far as a body needs it."""

    def look_at_body(self) -> None:
        """Take no more of it for now, or take more: see `is_full`."""


class RequestBodyStream:
    """A request body."""

    def __init__(self, wire: BodyWire, length: int | None) -> None:
        self.length = length
        """None: unknown until its end."""
        self._wire = wire
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_broken = False
        self._changed = asyncio.Event()
        self.is_complete = False
        self.is_full = False
        """Upstream is behind: no more is to be read of it for now."""
        self.is_being_read = False
        """It is passed on: the answer depends on it."""

    def feed(self, data: bytes) -> None:
        """More has come from the viewer."""
        self._chunks.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > REQUEST_BODY_WINDOW_BYTES:
            self.is_full = True
            self._wire.look_at_body()
        self._changed.set()

    def end(self) -> None:
        """That was all."""
        self.is_complete = True
        self._changed.set()

    def break_off(self) -> None:
        """The viewer has gone."""
        self._is_broken = not self.is_complete
        self._changed.set()

    def take_up(self) -> None:
        """It will be passed on."""
        self.is_being_read = True

    async def next_chunk(self) -> bytes | None:
        """The next piece for upstream; None at the end; ViewerLeftError when there will be no end."""
        while not self._chunks:
            if self._is_broken:
                raise ViewerLeftError
            if self.is_complete:
                return None
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._waiting_bytes -= len(chunk)
        if self._waiting_bytes < REQUEST_BODY_WINDOW_BYTES // 2:
            self.is_full = False
            self._wire.look_at_body()
        return chunk
