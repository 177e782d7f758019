"""How one control plane, on one core, bears thousands of nodes: `python -m benchmarks.control_plane_scale [--parts change,minute,storm,memory] [--tls | --replica]`.

A real control plane process over real sockets; the nodes are lean ones (`lean_nodes.py`) in this process, on another core, so that they are not what is measured.
Beside each figure stand the processor seconds that the control plane used and the load of the machine.
"""

import argparse
import asyncio
import os
import resource
import shlex
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.control_plane_process import (
    HOST,
    ApiClient,
    ControlPlaneProcess,
    free_ports,
    processor_seconds,
    real_edge,
    running,
)
from benchmarks.lean_nodes import Fleet
from benchmarks.postgres_server import NoPostgresError, running_server
from lab.cluster.certificate_authority import CertificateAuthority, Holder
from proto.cdn.v1 import sync_pb2

ZONE: Final = "cdn.localhost"
NODES_PER_POP: Final = 20
NODES_AT_A_TIME: Final = 250
REGIONS: Final = ("us-east-1", "eu-central-1", "ap-northeast-1")
CONNECT_SECONDS: Final = 180.0
CHANGE_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 5.0
MOST_TIMES: Final = 2.0
"""As long as was asked for, at most."""
API_CLIENTS: Final = 4
SAMPLED_RECEIPTS: Final = 200
REGISTRY_SETTLES_SECONDS: Final = 8.0
"""Until the leases of all are older than what others need to notice them; then receipts wait for acknowledgements only."""


@dataclass(frozen=True)
class Cost:
    """What the control plane, and this process, have used until now."""

    at: float
    plane: float
    driver: float

    @classmethod
    def now(cls, plane: ControlPlaneProcess) -> "Cost":
        """See the class."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(time.monotonic(), plane.processor_seconds(), used.ru_utime + used.ru_stime)

    def since(self, before: "Cost") -> str:
        """In words."""
        seconds = self.at - before.at
        plane, driver = self.plane - before.plane, self.driver - before.driver
        load = os.getloadavg()[0]
        return (
            f"[control plane {plane:.2f} s of processor in {seconds:.1f} s = {plane / seconds:.0%}, "
            f"driver {driver / seconds:.0%}, load {load:.1f}]"
        )


def identities(count: int) -> Iterator[sync_pb2.Node]:
    """Edges in places of twenty, each with a regional cache among them."""
    for number in range(count):
        place, within = divmod(number, NODES_PER_POP)
        yield sync_pb2.Node(
            id=f"node-{number}",
            role=sync_pb2.ROLE_REGIONAL if within == 0 else sync_pb2.ROLE_EDGE,
            region=REGIONS[place % len(REGIONS)],
            pop=f"P{place:04}",
            http_address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:80",
            admin_address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:81",
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


async def until(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait, with a deadline; the seconds that it took."""
    began_at = time.monotonic()
    while not condition():
        if time.monotonic() - began_at > seconds:
            raise SystemExit(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.01)
    return time.monotonic() - began_at


async def connect_all(plane: ControlPlaneProcess, fleet: Fleet) -> None:
    """Nodes that nobody knows: each gets a snapshot and its first lease."""
    before = Cost.now(plane)
    fleet.start()
    seconds = await until(lambda: fleet.leased() == len(fleet.nodes), "all leases", CONNECT_SECONDS)
    print(
        f"{len(fleet.nodes)} new nodes live after {seconds:.2f} s; {fleet.tally.connections} connections, "
        f"{fleet.tally.snapshots} snapshots {Cost.now(plane).since(before)}",
        flush=True,
    )


async def connect_some_at_a_time(fleet: Fleet) -> None:
    """Where it is not the question how many may come at once."""
    for begin in range(0, len(fleet.nodes), NODES_AT_A_TIME):
        some = fleet.nodes[begin : begin + NODES_AT_A_TIME]
        for node in some:
            node.start()
        await until(lambda some=some: all(node.lease_until for node in some), "leases", CONNECT_SECONDS)  # type: ignore[misc]


