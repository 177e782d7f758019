"""What nodes refuse, over real sockets: a distribution is deployed when every live node serves it, whichever side went away in between (DESIGN section 3).

The control plane is the real one over a real database. Nodes are the edge's real client and session over a real folder, or one in memory that refuses what it is told to.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from control_plane.change_log import to_entry
from control_plane.nodes import ResourceKind
from control_plane.resource_kinds import delete_distribution, put_cache_policy, put_distribution, put_geo_table
from control_plane.state import Change, Put
from edge_node.control import resource_reader
from edge_node.control.client import ControlClient
from edge_node.storage.node_state import NodeState, ServedResources
from proto.cdn.v1 import configuration_pb2, sync_pb2, sync_pb2_grpc
from proto.log_position import LogPosition
from proto.node_session import NodeIdentity, NodeSession
from proto.rejected_changes import NOTHING_REJECTED
from proto.resources import distribution_name
from proto.served_configuration import Configuration, with_entry
from tests.builders import behavior_message, distribution_message, geo_table_message, origin_message, policies_of
from tests.edge_wires import leased_fence
from tests.integration.sync_harness import (
    HOST,
    ControlPlane,
    Node,
    control_plane,
    free_port,
    put,
    running,
    until,
)
from tests.integration.sync_process import control_plane_process

NEWER_SEMANTICS = configuration_pb2.Semantics.ValueType(77)
"""That a later version of the edge may know."""


class Edge:
    """The part of an edge that follows the log, process after process over one folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.state = NodeState("us-east-1", leased_fence())
        self.client = ControlClient(self.state, "us-east-1", folder, lambda: (0, 0))
        self.client.restore()
        identity = NodeIdentity("edge-1", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.1.1:80", "127.0.1.1:81")
        self.session = NodeSession(identity, self.client, f"{HOST}:{port}")

    def ports(self) -> dict[str, int]:
        """The port of each distribution's origin, which tells its versions apart."""
        served = self.state.router.snapshot.distributions
        return {name: distribution.default_behavior.origin.port for name, distribution in served.items()}


@contextlib.asynccontextmanager
async def edge(folder: Path, port: int) -> AsyncIterator[Edge]:
    """Killed at the end."""
    started = Edge(folder, port)
    task = asyncio.get_running_loop().create_task(started.session.run())
    try:
        yield started
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        started.client.close()


def version(port: int, identifier: str, *, is_newer: bool = False) -> list[Change]:
    """A version of a distribution, which the edge of today cannot honour if it `is_newer`."""
    behavior = behavior_message(semantics=NEWER_SEMANTICS) if is_newer else behavior_message()
    name = f"{identifier.lower()}.cdn.localhost"
    message = distribution_message(origin_message("127.0.0.1", port), behavior, id=identifier, domain_name=name)
    return [*map(put_cache_policy, policies_of(message)), put_distribution(message)]


async def until_at_head(plane: ControlPlane, node_id: str = "edge-1") -> None:
    """It has a lease, and has acknowledged everything."""

    def is_at_head() -> bool:
        record = plane.coordinator.nodes.get(node_id)
        return plane.is_live(node_id) and record is not None and record.acknowledged_index == plane.store.head_index

    await until(is_at_head, f"{node_id} is at the head with a lease")

    def is_saved() -> bool:
        lowest = min(node.acknowledged_index for node in plane.coordinator.nodes.values() if node.is_live)
        return not plane.coordinator.unsaved_nodes and plane.ledger.completed_index >= lowest

    await until(is_saved, "what is known of nodes is where the API reads it")


async def until_saved(plane: ControlPlane) -> None:
    """What is known of nodes is on the disk, as it is when a receipt is."""
    index = plane.invalidate("I1")
    await until(lambda: plane.deployment.completed_index() >= index, "the receipt")


async def test_forty_distributions_that_a_node_refuses_are_all_in_progress(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane, edge(tmp_path / "edge", port):
        await until_at_head(plane)
        indexes = {f"E{n}": plane.append(*version(1000 + n, f"E{n}", is_newer=True)) for n in range(40)}
        good = plane.append(*version(2000, "good"))
        await until_at_head(plane)
        deployed = [name for name, index in indexes.items() if plane.deployment.is_deployed(name, index)]
        assert deployed == [] and plane.deployment.is_deployed("good", good)
        assert {name: index for name, (index, _) in plane.rejections("edge-1").items()} == indexes


async def test_what_a_node_refuses_in_a_snapshot_is_in_progress_and_served_as_it_was(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port, retained_entries=10) as plane:
        async with edge(tmp_path / "edge", port):
            plane.append(*version(1001, "E1"))
            await until_at_head(plane)
        bad = plane.append(*version(1002, "E1", is_newer=True))
        for number in range(30):  # so far behind that it gets a snapshot
            good = plane.append(*version(2000 + number, "E2"))
        async with edge(tmp_path / "edge", port) as again:
            await until(lambda: again.ports() == {"E1": 1001, "E2": 2029}, "the snapshot")
            await until_at_head(plane)
            assert not plane.deployment.is_deployed("E1", bad) and plane.deployment.is_deployed("E2", good)
            index, reason = plane.rejections("edge-1")["E1"]
            assert index == bad and "semantics number 77" in reason


async def test_a_rejection_whose_message_was_lost_is_said_when_the_node_connects_again(tmp_path: Path) -> None:
    """The node was killed after it had applied the entry and before it could say what it made of it."""
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane:
        async with edge(tmp_path / "edge", port):
            await until_at_head(plane)
        killed = Edge(tmp_path / "edge", port)
        bad, good = plane.append(*version(1001, "E1", is_newer=True)), plane.append(*version(2000, "E2"))
        for entry in plane.store.entries_after(0, 10):
            killed.client.apply_entry(entry)
        killed.client.close()
        async with edge(tmp_path / "edge", port):
            await until(lambda: plane.deployment.is_deployed("E2", good), "it is back")
            assert not plane.deployment.is_deployed("E1", bad) and plane.rejections("edge-1")["E1"][0] == bad


async def test_a_control_plane_that_is_started_again_knows_what_is_refused(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane, edge(tmp_path / "edge", port):
        await until_at_head(plane)
        bad = plane.append(*version(1001, "E1", is_newer=True))
        await until_at_head(plane)
        await until_saved(plane)
    async with control_plane(tmp_path / "plane", port) as plane:
        assert plane.is_live("edge-1") and not plane.deployment.is_deployed("E1", bad)  # before it has heard anybody
        async with edge(tmp_path / "edge", port):
            await until(lambda: plane.service.is_connected("edge-1"), "the edge is back")
            await until_at_head(plane)
            assert not plane.deployment.is_deployed("E1", bad)


async def test_a_newer_program_of_a_node_serves_what_the_one_before_refused_and_it_is_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane:
        async with edge(tmp_path / "edge", port):
            await until_at_head(plane)
            index = plane.append(*version(1001, "E1", is_newer=True))
            await until_at_head(plane)
            assert not plane.deployment.is_deployed("E1", index)
        of_today = resource_reader._SEMANTICS
        known = {**of_today, NEWER_SEMANTICS: of_today[configuration_pb2.SEMANTICS_RFC9111]}
        monkeypatch.setattr(resource_reader, "_SEMANTICS", known)
        async with edge(tmp_path / "edge", port) as newer:
            await until(lambda: plane.deployment.is_deployed("E1", index), "the newer program has said what it refuses")
            assert newer.ports() == {"E1": 1001} and plane.rejections("edge-1") == {}
            assert newer.client.position().index == index  # nothing had to be sent again


async def test_a_rejection_ends_with_a_version_that_is_accepted_or_with_the_resource(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane, edge(tmp_path / "edge", port) as node:
        await until_at_head(plane)
        for name in ("E1", "E2"):
            plane.append(*version(1001, name, is_newer=True))
        plane.append(put_geo_table(geo_table_message({"192.0.2.0/24": "nowhere"})))
        await until_at_head(plane)
        assert len(plane.rejections("edge-1")) == 3
        kinds = {refused.resource.kind for refused in plane.coordinator.nodes["edge-1"].rejections.values()}
        assert kinds == {ResourceKind.DISTRIBUTION, ResourceKind.GEO_TABLE}
        mended = plane.append(*version(1002, "E1"))
        plane.append(delete_distribution("E2"))
        plane.append(put_geo_table(geo_table_message({"192.0.2.0/24": "DE"})))
        await until_at_head(plane)
        assert plane.rejections("edge-1") == {} and plane.deployment.is_deployed("E1", mended)
        assert node.ports() == {"E1": 1002}
        await until_saved(plane)
        assert not any(saved.rejections for saved in plane.ledger.saved_nodes())


async def test_what_was_refused_of_another_log_is_not_taken_for_a_rejection_of_this_one(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane, edge(tmp_path / "edge", port):
        plane.append(*version(1001, "E1", is_newer=True))
        await until_at_head(plane)
    async with control_plane(tmp_path / "another", port) as plane:
        index = plane.append(*version(1002, "E1"))
        async with edge(tmp_path / "edge", port) as node:
            await until_at_head(plane)
            assert plane.deployment.is_deployed("E1", index) and node.ports() == {"E1": 1002}


async def test_an_introduction_with_what_is_refused_of_another_log_says_nothing_of_this_one(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path, port) as plane, grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
        hello = sync_pb2.Hello(log_id="another", applied_index=9)
        hello.node.id, hello.node.role = "edge-1", sync_pb2.ROLE_EDGE
        hello.rejections.add(index=9, reason="of another log", kind=sync_pb2.RESOURCE_KIND_DISTRIBUTION, id="E1")
        await call.write(sync_pb2.NodeMessage(hello=hello))
        await until(lambda: plane.service.is_connected("edge-1"), "it is connected")
        assert plane.rejections("edge-1") == {}
        call.cancel()


async def test_a_node_that_refuses_thousands_can_introduce_itself(tmp_path: Path) -> None:
    """What it says of them at once fits into a message, and says no less."""
    port = free_port()
    async with control_plane(tmp_path, port) as plane:
        node = Node("edge-1", port)
        names = [f"EDFDVBD6EXA{number}" for number in range(3_000)]
        node.applier.rejected_distribution_ids.update(names)
        with plane.store.transaction() as transaction:
            for name in names:
                index = transaction.append(put(name))
        async with running(node):
            await until_at_head(plane)
            assert node.session.reconnects_total == 0
        again = Node("edge-1", port, node.applier)
        async with running(again):
            await until(lambda: again.session.lease_state() == "held", "a lease by its introduction")
            assert again.session.reconnects_total == 0 and set(plane.rejections("edge-1")) == set(names)
            assert not plane.deployment.is_deployed(names[0], index)
        node.applier.refused = NOTHING_REJECTED
        async with running(Node("edge-1", port, node.applier)):
            await until(lambda: plane.deployment.is_deployed(names[0], index), "it refuses nothing any more")


async def test_a_node_whose_configuration_is_damaged_is_not_routable_before_it_is_whole(tmp_path: Path) -> None:
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane:
        async with edge(tmp_path / "edge", port):
            plane.append(*version(1001, "E1"))
            await until_at_head(plane)
        (path,) = (tmp_path / "edge").glob("configuration-*/distribution-E1-*")
        stored = bytearray(path.read_bytes())
        stored[-10] ^= 1
        path.write_bytes(stored)
        assert plane.is_live("edge-1")
        damaged_at = plane.clock()
        async with edge(tmp_path / "edge", port) as again:
            assert again.client.position() == LogPosition() and again.ports() == {}
            await until(lambda: again.session.lease_state() == "held", "a lease")
            assert again.ports() == {"E1": 1001} and again.client.file_statistics.refused_total == 1
            assert plane.coordinator.nodes["edge-1"].unleased_since >= damaged_at, "the lease from before has ended"


async def test_the_api_the_status_page_and_the_metrics_say_what_is_refused_and_why(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as plane:
        distribution_id = await asyncio.to_thread(plane.create_distribution)
        other_id = await asyncio.to_thread(plane.create_distribution, "other")
        node = Node("edge-1", plane.grpc_port)
        node.applier.rejected_distribution_ids.add(distribution_id)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "the lease")
            (published,) = [each.revision for each in node.applier.snapshots[0].resources if each.id == distribution_id]
            client = plane.client()
            statuses = [
                (await asyncio.to_thread(client.get_distribution, Id=identifier))["Distribution"]["Status"]
                for identifier in (distribution_id, other_id)
            ]
            assert statuses == ["InProgress", "Deployed"]
            status = await asyncio.to_thread(plane.get, "/status")
            metrics = await asyncio.to_thread(plane.get, "/metrics")
        lines = {line["id"]: line for line in status["distributions"]}
        refused = {"index": published, "reason": "cannot honour it"}
        assert lines[distribution_id]["status"] == "InProgress" and lines[distribution_id]["waiting_for"] == ["edge-1"]
        assert lines[distribution_id]["rejections"] == [{"node": "edge-1", **refused}]
        assert lines[other_id]["status"] == "Deployed" and lines[other_id]["rejections"] == []
        assert status["nodes"][0]["rejections"] == [{"kind": "distribution", "id": distribution_id, **refused}]
        assert 'cdn_control_rejections{kind="distribution"} 1.0' in metrics
        assert 'cdn_control_rejections{kind="geo_table"} 0.0' in metrics


async def test_a_node_that_has_another_configuration_than_the_log_starts_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However it came to that: here its memory and its files are changed behind its back."""
    port = free_port()
    async with control_plane(tmp_path / "plane", port) as plane, edge(tmp_path / "edge", port) as node:
        good = plane.append(*version(1001, "E1"))
        await until_at_head(plane)
        assert node.session.reconnects_total == plane.coordinator.started_over_total == 0
        for time in (1, 2):
            (changed,) = [
                each for each in version(6666, "E1") if isinstance(each, Put) and each.name == distribution_name("E1")
            ]
            wrong = Configuration(node.client.position(), {}, checksum=7)
            entry = to_entry([changed], LogPosition(plane.store.log_id, good - 1), 5.0)
            node.client._configuration = with_entry(wrong, entry, {})
            node.state.apply(good, ServedResources())
            assert node.ports() == {}
            if time == 1:
                await until(lambda: node.ports() == {"E1": 1001}, "it is mended")
                await until_at_head(plane)
        await until(lambda: plane.coordinator.nodes["edge-1"].heartbeat_sequence > 3, "it goes on saying so")
        assert node.session.reconnects_total == plane.coordinator.started_over_total == 1, "not twice in a minute"
        assert "node edge-1 has another configuration than the log" in caplog.text
