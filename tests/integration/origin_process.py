"""A real origin process for tests, and small clients to talk to it. Everything has a deadline and is cleaned up."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

PYTHON_ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 15.0
_ADDRESS = re.compile(r"origin \S+ (listening|admin) on (\S+):(\d+)$")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return once it holds; fail the test at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS:g} s for {what}"
        time.sleep(0.005)


class OriginProcess:
    """An origin on free ports of one loopback address."""

    def __init__(self, host: str, *flags: str) -> None:
        self.host = host
        self.lines: list[str] = []
        command = [sys.executable, "-m", "origin", "--node-id", "o1", "--listen", f"{host}:0", "--admin", f"{host}:0"]
        self.process = subprocess.Popen([*command, *flags], cwd=PYTHON_ROOT, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._collect, args=(self.process.stderr,))
        self._reader.start()
        self.port = self.admin_port = 0

    def __enter__(self) -> Self:
        try:
            wait_until(lambda: len(self._addresses()) == 2, "the origin to listen")
        except BaseException:
            self.end()
            raise
        addresses = self._addresses()
        self.port, self.admin_port = addresses["listening"], addresses["admin"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Make sure that nothing is left of it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(DEADLINE_SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def connect(self, receive_buffer_bytes: int | None = None) -> socket.socket:
        """A socket to the content port."""
        client = socket.socket()
        client.settimeout(DEADLINE_SECONDS)
        if receive_buffer_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        client.connect((self.host, self.port))
        return client

    def converse(self, *parts: bytes) -> bytes:
        """Send the parts and read until the origin closes."""
        with self.connect() as client:
            for part in parts:
                client.sendall(part)
            return read_to_end(client)

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> "Answer":
        """One request on a connection of its own; underscores in header names stand for dashes."""
        return self._exchange(self.port, method, target, body, headers)

    def ask_admin(self, method: str, target: str, body: bytes | None = None, **headers: str) -> "Answer":
        """The same at the admin port."""
        return self._exchange(self.admin_port, method, target, body, headers)

    def admin(self, method: str, target: str, document: object = None) -> Any:
        """One call to the admin port; its JSON."""
        body = None if document is None else json.dumps(document).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self._exchange(self.admin_port, method, target, body, headers)
        assert answer.status < 300, answer
        return json.loads(answer.body) if answer.body.startswith(b"{") else answer.body

    def resident_bytes(self, field: str = "VmRSS") -> int:
        """Memory of the process; VmHWM is the highest so far."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE).group(1)) * 1_024  # type: ignore[union-attr]  # always there

    def _exchange(self, port: int, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> "Answer":
        connection = http.client.HTTPConnection(self.host, port, timeout=DEADLINE_SECONDS)
        try:
            connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def _addresses(self) -> dict[str, int]:
        assert self.process.poll() is None, "".join(self.lines)
        matches = [match for line in list(self.lines) if (match := _ADDRESS.search(line.rstrip()))]
        return {match.group(1): int(match.group(3)) for match in matches}

    def _collect(self, errors: IO[str]) -> None:
        for line in errors:
            self.lines.append(line)


class Answer:
    """A response that was read to its end."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{self.status} {self.headers.items()} {self.body[:200]!r}"


def read_to_end(client: socket.socket) -> bytes:
    """Everything until the other side closes."""
    received = bytearray()
    while data := client.recv(65_536):
        received += data
    return bytes(received)


def read_until(client: socket.socket, mark: bytes) -> bytes:
    """Everything up to a mark, and what came with it."""
    received = bytearray()
    while mark not in received:
        data = client.recv(65_536)
        assert data, f"closed before {mark!r}: {bytes(received)!r}"
        received += data
    return bytes(received)


def read_exactly(client: socket.socket, count: int) -> bytes:
    """So many bytes."""
    received = bytearray()
    while len(received) < count:
        data = client.recv(min(65_536, count - len(received)))
        assert data, f"closed after {len(received)} of {count} bytes"
        received += data
    return bytes(received)
