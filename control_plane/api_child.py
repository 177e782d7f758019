"""Keeps the process of the management API running for as long as the control plane runs (`api_process.py` is what it does).

The first one is a fork of the control plane, taken before that does anything else: what both have imported is in memory once, and nobody waits for it a second time.
One that has died is started anew, as a program of its own, after a pause that grows while none of them lives for long. The socket that clients connect to stays open
meanwhile, here, so that they wait instead of being refused.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from control_plane.api_channel import EVENTS_MOST_BYTES, ApiEvent, Serving, give_listener, parse

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
SOUND_SECONDS: Final = 30.0
"""Whoever has lived for so long has died of something new."""
END_SECONDS: Final = 0.3
"""From SIGTERM to SIGKILL: a request that is being answered takes milliseconds."""

_logger = logging.getLogger("control-plane")


class _Process(Protocol):
    """The part of `subprocess.Popen` that is used here."""

    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StartedApi:
    """A process that waits for the socket to listen on, and our end of its channel."""

    process: _Process
    connection: socket.socket

    def end(self) -> None:
        """At once; nothing where it has ended."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


class _Fork:
    """A fork of this process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None
        self._reaping = threading.Lock()
        """Once it is reaped its number may be somebody else's."""

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def wait(self) -> int:
        """The exit status; of a signal its number, negative."""
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)  # without the lock: it can be killed meanwhile
        with self._reaping:
            if self._status is None:
                try:
                    self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
                except ChildProcessError:
                    self._status = 0  # reaped by somebody else, who has not said how it ended
            return self._status

    def _send(self, number: signal.Signals) -> None:
        with self._reaping:
            if self._status is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)


def fork_api(run: Callable[[socket.socket], NoReturn]) -> StartedApi:
    """Have `run` called in a fork of this process, with its end of the channel. Before there are threads, an event loop or connections, which a fork would share."""
    ours, theirs = socket.socketpair()
    gc.freeze()  # a look for garbage would copy every page that both have
    # Where that is ignored, the system reaps children, and says nothing of their end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            run(theirs)
        except BaseException:
            _logger.exception("the management API cannot go on")
        finally:
            os._exit(1)
    theirs.close()
    return StartedApi(_Fork(pid), ours)


def _start_api(arguments: Sequence[str]) -> StartedApi:
    """Not as the event loop does it, which forks with the handlers of gRPC: that has threads, and complains."""
    with contextlib.ExitStack() as failed:
        ours, theirs = socket.socketpair()
        failed.enter_context(ours)
        with theirs:
            command = (sys.executable, "-m", "control_plane.api_process", str(theirs.fileno()), *arguments)
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        failed.pop_all()
        return StartedApi(process, ours)


class ApiChild:
    """The process, whichever it is now. `run` must run for as long as it is wanted; it ends in order when `leave` was called, and at once when it is cancelled."""

    def __init__(
        self,
        listener: socket.socket,
        arguments: Sequence[str],
        on_event: Callable[[ApiEvent], None],
        first: StartedApi | None = None,
    ) -> None:
        self._listener = listener
        self._arguments = arguments
        self._on_event = on_event
        self._first = first
        self._process: _Process | None = None
        self._is_leaving = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._faults = b""
        """The newest line of them, for each process that comes."""
        self.is_serving = False

    def tell_faults(self, line: bytes) -> None:
        """All that the API has to suffer from now on, which replaces what was said before."""
        self._faults = line
        if self._writer is not None:
            self._writer.write(line)

    async def run(self) -> None:
        """See the class."""
        pause_seconds = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not self._is_leaving.is_set():
            began_at = loop.time()
            end = await self._run_once()
            if self._is_leaving.is_set():
                return
            if loop.time() - began_at > SOUND_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            _logger.error("the management API %s; again in %g s", end, pause_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._is_leaving.wait()
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

    async def _run_once(self) -> str:
        """Start it and wait for its end; how it has ended, in words."""
        try:
            started, self._first = self._first or _start_api(self._arguments), None
        except OSError as error:  # no descriptor or no memory is left, which may pass
            return f"cannot be started: {error.strerror}"
        process = started.process
        with contextlib.suppress(OSError):  # it has ended already
            give_listener(started.connection, self._listener)
        self._process = process
        if self._is_leaving.is_set():
            process.terminate()
        try:
            await self._listen(started.connection)  # until its end of the pair is closed, which is at its end
            process.kill()  # or it cannot be heard any more; where it is ending, that changes nothing
            return f"has ended with status {await asyncio.to_thread(process.wait)}"
        finally:
            self.is_serving = False
            process.kill()  # nothing, where it has ended
            process.wait()

    async def _listen(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=EVENTS_MOST_BYTES)
        self._writer = writer
        if self._faults:
            writer.write(self._faults)
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
            self._writer = None
            writer.close()
