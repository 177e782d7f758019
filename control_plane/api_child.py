"""Keeps the process of the management API running for as long as the control plane runs (`api_process.py` is what it does).

One that has died is started again, after a pause that grows while none of them lives for long. The socket stays open meanwhile, here, so that clients wait instead of
being refused.
"""

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

from control_plane.api_channel import EVENTS_MOST_BYTES, ApiEvent, Serving, parse

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
SOUND_SECONDS: Final = 30.0
"""Whoever has lived for so long has died of something new."""
END_SECONDS: Final = 0.3
"""From SIGTERM to SIGKILL: a request that is being answered takes milliseconds."""

_logger = logging.getLogger("control-plane")


class ApiChild:
    """The process, whichever it is now. `run` must run for as long as it is wanted; it ends in order when `leave` was called, and at once when it is cancelled."""

    def __init__(self, listener: socket.socket, arguments: Sequence[str], on_event: Callable[[ApiEvent], None]) -> None:
        self._listener = listener
        self._arguments = arguments
        self._on_event = on_event
        self._process: subprocess.Popen[bytes] | None = None
        self._is_leaving = asyncio.Event()
        self.is_serving = False

    async def run(self) -> None:
        """See the class."""
        pause_seconds = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._is_leaving.is_set():
            began_at = loop.time()
            status = await self._run_once()
            if self._is_leaving.is_set():
                return
            if loop.time() - began_at > SOUND_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            _logger.error("the management API has ended with status %d; again in %g s", status, pause_seconds)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_leaving.wait(), pause_seconds)
            pause_seconds = min(LONGEST_PAUSE_SECONDS, pause_seconds * 2)

    @property
    def is_leaving(self) -> bool:
        """Whether it is to end."""
        return self._is_leaving.is_set()

    async def left(self) -> None:
        """Wait until it is to end."""
        await self._is_leaving.wait()

    def leave(self) -> None:
        """Have it end in order."""
        self._is_leaving.set()
        if self._process is not None:
            self._process.terminate()
            asyncio.get_running_loop().call_later(END_SECONDS, self._process.kill)

    async def _run_once(self) -> int:
        """Start it and wait for its end; its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            numbers = (self._listener.fileno(), theirs.fileno())
            command = (sys.executable, "-m", "control_plane.api_process", *map(str, numbers), *self._arguments)
            process = _start(command, numbers)
        self._process = process
        if self._is_leaving.is_set():
            process.terminate()
        try:
            await self._listen(ours)  # until its end of the pair is closed, which is at its end
            return await asyncio.to_thread(process.wait)
        finally:
            self.is_serving = False
            process.kill()  # nothing, where it has ended
            process.wait()

    async def _listen(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=EVENTS_MOST_BYTES)
        try:
            while line := await reader.readline():
                event = parse(line)
                if isinstance(event, Serving):
                    self.is_serving = True
                if event is not None:
                    self._on_event(event)
        except (OSError, ValueError) as error:
            _logger.error("the management API cannot be heard: %s", error)
        finally:
            writer.close()


def _start(command: Sequence[str], descriptors: Sequence[int]) -> "subprocess.Popen[bytes]":
    """Not as the event loop does it, which forks with the handlers of gRPC: that has threads, and complains."""
    return subprocess.Popen(command, pass_fds=descriptors)
