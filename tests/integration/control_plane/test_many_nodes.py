"""Hundreds of nodes at one control plane: what is sent to them together, and how they come back. They are those of the benchmarks, which speak HTTP/2 by hand."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.lean_nodes import Fleet
from control_plane.grpc_port import GrpcPort, _has_given_up
from proto.cdn.v1 import sync_pb2
from proto.mutual_tls import TlsIdentity
from proto.node_session import NodeIdentity, NodeSession
from tests.certificates import Certificates
from tests.integration.sync_harness import HOST, ControlPlane, Node, control_plane, free_port, running, until
from tests.integration.sync_process import control_plane_process

NODES = 300
SECONDS = 60.0
"""Of a machine that is busy with other things."""

IDENTITY = NodeIdentity("edge-1", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.1.1:80", "127.0.1.1:81")


@contextlib.asynccontextmanager
async def fleet(port: int, nodes: int = NODES) -> AsyncIterator[Fleet]:
    """Connected nodes."""
    many = Fleet(HOST, [port])
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


async def test_handshakes_that_do_not_end_are_cut_off_and_others_have_their_turn_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many as may be under way come first, and say nothing."""
    monkeypatch.setattr("control_plane.grpc_port.MOST_HANDSHAKES", 3)
    monkeypatch.setattr("control_plane.grpc_port.ANONYMOUS_SECONDS", 0.5)
    lab = Certificates(tmp_path / "lab")
    plane = ControlPlane(tmp_path, 5.0, 10_000)
    server, number = GrpcPort(plane.service.serve, 100, TlsIdentity.read(lab.control_plane())), free_port()
    node = Node("edge-1", number)
    node.session = NodeSession(IDENTITY, node.applier, f"{HOST}:{number}", tls=TlsIdentity.read(lab.node("edge-1")))
    with contextlib.closing(plane.store):
        await server.start(f"{HOST}:{number}")
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(plane.service.run())
            silent = [await asyncio.open_connection(HOST, number) for _ in range(6)]
            async with running(node):
                await until(lambda: node.session.lease_state() == "held", "the lease", SECONDS)
            for reader, writer in silent:
                assert await asyncio.wait_for(reader.read(), 10.0) == b"", "it was told something"
                writer.close()
            serving.cancel()
            await server.stop(0.2)
