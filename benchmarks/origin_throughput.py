"""How fast the origin is: requests a second for a 1 KiB object over keep-alive, and MB/s of generated downloads.

Starts an origin of its own on loopback, measures, stops it. `python -m benchmarks.origin_throughput [--seconds 3] [--connections 32]`.
The client shares the machine with the origin; CPU microseconds per request are the origin's own and compare better than rates.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import uvloop

from origin.messages import Generated
from origin.patterns import pieces

_HOST = "127.14.0.250"
_READY = re.compile(r"origin bench (listening|admin) on \S+:(\d+)")
_OBJECT = b"GET %s HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: bench\r\nX-Edge-Request-Id: 0123456789\r\n\r\n"
_DOWNLOAD_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Rate:
    """What one run of requests measured."""

    requests_per_second: float
    cpu_microseconds_per_request: float


class _Client(asyncio.Protocol):
    """Keeps one request under way and counts the answers by their known size."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._missing_bytes = 0
        self._head = b""
        self.answers = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Ask again once the answer is whole."""
        if self._missing_bytes == 0:
            self._missing_bytes = self._answer_bytes(data)
        self._missing_bytes -= len(data)
        if self._missing_bytes == 0 and self._transport is not None:
            self.answers += 1
            self._transport.write(self._request)

    def stop(self) -> None:
        """Ask no more."""
        if self._transport is not None:
            self._transport.abort()

    @staticmethod
    def _answer_bytes(data: bytes) -> int:
        head, _, _ = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None, head
        return len(head) + 4 + int(length.group(1))


async def _measure_rate(port: int, target: str, pid: int, seconds: float, connections: int) -> Rate:
    loop = asyncio.get_running_loop()
    request = _OBJECT % target.encode()
    clients = [(await loop.create_connection(lambda: _Client(request), _HOST, port))[1] for _ in range(connections)]
    await asyncio.sleep(0.3)  # the first requests warm up and are not counted
    before, cpu_before, started = sum(client.answers for client in clients), _cpu_seconds(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    answers = sum(client.answers for client in clients) - before
    elapsed, cpu_seconds = time.perf_counter() - started, _cpu_seconds(pid) - cpu_before
    for client in clients:
        client.stop()
    return Rate(answers / elapsed, cpu_seconds / max(1, answers) * 1e6)


async def _store(port: int, target: str, content: bytes) -> None:
    reader, writer = await asyncio.open_connection(_HOST, port)
    writer.write(
        b"PUT %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % (target.encode(), len(content)) + content
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


async def _measure_download(port: int) -> float:
    """MB/s of one download over a socket, received and thrown away."""
    reader, writer = await asyncio.open_connection(_HOST, port, limit=1 << 22)
    started = time.perf_counter()
    writer.write(_OBJECT % b"/download/1GiB.bin")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    missing = _DOWNLOAD_BYTES
    while missing:
        missing -= len(await reader.read(1 << 20))
    writer.close()
    await writer.wait_closed()
    return _DOWNLOAD_BYTES / (time.perf_counter() - started) / 1e6


def _measure_generation() -> float:
    """MB/s of the generator alone."""
    started = time.perf_counter()
    total = sum(len(piece) for piece in pieces(Generated("bench", _DOWNLOAD_BYTES)))
    return total / (time.perf_counter() - started) / 1e6


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _port(errors: IO[str]) -> int:
    for line in errors:
        match = _READY.search(line)
        if match is not None and match.group(1) == "listening":
            return int(match.group(2))
    raise SystemExit("the origin did not start")


async def _measure_all(port: int, pid: int, seconds: float, connections: int) -> None:
    await _store(port, "/bucket/bench/1KiB", os.urandom(1_024))
    for name, target in (
        ("1 KiB object of a bucket", "/bucket/bench/1KiB"),
        ("1 KiB echo, shaped", "/echo/x?size=1024&cache-control=max-age%3D60"),
        ("page of the website", "/pages/1.html"),
    ):
        rate = await _measure_rate(port, target, pid, seconds, connections)
        print(
            f"{name}: {rate.requests_per_second:,.0f} requests/s, {rate.cpu_microseconds_per_request:.1f} us CPU each"
        )
    print(f"download of 1 GiB over a socket: {await _measure_download(port):,.0f} MB/s")


def main() -> None:
    """Start, measure, print, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args()
    address = f"{_HOST}:0"
    command = [sys.executable, "-m", "origin", "--node-id", "bench", "--listen", address, "--admin", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            uvloop.run(_measure_all(_port(process.stderr), process.pid, given.seconds, given.connections))
        finally:
            process.terminate()
    print(f"generator alone: {_measure_generation():,.0f} MB/s")


if __name__ == "__main__":
    main()
