"""What every cluster promises, whichever way it runs: one suite for lab/cluster/interface.py, held against processes and against containers.

A class of tests that inherits from `ClusterContract` gives the cluster and says how the limit of a node is seen from outside.
"""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.clients.http_client import UnreachableError, ask
from lab.cluster.interface import Cluster, Limits
from lab.errors import LabError, UsageError

EDGE = "edge-iad89-p1-1"
SECONDS = 20.0
Act = Callable[[Cluster], object]


def wait_for_state(cluster: Cluster, node_id: str, *states: str) -> None:
    deadline = time.monotonic() + SECONDS
    while (found := cluster.status().find(node_id)) is None or found.state not in states:
        assert time.monotonic() < deadline, f"{node_id} is not {states}: {found}"
        time.sleep(0.05)


class ClusterContract:
    """Each test finds the node live, however the one before has ended."""

    @pytest.fixture(autouse=True)
    def leave_it_live(self, cluster: Cluster) -> Iterator[None]:
        yield
        found = cluster.status().find(EDGE)
        if found is not None and found.state == "down":
            cluster.start(EDGE)
        cluster.wait_until_live(EDGE)

    def memory_limit_mib(self, cluster: Cluster, node_id: str) -> int:
        """Of a node that runs, as the system has it; 0 for none."""
        raise NotImplementedError

    def test_facts_and_addresses_are_those_of_the_status(self, cluster: Cluster) -> None:
        status = cluster.status()
        assert cluster.is_up and cluster.facts.endpoint == status.endpoint and cluster.facts.zone == status.zone
        for each in status.nodes:
            addresses = cluster.addresses(each.node.id)
            assert (addresses.http, addresses.admin, addresses.dns) == (each.node.http, each.node.admin, each.node.dns)
        assert ask(cluster.facts.shared_http, "/", headers=[("host", "nobody")]).status == 403

    def test_a_killed_node_is_down_and_comes_back_as_it_was(self, cluster: Cluster) -> None:
        before = cluster.addresses(EDGE)
        cluster.kill(EDGE)
        down = cluster.status().find(EDGE)
        assert down is not None and down.state == "down" and down.node.pid is None
        with pytest.raises(LabError, match=f"{EDGE} is not running"):
            cluster.kill(EDGE)
        cluster.start(EDGE)
        assert cluster.wait_until_live(EDGE).node.http == before.http
        with pytest.raises(LabError, match=f"{EDGE} is running already"):
            cluster.start(EDGE)

    def test_a_stopped_node_has_ended_in_order(self, cluster: Cluster) -> None:
        cluster.stop(EDGE)
        cluster.stop(EDGE)
        assert [each.state for each in cluster.status().nodes if each.node.id == EDGE] == ["down"]
        assert f"{EDGE} has ended" in "\n".join(cluster.logs(EDGE, 5))

    def test_a_node_is_restarted_with_the_memory_that_it_was_limited_to(self, cluster: Cluster) -> None:
        before = self.memory_limit_mib(cluster, EDGE)
        cluster.set_limits(EDGE, Limits(memory_mib=600))
        assert self.memory_limit_mib(cluster, EDGE) == 600
        cluster.restart(EDGE)
        cluster.wait_until_live(EDGE)
        assert self.memory_limit_mib(cluster, EDGE) == 600
        cluster.set_limits(EDGE, Limits(memory_mib=before))
        assert self.memory_limit_mib(cluster, EDGE) == before

    def test_a_paused_node_hangs_and_goes_on(self, cluster: Cluster) -> None:
        admin = cluster.addresses(EDGE).admin
        cluster.pause(EDGE)
        try:
            with pytest.raises(UnreachableError):
                ask(admin, "/healthz", timeout_seconds=0.3)
            wait_for_state(cluster, EDGE, "expired", "silent")
        finally:
            cluster.unpause(EDGE)
        cluster.wait_until_live(EDGE)
        assert ask(admin, "/healthz").status == 200

    def test_a_signal_reaches_the_program(self, cluster: Cluster) -> None:
        cluster.signal(EDGE, signal.SIGTERM)
        wait_for_state(cluster, EDGE, "down")

    def test_a_command_is_run_where_the_node_is(self, cluster: Cluster) -> None:
        done = cluster.exec(EDGE, ["sh", "-c", "echo to both; echo streams >&2; exit 3"])
        assert (done.status, sorted(done.output.splitlines())) == (3, ["streams", "to both"])
        assert cluster.exec(EDGE, ["no-such-program"]).status in (126, 127)

    def test_a_history_is_copied_from_a_node_that_runs_stands_still_or_is_dead(
        self, cluster: Cluster, tmp_path: Path
    ) -> None:
        body = b'{"run": "contract", "lease_seconds": 600}'
        headers = [("content-type", "application/json")]
        admin = cluster.addresses(EDGE).admin
        assert ask(admin, "/history", method="POST", headers=headers, body=body).status == 200
        for act, undo in ((None, None), (cluster.pause, cluster.unpause), (cluster.kill, cluster.start)):
            folder = tmp_path / (act.__name__ if act else "runs")
            folder.mkdir()
            if act is not None:
                act(EDGE)
            cluster.fetch_history(EDGE, folder)
            if undo is not None:
                undo(EDGE)
            assert {path.name for path in folder.iterdir()} == {
                "recording.json", "applied.tsv", "fills.tsv", "leases.tsv", "lives.tsv", "served.tsv"
            }  # fmt: skip
            assert f"{EDGE}\t" in (folder / "lives.tsv").read_text()

    def test_logs_are_the_last_lines(self, cluster: Cluster) -> None:
        whole = list(cluster.logs(EDGE, 1000))
        assert len(whole) > 1 and list(cluster.logs(EDGE, 1)) == whole[-1:]

    @pytest.mark.parametrize(
        "act",
        [
            lambda cluster: cluster.start("edge-9"),
            lambda cluster: cluster.stop("edge-9"),
            lambda cluster: cluster.restart("edge-9"),
            lambda cluster: cluster.kill("edge-9"),
            lambda cluster: cluster.pause("edge-9"),
            lambda cluster: cluster.unpause("edge-9"),
            lambda cluster: cluster.signal("edge-9", signal.SIGHUP),
            lambda cluster: cluster.exec("edge-9", ["true"]),
            lambda cluster: cluster.addresses("edge-9"),
            lambda cluster: cluster.set_limits("edge-9", Limits(memory_mib=64)),
            lambda cluster: cluster.wait_until_live("edge-9"),
            lambda cluster: list(cluster.logs("edge-9", 1)),
            lambda cluster: cluster.fetch_history("edge-9", Path()),
        ],
    )
    def test_an_unknown_node_is_answered_with_those_that_are(self, cluster: Cluster, act: Act) -> None:
        with pytest.raises(UsageError, match=r"no node 'edge-9': there are .*edge-iad89-p1-1"):
            act(cluster)

    def test_nodes_that_do_not_run_cannot_be_acted_on(self, cluster: Cluster) -> None:
        cluster.kill(EDGE)
        for act in (
            lambda: cluster.pause(EDGE),
            lambda: cluster.signal(EDGE, signal.SIGHUP),
            lambda: cluster.exec(EDGE, ["true"]),
        ):
            with pytest.raises(LabError, match="not running"):
                act()
