"""An open-loop load generator: requests are due at random times (Poisson) that no answer can put off, and a latency runs from the time at which the request was due.

A closed loop, as wrk's, waits for slow answers and so asks less just when it should ask more; its percentiles leave out what waited behind. Here a request that is due
while all connections are busy waits, and its waiting counts. One thread, no event loop, a write, a read and a share of a poll for each request. A run tells how late the
generator itself was.

    python -m benchmarks.peers.open_loop ADDRESS WORK RATE SECONDS    prints one line of JSON; WORK is `one` (object) or `zipf` (10,000 objects, the fields of a browser)
"""

import itertools
import json
import os
import random
import select
import socket
import sys
import time
from array import array
from dataclasses import asdict, dataclass

from benchmarks.peers.requests import BROWSER_HEADERS, ZIPF_KEYS, request_to, zipf_keys

CONNECTIONS = 128
BODY_BYTES = 1024
WARM_UP_SECONDS = 0.5
GIVE_UP_SECONDS = 10.0
DRAWS = 32_768


@dataclass(frozen=True)
class LatencySample:
    """Of one run, in seconds; the rate is what was really answered."""

    rate: float
    p50: float
    p99: float
    p999: float
    highest: float
    late_p99: float
    """How long after its time a request was written, waiting for a connection included: mostly the generator's own share."""


def percentile(ordered: list[float], share: float) -> float:
    """Of sorted values: the smallest that is not exceeded by this share of them."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def due_times(rate: float, seconds: float, rng: random.Random) -> "array[float]":
    """A Poisson process."""
    times, now = array("d"), 0.0
    while now < seconds:
        now += rng.expovariate(rate)
        times.append(now)
    return times


def connect(address: str, count: int) -> list[socket.socket]:
    """Connections that do not block and send at once."""
    host, _, port = address.partition(":")
    connections = []
    for _ in range(count):
        connection = socket.create_connection((host, int(port)), timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        connections.append(connection)
    return connections


def play(
    connections: list[socket.socket], requests: list[bytes], tail: bytes, due: "array[float]"
) -> list[tuple[float, float]]:
    """Ask at the times that are due; lateness and latency of each request."""
    poller = select.epoll()
    for connection in connections:
        poller.register(connection.fileno(), select.EPOLLIN)
    free = [connection.fileno() for connection in connections]
    asked: dict[int, float] = {}
    measured: list[tuple[float, float]] = []
    lateness: dict[int, float] = {}
    following = itertools.cycle(requests).__next__
    clock, write, read, poll = time.perf_counter, os.write, os.read, poller.poll
    number, total, began_at = 0, len(due), clock()
    give_up_at = due[-1] + GIVE_UP_SECONDS
    while len(measured) < total:
        now = clock() - began_at
        while number < total and due[number] <= now and free:
            handle = free.pop()
            write(handle, following())
            asked[handle] = due[number]
            lateness[handle] = now - due[number]
            number += 1
        for handle, _ in poll(0):
            if read(handle, 65_536).endswith(tail):
                measured.append((lateness[handle], clock() - began_at - asked[handle]))
                free.append(handle)
        if now > give_up_at:
            raise SystemExit(f"{total - len(measured)} requests were not answered")
    poller.close()
    return measured


def requests_of(work: str) -> list[bytes]:
    """All that will be sent, made beforehand."""
    if work == "one":
        return [request_to("/small/one")]
    made = [request_to(f"/small/k{key}", BROWSER_HEADERS) for key in range(ZIPF_KEYS + 1)]
    return [made[key] for key in zipf_keys(DRAWS, ZIPF_KEYS, random.Random(2))]


def run(address: str, work: str, rate: float, seconds: float) -> LatencySample:
    """Warm up, then measure."""
    connections, requests, rng = connect(address, CONNECTIONS), requests_of(work), random.Random(1)
    tail = answer_tail(connections[0], requests[0])
    play(connections, requests, tail, due_times(rate, WARM_UP_SECONDS, rng))
    due = due_times(rate, seconds, rng)
    began_at = time.perf_counter()
    measured = play(connections, requests, tail, due)
    elapsed = time.perf_counter() - began_at
    for connection in connections:
        connection.close()
    latencies = sorted(latency for _, latency in measured)
    p50, p99, p999 = (percentile(latencies, share) for share in (0.5, 0.99, 0.999))
    late_p99 = percentile(sorted(late for late, _ in measured), 0.99)
    return LatencySample(len(measured) / elapsed, p50, p99, p999, latencies[-1], late_p99)


def answer_tail(connection: socket.socket, request: bytes) -> bytes:
    """By what the end of an answer is recognised: all have the same body."""
    connection.setblocking(True)
    connection.sendall(request)
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < BODY_BYTES:
        answer += connection.recv(65_536)
    connection.setblocking(False)
    return answer[-32:]


def main() -> int:
    """One run."""
    address, work, rate, seconds = sys.argv[1:]
    print(json.dumps(asdict(run(address, work, float(rate), float(seconds)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
