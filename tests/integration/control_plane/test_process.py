"""The control plane as a process: kill -9 in the middle of invalidations, its ports, its end."""

import asyncio
import http.client
import json
import random
import socket
import threading
import time
import urllib.error
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from control_plane.backup import put, take
from control_plane.geo_table import default_geo_table
from control_plane.leases import counted_seconds
from proto.cdn.v1 import configuration_pb2
from tests.builders import bodies_in, distributions_in, geo_table_message
from tests.integration.sync_harness import HOST, MemoryApplier, Node, free_port, running, until
from tests.integration.sync_process import ControlPlaneProcess, control_plane_process
from tests.peers.viewer import get


class Operator(threading.Thread):
    """Creates invalidations, whatever happens to the control plane; remembers those that were accepted, and follows their receipts."""

    def __init__(self, plane: ControlPlaneProcess, distribution_id: str, nodes: list[Node]) -> None:
        super().__init__()
        self._plane, self._distribution_id, self._nodes = plane, distribution_id, nodes
        self.accepted: list[str] = []
        self.too_early: list[str] = []
        self.completed: set[str] = set()
        self.rounds_total = 0
        self.must_stop = threading.Event()

    def run(self) -> None:
        client = self._plane.client()
        number = 0
        while not self.must_stop.is_set() or len(self.completed) < len(self.accepted):
            if not self.must_stop.is_set():
                number += 1
                self._invalidate(client, number)
            for identifier in self.accepted:
                if identifier not in self.completed:
                    self._follow(identifier)
            self.rounds_total += 1

    def _invalidate(self, client: Any, number: int) -> None:
        batch = {"Paths": {"Quantity": 1, "Items": [f"/{number}"]}, "CallerReference": str(number)}
        try:
            answer = client.create_invalidation(DistributionId=self._distribution_id, InvalidationBatch=batch)
        except BotoCoreError:
            time.sleep(0.02)  # nobody is there: it was not accepted
        else:
            identifier = answer.get("Invalidation", {}).get("Id")
            if identifier is not None:  # the client takes an answer that was cut behind its head for an empty one
                self.accepted.append(identifier)

    def _follow(self, identifier: str) -> None:
        try:
            receipt = self._plane.get(f"/receipts/{identifier}")
        except (OSError, http.client.HTTPException):
            return  # it was killed in the middle of the answer
        if receipt["status"] == "Completed":
            self.completed.add(identifier)
            behind = [node for node in self._nodes if node.applier.index < receipt["index"]]
            routable = [node.node_id for node in behind if node.session.lease_state() == "held"]
            if routable:
                self.too_early.append(f"{identifier}: {routable}")


async def test_kill_9_loses_no_invalidation_and_completes_none_too_early(tmp_path: Path) -> None:
    rng = random.Random(20261121)
    with control_plane_process(tmp_path, "--lease-seconds", "3") as plane:
        nodes = [Node(f"edge-{number}", plane.grpc_port) for number in range(3)]
        async with running(*nodes):
            await until(lambda: all(node.session.lease_state() == "held" for node in nodes), "leases")
            distribution_id = await asyncio.to_thread(plane.create_distribution)
            operator = Operator(plane, distribution_id, nodes)
            operator.start()
            try:
                for _ in range(4):
                    accepted = len(operator.accepted)
                    await until(partial(_has_accepted, operator, accepted + 4), "some invalidations")
                    wedged = rng.choice(nodes)
                    wedged.applier.is_wedged = True  # so that some are pending when it dies
                    await asyncio.sleep(rng.uniform(0.02, 0.1))
                    plane.kill()
                    await asyncio.to_thread(plane.start)
                    rounds = operator.rounds_total
                    await until(partial(_has_looked_since, operator, rounds + 2), "receipts are looked at")
                    wedged.applier.is_wedged = False
                    await until(lambda: all(node.session.is_connected for node in nodes), "they are back")
            finally:
                operator.must_stop.set()
                await asyncio.to_thread(operator.join, 20)
            assert not operator.is_alive(), "an accepted invalidation never completed"
            assert len(operator.accepted) > 16
            assert operator.too_early == []
            listed = await asyncio.to_thread(_listed, plane, distribution_id)
            assert set(operator.accepted) <= set(listed) and set(listed.values()) == {"Completed"}
            assert all(node.session.reconnects_total >= 4 for node in nodes)


