"""A lab of processes through its Python interface: starts, loses and regains nodes, explains deaths, leaves nothing."""

import resource
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from lab.clients.http_client import ask
from lab.cluster.interface import Cluster, Limits
from lab.cluster.process_identity import wait_until_gone
from lab.cluster.processes import ProcessCluster
from lab.cluster.sockets import why_not_free
from lab.cluster.state_file import StateDir, make_record
from lab.errors import LabError
from lab.topology.layout import Layout, Role
from tests.cluster_contract import ClusterContract, wait_for_state
from tests.integration.lab_harness import SLOT_OF_A_MODULE, SMALL_NODES, small_topology

TABLES = 2
"""Entries that a control plane begins its log with: the routing table and the table of countries."""
EDGE = "edge-iad89-p1-1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    with ProcessCluster.up(small_topology(SLOT_OF_A_MODULE), tmp_path_factory.mktemp("lab") / "state") as running:
        yield running


def test_all_nodes_are_live_when_it_is_up(lab: ProcessCluster) -> None:
    status = lab.status()
    assert {each.node.id for each in status.nodes} == SMALL_NODES
    assert status.is_whole
    assert {each.applied_index for each in status.nodes if each.node.role is not Role.ORIGIN} == {TABLES}
    assert all(each.node.pid for each in status.nodes)


class TestProcesses(ClusterContract):
    """The suite of every cluster."""

    @pytest.fixture
    def cluster(self, lab: ProcessCluster) -> Cluster:
        return lab

    def memory_limit_mib(self, cluster: Cluster, node_id: str) -> int:
        process = cast(ProcessCluster, cluster).node(node_id).process
        assert process is not None
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_DATA)
        return 0 if soft == hard else soft >> 20


def test_a_share_of_the_processors_is_refused_where_it_cannot_be_kept(lab: ProcessCluster) -> None:
    with pytest.raises(LabError, match="processes have no limit of processors; a lab in containers has"):
        lab.set_limits(EDGE, Limits(cpus=0.5))


def test_without_the_control_plane_nodes_speak_for_themselves(lab: ProcessCluster) -> None:
    lab.kill("control-plane")
    try:
        wait_for_state(lab, EDGE, "expired")
        status = lab.status()
        assert {each.state for each in status.of_role(Role.CONTROL_PLANE)} == {"down"}
        assert {each.applied_index for each in status.of_role(Role.EDGE)} == {TABLES}
    finally:
        lab.start("control-plane")
    for node_id in SMALL_NODES:
        lab.wait_until_live(node_id)


def test_another_command_finds_it_and_may_start_nodes(lab: ProcessCluster) -> None:
    other = ProcessCluster.attach(lab.state.path)
    assert other.record == lab.record
    lab.kill(EDGE)
    other.start(EDGE)
    assert lab.wait_until_live(EDGE).node.pid
    other.kill(EDGE)
    lab.start(EDGE)
    lab.wait_until_live(EDGE)


def test_a_second_lab_in_the_same_folder_is_refused(lab: ProcessCluster) -> None:
    with pytest.raises(LabError, match=r"a lab is running already: small \(6 of 6 processes\)"):
        ProcessCluster.up(small_topology(SLOT_OF_A_MODULE), lab.state.path)
    assert lab.status().is_whole


def test_a_second_lab_on_the_same_addresses_starts_nothing(lab: ProcessCluster, tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        ProcessCluster.up(small_topology(SLOT_OF_A_MODULE), tmp_path / "other")
    assert f"the lab small in {lab.state.path} (6 processes) has the addresses of this one" in str(caught.value)
    assert not (tmp_path / "other").exists()
    assert lab.status().is_whole


def test_nothing_is_left_behind(lab: ProcessCluster) -> None:
    """Runs last: it takes the module's lab down."""
    record = lab.record
    processes = [node.process for node in record.nodes if node.process]
    stopped = lab.take_down()
    print(f"6 processes down in {stopped.seconds:.2f} s")
    assert (stopped.stopped, stopped.killed) == (6, 0)
    assert stopped.seconds < 2
    assert wait_until_gone(processes, 0, lambda: None) == []
    for listener in (
        each for node in Layout(small_topology(SLOT_OF_A_MODULE), Path("/")).nodes() for each in node.listeners
    ):
        assert why_not_free(listener) == "", listener
    assert not lab.state.path.exists()
    assert lab.take_down().stopped == 0, "again does no harm"


def test_a_node_that_dies_is_explained(tmp_path: Path) -> None:
    layout = Layout(small_topology(), tmp_path / "state")
    state = StateDir(tmp_path / "state")
    record = make_record(layout, layout.nodes(), sys.executable)
    dying = (sys.executable, "-c", "import sys; print('disk is full'); sys.exit(3)")
    state.make()
    state.write(replace(record, nodes=tuple(replace(node, command=dying) for node in record.nodes)))
    lab = ProcessCluster(state)
    try:
        lab.start(EDGE)
        with pytest.raises(LabError) as caught:
            lab.wait_until_live(EDGE, timeout_seconds=10)
    finally:
        lab.take_down()
    assert str(caught.value).splitlines() == [
        f"{EDGE} ended with status 3",
        "  | disk is full",
        f"whole log: {tmp_path}/state/nodes/{EDGE}/log",
    ]


def test_a_node_that_is_killed_while_the_lab_starts_ends_the_start(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")

    def kill_the_control_plane(_progress: str) -> None:
        ProcessCluster.attach(state.path).kill("control-plane")

    with pytest.raises(LabError, match="control-plane was killed by SIGKILL"):
        ProcessCluster.up(small_topology(), state.path, say=kill_the_control_plane)
    record = state.read_processes()
    assert record is not None and record.running == [], "nothing runs"
    assert state.log_of("control-plane").exists(), "the log that the message names is still there"
    with ProcessCluster.up(small_topology(), state.path) as lab:
        assert lab.status().is_whole, "what the failed start left is in nobody's way"


def test_viewers_find_edges_of_the_first_pop_at_the_shared_address(tmp_path: Path) -> None:
    with ProcessCluster.up(small_topology(), tmp_path / "state") as lab:
        reply = ask(lab.facts.shared_http, "/", headers=[("host", "nobody.cdn.localhost")])
        assert reply.status == 403
        assert reply.headers["x-amz-cf-pop"] == "IAD89-P1"
        host, _, port = lab.facts.shared_http.rpartition(":")
        with pytest.raises(OSError), socket.create_server((host, int(port))):
            pass
