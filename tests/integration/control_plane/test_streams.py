"""Sync over real sockets: catching up, pushing, leases, receipts, and what happens when either side goes away."""

import asyncio
import contextlib
import random
import sqlite3
from pathlib import Path

import grpc
import grpc.aio
import pytest

from control_plane.database import DATABASE_NAME
from control_plane.receipts import NodeReceipt, Receipt
from control_plane.state import StoreError
from proto.cdn.v1 import sync_pb2, sync_pb2_grpc
from proto.log_position import LogPosition
from tests.builders import distributions_in
from tests.integration.sync_harness import (
    HOST,
    ControlPlane,
    MemoryApplier,
    Node,
    control_plane,
    free_port,
    put,
    running,
    until,
)


async def test_a_new_node_gets_a_snapshot_then_a_lease_then_entries(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put("D1"))
        node = Node("edge-1", port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "a lease")
            assert [d.id for d in distributions_in(node.applier.snapshots[0])] == ["D1"]
            assert node.session.applied_index == 1 and plane.is_live("edge-1")
            plane.append(put("D2"))
            await until(lambda: node.applier.index == 2, "the entry")
            assert [d.id for d in distributions_in(node.applier.entries[0])] == ["D2"]
            await until(lambda: plane.deployment.is_deployed("D2", 2), "the acknowledgement")
            await until(lambda: node.applier.directory == ("edge-1",), "the directory")


async def test_a_node_counts_what_it_is_sent_by_kind(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put("D1"))
        node = Node("edge-1", port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "a lease")
            plane.append(put("D2"))
            await until(lambda: plane.deployment.is_deployed("D2", 2), "the acknowledgement")
            counts = node.session.message_counts
            changes = counts.messages[("received", "entry")] + counts.messages[("received", "entries")]
            assert (counts.messages[("received", "snapshot")], changes, counts.messages[("sent", "hello")]) == (1, 1, 1)
            size = sum(counts.bytes_of_messages[("received", kind)] for kind in ("entry", "entries"))
            assert size >= node.applier.entries[0].ByteSize()
            assert counts.messages[("sent", "acknowledgement")] >= 1 and not counts.messages[("sent", "unknown")]


async def test_a_node_that_cannot_keep_what_it_is_sent_asks_less_and_less_often(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put("D1"))
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
    [("snapshot", ("", 0)), ("entries_after", ("the log", 0))],
)
async def test_a_database_that_fails_ends_the_stream_that_needs_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what_fails: str, position: tuple[str, int]
) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put("D1"))
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
            pending = plane.receipt("I1")
            assert pending is not None and lines(pending)["wedged"].state == "pending"
            await until(lambda: bool(plane.completed), "the wedged node's lease runs out")
            receipt = plane.receipt("I1")
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
            bad, good = plane.append(put("bad")), plane.append(put("good"))
            await until(lambda: plane.deployment.is_deployed("good", good), "the good one is deployed")
            assert not plane.deployment.is_deployed("bad", bad)
            assert node.session.rejections_total == 1
            assert plane.rejections("edge-1") == {"bad": (bad, "cannot honour it")}


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
            plane.append(put(f"D{number % 3}"))
        again = Node("edge-1", port, node.applier)
        async with running(again):
            await until(lambda: node.applier.index == 30, "it has caught up")
            assert len(node.applier.snapshots) == 2
            told = [*distributions_in(node.applier.snapshots[1])]
            told += [d for entry in node.applier.entries for d in distributions_in(entry)]
            assert {d.id for d in told} == {"D0", "D1", "D2"}


async def test_a_node_of_a_lost_history_starts_over_although_the_log_has_its_index_again(tmp_path: Path) -> None:
    """A copy of the database is put in place by hand and goes on to the same indexes. Two nodes come back: one knows entries that were lost, one was away meanwhile."""
    port, lost, restored = free_port(), tmp_path / "lost", tmp_path / "restored"
    node, away = Node("edge-1", port), Node("edge-2", port)
    async with control_plane(lost, port) as plane:
        async with running(node, away):
            plane.append(put("D1"))
            await until(lambda: node.applier.index == away.applier.index == 1, "both know the first entry")
        copy_database(lost, restored)
        async with running(again := Node("edge-1", port, node.applier)):
            indexes = [plane.invalidate(f"lost-{number}") for number in range(3)]
            await until(lambda: again.applier.index == indexes[-1], "one node knows the others")
    async with control_plane(restored, port, lease_seconds=1.0) as plane:
        for number in range(4):
            plane.invalidate(f"kept-{number}")
        assert plane.store.log_id == node.applier.log_id and plane.store.head_index > node.applier.index
        async with running(again := Node("edge-1", port, node.applier), late := Node("edge-2", port, away.applier)):
            await until(lambda: again.applier.position() == late.applier.position() == head(plane), "one history")
            assert len(again.applier.snapshots) == 2 and again.applier.snapshots[1].index == 5, "it did not start over"
            assert invalidations(again) == [f"lost-{number}" for number in range(3)]
            assert len(late.applier.snapshots) == 1, "of this history, and yet it started over"
            assert invalidations(late) == [f"kept-{number}" for number in range(4)]
            await until(lambda: len(plane.completed) == 4, "the receipts")
        receipt_of_all = lines(plane.completed[-1])
        assert receipt_of_all["edge-2"].state == "acknowledged"