def _has_looked_since(operator: Operator, rounds: int) -> bool:
    return operator.rounds_total >= rounds


def _has_accepted(operator: Operator, count: int) -> bool:
    return len(operator.accepted) >= count


def _listed(plane: ControlPlaneProcess, distribution_id: str) -> dict[str, str]:
    pages = plane.client().get_paginator("list_invalidations").paginate(DistributionId=distribution_id)
    items = [item for page in pages for item in page["InvalidationList"].get("Items", [])]
    return {item["Id"]: item["Status"] for item in items}


async def test_a_node_that_is_silent_past_its_lease_is_left_out_and_catches_up_before_its_next_lease(
    tmp_path: Path,
) -> None:
    with control_plane_process(tmp_path, "--lease-seconds", "1", "--heartbeat-seconds", "0.2") as plane:
        stays, goes = Node("stays", plane.grpc_port), Node("goes", plane.grpc_port)
        async with running(stays):
            async with running(goes):
                await until(lambda: stays.session.lease_state() == goes.session.lease_state() == "held", "leases")
                distribution_id = await asyncio.to_thread(plane.create_distribution)
            identifier = await asyncio.to_thread(_invalidate, plane, distribution_id)
            waiter = plane.client().get_waiter("invalidation_completed")
            delay = {"Delay": 1, "MaxAttempts": 10}
            await asyncio.to_thread(waiter.wait, DistributionId=distribution_id, Id=identifier, WaiterConfig=delay)
            receipt = await asyncio.to_thread(plane.get, f"/receipts/{identifier}")
            states = {line["id"]: line for line in receipt["nodes"]}
            assert states["stays"]["state"] == "acknowledged" and states["stays"]["seconds"] < 0.5
            assert states["goes"]["state"] == "left_out" and states["goes"]["left_out_since"]
            again = Node("goes", plane.grpc_port, goes.applier)
            applied_when_leased: list[int] = []
            async with running(again):
                while not applied_when_leased:
                    if again.session.lease_state() == "held":
                        applied_when_leased.append(again.applier.index)
                    await asyncio.sleep(0)
            assert applied_when_leased == [receipt["index"]]


