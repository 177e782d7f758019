"""How long invalidations take to be everywhere, over nine nodes that are busy serving: `python -m benchmarks.invalidation_receipts [--invalidations 200] [--rate 300]`.

Starts the default topology (six edges, two regional caches, a router) as processes without delays between them, has viewers of all edges ask at a steady rate from a
process of their own, and issues one invalidation after another through the management API. Goal: p99 of the receipts below 20 ms.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3

from lab.clients.http_client import get_json, split_address
from lab.clients.management_api import CACHING_OPTIMIZED, ManagementApi, OriginAddress, SiteConfig
from lab.cluster.processes import ProcessCluster
from lab.topology.layout import CONTROL_PLANE_ID, Role
from lab.topology.reader import read_topology, shipped_topology

LOOPBACK = "127.19.0.0/16"
GOAL_MILLISECONDS = 20.0
OBJECTS = 50
PERCENTILES = (0.50, 0.95, 0.99, 1.0)
ANSWER_SECONDS = 5.0
COMPLETE_SECONDS = 10.0
STOP_SECONDS = 10.0


@dataclass
class Series:
    """Milliseconds of one kind."""

    name: str
    milliseconds: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The smallest value that so many are not above (nearest rank)."""
        ordered = sorted(self.milliseconds)
        return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]

    def row(self) -> str:
        return f"{self.name:48}" + "".join(f"{self.percentile(share):9.1f}" for share in PERCENTILES)


@dataclass(frozen=True)
class Load:
    """What viewers met while invalidations were measured."""

    requests: int
    errors: int
    seconds: float


# -- viewers, in a process of their own


def view(edges: Sequence[str], host: str, rate: float, results: Connection) -> None:
    """Ask until the other end says stop, then tell what was met."""
    results.send(asyncio.run(_view_until_told(edges, host, rate, results)))


async def _view_until_told(edges: Sequence[str], host: str, rate: float, results: Connection) -> Load:
    counts = {"requests": 0, "errors": 0}
    began_at = time.monotonic()
    viewers = [asyncio.create_task(_view_one(edge, host, len(edges) / rate, counts)) for edge in edges]
    await asyncio.to_thread(results.recv)
    for viewer in viewers:
        viewer.cancel()
    await asyncio.gather(*viewers, return_exceptions=True)
    return Load(counts["requests"], counts["errors"], time.monotonic() - began_at)


async def _view_one(edge: str, host: str, interval_seconds: float, counts: dict[str, int]) -> None:
    """Requests at fixed times on one connection; after an error on another one."""
    due_at = time.monotonic()
    numbers = itertools.count()
    while True:
        try:
            reader, writer = await asyncio.open_connection(*split_address(edge))
            try:
                while True:
                    await _ask(reader, writer, host, f"/images/{next(numbers) % OBJECTS + 1}.svg")
                    counts["requests"] += 1
                    due_at += interval_seconds
                    await asyncio.sleep(max(0.0, due_at - time.monotonic()))
            finally:
                writer.close()
        except (OSError, EOFError, ValueError):
            counts["errors"] += 1
            await asyncio.sleep(interval_seconds)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str) -> None:
    """One request; ValueError when it is not answered with 200 and a length."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    async with asyncio.timeout(ANSWER_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        length = next(
            (line.removeprefix("content-length:") for line in lines if line.startswith("content-length:")), ""
        )
        if " 200 " not in lines[0] or not length:
            raise ValueError(lines[0])
        await reader.readexactly(int(length))


@contextmanager
def viewers(edges: Sequence[str], host: str, rate: float) -> Iterator[list[Load]]:
    """Load while the block runs; what was met is in the list afterwards."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=view, args=(edges, host, rate, theirs))
    process.start()
    found: list[Load] = []
    try:
        yield found
        ours.send("stop")
        if ours.poll(STOP_SECONDS):
            found.append(ours.recv())
    finally:
        process.join(STOP_SECONDS)
        process.kill()
        process.join()


# -- invalidations


@dataclass
class Measured:
    """Milliseconds of all invalidations."""

    completed: Series = field(default_factory=lambda: Series("receipt: issued until completed"))
    nodes: Series = field(default_factory=lambda: Series("receipt: issued until acknowledged, each node"))
    returned: Series = field(default_factory=lambda: Series("client: call returned until seen as Completed"))
    called: Series = field(default_factory=lambda: Series("client: called until seen as Completed"))

    def all(self) -> tuple[Series, ...]:
        return self.completed, self.nodes, self.returned, self.called


