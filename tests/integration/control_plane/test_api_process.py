"""The management API is a process of its own: it goes when the control plane goes, comes back when it dies, and cannot keep nodes from hearing anything."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.sync_harness import Node, running, until
from tests.integration.sync_process import ControlPlaneProcess, control_plane_process


def has_ended(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


async def test_it_ends_with_the_control_plane_also_when_that_is_killed(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as plane:
        (api,) = plane.children()
        plane.kill()
        await until(lambda: has_ended(api), "the API has ended")
        await asyncio.to_thread(plane.start)  # on the same ports
        (api,) = plane.children()
        assert await asyncio.to_thread(plane.terminate) == 0
        assert has_ended(api), "it is gone before the control plane is"


async def test_one_that_dies_is_started_again_and_nodes_notice_nothing(tmp_path: Path) -> None:
    with control_plane_process(tmp_path) as plane:
        node = Node("edge-1", plane.grpc_port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "the lease")
            (api,) = plane.children()
            os.kill(api, signal.SIGKILL)
            await asyncio.to_thread(plane.create_distribution)  # the socket is open: the client waits
            await until(lambda: node.session.applied_index == 2, "the distribution")
            assert node.session.reconnects_total == 0 and plane.children() != [api]
        assert "the management API has ended with status -9" in plane.log()
        assert plane.is_ready()


async def test_the_api_says_soon_that_all_nodes_have_a_change_and_so_does_the_next_control_plane(
    tmp_path: Path,
) -> None:
    """Nothing is written for each acknowledgement, and nothing but the database tells the API of them."""
    with control_plane_process(tmp_path) as plane:
        nodes = [Node(f"edge-{number}", plane.grpc_port) for number in range(3)]
        async with running(*nodes):
            await until(lambda: all(node.session.lease_state() == "held" for node in nodes), "leases")
            client = plane.client()
            identifier = await asyncio.to_thread(plane.create_distribution)

            def is_deployed() -> bool:
                return bool(client.get_distribution(Id=identifier)["Distribution"]["Status"] == "Deployed")

            await until_in_thread(is_deployed)
        plane.kill()
        await asyncio.to_thread(plane.start)
        assert await asyncio.to_thread(is_deployed), "all three count as live, and none of them has come back"


async def until_in_thread(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_nodes_hear_everything_while_the_api_stands_still(tmp_path: Path) -> None:
    """What `kill -STOP` does, a client that never pauses and a loop without end do as well."""
    with control_plane_process(tmp_path, "--lease-seconds", "1", "--heartbeat-seconds", "0.2") as plane:
        node = Node("edge-1", plane.grpc_port)
        async with running(node):
            await until(lambda: node.session.lease_state() == "held", "the lease")
            with stopped(plane):
                until_then = time.monotonic() + 2.5
                await until(lambda: time.monotonic() > until_then, "more than two leases")
                assert node.session.lease_state() == "held" and node.session.reconnects_total == 0


class stopped:  # noqa: N801 - reads as what it does
    """The process of the API stands still meanwhile."""

    def __init__(self, plane: ControlPlaneProcess) -> None:
        (self._process_id,) = plane.children()

    def __enter__(self) -> None:
        os.kill(self._process_id, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._process_id, signal.SIGCONT)