async def test_a_replaced_node_starts_from_a_snapshot(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as plane:
        first = Node("edge-1", plane.grpc_port)
        async with running(first):
            await until(lambda: first.session.lease_state() == "held", "the lease")
        await asyncio.to_thread(plane.create_distribution)
        second = Node("edge-1", plane.grpc_port, MemoryApplier())
        async with running(second):
            await until(lambda: second.session.lease_state() == "held", "its lease")
        (snapshot,) = second.applier.snapshots
        told = distributions_in(snapshot) + [each for e in second.applier.entries for each in distributions_in(e)]
        assert len(told) == 1, "in the snapshot, or in the entry after one that others have got"
        assert len((await asyncio.to_thread(plane.get, "/status"))["nodes"]) == 1


def _invalidate(plane: ControlPlaneProcess, distribution_id: str, caller_reference: str = "1") -> str:
    batch = {"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": caller_reference}
    answer = plane.client().create_invalidation(DistributionId=distribution_id, InvalidationBatch=batch)
    identifier: str = answer["Invalidation"]["Id"]
    return identifier


async def test_the_admin_port_tells_what_is_going_on(tmp_path: Path) -> None:
    table = {"zone": "cdn.localhost", "regions": ["us-east-1"], "defaultRegion": "us-east-1"}
    (tmp_path / "table.json").write_text(json.dumps(table), encoding="utf-8")
    with control_plane_process(tmp_path, "--routing-table", str(tmp_path / "table.json")) as plane:
        node = Node("edge-1", plane.grpc_port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "the lease")
            assert bodies_in(node.applier.snapshots[0], configuration_pb2.RoutingTable)[0].zone == "cdn.localhost"
            distribution_id = await asyncio.to_thread(plane.create_distribution)
            assert bodies_in(node.applier.snapshots[0], configuration_pb2.GeoTable) == [default_geo_table()]
            await until(lambda: node.applier.index == 3, "the distribution")
            await asyncio.sleep(0.05)
            status = await asyncio.to_thread(plane.get, "/status")
            metrics = await asyncio.to_thread(plane.get, "/metrics")
        assert status["id"] == "control-plane" and status["zone"] == "cdn.localhost" and status["head_index"] == 3
        (line,) = status["nodes"]
        assert 0 < line.pop("lease_remaining_seconds") <= 5.75
        assert line.pop("last_seen").endswith("Z")
        assert line.pop("directory_version") <= status["directory_version"]
        assert line == {
            "id": "edge-1",
            "role": "edge",
            "region": "us-east-1",
            "pop": "IAD89-P1",
            "http": "127.0.1.1:80",
            "admin": "127.0.1.1:81",
            "state": "live",
            "acknowledged_index": 3,
            "connected": True,
            "rejections": [],
        }
        (distribution,) = status["distributions"]
        assert (distribution["id"], distribution["status"]) == (distribution_id, "Deployed")
        assert (distribution["index"], distribution["waiting_for"]) == (3, [])
        assert 'cdn_control_nodes{role="edge",state="live"} 1.0' in metrics
        assert "cdn_control_head_index 3.0" in metrics
        assert 'cdn_control_api_requests_total{operation="CreateDistribution",outcome="ok"} 1.0' in metrics
        assert "cdn_control_invalidation_duration_seconds_count 0.0" in metrics
        with pytest.raises(urllib.error.HTTPError, match="404"):
            plane.get("/receipts/unknown")
        assert plane.get("/healthz") == "ok\n"
        plane.kill()
        plane.start()
        assert plane.get("/status")["head_index"] == 3, "the same tables are not published again"


async def test_the_admin_port_answers_programs_and_no_web_pages(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as plane:
        address = f"{HOST}:{plane.admin_port}"
        for host in (address, "localhost:4568", "control-plane:4568", "[::1]", socket.gethostname()):
            assert (await get(address, host, "/status")).status == 200, host
        assert (await get(address, "evil.example:4568", "/status")).status == 403
        assert (await get(address, address, "/status", ("Origin", "http://evil.example"))).status == 403
        assert (await get(address, address, "/status", ("Sec-Fetch-Site", "cross-site"))).status == 403


async def test_a_table_of_countries_is_published_when_it_is_another(tmp_path: Path) -> None:
    """Nodes that are there get an entry, those that come a snapshot."""
    path = tmp_path / "countries.csv"
    path.write_text("network,country\n192.0.2.0/24,FR\n", encoding="utf-8")
    with control_plane_process(tmp_path, "--geo-table", str(path)) as plane:
        node = Node("edge-1", plane.grpc_port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "the lease")
            assert bodies_in(node.applier.snapshots[0], configuration_pb2.GeoTable) == [
                geo_table_message({"192.0.2.0/24": "FR"})
            ]
            await asyncio.to_thread(plane.kill)
            path.write_text("192.0.2.0/24,BE\n", encoding="utf-8")
            await asyncio.to_thread(plane.start)
            await until(lambda: node.applier.index == 2, "the other table")
            (entry,) = node.applier.entries
            assert bodies_in(entry, configuration_pb2.GeoTable) == [geo_table_message({"192.0.2.0/24": "BE"})]


def test_grpc_health_and_reflection(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as plane, grpc.insecure_channel(f"{HOST}:{plane.grpc_port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = check(health_pb2.HealthCheckRequest(service="cdn.v1.ControlPlane"), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        (listed,) = reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5)
        services = {service.name for service in listed.list_services_response.service}
        assert {"cdn.v1.ControlPlane", "grpc.health.v1.Health"} <= services


async def test_sigterm_ends_it_within_a_second_and_nodes_keep_what_they_have(tmp_path: Path) -> None:
    """Where others keep the machine busy, at one of three tries."""
    seconds: list[float] = []
    while not seconds or (seconds[-1] >= 1.0 and len(seconds) < 3):
        folder = tmp_path / str(len(seconds))
        folder.mkdir()
        seconds.append(await seconds_to_end(folder))
    assert seconds[-1] < 1.0, seconds


async def seconds_to_end(folder: Path) -> float:
    """A control plane with five nodes, after SIGTERM."""
    with control_plane_process(folder) as plane:
        nodes = [Node(f"edge-{number}", plane.grpc_port) for number in range(5)]
        async with running(*nodes):
            await until(lambda: all(node.session.lease_state() == "held" for node in nodes), "leases")
            began_at = time.monotonic()
            assert await asyncio.to_thread(plane.terminate) == 0
            seconds = time.monotonic() - began_at
            await until(lambda: not any(node.session.is_connected for node in nodes), "they notice")
            assert all(node.session.log_id for node in nodes)
            assert "Traceback" not in plane.log(), plane.log()
    return seconds


async def test_a_full_disk_holds_new_promises_back_and_nothing_else_until_there_is_room(tmp_path: Path) -> None:
    """It must not promise what it cannot remember; and a dead edge leaves the directory all the same."""
    with control_plane_process(tmp_path, "--lease-seconds", "1", "--heartbeat-seconds", "0.2") as plane:
        stays, goes, new = (Node(name, plane.grpc_port) for name in ("stays", "goes", "new"))
        async with running(stays):
            async with running(goes):
                await until(lambda: set(stays.applier.directory) == {"stays", "goes"}, "both in the directory")
                distribution_id = await asyncio.to_thread(plane.create_distribution)
                await until(lambda: goes.applier.index == stays.applier.index == 2, "the distribution")
                goes.applier.is_wedged = True
                identifier = await asyncio.to_thread(_invalidate, plane, distribution_id)
                plane.fill_disk()
            async with running(new):
                await until(lambda: stays.applier.directory == ("stays",), "the dead node leaves the directory")
                with pytest.raises(ClientError, match=r"\(ServiceUnavailable\).*cannot write to the database"):
                    await asyncio.to_thread(_invalidate, plane, distribution_id, "2")
                await until(lambda: new.session.applied_index == 3, "the new node has caught up")
                await _says_that_it_takes_no_writes(plane)
                assert stays.session.lease_state() == "held", "a lease that is known of is renewed"
                assert new.session.lease_state() != "held" and stays.applier.directory == ("stays",)
                assert (await asyncio.to_thread(plane.get, f"/receipts/{identifier}"))["status"] == "InProgress"
                plane.free_disk()
                await until(lambda: set(stays.applier.directory) == {"stays", "new"}, "the new node's lease")
                while (receipt := await asyncio.to_thread(plane.get, f"/receipts/{identifier}"))[
                    "status"
                ] != "Completed":
                    await until(plane.is_ready, "it says that it takes writes")
                states = {line["id"]: line["state"] for line in receipt["nodes"]}
                assert (states["stays"], states["goes"]) == ("acknowledged", "left_out")
                await until(plane.is_ready, "it says that it takes writes")
        said = [line for line in plane.log().splitlines() if "database" in line and " api " not in line]
        assert len(said) == 2, said
        assert "until it takes writes" in said[0] and "takes writes again" in said[1]
        assert "Traceback" not in plane.log()


async def _says_that_it_takes_no_writes(plane: ControlPlaneProcess) -> None:
    with pytest.raises(urllib.error.HTTPError, match="503"):
        await asyncio.to_thread(plane.get, "/readyz")
    database = (await asyncio.to_thread(plane.get, "/status"))["database"]
    assert database["takes_writes"] is False and "cannot write to the database" in database["reason"]
    assert "cdn_control_database_writable 0.0" in await asyncio.to_thread(plane.get, "/metrics")


@pytest.mark.parametrize("port", ["api_port", "grpc_port", "admin_port"])
def test_a_taken_port_is_one_clear_message(tmp_path: Path, port: str) -> None:
    with control_plane_process(tmp_path) as plane:
        (tmp_path / "other").mkdir()
        other = ControlPlaneProcess(tmp_path / "other")
        setattr(other, port, getattr(plane, port))
        assert other.launch().wait(10) == 1
        assert other.log().splitlines() == [f"cannot listen on {HOST}:{getattr(plane, port)}: address already in use"]


@pytest.mark.parametrize(
    ("table", "reason"),
    [("{", "is not a routing table"), ('{"zone": "other"}', "is for the zone other"), (None, "cannot read")],
)
def test_a_bad_routing_table_is_one_clear_message(tmp_path: Path, table: str | None, reason: str) -> None:
    path = tmp_path / "table.json"
    if table is not None:
        path.write_text(table, encoding="utf-8")
    plane = ControlPlaneProcess(tmp_path, "--routing-table", str(path))
    assert plane.launch().wait(10) == 1
    assert reason in plane.log() and "Traceback" not in plane.log()


@pytest.mark.parametrize(
    ("table", "reason"),
    [("192.0.2.0/24", "is not a table of countries: line 1: must be NETWORK,COUNTRY"), (None, "cannot read")],
)
def test_a_bad_table_of_countries_is_one_clear_message(tmp_path: Path, table: str | None, reason: str) -> None:
    path = tmp_path / "countries.csv"
    if table is not None:
        path.write_text(table, encoding="utf-8")
    plane = ControlPlaneProcess(tmp_path, "--geo-table", str(path))
    assert plane.launch().wait(10) == 1
    assert reason in plane.log() and "Traceback" not in plane.log()
    assert free_port()


async def test_a_restored_control_plane_is_another_log_when_every_lease_from_before_is_over(tmp_path: Path) -> None:
    """Of a node that has joined after the backup it knows nothing, and that one may serve by its lease until that ends."""
    state, copy, lease_seconds = tmp_path / "state", tmp_path / "copy", 3.0
    state.mkdir()
    with control_plane_process(state, "--lease-seconds", str(lease_seconds)) as plane:
        node = Node("edge-1", plane.grpc_port)
        take(state, copy)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "a lease")
            log_id, distribution_id = plane.get("/status")["log_id"], await asyncio.to_thread(plane.create_distribution)
            plane.terminate()
            put(copy, state)
            began_at = time.monotonic()
            await asyncio.to_thread(plane.start)
            assert time.monotonic() - began_at >= counted_seconds(lease_seconds)
            await until(lambda: node.session.lease_state() == "held", "another lease")
            assert len(node.applier.snapshots) == 2
        status = plane.get("/status")
        assert status["log_id"] == node.applier.log_id != log_id
        assert distribution_id not in {each["id"] for each in status["distributions"]}
        plane.kill()
        plane.start()
        assert plane.get("/status")["log_id"] == status["log_id"], "once restored it stays what it is"


async def test_a_restored_control_plane_that_waits_ends_in_order_and_waits_again(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    with control_plane_process(state, "--lease-seconds", "60") as plane:
        take(state, copy)
        plane.terminate()
        put(copy, state)
        for starts in (1, 2):
            process = plane.launch()
            await until(lambda: plane.log().count("every lease from before is over") == starts, "it waits")  # noqa: B023 - awaited here
            process.terminate()
            assert process.wait(10) == 0
