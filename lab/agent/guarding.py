"""The agent's side of its watchdog (watchdog.py): says to it what there is to say, kills it when it answers nothing any more, and starts another one when it is gone."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lab.agent.watchdog import ALIVE, END, LOOK_SECONDS, READY, SILENT_LOOKS
from lab.cluster.process_identity import ProcessIdentity, identify
from lab.errors import LabError

# Who takes a lab down ends both at once, and must not see another watchdog appear between the two.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0
# Of words in a row that are not answered: one that has just been started has to be loaded first.
_STARTING_LOOKS = 60


@dataclass(frozen=True, slots=True)
class Link:
    """What a watchdog tells the agent that it starts: the descriptor of the socket, and which process it is itself."""

    descriptor: int
    pid: int


class Guard:
    """Holds the socket whose end is the agent's end. `command` is the agent, as the watchdog starts it; `link` is there when one has."""

    def __init__(
        self,
        command: Sequence[str],
        link: Link | None,
        on_change: Callable[[], None],
        is_working: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_working`: whether the watchdog may be told that the agent is alive."""
        self._command = command
        self._is_working = is_working
        self._unanswered = 0
        self._has_answered = False
        self._link = socket.socket(fileno=link.descriptor) if link is not None else None
        self._on_change = on_change
        self._child: subprocess.Popen[bytes] | None = None
        self.watchdog: ProcessIdentity | None = identify(link.pid) if link is not None else None

    def ready(self) -> None:
        """The agent works."""
        if self._link is None:
            self._start()
        self._say(READY)

    def end(self) -> None:
        """The agent ends in order: nobody is to start it again."""
        self._say(END)

    async def watch(self) -> None:
        """Until it is cancelled; the pause between two watchdogs grows while they die."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = asyncio.get_running_loop().time()
            await self._until_gone()
            is_worn = asyncio.get_running_loop().time() - began < _LONGEST_PAUSE_SECONDS
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if is_worn else _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            try:
                self._start()
            except LabError as error:
                print(f"agent: {error}", flush=True)
            self._say(READY)

    def _start(self) -> None:
        if self._link is not None:
            self._link.close()
        self._reap()
        ours, theirs = socket.socketpair()
        self._link = ours
        number = theirs.fileno()
        command = [sys.executable, "-m", "lab.agent.watchdog", str(number), str(os.getpid()), *self._command]
        with theirs:
            try:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[number], start_new_session=True
                )
            except OSError as error:
                raise LabError(f"no watchdog can be started: {error.strerror}") from error
        self.watchdog = identify(self._child.pid)
        self._unanswered, self._has_answered = 0, False
        self._on_change()

    async def _until_gone(self) -> None:
        """Tells it meanwhile that the agent works, if it does. Unanswered words are counted, and not time, as in the watchdog."""
        assert self._link is not None
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self._link, self._hear, gone)
        try:
            while not gone.is_set():
                self._beat()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await gone.wait()
        finally:
            loop.remove_reader(self._link)

    def _beat(self) -> None:
        if not self._is_working():
            return
        self._say(ALIVE)
        self._unanswered += 1
        if self._unanswered > (SILENT_LOOKS if self._has_answered else _STARTING_LOOKS) and self.watchdog is not None:
            print("agent: the watchdog answers nothing any more, and is killed", flush=True)
            self.watchdog.send(signal.SIGKILL)
            self._unanswered = 0

    def _hear(self, gone: asyncio.Event) -> None:
        assert self._link is not None
        try:
            answers = self._link.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            answers = b""
        if not answers:
            gone.set()
        self._unanswered, self._has_answered = 0, True

    def _reap(self) -> None:
        """The process of the watchdog is ours to collect, unless it started us."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()

    def _say(self, word: bytes) -> None:
        if self._link is not None:
            try:
                self._link.send(word, socket.MSG_DONTWAIT)  # one that does not listen must not stop the agent
            except OSError:
                return  # it is gone, or hangs; `watch` sees that
