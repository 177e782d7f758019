"""Streams that a follower passes on, over real connections and without a database of several: what it costs, and what the node is told when it ends."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from control_plane.admission import Admission
from control_plane.grpc_port import GrpcPort
from control_plane.leadership import Seat
from control_plane.relay import NodeService
from control_plane.roles import Leading, Roles
from proto.host_clock import HostClock
from tests.integration.sync_harness import HOST, MOST_CONNECTIONS, Node, control_plane, free_port, put, running, until

NODES = 30
MOST_NEW_THREADS = 4
"""Of gRPC, which has as many as there are cores, and starts them when they are wanted."""


class Follower(Roles):
    """Knows who leads, and hears of a change when it is told to."""

    def __init__(self, leader_port: int) -> None:
        super().__init__(_never, HostClock(), None)
        self.port: int | None = leader_port

    @property
    def leader_address(self) -> str | None:
        """See Roles."""
        return None if self.port is None else f"{HOST}:{self.port}"

    def follow(self, port: int) -> None:
        """Another one leads."""
        self.port = port
        self._observed.see(Seat(2, "other", f"{HOST}:{port}"), 0.0)
        self._has_changed()


async def _never(_tenure: object) -> Leading:
    raise AssertionError("it follows")


@contextlib.asynccontextmanager
async def following(leader_port: int) -> AsyncIterator[tuple[Follower, int]]:
    """A follower's port for nodes."""
    roles, port = Follower(leader_port), free_port()
    server = GrpcPort(NodeService(roles, Admission("cdn.localhost", is_certified=False), None).serve, MOST_CONNECTIONS)
    await server.start(f"{HOST}:{port}")
    try:
        yield roles, port
    finally:
        await server.stop(0.2)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


async def test_a_stream_that_is_passed_on_costs_no_thread_and_holds_a_lease(tmp_path: Path) -> None:
    leader_port = free_port()
    async with control_plane(tmp_path, leader_port) as plane, following(leader_port) as (_, port):
        first, *others = [Node(f"edge-{number}", port) for number in range(NODES)]
        async with running(first):
            await until(lambda: first.session.lease_state() == "held", "the first lease")
            before = threads()
            async with running(*others):
                await until(lambda: all(node.session.lease_state() == "held" for node in others), "leases", 30)
                index = plane.append(put("D1"))
                await until(lambda: all(node.applier.index == index for node in (first, *others)), "the entry")
                await until(lambda: plane.deployment.is_deployed("D1", index), "where the API reads it")
                assert threads() - before <= MOST_NEW_THREADS
                await others[0].session.leave()
                await until(lambda: plane.coordinator.nodes["edge-1"].has_left, "the leader heard its last word")


async def test_nodes_are_asked_to_come_again_when_another_one_leads(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    folders = [tmp_path / "a", tmp_path / "b"]
    async with (
        control_plane(folders[0], ports[0]) as one,
        control_plane(folders[1], ports[1]) as two,
        following(ports[0]) as (roles, port),
    ):
        node = Node("edge-1", [port, free_port()])
        async with running(node):
            await until(lambda: one.is_live("edge-1"), "a lease of the first")
            roles.follow(ports[1])
            await until(lambda: two.is_live("edge-1"), "a lease of the second, through the same follower")
