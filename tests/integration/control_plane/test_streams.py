"""Sync over real sockets: catching up, pushing, leases, receipts, and what happens when either side goes away."""

import asyncio
import random
from pathlib import Path

import grpc
import grpc.aio
import pytest

from control_plane.receipts import NodeReceipt, Receipt
from control_plane.state import StoreError
from proto.cdn.v1 import sync_pb2, sync_pb2_grpc
from tests.integration.sync_harness import (
    HOST,
    MemoryApplier,
    Node,
    control_plane,
    free_port,
    put_distribution,
    running,
    until,
)


async def test_a_new_node_gets_a_snapshot_then_a_lease_then_entries(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put_distribution("D1"))
        node = Node("edge-1", port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "a lease")
            assert [d.id for d in node.applier.snapshots[0].distributions] == ["D1"]
            assert node.session.applied_index == 1 and plane.is_live("edge-1")
            plane.append(put_distribution("D2"))
            await until(lambda: node.applier.index == 2, "the entry")
            assert node.applier.entries[0].put_distribution.id == "D2"
            await until(lambda: plane.deployment.is_deployed(2), "the acknowledgement")
            await until(lambda: node.applier.directory == ("edge-1",), "the directory")


async def test_a_node_that_cannot_keep_what_it_is_sent_asks_less_and_less_often(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put_distribution("D1"))
        node = Node("edge-1", port)
        node.applier.is_wedged = True
        async with running(node):
            await until(lambda: node.session.reconnects_total == 3, "the fourth stream")
            assert node.session.lease_state() == "none"
            pauses = [float(m.rpartition("retry in ")[2].split()[0]) for m in caplog.messages if "retry in" in m]
            assert pauses[2] > pauses[0]
            assert "this node cannot keep what it was sent: no space left on device" in caplog.text
            node.applier.is_wedged = False
            await until(lambda: node.session.lease_state() == "held", "a lease")


@pytest.mark.parametrize(
    ("what_fails", "position"),
    [("snapshot", ("", 0)), ("entries_after", ("the log", 0)), ("renew_identity", ("the log", 99))],
)
async def test_a_database_that_fails_ends_the_stream_that_needs_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what_fails: str, position: tuple[str, int]
) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put_distribution("D1"))
        other = Node("edge-1", port)
        async with running(other):
            await until(lambda: plane.is_live("edge-1"), "the lease of the other")
    async with control_plane(tmp_path, port) as plane:  # started anew: no frame is in memory
        node = Node("edge-2", port)
        node.applier.log_id, node.applier.index = (plane.store.log_id if position[0] else ""), position[1]

        def fail(*_arguments: object) -> None:
            raise StoreError("disk I/O error")

        async with running(other):
            await until(lambda: plane.is_live("edge-1") and other.session.is_connected, "the other is back")
            monkeypatch.setattr(plane.store, what_fails, fail)
            async with running(node):
                await until(lambda: node.session.reconnects_total >= 1, "the node is sent away")
                assert other.session.is_connected and other.session.lease_state() == "held"
                monkeypatch.undo()
                await until(lambda: node.session.lease_state() == "held", "it gets through later")


async def test_a_receipt_waits_for_every_live_node_and_names_those_left_out(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port, lease_seconds=1.0) as plane:
        here, wedged = Node("here", port), Node("wedged", port)
        async with running(here, wedged):
            await until(lambda: plane.is_live("here") and plane.is_live("wedged"), "both leases")
            wedged.applier.is_wedged = True
            index = plane.invalidate("I1", "/a")
            await until(lambda: here.applier.index == index, "one node has it")
            assert plane.deployment.completed_index() < index
            pending = plane.deployment.receipt("I1")
            assert pending is not None and lines(pending)["wedged"].state == "pending"
            await until(lambda: bool(plane.completed), "the wedged node's lease runs out")
            receipt = plane.deployment.receipt("I1")
            assert receipt is not None and receipt == plane.completed[0]
            assert lines(receipt)["here"].state == "acknowledged"
            assert lines(receipt)["wedged"].state == "left_out" and lines(receipt)["wedged"].left_out_since
            wedged.applier.is_wedged = False
            await until(lambda: plane.is_live("wedged"), "it is back")
            assert wedged.applier.index == index


