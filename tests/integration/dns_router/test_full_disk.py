"""A router whose disk does not take what it is told: it answers by it all the same, says that a restart would know less, and writes when there is room.

The disk is a limit on the size of files, which the kernel refuses in the middle of a write as it does on a full disk; what it is told is larger than that.
"""

import resource
from pathlib import Path

from proto.cdn.v1 import sync_pb2
from tests.builders import entry_message
from tests.router_builders import TWO_EDGES_EACH, directory_message, distribution, edge, snapshot
from tests.router_process import RouterProcess, ScriptedControlPlane, control_plane, eventually, router

D1, D2 = "d1.cdn.localhost", "d2.cdn.localhost"
US_SUBNET, EU_SUBNET = "10.1.0.0/16", "10.2.0.0/16"
US_EDGES, EU_EDGES = {"127.0.1.1", "127.0.1.2"}, {"127.0.2.1", "127.0.2.2"}
FILE_BYTES = 100_000
LARGE = "x" * 2 * FILE_BYTES
"""More than the disk takes: the log of the router is far from it."""


def large_directory(*nodes: sync_pb2.Node, version: int) -> sync_pb2.Directory:
    """So many lines that the disk does not take it; the regional cache in it is in no answer."""
    regional = edge("127.0.9.9", LARGE, role=sync_pb2.ROLE_REGIONAL)
    return directory_message(*nodes, regional, version=version)


def put(index: int, domain_name: str) -> sync_pb2.Entry:
    """A distribution for which the file of the configuration is too large."""
    message = distribution("E2", domain_name)
    message.aliases.extend(f"{number}.{'x' * 60}.cdn.localhost" for number in range(FILE_BYTES // 30))
    return entry_message(index, message, log_id="log-a")


def limit_files(node: RouterProcess, size_bytes: int) -> None:
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


async def wait_for_answer(node: RouterProcess, name: str, subnet: str, expected: set[str]) -> None:
    async def is_answered() -> bool:
        return await node.addresses(name, subnet) == expected

    await eventually(is_answered)


async def wait_for_files(node: RouterProcess, unwritten: list[str]) -> None:
    async def is_so() -> bool:
        files = (await node.status())["state_files"]
        assert isinstance(files, dict)
        return bool(files["unwritten"] == unwritten)

    await eventually(is_so)


async def wait_until_acknowledged(plane: ScriptedControlPlane, index: int) -> None:
    async def is_acknowledged() -> bool:
        return plane.has_acknowledgement_of(index)

    await eventually(is_acknowledged)


async def test_a_full_disk_never_keeps_a_dead_edge_in_the_answers(tmp_path: Path) -> None:
    greeting = (
        sync_pb2.ControlMessage(snapshot=snapshot(distribution())),
        sync_pb2.ControlMessage(directory=directory_message(*TWO_EDGES_EACH)),
    )
    async with control_plane(*greeting) as plane, router(tmp_path, control_plane_address=plane.address) as node:
        await wait_for_answer(node, D1, US_SUBNET, US_EDGES)
        limit_files(node, FILE_BYTES)
        plane.say(directory=large_directory(*TWO_EDGES_EACH[2:], version=2))
        await wait_for_answer(node, D1, US_SUBNET, EU_EDGES)
        plane.say(directory=large_directory(*TWO_EDGES_EACH[2:4], version=3))
        plane.say(entry=put(8, D2))
        await wait_until_acknowledged(plane, 8)
        assert await node.addresses(D2, US_SUBNET) == EU_EDGES
        await wait_for_files(node, ["configuration", "directory"])
        metrics = (await node.get("/metrics"))[1]
        assert "cdn_state_write_failures_total 4.0" in metrics  # one, the same again, and both with the entry
        assert sum(message.HasField("hello") for message in plane.heard) == 1, "its lease goes on on one stream"
        assert node.log().count("cannot be written to disk") == 1

        limit_files(node, resource.RLIM_INFINITY)
        plane.say(directory=large_directory(*TWO_EDGES_EACH[2:4], version=4))
        await wait_for_files(node, [])
        node.kill()
    async with router(tmp_path) as again:
        assert await again.addresses(D1, US_SUBNET) == await again.addresses(D2, US_SUBNET) == EU_EDGES
        assert (await again.status())["applied_index"] == 8


async def test_what_a_full_disk_lost_at_a_crash_is_learned_again(tmp_path: Path) -> None:
    greeting = sync_pb2.ControlMessage(snapshot=snapshot(distribution()))
    async with control_plane(greeting) as plane:
        address = plane.address
        async with router(tmp_path, control_plane_address=address) as node:
            await wait_until_acknowledged(plane, 7)
            limit_files(node, FILE_BYTES)
            plane.say(entry=put(8, D2))
            plane.say(directory=directory_message(*TWO_EDGES_EACH))
            await wait_until_acknowledged(plane, 8)
            await wait_for_answer(node, D2, US_SUBNET, US_EDGES)
            node.kill()
        await plane.stop()
        entries = (sync_pb2.ControlMessage(entry=put(8, D2)),)
        async with (
            control_plane(*entries, address=address) as next_plane,
            router(tmp_path, control_plane_address=address) as again,
        ):
            await wait_for_answer(again, D2, US_SUBNET, US_EDGES)
            hello = next_plane.heard[0].hello
            assert (hello.log_id, hello.applied_index) == ("log-a", 7), "where its disk is"
