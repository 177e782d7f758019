"""What a miss costs in the node's own code: a viewer and an origin on transports in memory, so that no kernel and no event loop has a part in it.

    python -m benchmarks.miss_cost                     # microseconds
    python -m benchmarks.miss_cost --instructions      # instructions in user space, by valgrind: the same on a busy machine

Each request is for a URL of its own, each response has the head that a file of nginx has, with a Date, an ETag and a Last-Modified, and is stored; the access log is
written. `--instructions` counts two runs of different lengths, so that what both do once drops out.
"""

import argparse
import asyncio
import gc
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

import edge_node
from benchmarks.install_peers import find
from edge_node.listeners.http1 import ViewerConnection
from edge_node.observability.access_log import AccessLog
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.fetcher import Fetcher
from edge_node.upstream.pool import ConnectionPool
from tests.conversations.dialogue import Node
from tests.edge_wires import FakeListener

WARM_UP = 300
CAPACITY_BYTES = 1 << 28
BODY = b"x" * 1_024
SECTION = b" HTTP/1.1\r\nHost: d1.cdn.localhost\r\nUser-Agent: benchmark\r\n\r\n"
COLLECTOR_THRESHOLDS = (20_000, 20, 20)
"""As the node sets them."""


class _Transport(asyncio.Transport):
    """Takes everything and keeps nothing."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 40_000) if name == "peername" else default

    def write(self, data: Any) -> None:
        del data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever kept."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class _Connections:
    """The node's own pool, but that new connections lead to an origin that is only asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        pool = ConnectionPool(loop)
        self.take_idle, self.release = pool.take_idle, pool.release
        self.origins: list[UpstreamConnection] = []
        self.is_connected = asyncio.Event()

    async def connect(self, address: tuple[str, int], timeout_seconds: float) -> UpstreamConnection:
        del address, timeout_seconds
        connection = UpstreamConnection(asyncio.get_running_loop())
        connection.connection_made(_Transport())
        self.origins.append(connection)
        asyncio.get_running_loop().call_soon(self.is_connected.set)
        return connection


def response(number: int) -> bytes:
    """As a web server gives a file."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 15 Jan 2027 07:%02d:%02d GMT\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n"
        b'Last-Modified: Thu, 14 Jan 2027 06:%02d:%02d GMT\r\nConnection: keep-alive\r\nETag: "%x-400"\r\nCache-Control: max-age=3600\r\nAccept-Ranges: bytes\r\n\r\n%b'
    ) % (number // 6_000 % 60, number // 100 % 60, number // 60 % 60, number % 60, number, BODY)


async def measure(count: int, log: Path) -> float:
    """Seconds that a miss takes, after some that are not counted."""
    loop = asyncio.get_running_loop()
    connections = _Connections(loop)
    node = Node(capacity=CAPACITY_BYTES, policy="s3fifo")
    node = Node(capacity=CAPACITY_BYTES, policy="s3fifo", upstream=Fetcher(connections, node.counters, loop.time))
    node.now = time.time()
    node.records.log = AccessLog(log, "FRA56-P1", node.counters)
    viewer = ViewerConnection(FakeListener(node.pipeline, node.fast_path))
    viewer.connection_made(_Transport())

    def miss(number: int) -> None:
        viewer.data_received(b"GET /objects/%d%b" % (number, SECTION))
        connections.origins[0].data_received(responses[number])

    responses = [response(number) for number in range(count + WARM_UP)]
    viewer.data_received(b"GET /first" + SECTION)
    await connections.is_connected.wait()
    connections.origins[0].data_received(response(0))
    for number in range(WARM_UP):
        miss(number)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    begun_at = time.perf_counter()
    for number in range(WARM_UP, WARM_UP + count):
        miss(number)
    seconds = (time.perf_counter() - begun_at) / count
    assert node.store.statistics.entries == count + WARM_UP + 1, "not everything was stored"
    return seconds


def count_instructions(misses: int) -> int:
    """Of a whole run, by valgrind."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    program = [sys.executable, "-m", "benchmarks.miss_cost", "--misses", str(misses)]
    done = subprocess.run([*command, *program], capture_output=True, text=True, check=True)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", type=int, default=3_000)
    parser.add_argument("--instructions", action="store_true", help="count instructions (needs valgrind)")
    given = parser.parse_args()
    code = "compiled" if edge_node.IS_COMPILED else "run from source"
    if given.instructions:
        if find("valgrind") is None:
            print("not installed: valgrind")
            return 1
        more = count_instructions(given.misses) - count_instructions(given.misses // 4)
        print(f"{code}: {more / (given.misses - given.misses // 4):,.0f} instructions for a miss")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        seconds = uvloop.run(measure(given.misses, Path(folder) / "access.log"))
    print(f"{code}: {seconds * 1e6:.1f} us for a miss")
    return 0


if __name__ == "__main__":
    sys.exit(main())
