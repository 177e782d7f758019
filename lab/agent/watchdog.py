"""Starts the agent again when it is killed. It holds nothing but one end of a socket, whose other end only the agent has: that closes with it.

Tiny on purpose: it imports nothing of the lab, so that hardly anything can go wrong with it. When it is killed itself, the agent sees that in the
same way, and starts another one (agent/guarding.py).

The agent says one byte at a time: READY when it works, END when it ends in order, and the watchdog with it.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

READY, END = b"r", b"e"
MOST_DEATHS = 10
"""Of agents in a row that were never ready: that another one would be is not to be expected."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _LONGEST_PAUSE_AFTER_WORK_SECONDS = 0.05, 5.0, 1.0
_WORKED_SECONDS = 10.0
"""Whoever worked for so long is started again without a pause."""

Start = Callable[[], socket.socket]
"""Starts an agent; our end of the socket."""


def watch(
    link: socket.socket,
    start: Start,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when the agent has ended in order, or when it cannot be started any more."""
    deaths = quick = 0
    while True:
        began = now()
        with link:
            said = _hear(link)
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
        link = start()


def _hear(link: socket.socket) -> bytes:
    """Everything that the agent says, until it is gone."""
    said = b""
    try:
        while piece := link.recv(16):
            said += piece
    except ConnectionError:
        return said
    return said


class Starter:
    """Starts agents as children of the watchdog, one at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> socket.socket:
        if self._child is not None:
            self._child.wait()  # its socket is closed: it is dead, and this takes away what is left of it
        ours, theirs = socket.socketpair()
        with theirs:
            command = [*self._command, "--watchdog", str(theirs.fileno()), str(os.getpid())]
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
            )
        print(f"watchdog: the agent was gone; started again as process {self._child.pid}", flush=True)
        return ours


def main(arguments: Sequence[str]) -> None:
    """The descriptor of the socket, then the command that is the agent."""
    descriptor, *command = arguments
    watch(socket.socket(fileno=int(descriptor)), Starter(command))


if __name__ == "__main__":
    main(sys.argv[1:])
