"""What wrong clocks and bad disks do to the promises of the protocol, and what becomes of faults when a process of the control plane dies."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lab.cluster.processes import ProcessCluster
from lab.faults.parameters import Value
from lab.faults.program import own_fault
from tests.faults.contract import wait_until
from tests.faults.management_client import client_of
from tests.faults.scene import CONTROL_PLANE, EDGE, ROUTER, Scene

LEASE_SECONDS = 60.0


@contextmanager
def suffering(scene: Scene, node_id: str, kind: str, **parameters: Value) -> Iterator[None]:
    """One fault for a while; everything is well again when it is left."""
    fault, told = own_fault(kind), {**parameters, "lease_seconds": LEASE_SECONDS}
    memory = fault.inject(scene.cluster, node_id, told)
    try:
        yield
    finally:
        fault.undo(scene.cluster, node_id, told, memory)
    wait_until(scene.is_whole, f"all nodes are live after {kind}")


def counted(scene: Scene, node_id: str) -> str:
    """A node's lease as the control plane counts it."""
    return next(str(node["state"]) for node in scene.control_status()["nodes"] if node["id"] == node_id)


def lease_of(scene: Scene, node_id: str) -> str:
    """As the node counts it."""
    return str(scene.status(node_id)["lease"])


def error_code(scene: Scene) -> str:
    """Of a call of the management API; empty: it was answered."""
    with client_of(scene) as client:
        try:
            client.list_distributions()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
    return ""


# Leases (DESIGN section 4): the node's view ends first, as long as clocks differ by less than a tenth


@pytest.mark.parametrize("rate", [-0.08, 0.08])
def test_within_the_margin_a_node_s_lease_is_over_before_the_control_plane_says_so(scene: Scene, rate: float) -> None:
    with suffering(scene, EDGE, "clock-drift", rate=rate), suffering(scene, CONTROL_PLANE, "control-plane-deaf"):
        wait_until(lambda: counted(scene, EDGE) == "expired", "the control plane counts no lease any more")
        assert lease_of(scene, EDGE) == "expired", "asked after the control plane"


def test_beyond_the_margin_the_promise_is_void(scene: Scene) -> None:
    with suffering(scene, EDGE, "clock-drift", rate=-0.8), suffering(scene, CONTROL_PLANE, "control-plane-deaf"):
        wait_until(lambda: counted(scene, EDGE) == "expired", "the control plane counts no lease any more")
        assert lease_of(scene, EDGE) == "held", "by a clock that runs at a fifth"


def test_a_control_plane_whose_clock_is_fast_gives_nodes_up_that_hold_their_lease(scene: Scene) -> None:
    with suffering(scene, CONTROL_PLANE, "clock-drift", rate=20.0):
        wait_until(
            lambda: counted(scene, EDGE) == "expired" and lease_of(scene, EDGE) == "held",
            "the control plane has given up a node with a lease",
        )


def test_a_router_whose_clock_is_fast_gives_its_lease_up_too_early(scene: Scene) -> None:
    with suffering(scene, ROUTER, "clock-drift", rate=20.0):
        wait_until(
            lambda: lease_of(scene, ROUTER) == "expired" and counted(scene, ROUTER) == "live",
            "the router has given up a lease that the control plane counts",
        )


def test_signatures_are_refused_by_a_control_plane_whose_clock_is_an_hour_ahead(scene: Scene) -> None:
    with suffering(scene, CONTROL_PLANE, "clock-offset", by=3_600.0):
        wait_until(lambda: error_code(scene) == "SignatureDoesNotMatch", "signatures are too old")
        assert counted(scene, EDGE) == "live", "leases are not counted by that clock"
    assert error_code(scene) == ""


# Disks


def test_what_was_invalidated_while_the_disk_was_full_stays_so_after_kill_9(
    scene: Scene, cluster: ProcessCluster
) -> None:
    """The journal cannot be kept, so what is on the disk is void for the next process."""
    name = scene.new_name()
    scene.put(name, "old")
    assert scene.text(EDGE, name) == "old"
    fault, told = own_fault("disk-full"), {"lease_seconds": LEASE_SECONDS}
    fault.inject(cluster, EDGE, told)
    scene.put(name, "new")
    invalidation = scene.invalidate(name)
    wait_until(lambda: scene.is_completed(invalidation), "the invalidation is complete")
    assert scene.part(invalidation, EDGE) == "acknowledged"
    cluster.kill(EDGE)
    cluster.start(EDGE)
    wait_until(lambda: scene.text(EDGE, name) != "", f"{EDGE} answers")
    assert scene.text(EDGE, name) == "new"
    fault.undo(cluster, EDGE, told, {"id": "f-of-a-process-that-has-ended"})
    wait_until(scene.is_whole, f"{EDGE} is live")


# The control plane


def test_a_new_process_of_the_management_api_suffers_what_is_in_force(scene: Scene, cluster: ProcessCluster) -> None:
    with suffering(scene, CONTROL_PLANE, "api-error", probability=1.0):
        wait_until(lambda: error_code(scene) == "ServiceUnavailable", "the API fails")
        before = children_of(cluster, CONTROL_PLANE)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not before & children_of(cluster, CONTROL_PLANE), "they are gone")
        wait_until(lambda: bool(children_of(cluster, CONTROL_PLANE)), "another one is there")
        assert error_code(scene) == "ServiceUnavailable"
    assert error_code(scene) == ""


def test_a_deaf_control_plane_ends_in_order_and_hears_again_afterwards(scene: Scene, cluster: ProcessCluster) -> None:
    own_fault("control-plane-deaf").inject(cluster, CONTROL_PLANE, {"lease_seconds": LEASE_SECONDS})
    cluster.stop(CONTROL_PLANE)
    assert "stopped" in "\n".join(cluster.logs(CONTROL_PLANE, 3)), "it was not killed"
    cluster.start(CONTROL_PLANE)
    wait_until(scene.is_whole, "all nodes are live")


def children_of(cluster: ProcessCluster, node_id: str) -> set[int]:
    process = cluster.node(node_id).process
    assert process is not None
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return set(map(int, listed.split()))


def test_some_calls_are_throttled_and_some_are_not(scene: Scene) -> None:
    with suffering(scene, CONTROL_PLANE, "api-throttle", probability=0.5):
        codes = {error_code(scene) for _ in range(40)}
        assert codes == {"", "Throttling"}
        assert scene.times(CONTROL_PLANE, "api-throttle") > 0
