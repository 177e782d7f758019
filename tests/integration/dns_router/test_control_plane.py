"""A router process and its control plane: what it is told it answers, also when nobody tells it any more."""

from pathlib import Path

import dns.message
import pytest
from google.protobuf.message import Message
from prometheus_client.parser import text_string_to_metric_families

from proto.cdn.v1 import configuration_pb2, sync_pb2
from tests.builders import entry_message
from tests.router_builders import TWO_EDGES_EACH, directory_message, distribution, snapshot
from tests.router_process import RouterProcess, ScriptedControlPlane, control_plane, eventually, router

D1, D2 = "d1.cdn.localhost", "d2.cdn.localhost"
US_SUBNET, EU_SUBNET = "10.1.0.0/16", "10.2.0.0/16"
US_EDGES, EU_EDGES = {"127.0.1.1", "127.0.1.2"}, {"127.0.2.1", "127.0.2.2"}
GREETING = (
    sync_pb2.ControlMessage(snapshot=snapshot(distribution())),
    sync_pb2.ControlMessage(directory=directory_message(*TWO_EDGES_EACH)),
)


def entry(index: int, *bodies: Message, deleted: str = "") -> sync_pb2.Entry:
    return entry_message(index, *bodies, deleted_distributions=[deleted] if deleted else [], log_id="log-a")


async def wait_for_answer(node: RouterProcess, name: str, subnet: str, expected: set[str]) -> None:
    async def is_answered() -> bool:
        return await node.addresses(name, subnet) == expected

    await eventually(is_answered)


async def wait_until_acknowledged(plane: ScriptedControlPlane, index: int) -> None:
    async def is_acknowledged() -> bool:
        return plane.has_acknowledgement_of(index)

    await eventually(is_acknowledged)


async def test_each_region_is_answered_with_its_own_edges(tmp_path: Path) -> None:
    async with control_plane(*GREETING) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        await wait_for_answer(node, D1, US_SUBNET, US_EDGES)
        await wait_for_answer(node, D1, EU_SUBNET, EU_EDGES)
        hello = plane.heard[0].hello
        assert (hello.node.id, hello.node.role, hello.node.region) == (
            "router-1",
            sync_pb2.ROLE_DNS_ROUTER,
            "us-east-1",
        )
        assert hello.node.http_address == f"{node.host}:{node.port}" and hello.applied_index == 0


async def test_an_edge_that_loses_its_lease_leaves_the_answers_and_returns_with_it(tmp_path: Path) -> None:
    async with control_plane(*GREETING) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        await wait_for_answer(node, D1, US_SUBNET, US_EDGES)
        plane.say(directory=directory_message(*TWO_EDGES_EACH[1:], version=2))

        async def is_filled_from_europe() -> bool:
            answered = await node.addresses(D1, US_SUBNET)
            return len(answered) == 2 and answered - EU_EDGES == {"127.0.1.2"}

        await eventually(is_filled_from_europe)
        plane.say(directory=directory_message(*TWO_EDGES_EACH[2:], version=3))
        await wait_for_answer(node, D1, US_SUBNET, EU_EDGES)
        plane.say(directory=directory_message(version=4))

        async def is_failing() -> bool:
            return (await node.udp(dns.message.make_query(D1, "A"))).rcode() == 2

        await eventually(is_failing)
        plane.say(directory=directory_message(*TWO_EDGES_EACH, version=5))
        await wait_for_answer(node, D1, US_SUBNET, US_EDGES)


async def test_entries_are_served_before_they_are_acknowledged(tmp_path: Path) -> None:
    async with control_plane(*GREETING) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        await wait_until_acknowledged(plane, 7)
        plane.say(entry=entry(8, distribution("E2", D2)))
        await wait_until_acknowledged(plane, 8)
        assert await node.addresses(D2, US_SUBNET) == US_EDGES
        plane.say(entry=entry(9, configuration_pb2.Invalidation(id="I1", paths=["/*"])))
        await wait_until_acknowledged(plane, 9)
        plane.say(entry=entry(10, deleted="E2"))
        await wait_until_acknowledged(plane, 10)
        assert (await node.udp(dns.message.make_query(D2, "A"))).rcode() == 3


