"""What the process of the management API tells the one that started it: lines over a pair of connected sockets, which also tells each that the other is gone.

Nothing that is told has to arrive: the log is polled as well (`sync.py`), and the counts of a reader who stands still may be lost. So a full socket drops a line and
blocks nobody.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EVENTS_MOST_BYTES: Final = 64 * 1024
"""Of one line, as the reader bounds it."""
_LISTENER = b"L"


@dataclass(frozen=True, slots=True)
class Serving:
    """The port answers."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The log may have grown."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A write has failed: whether the database takes any has to be seen."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request, for the counters."""

    operation: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Suffered:
    """An injected fault has done something."""

    kind: str


ApiEvent = Serving | Committed | Failed | Answered | Suffered


def encode(event: ApiEvent) -> bytes:
    """One line."""
    match event:
        case Serving():
            return b"serving\n"
        case Committed():
            return b"committed\n"
        case Failed():
            return b"failed\n"
        case Answered(operation, outcome):
            return f"answered {operation} {outcome}\n".encode()
        case Suffered(kind):
            return f"suffered {kind}\n".encode()


def parse(line: bytes) -> ApiEvent | None:
    """The event of a line; None for what is none."""
    match line.decode("utf-8", "replace").split():
        case ["serving"]:
            return Serving()
        case ["committed"]:
            return Committed()
        case ["failed"]:
            return Failed()
        case ["answered", operation, outcome]:
            return Answered(operation, outcome)
        case ["suffered", kind]:
            return Suffered(kind)
        case _:
            return None


def give_listener(connection: socket.socket, listener: socket.socket) -> None:
    """The first thing on a channel: the socket that clients connect to. OSError when nobody is there any more. After it only lines of faults come in this direction."""
    socket.send_fds(connection, [_LISTENER], [listener.fileno()])


class ApiChannel:
    """The end of the process of the management API."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def take_listener(self) -> socket.socket:
        """The socket that clients connect to. Waits until there is one; ends this process when the other one is gone instead."""
        with contextlib.suppress(OSError):
            message, descriptors, _, _ = socket.recv_fds(self._connection, len(_LISTENER), 1)
            if message:
                return socket.socket(fileno=descriptors[0])
        os._exit(0)

    def tell(self, event: ApiEvent) -> None:
        """Without waiting; a line that has no room is lost."""
        with contextlib.suppress(OSError):
            self._connection.send(encode(event), socket.MSG_DONTWAIT)

    def end_with_parent(self, heard: Callable[[bytes], None]) -> None:
        """Ends this process as soon as the other one is gone, also by kill -9, whatever it is doing: a transaction that was open meanwhile is rolled back by whoever
        opens the database next. `heard` is told each line of faults that comes meanwhile, in a thread of its own."""
        threading.Thread(target=self._wait_for_end, args=(heard,), daemon=True).start()

    def _wait_for_end(self, heard: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), self._connection.makefile("rb") as lines:
            while line := lines.readline(EVENTS_MOST_BYTES):
                heard(line)
        os._exit(0)