async def test_a_receipt_counts_no_acknowledgement_of_a_lost_history(tmp_path: Path) -> None:
    port, lost, restored = free_port(), tmp_path / "lost", tmp_path / "restored"
    node = Node("edge-1", port)
    async with control_plane(lost, port) as plane, running(node):
        await until(lambda: plane.is_live("edge-1"), "a lease, which the copy knows of")
        copy_database(lost, restored)
        for number in range(3):
            plane.invalidate(f"lost-{number}")
        await until(lambda: len(plane.completed) == 3, "it has acknowledged them")
    async with control_plane(restored, port) as plane:
        index = plane.invalidate("kept")
        assert index < node.applier.index
        node.applier.is_wedged = True
        async with running(again := Node("edge-1", port, node.applier)):
            await until(lambda: again.session.reconnects_total == 2, "it is told to start over, and cannot")
            assert not plane.completed and plane.deployment.completed_index() < index
            assert plane.is_live("edge-1"), "it may be serving by its lease, and nobody waits for it"
            node.applier.is_wedged = False
            await until(lambda: len(plane.completed) == 1, "it has started over")
            assert lines(plane.completed[0])["edge-1"].state == "acknowledged"


async def test_a_node_that_makes_its_position_up_starts_over_alone(tmp_path: Path) -> None:
    port = free_port()
    node, applier = Node("edge-1", port), MemoryApplier()
    async with control_plane(tmp_path, port) as plane:
        plane.append(put("D1"))
        log_id = applier.log_id = plane.store.log_id
        applier.index, applier.digest = 2**64 - 1, b"made up"
        async with running(node):
            await until(lambda: plane.is_live("edge-1"), "the lease")
            async with running(Node("edge-2", port, applier)):
                await until(lambda: plane.is_live("edge-2"), "it has started over")
                assert applier.position() == head(plane) and plane.store.log_id == log_id
            assert plane.is_live("edge-1") and node.session.reconnects_total == 0
            assert len(node.applier.snapshots) == 1


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


async def test_a_node_is_told_who_comes_and_goes_as_what_is_different(tmp_path: Path) -> None:
    """One that does not beat hears nothing else: nothing but the change of the directory wakes its stream."""
    port = free_port()
    async with control_plane(tmp_path, port) as plane, grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        await until(lambda: plane.service.directory.version == 1, "there is a directory")
        call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
        await call.write(hello("listener"))
        first = [await read(call) for _ in range(2)]
        assert first[0].directory == sync_pb2.Directory(version=1) and first[1].HasField("snapshot")
        node = Node("edge-1", port)
        async with running(node):
            come = (await read(call)).directory_change
            assert (come.from_version, [put.id for put in come.put], list(come.removed_ids)) == (1, ["edge-1"], [])
            await until(lambda: plane.coordinator.nodes["edge-1"].directory_version == come.version, "its heartbeat")
            await node.session.leave()
        gone = (await read(call)).directory_change
        assert (gone.from_version, list(gone.put), list(gone.removed_ids)) == (come.version, [], ["edge-1"])
        call.cancel()


async def read(
    call: grpc.aio.StreamStreamCall[sync_pb2.NodeMessage, sync_pb2.ControlMessage],
) -> sync_pb2.ControlMessage:
    message = await asyncio.wait_for(call.read(), 10)
    assert isinstance(message, sync_pb2.ControlMessage)
    return message


async def test_invalidations_complete_within_a_tenth_of_a_second_over_nine_nodes(tmp_path: Path) -> None:
    """99 of 100; where others keep the machine busy, in one of three rounds."""
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        nodes = [Node(f"edge-{number}", port) for number in range(9)]
        async with running(*nodes):
            await until(lambda: len(plane.coordinator.live_nodes()) == 9, "all leases")
            p99s: list[float] = []
            while not p99s or (p99s[-1] >= 0.1 and len(p99s) < 3):
                p99s.append(await p99_of_a_round(plane, f"round-{len(p99s)}"))
            assert p99s[-1] < 0.1, p99s


async def p99_of_a_round(plane: ControlPlane, name: str) -> float:
    """Seconds from an invalidation to its receipt, of 200 that come one soon after the other."""
    rng = random.Random(1)
    before = len(plane.completed)
    for number in range(200):
        plane.invalidate(f"{name}-{number}")
        await asyncio.sleep(rng.uniform(0.0, 0.01))
    await until(lambda: len(plane.completed) == before + 200, "all are complete")
    seconds = sorted(duration(receipt) for receipt in plane.completed[before:])
    print(f"invalidation to receipt over 9 nodes: p50 {seconds[100] * 1000:.1f} ms, p99 {seconds[197] * 1000:.1f} ms")
    return seconds[197]


def copy_database(from_folder: Path, to_folder: Path) -> None:
    """By hand, while it is open: SQLite's own backup, and no mark in it."""
    to_folder.mkdir()
    source, target = (sqlite3.connect(folder / DATABASE_NAME) for folder in (from_folder, to_folder))
    with contextlib.closing(source), contextlib.closing(target):
        source.backup(target)


def invalidations(node: Node) -> list[str]:
    """What it has got as entries, in their order."""
    return [each.id for entry in node.applier.entries for each in entry.invalidations]


def head(plane: ControlPlane) -> LogPosition:
    """What the log itself says, read from its last entry."""
    (entry,) = plane.store.entries_after(plane.store.head_index - 1, 1)
    return LogPosition(entry.log_id, entry.index, entry.digest)


def lines(receipt: Receipt) -> dict[str, NodeReceipt]:
    return {line.node_id: line for line in receipt.nodes}


def duration(receipt: Receipt) -> float:
    assert receipt.completed_at is not None
    return receipt.completed_at - receipt.invalidation.issued_at


def hello(node_id: str) -> sync_pb2.NodeMessage:
    return sync_pb2.NodeMessage(hello=sync_pb2.Hello(node=sync_pb2.Node(id=node_id, role=sync_pb2.ROLE_EDGE)))
