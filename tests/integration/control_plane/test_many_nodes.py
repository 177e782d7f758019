"""Hundreds of nodes at one control plane: what is sent to them together, and how they come back. They are those of the benchmarks, which speak HTTP/2 by hand."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.lean_nodes import Fleet
from control_plane.grpc_port import _has_given_up
from proto.cdn.v1 import sync_pb2
from tests.integration.sync_harness import HOST, control_plane, free_port, until
from tests.integration.sync_process import control_plane_process

NODES = 300
SECONDS = 60.0
"""Of a machine that is busy with other things."""


@contextlib.asynccontextmanager
async def fleet(port: int, nodes: int = NODES) -> AsyncIterator[Fleet]:
    """Connected nodes."""
    many = Fleet(HOST, port)
    many.add(
        sync_pb2.Node(id=f"node-{number}", role=sync_pb2.ROLE_EDGE, region="us-east-1", pop="P1")
        for number in range(nodes)
    )
    many.start()
    try:
        yield many
    finally:
        await many.stop()


async def test_entries_that_are_committed_in_quick_succession_reach_each_node_in_a_few_messages(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane, fleet(port) as many:
        await until(lambda: len(plane.coordinator.live_nodes()) == NODES, "all leases", SECONDS)
        for number in range(50):
            plane.invalidate(f"I{number}")
        await until(lambda: len(plane.completed) == 50, "the receipts", SECONDS)
        assert many.lowest_index() == 50 and many.tally.entries == 50 * NODES
        assert many.tally.entry_messages <= 5 * NODES and many.tally.acknowledgements <= 7 * NODES
        assert {line.state for receipt in plane.completed for line in receipt.nodes} == {"acknowledged"}


async def test_after_kill_9_all_nodes_come_back_without_a_snapshot(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as process:
        async with fleet(process.grpc_port) as many:
            await until(lambda: many.leased() == NODES, "all leases", SECONDS)
            snapshots = many.tally.snapshots
            process.kill()
            for node in many.nodes:
                node.lease_until = 0.0
            await asyncio.to_thread(process.start)
            await until(lambda: many.leased() == NODES, "all leases again", SECONDS)
            assert many.tally.snapshots == snapshots


def test_a_client_that_has_closed_while_it_waited_is_seen_without_reading() -> None:
    with socket.create_server((HOST, 0)) as listener:
        gone, there = (socket.create_connection(listener.getsockname()) for _ in range(2))
        gone.sendall(b"hello")
        gone.close()
        there.sendall(b"hello")
        accepted = [listener.accept()[0] for _ in range(2)]
        assert [_has_given_up(each) for each in accepted] == [True, False]
        for each in (*accepted, there):
            each.close()
