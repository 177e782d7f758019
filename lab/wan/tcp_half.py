"""One of the two TCP connections of a session: the relay's end of it, with the pipe that leads from it to the other one.

It reads as long as the pipe, the queue of its path and the process's memory have room, and is written to when pieces are due. What a session makes of it is
tcp_session.py's.
"""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Final, Protocol, cast

from lab.wan.memory import MemoryBudget
from lab.wan.pipes import Pipe
from lab.wan.running_link import Clock, RunningPath

WRITE_BUFFER_BYTES: Final = 262_144
LINGER_SECONDS: Final = 30.0
"""After the end, for a receiver that does not read: then it is cut off."""
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


class HalfOwner(Protocol):
    """A session, as its halves see it."""

    def begun(self, half: "TcpHalf") -> None:
        """It is connected."""

    def deliver(self, source: "TcpHalf") -> None:
        """Look what has come out of its pipe."""

    def lost(self, half: "TcpHalf", error: Exception | None) -> None:
        """It is connected no more."""


class Shared:
    """What all halves of the process share: a clock, a loop, memory, and one buffer to read into, which is emptied before the next read."""

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, memory: MemoryBudget, buffer: bytearray) -> None:
        self.clock = clock
        self.loop = loop
        self.memory = memory
        self.view = memoryview(buffer)


class TcpHalf(asyncio.BufferedProtocol):
    """See above."""

    def __init__(self, owner: HalfOwner, shared: Shared, path: RunningPath | None) -> None:
        self._owner = owner
        self._shared = shared
        self._path = path
        self.pipe = Pipe(None, (), 0)
        """What it says, on its way to the other half."""
        self.other: TcpHalf = self
        self.transport: asyncio.Transport | None = None
        self.is_gone = False
        """It was connected."""
        self._is_write_paused = self._is_reading_paused = self._waits_for_room = self._waits_for_memory = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._linger: asyncio.TimerHandle | None = None
        self._descriptor = -1

    def set_path(self, path: RunningPath | None) -> None:
        """Before anything is read."""
        self._path = path

    # -- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._owner.begun(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.transport, self.is_gone = None, True
        if self._linger is not None:
            self._linger.cancel()
        self._owner.lost(self, exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        del sizehint
        return self._shared.view[: self.pipe.read_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes were read: they go on at once where nothing is modelled, else into the pipe."""
        data = self._shared.view[:nbytes]
        if self._is_reading_paused:
            self._read_after_all()
        if self.pipe.is_direct and self.other.is_writable and not self.other.is_gone:
            self.other.write(data)
            return
        now, pipe = self._shared.clock(), self.pipe
        before = pipe.waiting_bytes
        pipe.feed(bytes(data), now)
        self._shared.memory.add(pipe.waiting_bytes - before)
        self._ask_for_more(now)
        self._owner.deliver(self)

    def eof_received(self) -> bool:
        """It has said all, and may still be written to (RFC 9293 section 3.6)."""
        self.pipe.end(self._shared.clock())
        self._owner.deliver(self)
        return True

    def pause_writing(self) -> None:
        """It does not read."""
        self._is_write_paused = True
        self.other.update_reading()

    def resume_writing(self) -> None:
        """It does."""
        self._is_write_paused = False
        self._owner.deliver(self.other)

    # -- reading

    def _ask_for_more(self, now: float) -> None:
        if self._path is not None and not self._path.has_room(now):
            self._waits_for_room = True
            self._path.wait(self)
        if self._shared.memory.is_used_up:
            self._waits_for_memory = True
            self._shared.memory.wait(self)

    def room_is_there(self) -> None:
        """See running_link.WaitsForRoom."""
        self._waits_for_room = False
        self.update_reading()

    def memory_is_there(self) -> None:
        """See memory.WaitsForMemory."""
        self._waits_for_memory = False
        self.update_reading()

    def update_reading(self) -> None:
        """Read, or do not."""
        is_direct_and_blocked = self.pipe.is_direct and not self.other.is_writable
        must_pause = self._waits_for_room or self._waits_for_memory or self.pipe.is_full or is_direct_and_blocked
        if self.transport is None or must_pause == self._is_reading_paused or self.transport.is_closing():
            return
        self._is_reading_paused = must_pause
        if must_pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _read_after_all(self) -> None:
        """Loops begin to read after `connection_made`, and forget that reading was paused in it. Now it can be, once it is said again."""
        self._is_reading_paused = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- writing

    @property
    def is_writable(self) -> bool:
        """What is due for it can be handed over; to one that is gone everything can."""
        return self.is_gone or (self.transport is not None and not self._is_write_paused)

    def write(self, data: memoryview | bytes) -> None:
        """Bytes that are the caller's again afterwards."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        written = 0
        if not transport.get_write_buffer_size():
            with contextlib.suppress(OSError):  # full, or gone: the transport finds out which
                written = os.write(self._descriptor, data)
        if written < len(data):
            transport.write(bytes(data[written:]))

    def write_end(self) -> None:
        """Nothing more comes."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def wake_at(self, at: float, now: float) -> None:
        """Look again then; never: infinity."""
        if self._timer is not None:
            if self._timer_at == at:
                return
            self._timer.cancel()
            self._timer = None
        if at < float("inf"):
            self._timer_at = at
            self._timer = self._shared.loop.call_later(max(0.0, at - now), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._owner.deliver(self)

    # -- the end

    def close(self, *, is_reset: bool) -> None:
        """With a RST, which loses what waits, or without."""
        self._let_go()
        transport = self.transport
        if transport is None:
            return
        if is_reset:
            _reset_at_close(transport)
            transport.abort()
        else:
            transport.close()
            self._linger = self._shared.loop.call_later(LINGER_SECONDS, transport.abort)

    def _let_go(self) -> None:
        self.wake_at(float("inf"), 0.0)
        self._shared.memory.add(-self.pipe.drop())
        self._shared.memory.leave(self)
        if self._path is not None:
            self._path.leave(self)


def _reset_at_close(transport: asyncio.Transport) -> None:
    """Closing sends a RST (SO_LINGER with no time, RFC 9293 section 3.10.4's ABORT)."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