def measure(client: Any, admin: str, distribution_id: str, count: int) -> Measured:
    """One invalidation after the other, each asked for until it is Completed."""
    measured = Measured()
    for number in range(count):
        called_at = time.monotonic()
        batch = {
            "Paths": {"Quantity": 1, "Items": [f"/images/{number % OBJECTS + 1}.svg"]},
            "CallerReference": f"benchmark-{number}",
        }
        answer = client.create_invalidation(DistributionId=distribution_id, InvalidationBatch=batch)
        returned_at = time.monotonic()
        invalidation = answer["Invalidation"]
        while invalidation["Status"] != "Completed":
            if time.monotonic() > returned_at + COMPLETE_SECONDS:
                raise SystemExit(f"invalidation {invalidation['Id']} is not complete after {COMPLETE_SECONDS:g} s")
            invalidation = client.get_invalidation(DistributionId=distribution_id, Id=invalidation["Id"])[
                "Invalidation"
            ]
        seen_at = time.monotonic()
        measured.returned.milliseconds.append((seen_at - returned_at) * 1000)
        measured.called.milliseconds.append((seen_at - called_at) * 1000)
        take_receipt(measured, get_json(admin, f"/receipts/{invalidation['Id']}"))
    return measured


def take_receipt(measured: Measured, receipt: dict[str, Any]) -> None:
    """What the control plane measured; a node that was left out makes the figures worthless."""
    left_out = [node["id"] for node in receipt["nodes"] if node["state"] != "acknowledged"]
    if left_out:
        raise SystemExit(f"receipt {receipt['invalidation_id']} has no acknowledgement of {', '.join(left_out)}")
    took_ns = receipt["completed_monotonic_ns"] - receipt["issued_monotonic_ns"]
    measured.completed.milliseconds.append(took_ns / 1e6)
    measured.nodes.milliseconds += [node["seconds"] * 1000 for node in receipt["nodes"] if node["seconds"] is not None]


def run(count: int, rate: float, folder: Path) -> tuple[Measured, Load, int]:
    """Bring the lab up, measure, take it down; the figures and how many nodes are in a receipt."""
    # Without distance: what is measured is the lab, and not the speed of light.
    topology = replace(read_topology(shipped_topology("default"), LOOPBACK), has_relays=False)
    with ProcessCluster.up(topology, folder / "lab") as lab:
        status = lab.status()
        origin = OriginAddress(*split_address(status.of_role(Role.ORIGIN)[0].node.http))
        with ManagementApi(status.api) as api:
            site = api.create_distribution(SiteConfig("benchmark", origin, CACHING_OPTIMIZED))
            api.wait_deployed(site.id)
        edges = [edge.node.http for edge in status.of_role(Role.EDGE)]
        nodes = sum(node.node.role not in (Role.CONTROL_PLANE, Role.ORIGIN) for node in status.nodes)
        access = status.api
        client = boto3.client(
            "cloudfront",
            endpoint_url=access["endpoint"],
            region_name=access["region"],
            aws_access_key_id=access["access_key_id"],
            aws_secret_access_key=access["secret_access_key"],
        )
        with viewers(edges, site.domain_name, rate) as found:
            wait_until_busy(lab, len(edges))
            measured = measure(client, lab.node(CONTROL_PLANE_ID).admin, site.id, count)
        client.close()
    if not found:
        raise SystemExit("the viewers did not say what they met")
    return measured, found[0], nodes


def wait_until_busy(lab: ProcessCluster, edges: int) -> None:
    """Until every edge has served what viewers ask for."""
    deadline = time.monotonic() + COMPLETE_SECONDS
    admins = [edge.node.admin for edge in lab.status().of_role(Role.EDGE)]
    assert len(admins) == edges
    while any(get_json(admin, "/status")["requests_total"] < OBJECTS for admin in admins):
        if time.monotonic() > deadline:
            raise SystemExit("viewers do not reach every edge")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description="From an invalidation to its receipt")
    parser.add_argument("--invalidations", type=int, default=200)
    parser.add_argument("--rate", type=float, default=300.0, help="requests of viewers per second, over all edges")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured, load, nodes = run(given.invalidations, given.rate, Path(folder))
    print(
        f"{given.invalidations} invalidations over {nodes} nodes; {load.requests / load.seconds:,.0f} requests/s, {load.errors} errors"
    )
    print(f"{'milliseconds':48}" + "".join(f"{title:>9}" for title in ("p50", "p95", "p99", "max")))
    for series in measured.all():
        print(series.row())
    worst = measured.completed.percentile(0.99)
    verdict = "reached" if worst < GOAL_MILLISECONDS else "missed"
    print(f"goal: p99 of the receipts below {GOAL_MILLISECONDS:g} ms: {verdict} ({worst:.1f} ms)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
