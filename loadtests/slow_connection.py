"""A connection of a client that takes its time: it sends its request and reads the answer at so many bytes a second.

The receive buffer is small, so that what is not read stays with the server. After a while the client does the rest at
full speed: only so can it find out whether a server that had a full buffer had cut it. A request that ends whole was
held all that time. One connection for each request: none is kept.
"""

import errno
import time
from dataclasses import dataclass

import gevent
import gevent.select
import gevent.socket

from loadtests.connection import (
    READ_BYTES,
    BrokenResponseError,
    Connection,
    NoResponseError,
    Request,
    Response,
    Timeouts,
)
from loadtests.trickle import Trickle

TICK_SECONDS = 0.2
"""Between two pieces."""
RECEIVE_BUFFER_BYTES = 4_096
MOST_BYTES_AT_THE_END = 64 * 1024 * 1024
"""Read at full speed when the time is over; an object that has more left is not what this is for."""


@dataclass(frozen=True, slots=True)
class Slowness:
    """Rates in bytes a second, 0: no limit."""

    send: float
    read: float
    hold_seconds: float


class SlowConnection(Connection):
    """Open to one address, for one request."""

    def __init__(self, slowness: Slowness, address: str, port: int, timeouts: Timeouts, source: str = "") -> None:
        self._slowness = slowness
        self._ends_at = 0.0
        self._reading: Trickle | None = None
        self._read_bytes = 0
        self._bytes_at_the_end = 0
        super().__init__(address, port, timeouts, source)

    def exchange(self, request: Request, host: str) -> Response:
        """As any connection's; that the server cut it is said as such, and is no reason to go elsewhere."""
        began = time.monotonic()
        self._ends_at = began + self._slowness.hold_seconds
        try:
            response = super().exchange(request, host)
        except NoResponseError as error:
            if error.is_silent:
                raise
            raise BrokenResponseError(_cut(began, error), None) from error
        except BrokenResponseError as error:
            if not isinstance(error.__cause__, TimeoutError):
                error.args = (_cut(began, error),)
            raise
        self.close()
        return response

    def _connect(self, address: str, port: int, seconds: float, local: tuple[str, int] | None) -> gevent.socket.socket:
        """The size of the buffer counts only before the handshake, which announces it."""
        connecting = gevent.socket.socket(gevent.socket.AF_INET6 if ":" in address else gevent.socket.AF_INET)
        try:
            if self._slowness.read:
                connecting.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            if local is not None:
                connecting.bind(local)
            connecting.settimeout(seconds)
            connecting.connect((address, port))
        except BaseException:
            connecting.close()
            raise
        return connecting

    def _send(self, data: bytes) -> None:
        """Until all is sent, or the server has something to say: an answer before it has the request, or the end."""
        sending = Trickle(self._slowness.send, time.monotonic(), self._ends_at)
        sent = 0
        while sent < len(data):
            due = sending.due(time.monotonic(), sent, len(data) - sent)
            self._socket.sendall(data[sent : sent + due])
            sent += due
            if sent < len(data) and gevent.select.select([self._socket], [], [], TICK_SECONDS)[0]:
                return

    def _read(self) -> bytes:
        if self._reading is None:
            self._reading = Trickle(self._slowness.read, time.monotonic(), self._ends_at)
        while not (due := self._reading.due(time.monotonic(), self._read_bytes, READ_BYTES)):
            gevent.sleep(TICK_SECONDS)
        data = bytes(self._socket.recv(due))
        self._read_bytes += len(data)
        if time.monotonic() >= self._ends_at:
            self._bytes_at_the_end += len(data)
        if self._bytes_at_the_end > MOST_BYTES_AT_THE_END:
            raise OSError(errno.EFBIG, f"not cut, but more than {MOST_BYTES_AT_THE_END:,} bytes were left to read")
        return data


def _cut(began: float, error: Exception) -> str:
    return f"cut by the server after {time.monotonic() - began:.1f} s: {error}"
