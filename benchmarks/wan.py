"""What a relay costs: `python -m benchmarks.wan [--links 400] [--megabytes 1024] [--rounds 5]`. Goals: 0.3 ms for an idle link, 300 MB/s in one process with 400 links.

The relays, a server and the client are a process each. A round trip is measured straight and over a link that asks for nothing, in turn, so that the machine's mood is
in both; what the relay costs is the difference of the medians. The rate is that of one connection, and of several at once, over plain links and links with a delay.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from lab.clients.http_client import ask

SERVER, RELAY = "127.21.0.1", "127.21.0.2"
PORT = 8_080
ROUND_TRIPS = 300
CHUNK = bytes(262_144)
COST_GOAL_MILLISECONDS = 0.3
RATE_GOAL = 300.0
DELAY_MILLISECONDS = 20


@dataclass(frozen=True)
class Row:
    """One figure."""

    what: str
    value: float
    unit: str
    goal: float
    is_least: bool

    @property
    def is_met(self) -> bool:
        return self.value >= self.goal if self.is_least else self.value <= self.goal


class Sink(asyncio.BufferedProtocol):
    """Answers a byte with a byte, and a large amount when it has ended with its length."""

    buffer = memoryview(bytearray(1 << 20))

    def connection_made(self, transport: Any) -> None:
        self.transport, self.received = transport, 0

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes
        if nbytes == 1:
            self.transport.write(b"!")

    def eof_received(self) -> bool:
        self.transport.write(b"%d" % self.received)
        return False


def serve() -> None:
    """Until it is terminated."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Sink, SERVER, PORT)
        await server.serve_forever()

    uvloop.run(run())


def configuration(links: int) -> dict[str, Any]:
    """Places 0 and 1 are plain and delayed; the others are there to be many."""
    places = [{"name": "here", "networks": ["127.21.0.0/24"]}]
    places += [
        {"name": f"p{number}", "networks": [f"127.21.{1 + number % 200}.{number // 200 * 100 + 1}/32"]}
        for number in range(links)
    ]
    delays = [0, DELAY_MILLISECONDS, *(5 + number % 90 for number in range(links - 2))]
    return {
        "api": f"{RELAY}:8474",
        "places": places,
        "proxies": [{"name": "p", "listen": f"{RELAY}:{PORT}", "upstream": f"{SERVER}:{PORT}", "place": "here"}],
        "links": [{"between": [f"p{number}", "here"], "delay_ms": delay} for number, delay in enumerate(delays)],
    }


@contextmanager
def relaying(links: int) -> Iterator["subprocess.Popen[str]"]:
    """The relays' process and the server's."""
    server = multiprocessing.Process(target=serve, daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wan.json"
        file.write_text(json.dumps(configuration(links)))
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.wan", "--config", str(file)], stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            if " API on " not in said:
                raise SystemExit(said + process.stderr.read())
            yield process
        finally:
            process.terminate()
            process.wait()
            server.terminate()
            server.join()


def connect(host: str, source: str) -> socket.socket:
    made = socket.create_connection((host, PORT), timeout=60, source_address=(source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def round_trips(connection: socket.socket) -> float:
    """The median of many, in milliseconds."""
    found = []
    for _ in range(ROUND_TRIPS):
        began_at = time.perf_counter()
        connection.sendall(b"?")
        connection.recv(1)
        found.append((time.perf_counter() - began_at) * 1000)
    return statistics.median(found)


def send(host: str, source: str, megabytes: int) -> None:
    """So many, until the server has them all."""
    with connect(host, source) as connection:
        for _ in range(megabytes * 1_000_000 // len(CHUNK)):
            connection.sendall(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass


def rate(host: str, source: str, megabytes: int, connections: int = 1) -> float:
    """MB/s of all connections together."""
    began_at = time.perf_counter()
    senders = [
        multiprocessing.Process(target=send, args=(host, source, megabytes // connections)) for _ in range(connections)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return megabytes / (time.perf_counter() - began_at)


def cost(rounds: int, source: str) -> tuple[float, float]:
    """Medians of a round trip straight and over the relay, measured in turn, in milliseconds."""
    with connect(SERVER, source) as straight, connect(RELAY, source) as relayed:
        pairs = [(round_trips(straight), round_trips(relayed)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def delays(rounds: int, source: str) -> float:
    """By how much a round trip is longer than it was asked to be."""
    with connect(RELAY, source) as connection:
        connection.sendall(b"?")
        connection.recv(1)
        found = []
        for _ in range(rounds * 10):
            began_at = time.perf_counter()
            connection.sendall(b"?")
            connection.recv(1)
            found.append((time.perf_counter() - began_at) * 1000)
    return statistics.median(found) - 2 * DELAY_MILLISECONDS


def memory_mib(process_id: int) -> float:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def measure(links: int, megabytes: int, rounds: int) -> Iterator[Row]:
    plain, delayed = "127.21.1.1", "127.21.2.1"
    with relaying(links) as process:
        yield Row(
            f"memory of the process with {links} links, idle", memory_mib(process.pid), "MiB", 100, is_least=False
        )
        straight, relayed = cost(rounds, plain)
        yield Row("round trip straight", straight, "ms", 60_000, is_least=False)
        yield Row(
            "cost of an idle link, a round trip", relayed - straight, "ms", COST_GOAL_MILLISECONDS, is_least=False
        )
        yield Row(
            f"late, of a round trip of {2 * DELAY_MILLISECONDS} ms", delays(rounds, delayed), "ms", 1.5, is_least=False
        )
        direct = statistics.median(rate(SERVER, plain, megabytes) for _ in range(rounds))
        yield Row("rate straight", direct, "MB/s", 0, is_least=True)
        for what, source in (("plain", plain), (f"{DELAY_MILLISECONDS} ms", delayed)):
            for connections in (1, 8):
                values = [rate(RELAY, source, megabytes, connections) for _ in range(rounds)]
                goal = (
                    RATE_GOAL if connections > 1 or source == plain else 0.0
                )  # else bounded by the window: 4 MiB in 20 ms
                label = f"rate over a link, {what}, {connections} connection(s)"
                yield Row(label, statistics.median(values), "MB/s", goal, is_least=True)
        status = json.loads(ask(f"{RELAY}:8474", "/status").body)
        yield Row("connections that are left", status["connections"], "", 0, is_least=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.wan", description=__doc__)
    parser.add_argument("--links", type=int, default=400)
    parser.add_argument("--megabytes", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    is_met = True
    for row in measure(given.links, given.megabytes, given.rounds):
        is_met &= row.is_met
        print(f"{row.what:<55} {row.value:>10.3f} {row.unit:<5} {'' if row.is_met else 'GOAL MISSED'}", flush=True)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
