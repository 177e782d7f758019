"""What the history of a run costs the load generator: a closed loop of viewers that has one half of the time, against an edge that costs next to nothing.

    python -m benchmarks.history_cost [--pairs 40] [--seconds 0.5] [--users 20] [--most-percent 5]

Locust has one core to itself (taskset), the edge and the router that it asks have another. With and without take turns within one process (closed_loop.py); what counts
is the median of the pairs: requests for each second of Locust's CPU time with a history, by those without, which is the throughput of a core that it has to itself.
Exit status 1 when a history costs more than `--most-percent`.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from asyncio import BaseTransport, DatagramProtocol, DatagramTransport, Protocol, Transport
from binascii import crc32
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import dns.message
import dns.rrset
import uvloop

from benchmarks.peers.processes import LOAD_CORE, SERVER_CORE, pinned
from loadtests.plan import Address, LoadPlan
from loadtests.workload import Population
from proto.host_clock import host_nanoseconds
from proto.origin_stamp import STAMP_FIELD, OriginStamp

EDGE = "127.14.0.251"
NAME = "d1.cdn.localhost"
POPULATIONS = (Population("eu-central-1", "10.2.0.0/16", 2), Population("us-east-1", "10.1.0.0/16", 1))
BODY = os.urandom(1_024)
START_SECONDS = 60.0
"""More than Locust takes to begin and to end."""


def answer() -> bytes:
    """With the fields that an edge of the lab gives for a hit."""
    stamp = OriginStamp("origin-1", "6b86b273ff34fce1", host_nanoseconds(), crc32(BODY), None).field_value()
    fields = (
        f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(BODY)}\r\nConnection: keep-alive\r\n"
        "Date: Fri, 15 Jan 2027 07:00:00 GMT\r\nLast-Modified: Thu, 14 Jan 2027 06:00:00 GMT\r\nCache-Control: public, max-age=86400\r\n"
        f'ETag: "6b86b273ff34fce1"\r\nAccept-Ranges: bytes\r\n{STAMP_FIELD}: {stamp}\r\nAge: 17\r\nX-Cache: Hit from cloudfront\r\n'
        "Via: 1.1 3b1f9f2d6c1c4a1e9a7a1b2c3d4e5f60.cloudfront.net (CloudFront)\r\nX-Amz-Cf-Pop: FRA56-P1\r\n"
        "X-Amz-Cf-Id: k3Z0WcQ0u5lqzv1hW3YbVxkPpXkqg3dTn1r5m4m0bq9dQ2bWw8k1Ag==\r\n\r\n"
    )
    return fields.encode() + BODY


class _Edge(Protocol):
    """Answers each request, which comes in one piece, with the same bytes."""

    def __init__(self, answered: bytes) -> None:
        self._answered = answered

    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast(Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answered * data.count(b"\r\n\r\n"))


class _Router(DatagramProtocol):
    """Names the edge to whoever asks."""

    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast(DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 3600, "IN", "A", EDGE))
        self._transport.sendto(reply.to_wire(), addr)


async def serve() -> None:
    """Edge and router, until the input ends; says on which ports they are."""
    loop, answered = asyncio.get_running_loop(), answer()
    server = await loop.create_server(lambda: _Edge(answered), EDGE, 0)
    router, _ = await loop.create_datagram_endpoint(_Router, (EDGE, 0))
    print(server.sockets[0].getsockname()[1], router.get_extra_info("sockname")[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def peers() -> Iterator[tuple[int, int]]:
    """The ports of an edge and of a router."""
    command = pinned(SERVER_CORE, [sys.executable, "-m", "benchmarks.history_cost", "--serve"])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        viewer_port, router_port = map(int, process.stdout.readline().split())
        yield viewer_port, router_port
        process.stdin.close()


def measure(ports: tuple[int, int], given: argparse.Namespace) -> dict[str, Any]:
    """One run of Locust; what closed_loop.py counted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = LoadPlan(Address(EDGE, ports[1]), NAME, ports[0], POPULATIONS, history=folder / "history")
        (folder / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        report = folder / "report.json"
        command = [sys.executable, "-m", "locust", "--locustfile", "benchmarks/closed_loop.py", "--headless"]
        users = ["--users", str(given.users), "--spawn-rate", str(given.users)]
        turns = {"CLOSED_LOOP_PAIRS": str(given.pairs), "CLOSED_LOOP_SECONDS": str(given.seconds)}
        done = subprocess.run(
            pinned(LOAD_CORE, [*command, *users, "--load-plan", str(folder / "plan.json")]),
            env=os.environ | turns | {"CLOSED_LOOP_REPORT": str(report)},
            capture_output=True,
            text=True,
            timeout=2 * given.pairs * given.seconds + START_SECONDS,
            check=False,
        )
        if not report.exists():
            raise SystemExit(f"Locust did not measure:\n{done.stderr}")
        counted: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if counted["failures"]:
        raise SystemExit(f"{counted['failures']} requests failed: nothing is measured")
    return counted


def per_request(turns: Sequence[dict[str, float]], of: str) -> list[float]:
    """Microseconds of a request, in each turn."""
    return [turn[of] / turn["requests"] * 1e6 for turn in turns]


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--most-percent", type=float, default=5.0, help="of the throughput, that may be lost")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvloop.run(serve())
        return 0
    with peers() as ports:
        counted = measure(ports, given)
    lost = {}
    for of in ("seconds", "cpu_seconds"):
        without, with_history = per_request(counted["without"], of), per_request(counted["with"], of)
        ratios = [one / other for one, other in zip(without, with_history, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        lost[of] = 100 * (1 - middle)
        extra = statistics.median(other - one for one, other in zip(without, with_history, strict=True))
        print(
            f"{of.replace('_', ' ')}: {statistics.median(without):.1f} us for a request without, {statistics.median(with_history):.1f} with a history; "
            f"in pairs {extra:+.1f} us, throughput {middle:.3f} (quartiles {low:.3f} to {high:.3f})"
        )
    print(f"a history costs {lost['cpu_seconds']:.1f} % of the throughput ({given.pairs} pairs)")
    return 0 if lost["cpu_seconds"] <= given.most_percent else 1


if __name__ == "__main__":
    sys.exit(main())
