"""Three control planes over one PostgreSQL: the leader is killed, stands still and goes on, is cut off from the database. No lease contradicts a receipt, no write
that was
answered is lost, and nodes and receipts go on."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.postgres_server import Server
from tests.integration.sync_harness import HOST, Node, free_port, running, until
from tests.integration.sync_process import ControlPlaneProcess
from tests.integration.tcp_relay import TcpRelay, relaying

pytest_plugins = ("tests.postgres",)

MOVED_SECONDS = 2.0
RECEIPT_SECONDS = 10.0
"""Of a test. What it takes is in docs/decisions/0027-several-control-planes.md; the machine that runs the tests is busy."""


class Replicas:
    """Three control planes, each with a path of its own to the database, and nodes that know all of them."""

    def __init__(self, folder: Path, relays: list[TcpRelay], addresses: list[str]) -> None:
        self.relays = relays
        self.planes: list[ControlPlaneProcess] = []
        for number, address in enumerate(addresses):
            own = folder / str(number)
            own.mkdir()
            self.planes.append(ControlPlaneProcess(own, "--database", address, "--lease-seconds", "3"))
        ports = [plane.grpc_port for plane in self.planes]
        self.nodes = [Node(f"edge-{number}", ports[number:] + ports[:number]) for number in range(3)]

    def leaders(self) -> list[int]:
        """Who says that it leads."""
        return [number for number, plane in enumerate(self.planes) if status_of(plane).get("leads")]

    async def leader(self) -> int:
        """The only one, as soon as there is one."""
        found: list[int] = []

        def has_one() -> bool:
            found[:] = self.leaders()
            return len(found) == 1

        while not await asyncio.to_thread(has_one):
            await asyncio.sleep(0.02)
        return found[0]

    def all_leased(self) -> bool:
        return all(node.session.lease_state() == "held" and node.session.is_connected for node in self.nodes)


def status_of(plane: ControlPlaneProcess) -> dict[str, Any]:
    try:
        status: dict[str, Any] = plane.get("/status")
    except OSError:
        return {}
    return status


@contextlib.asynccontextmanager
async def replicas(folder: Path, postgres: Server, address: str) -> AsyncIterator[Replicas]:
    """Started, with leases; gone at the end."""
    async with contextlib.AsyncExitStack() as stack:
        relays, addresses = [], []
        for _ in range(3):
            port = free_port()
            relays.append(await stack.enter_async_context(relaying(HOST, port, postgres.host, postgres.port)))
            addresses.append(f"postgresql://cdnlab@{HOST}:{port}/{address.rpartition('/')[2]}")
        found = Replicas(folder, relays, addresses)
        try:
            for plane in found.planes:
                plane.launch()
            for plane in found.planes:
                await until_ready(plane)
            async with running(*found.nodes):
                await until(found.all_leased, "leases")
                yield found
        finally:
            for plane in found.planes:
                plane.signal(signal.SIGCONT)
                plane.kill()


async def until_ready(plane: ControlPlaneProcess) -> None:
    deadline = time.monotonic() + 30
    while not await asyncio.to_thread(plane.is_ready):
        assert time.monotonic() < deadline, plane.log()
        await asyncio.sleep(0.05)


class Operator(threading.Thread):
    """Invalidates through any of the control planes, and follows the receipts: who holds a lease when one is complete must have applied it."""

    def __init__(self, found: Replicas, nodes: list[Node], distribution_id: str) -> None:
        super().__init__()
        self._planes, self._nodes, self._distribution_id = found.planes, nodes, distribution_id
        self._clients = [plane.client() for plane in found.planes]
        self.accepted: dict[str, int] = {}
        """Index by id."""
        self.completed_at: dict[str, float] = {}
        self.contradictions: list[str] = []
        self.must_stop = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.must_stop.is_set() or len(self.completed_at) < len(self.accepted):
            number += 1
            turn = number % len(self._planes)
            if not self.must_stop.is_set():
                self._invalidate(self._clients[turn], number)
            for identifier in [each for each in self.accepted if each not in self.completed_at]:
                self._follow(turn, identifier)
            time.sleep(0.02)

    def _invalidate(self, client: Any, number: int) -> None:
        batch = {"Paths": {"Quantity": 1, "Items": [f"/{number}"]}, "CallerReference": str(number)}
        try:
            answer = client.create_invalidation(DistributionId=self._distribution_id, InvalidationBatch=batch)
        except (BotoCoreError, ClientError):
            return  # not accepted
        identifier = answer.get("Invalidation", {}).get("Id")
        if identifier is not None:
            self.accepted[identifier] = -1

    def _follow(self, turn: int, identifier: str) -> None:
        try:
            status = self._clients[turn].get_invalidation(DistributionId=self._distribution_id, Id=identifier)
            if status["Invalidation"]["Status"] != "Completed":
                return
            leased = {node.node_id: node.applier.index for node in self._nodes if node.session.lease_state() == "held"}
            receipt = self._planes[turn].get(f"/receipts/{identifier}")
        except (BotoCoreError, ClientError, OSError, KeyError):
            return
        self.accepted[identifier] = receipt["index"]
        self.completed_at[identifier] = time.monotonic()
        behind = [name for name, index in leased.items() if index < receipt["index"]]
        if behind:
            self.contradictions.append(f"{identifier}: {behind}, {receipt}")


async def fail_and_go_on(
    found: Replicas, break_it: Any, mend_it: Any, extra: list[Node], pause_seconds: float = 3.0
) -> Operator:
    """Have the leader fail under load and come back; what the operator has seen."""
    distribution_id = await asyncio.to_thread(found.planes[0].create_distribution)
    operator = Operator(found, [*found.nodes, *extra], distribution_id)
    operator.start()
    try:
        await until(lambda: len(operator.completed_at) >= 5, "receipts", 15)
        leader = await found.leader()
        others = [number for number in range(3) if number != leader]
        lost = [node for node in found.nodes if node.session.reconnects_total == 0]
        assert lost == found.nodes
        failed_at = time.monotonic()
        break_it(leader)
        # Its own streams, and those that were passed on to it, have all to find another one.
        await until(lambda: all(node.session.reconnects_total for node in found.nodes), "nodes notice", 10)
        await until(lambda: all(node.session.is_connected for node in found.nodes), "nodes hear another one", 10)
        print(f"nodes at another control plane after {time.monotonic() - failed_at:.2f} s")
        await until(lambda: time.monotonic() > failed_at + pause_seconds, "the fault lasts", pause_seconds + 5)
        mend_it(leader)
        await until(
            lambda: any(at > failed_at + 0.5 for at in operator.completed_at.values()),
            "receipts go on",
            RECEIPT_SECONDS,
        )
        first = min(at for at in operator.completed_at.values() if at > failed_at + 0.5)
        print(f"receipts go on after {first - failed_at:.2f} s")
        assert (await found.leader()) in others
    finally:
        operator.must_stop.set()
        await asyncio.to_thread(operator.join, 30)
    assert not operator.is_alive(), "an accepted invalidation never completed"
    assert operator.contradictions == [] and len(operator.accepted) > 5
    listed = await asyncio.to_thread(listed_of, found.planes[others[0]], distribution_id)
    assert set(operator.accepted) <= set(listed) and set(listed.values()) == {"Completed"}
    return operator


def listed_of(plane: ControlPlaneProcess, distribution_id: str) -> dict[str, str]:
    pages = plane.client().get_paginator("list_invalidations").paginate(DistributionId=distribution_id)
    items = [item for page in pages for item in page["InvalidationList"].get("Items", [])]
    return {item["Id"]: item["Status"] for item in items}


def nothing(_leader: int) -> None:
    """It does not come back."""


async def test_followers_answer_the_api_and_pass_streams_on(
    tmp_path: Path, postgres: Server, postgres_address: str
) -> None:
    async with replicas(tmp_path, postgres, postgres_address) as found:
        leader = await found.leader()
        follower = found.planes[(leader + 1) % 3]
        seen = await asyncio.to_thread(status_of, follower)
        assert not seen["leads"] and seen["leader"] == f"{HOST}:{found.planes[leader].grpc_port}"
        assert seen["term"] == (await asyncio.to_thread(status_of, found.planes[leader]))["term"] >= 1
        distribution_id = await asyncio.to_thread(follower.create_distribution)
        await until(lambda: all(node.session.applied_index == 2 for node in found.nodes), "the distribution")
        async with asyncio.timeout(10):
            while (await asyncio.to_thread(status_of, follower))["head_index"] != 2:
                await asyncio.sleep(0.02)
        live = (await asyncio.to_thread(status_of, found.planes[leader]))["nodes"]
        assert {node["id"]: node["state"] for node in live} == {f"edge-{number}": "live" for number in range(3)}
        client = follower.client()
        waiter = client.get_waiter("distribution_deployed")
        await asyncio.to_thread(waiter.wait, Id=distribution_id, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        text = "\n".join(plane.log() for plane in found.planes)
        assert text.count("is passed on to") == 2 and "Traceback" not in text


@pytest.mark.slow
async def test_a_leader_is_killed(tmp_path: Path, postgres: Server, postgres_address: str) -> None:
    async with replicas(tmp_path, postgres, postgres_address) as found:
        await fail_and_go_on(found, lambda leader: found.planes[leader].kill(), nothing, [])


@pytest.mark.slow
@pytest.mark.parametrize("pause_seconds", [1.3, 2.5])
async def test_a_leader_stands_still_and_goes_on(
    tmp_path: Path, postgres: Server, postgres_address: str, pause_seconds: float
) -> None:
    """One node knows no other control plane, so it still hears the old leader when that goes on, by then without a seat."""
    async with replicas(tmp_path, postgres, postgres_address) as found:
        leader = await found.leader()
        loyal = Node("loyal", found.planes[leader].grpc_port)
        async with running(loyal):
            await until(lambda: loyal.session.lease_state() == "held", "its lease")
            await fail_and_go_on(
                found,
                lambda number: found.planes[number].signal(signal.SIGSTOP),
                lambda number: found.planes[number].signal(signal.SIGCONT),
                [loyal],
                pause_seconds,
            )
            await until(lambda: loyal.session.lease_state() == "held", "the old leader passes it on", 15)
        assert "leads no longer after term" in found.planes[leader].log()


@pytest.mark.slow
async def test_a_leader_is_cut_off_from_the_database(tmp_path: Path, postgres: Server, postgres_address: str) -> None:
    async with replicas(tmp_path, postgres, postgres_address) as found:

        def cut(leader: int) -> None:
            found.relays[leader].is_cut = True

        def mend(leader: int) -> None:
            found.relays[leader].is_cut = False

        await fail_and_go_on(found, cut, mend, [])
