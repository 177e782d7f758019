"""Starts the agent again when it is killed, and kills it when it hangs. It holds one end of a socket and nothing else; the other end only the agent
has, and it closes with it.

Tiny on purpose: it imports nothing of the lab, so that hardly anything can go wrong with it. When it is killed or hangs itself, the agent sees that in the
same way, and starts another one (agent/guarding.py).

The agent says one byte at a time: READY when it works, ALIVE twice a second while its work goes on, which is answered with the same, and END when it ends in
order, and the watchdog with it. Silence is counted in looks and not in time: whatever stopped both of them, such as a laptop's sleep, is one look.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

READY, ALIVE, END = b"r", b"a", b"e"
LOOK_SECONDS = 0.5
"""How often ALIVE is said, and how long a look waits for a word."""
SILENT_LOOKS = 10
"""In a row: whoever says nothing for so long hangs. Five seconds, as a busy machine may keep a program waiting for some."""
STARTING_LOOKS = 180
"""The same of an agent that is not ready: it waits for an engine that does not answer, twice 30 s."""
MOST_DEATHS = 10
"""Of agents in a row that were never ready: that another one would be is not to be expected."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _LONGEST_PAUSE_AFTER_WORK_SECONDS = 0.05, 5.0, 1.0
_WORKED_SECONDS = 10.0
"""Whoever worked for so long is started again without a pause."""


class Agent(Protocol):
    """One that was started, as far as its watchdog has to do with it."""

    def look(self) -> bytes | None:
        """What it says within a look; None when it says nothing, nothing at all when it is gone."""

    def answer(self) -> None:
        """Says that the watchdog is there."""

    def kill(self) -> None:
        """At once. It is gone when its socket says so."""


Start = Callable[[], Agent]


def watch(
    agent: Agent,
    start: Start,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when the agent has ended in order, or when it cannot be started any more."""
    deaths = quick = 0
    while True:
        began = now()
        said = _hear(agent)
        if END in said:
            return
        is_ready = READY in said
        quick = 0 if is_ready and now() - began > _WORKED_SECONDS else quick + 1
        deaths = 0 if is_ready else deaths + 1
        if deaths > MOST_DEATHS:
            print(f"watchdog: {MOST_DEATHS} agents in a row have died before they were ready", flush=True)
            return
        longest = _LONGEST_PAUSE_AFTER_WORK_SECONDS if is_ready else _LONGEST_PAUSE_SECONDS
        pause(min(_FIRST_PAUSE_SECONDS * 2.0**quick, longest))
        agent = start()


def _hear(agent: Agent) -> set[bytes]:
    """Every word that the agent says, until it is gone. One that hangs is killed, again and again until it is gone: before that no other one can begin."""
    said: set[bytes] = set()
    silent = 0
    while (words := agent.look()) != b"":
        if words is not None:
            silent = 0
            said |= {bytes([word]) for word in words}
            agent.answer()
            continue
        silent += 1
        if silent >= (SILENT_LOOKS if READY in said else STARTING_LOOKS):
            print(f"watchdog: the agent has said nothing for {silent * LOOK_SECONDS:g} s, and is killed", flush=True)
            agent.kill()
            silent = 0
    return said


class StartedAgent:
    """A process at the other end of a socket. As long as that is open the process is there, and its pid nobody else's."""

    def __init__(self, link: socket.socket, pid: int) -> None:
        self._link, self._pid = link, pid
        link.settimeout(LOOK_SECONDS)

    def look(self) -> bytes | None:
        """See Agent. The socket is closed when the agent is gone."""
        try:
            words = self._link.recv(64)
        except TimeoutError:
            return None
        except ConnectionError:
            words = b""
        if not words:
            self._link.close()
        return words

    def answer(self) -> None:
        """See Agent. One that does not listen misses nothing: the next answer says the same."""
        try:
            self._link.send(ALIVE, socket.MSG_DONTWAIT)
        except OSError:
            return

    def kill(self) -> None:
        """See Agent."""
        try:
            os.kill(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class Starter:
    """Starts agents as children of the watchdog, one at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> StartedAgent:
        if self._child is not None:
            self._child.wait()  # its socket is closed: it is dead, and this takes away what is left of it
        ours, theirs = socket.socketpair()
        with theirs:
            command = [*self._command, "--watchdog", str(theirs.fileno()), str(os.getpid())]
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )
        print(f"watchdog: the agent was gone; started again as process {self._child.pid}", flush=True)
        return StartedAgent(ours, self._child.pid)


def main(arguments: Sequence[str]) -> None:
    """The descriptor of the socket and the pid of the agent, then the command that is the agent."""
    descriptor, pid, *command = arguments
    watch(StartedAgent(socket.socket(fileno=int(descriptor)), int(pid)), Starter(command))


if __name__ == "__main__":
    main(sys.argv[1:])