async def test_a_bad_distribution_is_rejected_with_its_reason_and_blocks_nothing(tmp_path: Path) -> None:
    async with control_plane(*GREETING) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        await wait_until_acknowledged(plane, 7)
        plane.say(entry=entry(8, distribution("E1", "a..b.cdn.localhost")))
        plane.say(entry=entry(9, distribution("E2", D2)))
        await wait_until_acknowledged(plane, 9)
        assert plane.has_heard("rejection", lambda m: m.rejection.index == 8 and "a..b" in m.rejection.reason)
        assert await node.addresses(D1, US_SUBNET) == US_EDGES and await node.addresses(D2, US_SUBNET) == US_EDGES
        assert "cdn_sync_rejections_total 1.0" in (await node.get("/metrics"))[1]


async def test_it_keeps_answering_without_a_control_plane_and_catches_up_with_the_next(tmp_path: Path) -> None:
    async with control_plane(*GREETING) as plane:
        address = plane.address
        async with router(tmp_path, control_plane_address=address) as node:
            await wait_until_acknowledged(plane, 7)
            await wait_for_answer(node, D1, US_SUBNET, US_EDGES)
            await plane.stop()
            assert await node.addresses(D1, US_SUBNET) == US_EDGES
            put = sync_pb2.ControlMessage(entry=entry(8, distribution("E2", D2)))
            async with control_plane(put, address=address) as next_plane:
                await wait_until_acknowledged(next_plane, 8)
                assert (next_plane.heard[0].hello.log_id, next_plane.heard[0].hello.applied_index) == ("log-a", 7)
                assert await node.addresses(D2, US_SUBNET) == US_EDGES, "the directory of before is still used"


@pytest.mark.parametrize("ending", ["kill", "terminate"])
async def test_a_restart_without_control_plane_answers_from_disk(tmp_path: Path, ending: str) -> None:
    async with control_plane(*GREETING) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        plane.say(entry=entry(8, distribution("E2", D2)))
        await wait_for_answer(node, D1, US_SUBNET, US_EDGES)
        await wait_until_acknowledged(plane, 8)
        getattr(node, ending)()
    async with router(tmp_path) as again:
        assert await again.addresses(D1, US_SUBNET) == US_EDGES
        assert await again.addresses(D2, EU_SUBNET) == EU_EDGES
        assert (await again.get("/readyz"))[0] == 200
        status = await again.status()
        assert (status["log_id"], status["applied_index"], status["lease"]) == ("log-a", 8, "none")


async def test_on_sigterm_it_says_that_it_leaves_and_exits_with_zero(tmp_path: Path) -> None:
    async with control_plane(*GREETING) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        await wait_until_acknowledged(plane, 7)
        node.process.terminate()

        async def has_left() -> bool:
            return plane.has_heard("leaving") and node.process.poll() == 0

        await eventually(has_left)
        assert "Traceback" not in node.log()


async def test_readiness_status_and_metrics_tell_where_it_stands(tmp_path: Path) -> None:
    async with control_plane() as plane, router(tmp_path, control_plane_address=plane.address) as node:
        assert (await node.get("/healthz")) == (200, "ok\n")
        assert (await node.get("/readyz"))[0] == 503
        plane.say(snapshot=GREETING[0].snapshot)
        plane.say(directory=GREETING[1].directory)
        await wait_for_answer(node, D1, US_SUBNET, US_EDGES)

        async def holds_lease() -> bool:
            return (await node.status())["lease"] == "held"

        await eventually(holds_lease)
        status = await node.status()
        assert (status["id"], status["role"], status["region"]) == ("router-1", "dns_router", "us-east-1")
        assert (status["applied_index"], status["log_id"], status["live_edge_addresses"]) == (7, "log-a", 6)
        await _assert_metrics(node)


async def _assert_metrics(node: RouterProcess) -> None:
    await node.udp(dns.message.make_query("nobody.cdn.localhost", "AAAA"))
    families = {f.name: f for f in text_string_to_metric_families((await node.get("/metrics"))[1])}
    values = {name: family.samples[0].value for name, family in families.items()}
    assert values["cdn_applied_index"] == 7 and values["cdn_log_lag_entries"] == 2 and values["cdn_lease_held"] == 1
    assert 0 < values["cdn_lease_remaining_seconds"] <= 5
    assert families["cdn_node_info"].samples[0].labels.keys() == {"node", "role", "region", "pop", "version"}
    queries = {(s.labels["type"], s.labels["outcome"]): s.value for s in families["cdn_dns_queries"].samples}
    assert queries["AAAA", "unknown_name"] == 1 and queries["A", "answered"] >= 1