async def measure_changes(plane: ControlPlaneProcess, fleet: Fleet, client: ApiClient, changes: int) -> None:
    """Goal: acknowledged by all, p99 1 s."""
    applied, acknowledged = [], []
    before = Cost.now(plane)
    for number in range(changes):
        index = fleet.lowest_index() + 1
        began_at = time.monotonic()
        identifier = await asyncio.to_thread(client.create_distribution, number)
        await until(lambda index=index: fleet.lowest_index() >= index, "all have applied it", CHANGE_SECONDS)  # type: ignore[misc]
        applied.append(time.monotonic() - began_at)
        while not await asyncio.to_thread(client.is_deployed, identifier):
            if time.monotonic() - began_at > CHANGE_SECONDS:
                raise SystemExit(f"not within {CHANGE_SECONDS:g} s: acknowledged by all")
            await asyncio.sleep(0.02)
        acknowledged.append(time.monotonic() - began_at)
        await asyncio.sleep(0.3)
    print(
        f"one change over {len(fleet.nodes)} nodes, {changes} times: applied by all p50 {percentile(applied, 0.5):.3f} s, "
        f"p99 {percentile(applied, 0.99):.3f} s; seen as Deployed p50 {percentile(acknowledged, 0.5):.3f} s, "
        f"p99 {percentile(acknowledged, 0.99):.3f} s (goal: p99 1 s) {Cost.now(plane).since(before)}",
        flush=True,
    )


async def measure_minute_with_an_edge(
    plane: ControlPlaneProcess, fleet: Fleet, client: ApiClient, arguments: argparse.Namespace
) -> None:
    """The same with one edge node of the product among the lean ones, whose cost is printed."""
    with tempfile.TemporaryDirectory() as folder, real_edge(plane, Path(folder)) as edge:
        await asyncio.sleep(REGISTRY_SETTLES_SECONDS)
        idle_at, idle_from = time.monotonic(), processor_seconds(edge)
        await asyncio.sleep(SETTLE_SECONDS)
        idle_share = (processor_seconds(edge) - idle_from) / (time.monotonic() - idle_at)
        busy_at, busy_from = time.monotonic(), processor_seconds(edge)
        total = await measure_minute(plane, fleet, client, arguments.rate, arguments.seconds)
        used = processor_seconds(edge) - busy_from - idle_share * (time.monotonic() - busy_at)
        print(
            f"a real edge node: {used / total * 1e6:.0f} us of processor for each invalidation (idle: {idle_share:.1%} of a core)"
        )