async def test_a_rejection_keeps_one_distribution_in_progress_and_no_other(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        node = Node("edge-1", port)
        node.applier.rejected_distribution_ids.add("bad")
        async with running(node):
            await until(lambda: plane.is_live("edge-1"), "the lease")
            bad, good = plane.append(put_distribution("bad")), plane.append(put_distribution("good"))
            await until(lambda: plane.deployment.is_deployed(good), "the good one is deployed")
            assert not plane.deployment.is_deployed(bad)
            assert node.session.rejections_total == 1
            assert plane.coordinator.nodes["edge-1"].rejections[0].reason == "cannot honour it"


async def test_a_restarted_control_plane_completes_nothing_before_silent_nodes_must_have_lost_their_lease(
    tmp_path: Path,
) -> None:
    port = free_port()
    node, other = Node("edge-1", port), Node("edge-2", port)
    async with running(other):
        async with running(node), control_plane(tmp_path, port, lease_seconds=1.0) as plane:
            await until(lambda: plane.is_live("edge-1") and plane.is_live("edge-2"), "the leases")
        async with control_plane(tmp_path, port, lease_seconds=1.0) as plane:
            started_at = plane.clock()
            index = plane.invalidate("I1")
            await until(lambda: other.applier.index == index, "the connected node has it")
            assert plane.deployment.completed_index() < index
            await until(lambda: plane.deployment.completed_index() >= index, "the silent node's lease is over")
            completed_at = plane.completed[0].completed_at
            assert completed_at is not None and completed_at - started_at >= 1.25


async def test_invalidations_survive_a_restart_and_reach_the_nodes(tmp_path: Path) -> None:
    port = free_port()
    node = Node("edge-1", port)
    async with running(node):
        async with control_plane(tmp_path, port) as plane:
            await until(lambda: plane.is_live("edge-1"), "the lease")
            node.applier.is_wedged = True
            indexes = [plane.invalidate(f"I{number}") for number in range(20)]
            assert not plane.completed
        node.applier.is_wedged = False
        async with control_plane(tmp_path, port) as plane:
            await until(lambda: len(plane.completed) == 20, "all are completed")
            assert [entry.index for entry in node.applier.entries] == indexes
            assert node.session.reconnects_total >= 1


async def test_a_node_behind_the_retained_log_gets_a_snapshot(tmp_path: Path) -> None:
    port = free_port()
    node = Node("edge-1", port)
    async with control_plane(tmp_path, port, retained_entries=10) as plane:
        async with running(node):
            await until(lambda: plane.is_live("edge-1"), "the lease")
        for number in range(30):
            plane.append(put_distribution(f"D{number % 3}"))
        again = Node("edge-1", port, node.applier)
        async with running(again):
            await until(lambda: node.applier.index == 30, "it has caught up")
            assert len(node.applier.snapshots) == 2 and not node.applier.entries
            assert {d.id for d in node.applier.snapshots[1].distributions} == {"D0", "D1", "D2"}


async def test_a_database_restored_from_a_backup_is_another_log(tmp_path: Path) -> None:
    port = free_port()
    node, applier = Node("edge-1", port), MemoryApplier()
    applier.index = 1000
    async with control_plane(tmp_path, port) as plane:
        old_log_id = applier.log_id = plane.store.log_id
        async with running(node):
            await until(lambda: plane.is_live("edge-1"), "the lease")
            ahead = Node("edge-2", port, applier)
            async with running(ahead):
                await until(lambda: plane.is_live("edge-2") and len(node.applier.snapshots) == 2, "both start over")
                assert plane.store.log_id != old_log_id
                assert node.session.log_id == ahead.session.log_id == plane.store.log_id
                assert applier.index == 0


async def test_a_second_stream_of_a_node_replaces_the_first(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        first = Node("edge-1", port)
        async with running(first):
            await until(lambda: first.session.is_connected, "the first is connected")
            async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
                call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
                await call.write(hello("edge-1"))
                await until(lambda: first.session.reconnects_total >= 1, "the first was cut off")
                call.cancel()
        assert list(plane.coordinator.nodes) == ["edge-1"]


async def test_leaving_ends_the_lease_at_once(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        node = Node("edge-1", port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "the lease, also as the node sees it")
            await asyncio.wait_for(node.session.leave(), 1.0)
            await until(lambda: not plane.is_live("edge-1"), "the lease has ended", 2.5)
            assert plane.coordinator.nodes["edge-1"].state == "left"
            assert node.session.lease_state() == "expired"
            index = plane.invalidate("I1")
            await until(lambda: plane.deployment.completed_index() >= index, "nothing waits for it", 2.5)


async def test_leaving_without_a_control_plane_is_quick() -> None:
    node = Node("edge-1", free_port())
    async with running(node):
        await until(lambda: node.session.reconnects_total >= 1, "it tries")
        await asyncio.wait_for(node.session.leave(), 1.5)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (sync_pb2.NodeMessage(heartbeat=sync_pb2.Heartbeat(sequence=1)), "must be Hello"),
        (sync_pb2.NodeMessage(hello=sync_pb2.Hello(node=sync_pb2.Node(id="x"))), "role"),
        (sync_pb2.NodeMessage(hello=sync_pb2.Hello(node=sync_pb2.Node(role=sync_pb2.ROLE_EDGE))), "needs an id"),
    ],
)
async def test_a_stream_that_does_not_introduce_itself_is_refused(
    tmp_path: Path, message: sync_pb2.NodeMessage, problem: str
) -> None:
    port = free_port()
    async with control_plane(tmp_path, port), grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
        await call.write(message)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert problem in (caught.value.details() or "")


async def test_a_node_that_does_not_read_is_disconnected(tmp_path: Path) -> None:
    port = free_port()
    options = (("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0))
    async with (
        control_plane(tmp_path, port, lease_seconds=0.5) as plane,
        grpc.aio.insecure_channel(f"{HOST}:{port}", options=options) as channel,
    ):
        call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
        await call.write(hello("deaf"))
        await until(lambda: plane.service.is_connected("deaf"), "it is connected")
        for number in range(200):
            plane.invalidate(f"I{number}", *(f"/{number}/{'x' * 4000}" for _ in range(10)))
        await until(lambda: not plane.service.is_connected("deaf"), "it is cut off")
        call.cancel()


async def test_invalidations_complete_within_a_tenth_of_a_second_over_nine_nodes(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        nodes = [Node(f"edge-{number}", port) for number in range(9)]
        async with running(*nodes):
            await until(lambda: len(plane.coordinator.live_nodes()) == 9, "all leases")
            rng = random.Random(1)
            for number in range(200):
                plane.invalidate(f"I{number}")
                await asyncio.sleep(rng.uniform(0.0, 0.01))
            await until(lambda: len(plane.completed) == 200, "all are complete")
            seconds = sorted(duration(receipt) for receipt in plane.completed)
            print(
                f"invalidation to receipt over 9 nodes: p50 {seconds[100] * 1000:.1f} ms, p99 {seconds[197] * 1000:.1f} ms"
            )
            assert seconds[197] < 0.1


def lines(receipt: Receipt) -> dict[str, NodeReceipt]:
    return {line.node_id: line for line in receipt.nodes}


def duration(receipt: Receipt) -> float:
    assert receipt.completed_at is not None
    return receipt.completed_at - receipt.invalidation.issued_at


def hello(node_id: str) -> sync_pb2.NodeMessage:
    return sync_pb2.NodeMessage(hello=sync_pb2.Hello(node=sync_pb2.Node(id=node_id, role=sync_pb2.ROLE_EDGE)))