async def measure_minute(
    plane: ControlPlaneProcess, fleet: Fleet, client: ApiClient, rate: float, seconds: float
) -> int:
    """Goal: receipts p99 500 ms. How many invalidations there were."""
    distribution_id = await asyncio.to_thread(client.create_distribution, 10_000)
    await asyncio.sleep(2.0)
    before, began_at, messages = Cost.now(plane), time.monotonic(), fleet.tally.entry_messages
    late: list[float] = []
    clients = [ApiClient(plane) for _ in range(API_CLIENTS)]
    idle = asyncio.Queue[ApiClient]()
    for each in clients:
        idle.put_nowait(each)

    async def invalidate(number: int) -> str | None:
        """None: there was no time for it."""
        client = await idle.get()
        if time.monotonic() > began_at + MOST_TIMES * seconds:
            idle.put_nowait(client)
            return None
        late.append(time.monotonic() - began_at - number / rate)
        identifier = await asyncio.to_thread(client.invalidate, distribution_id, number)
        idle.put_nowait(client)
        return identifier

    issued: list[asyncio.Task[str | None]] = []
    while len(issued) < rate * seconds:
        await asyncio.sleep(max(0.0, began_at + len(issued) / rate - time.monotonic()))
        issued.append(asyncio.create_task(invalidate(len(issued))))
    identifiers = [each for each in await asyncio.gather(*issued) if each is not None]
    took, total = time.monotonic() - began_at, len(identifiers)
    cost = Cost.now(plane).since(before)
    print(
        f"{total} invalidations in {took:.1f} s ({total / took:.1f}/s, at most {max(late):.2f} s late) over {len(fleet.nodes)} nodes, "
        f"{(fleet.tally.entry_messages - messages) / len(fleet.nodes):.0f} messages a node {cost}",
        flush=True,
    )
    for each in clients:
        each.close()
    await until_completed(client, distribution_id, identifiers[-1])
    sampled = [
        await asyncio.to_thread(read_receipt, plane, each) for each in identifiers[:: max(1, total // SAMPLED_RECEIPTS)]
    ]
    receipts = [seconds for seconds, _ in sampled]
    incomplete = [left_out for _, left_out in sampled if left_out]
    if incomplete:
        print(
            f"TOO MUCH for this machine: {len(incomplete)} of {len(sampled)} receipts left nodes out, up to {max(incomplete)}, "
            "that had lost their leases; their times are not what the goal is about",
            flush=True,
        )
    print(
        f"receipts of {len(receipts)} of them: p50 {percentile(receipts, 0.5) * 1000:.0f} ms, p99 {percentile(receipts, 0.99) * 1000:.0f} ms, "
        f"max {max(receipts) * 1000:.0f} ms (goal: p99 500 ms)",
        flush=True,
    )
    return total


async def until_completed(client: ApiClient, distribution_id: str, invalidation_id: str) -> None:
    """Wait for the last receipt."""
    deadline = time.monotonic() + CHANGE_SECONDS
    while not await asyncio.to_thread(client.is_completed, distribution_id, invalidation_id):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {CHANGE_SECONDS:g} s: the last receipt")
        await asyncio.sleep(0.1)


def read_receipt(plane: ControlPlaneProcess, identifier: str) -> tuple[float, int]:
    """Seconds until it was complete, and how many nodes it left out."""
    receipt = plane.get_json(f"/receipts/{identifier}")
    left_out = sum(node["state"] != "acknowledged" for node in receipt["nodes"])
    took = datetime.fromisoformat(receipt["completed_at"]) - datetime.fromisoformat(receipt["issued_at"])
    return took.total_seconds(), left_out


async def measure_storm(plane: ControlPlaneProcess, fleet: Fleet) -> None:
    """Goal: all live within 10 s of the restart, no snapshot unless needed. Killed, so that nothing is written in order at the end."""
    snapshots, broken = fleet.tally.snapshots, fleet.tally.broken
    plane.stop(hard=True)
    for node in fleet.nodes:
        node.lease_until = 0.0  # what counts is a lease of the new process
    began_at = time.monotonic()
    await asyncio.to_thread(plane.start)
    started_at, before = time.monotonic(), Cost(time.monotonic(), 0.0, Cost.now(plane).driver)
    await until(lambda: fleet.leased() == len(fleet.nodes), "all leases again", CONNECT_SECONDS)
    print(
        f"{len(fleet.nodes)} nodes after kill -9 and a restart: all live {time.monotonic() - started_at:.2f} s after it was ready "
        f"({time.monotonic() - began_at:.2f} s after it was started; goal: 10 s), {fleet.tally.snapshots - snapshots} snapshots, "
        f"{fleet.tally.broken - broken - len(fleet.nodes)} attempts in vain {Cost.now(plane).since(before)}",
        flush=True,
    )


async def measure_failover(plane: ControlPlaneProcess, fleet: Fleet) -> None:
    """The leader is killed and stays away: the other one takes over its nodes and its term."""
    snapshots = fleet.tally.snapshots
    plane.stop(hard=True)
    for node in fleet.nodes:
        node.lease_until = 0.0  # what counts is a lease of the new leader
    seconds = await until(lambda: fleet.leased() == len(fleet.nodes), "leases of the new leader", CONNECT_SECONDS)
    print(
        f"{len(fleet.nodes)} nodes after kill -9 of the leader: all live {seconds:.2f} s later, {fleet.tally.snapshots - snapshots} snapshots "
        f"[load {os.getloadavg()[0]:.1f}]",
        flush=True,
    )


async def measure_memory(plane: ControlPlaneProcess, empty_bytes: int, nodes: int) -> None:
    """Goal: at most 40 KiB a node."""
    await asyncio.sleep(SETTLE_SECONDS)
    each = (plane.resident_bytes() - empty_bytes) / nodes
    print(
        f"memory: {empty_bytes / 2**20:.0f} MiB empty, {each / 1024:.1f} KiB for each of {nodes} nodes (goal: 40 KiB)",
        flush=True,
    )


@contextmanager
def scene(nodes: int, arguments: argparse.Namespace) -> Iterator[tuple[ControlPlaneProcess, Fleet]]:
    """A control plane on one core, and a fleet that is not connected yet. With a replica the first one leads; the other one, with which half of the fleet begins, and the
    database are on the cores of the fleet."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        certificates = Certificates(folder / "certificates") if arguments.tls else None
        tls_folder = None if certificates is None else certificates.of_control_plane()
        flags = tuple(shlex.split(arguments.control_plane_flags))
        if arguments.replica:
            flags += ("--database", stack.enter_context(running_server(HOST, free_ports(1)[0])).create())
        planes = []
        for number, state in enumerate(("state", "replica")[: 1 + arguments.replica]):
            (folder / state).mkdir()
            core = cores[number] if len(cores) > 1 else None
            planes.append(ControlPlaneProcess(folder / state, core=core, tls_folder=tls_folder, more_flags=flags))
        if len(cores) > 1:
            os.sched_setaffinity(0, set(cores[1:]))
            stack.callback(os.sched_setaffinity, 0, set(cores))
        for plane in planes:
            stack.enter_context(running(plane))
        fleet = Fleet(HOST, [plane.grpc_port for plane in planes])
        fleet.add(identities(nodes))
        if certificates is not None:
            fleet.tls = {node.id: certificates.of_node(node) for node in identities(nodes)}
        yield planes[0], fleet


class Certificates:
    """A lab's, with one for each node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = CertificateAuthority(ZONE)

    def of_control_plane(self) -> Path:
        """The folder for it."""
        folder = self._folder / "control-plane"
        self._authority.issue(folder, Holder("control-plane", "control_plane", is_server=True))
        return folder

    def of_node(self, node: sync_pb2.Node) -> ssl.SSLContext:
        """What it connects with."""
        folder = self._folder / node.id
        role = sync_pb2.Role.Name(node.role).removeprefix("ROLE_").lower()
        self._authority.issue(folder, Holder(node.id, role))
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        context.set_alpn_protocols(["h2"])
        return context


async def run(arguments: argparse.Namespace) -> None:
    """All parts that are asked for."""
    parts = set(arguments.parts.split(","))
    if parts & {"change", "minute", "storm"}:
        with scene(arguments.nodes, arguments) as (plane, fleet):
            try:
                await run_parts(parts, plane, fleet, arguments)
            finally:
                await fleet.stop()
    if "memory" in parts:
        with scene(arguments.memory_nodes, arguments) as (plane, fleet):
            empty_bytes = plane.resident_bytes()
            try:
                await connect_some_at_a_time(fleet)
                await measure_memory(plane, empty_bytes, arguments.memory_nodes)
            finally:
                await fleet.stop()


async def run_parts(parts: set[str], plane: ControlPlaneProcess, fleet: Fleet, arguments: argparse.Namespace) -> None:
    """Those that have a fleet in common."""
    client = ApiClient(plane)
    await connect_all(plane, fleet)
    await asyncio.sleep(REGISTRY_SETTLES_SECONDS)
    if "change" in parts:
        await measure_changes(plane, fleet, client, arguments.changes)
    if "minute" in parts:
        if arguments.tls:
            await measure_minute(plane, fleet, client, arguments.rate, arguments.seconds)
        else:
            await measure_minute_with_an_edge(plane, fleet, client, arguments)
    client.close()
    if "storm" in parts:
        await (measure_failover if arguments.replica else measure_storm)(plane, fleet)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="change,minute,storm,memory")
    parser.add_argument("--nodes", type=int, default=2_000)
    parser.add_argument("--memory-nodes", type=int, default=5_000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50.0, help="invalidations a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--control-plane-flags", default="", metavar="FLAGS", help="more of its command line")
    parser.add_argument("--tls", action="store_true", help="with a certificate for each node, as in a lab")
    parser.add_argument(
        "--replica",
        action="store_true",
        help="two control planes over a PostgreSQL that writes durably, half of the nodes at each",
    )
    arguments = parser.parse_args()
    if arguments.replica and arguments.tls:
        parser.error("--replica and --tls: one of them at a time")
    try:
        uvloop.run(run(arguments))
    except NoPostgresError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
