"""The lab's clock on its way to the clocks of a node: as snapshot, as entry, through restarts, and refused by a node that allows no faults (docs/time-travel.md)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_node.control.client import ControlClient
from edge_node.control.resource_kinds import KINDS, KINDS_OF_A_LAB
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import configuration_pb2
from proto.clock_faults import Clocks, clocks_of
from proto.fault_port import FaultPort
from proto.lab_clock import MOST_AHEAD_SECONDS, WITHOUT_FAULTS, ahead_in, problem_with
from proto.log_position import LogPosition
from proto.resources import LAB_CLOCK
from proto.served_configuration import Kinds
from tests.builders import distribution_message, entry_message, origin_message, snapshot_message
from tests.edge_wires import leased_fence

DAY = 86_400.0
WALL = 1_800_000_000.0


def ahead(seconds: float) -> configuration_pb2.LabClock:
    return configuration_pb2.LabClock(ahead_seconds=seconds)


class Node:
    """An edge's half of the log over a state folder, and its clocks; the true one stands."""

    def __init__(self, folder: Path, kinds: Kinds = KINDS_OF_A_LAB) -> None:
        clocks = clocks_of(FaultPort(()), Clocks(lambda: WALL, lambda: 0.0))
        self.wall: Callable[[], float] = clocks.wall
        self.moves: list[tuple[float, int]] = []
        """How far it was put ahead, and what was applied by then."""

        def put_ahead(seconds: float) -> None:
            self.moves.append((seconds, self.state.applied_index))
            clocks.put_ahead(seconds)

        self.state = NodeState("eu", leased_fence(), put_clock_ahead=put_ahead)
        self.client = ControlClient(self.state, "eu", folder, lambda: (0, 0), kinds)
        self.restored = self.client.restore()

    def refusal(self) -> str | None:
        """Why the lab's clock is not followed."""
        change = self.client.rejected().get(LAB_CLOCK)
        return None if change is None else change.rejection.reason


Start = Callable[..., Node]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """The node, or the next process of it."""
    nodes: list[Node] = []

    def started(kinds: Kinds = KINDS_OF_A_LAB) -> Node:
        for before in nodes:
            before.client.close()
        nodes.append(Node(tmp_path / "state", kinds))
        return nodes[-1]

    yield started
    nodes[-1].client.close()


SITE = distribution_message(origin_message("127.0.0.1", 80))


def test_a_node_that_was_away_has_it_before_it_serves(start: Start) -> None:
    node = start()
    node.client.apply_snapshot(snapshot_message(5, SITE, ahead(DAY)))
    assert node.wall() == WALL + DAY and node.client.position() == LogPosition("log-1", 5)


def test_an_entry_moves_it_and_a_restart_keeps_it_without_a_control_plane(start: Start) -> None:
    node = start()
    node.client.apply_snapshot(snapshot_message(5, SITE))
    assert node.wall() == WALL
    node.client.apply_entry(entry_message(6, ahead(DAY)))
    assert node.wall() == WALL + DAY and node.client.position().index == 6
    node.client.apply_entry(entry_message(7, ahead(3 * DAY)))
    after = start()
    assert after.restored.is_warm and after.wall() == WALL + 3 * DAY


def test_what_came_before_it_in_the_log_is_applied_first(start: Start) -> None:
    node = start()
    node.client.apply_snapshot(snapshot_message(5, SITE))
    node.client.apply_entry(entry_message(6, configuration_pb2.Invalidation(distribution_id="E1", paths=["/*"])))
    node.client.apply_entry(entry_message(7, ahead(DAY)))
    node.client.apply_entry(entry_message(8, configuration_pb2.Invalidation(distribution_id="E1", paths=["/*"])))
    assert node.moves == [(DAY, 6)], "moved once, when everything before it is applied and it itself is not yet"


def test_another_log_has_another_clock(start: Start) -> None:
    """A control plane that was restored from a backup of before: everything that is stored is void then."""
    node = start()
    node.client.apply_snapshot(snapshot_message(5, SITE, ahead(DAY)))
    node.client.apply_snapshot(snapshot_message(2, SITE, log_id="log-2"))
    assert node.wall() == WALL


@pytest.mark.parametrize("seconds", [-1.0, MOST_AHEAD_SECONDS + 1, float("nan"), float("inf")])
def test_what_is_no_clock_is_refused_and_the_last_good_one_stays(start: Start, seconds: float) -> None:
    node = start()
    node.client.apply_snapshot(snapshot_message(5, SITE, ahead(DAY)))
    node.client.apply_entry(entry_message(6, ahead(seconds)))
    assert node.wall() == WALL + DAY and node.refusal() == problem_with(seconds) is not None
    assert node.client.position().index == 6


def test_a_node_that_allows_no_faults_refuses_it_by_name(start: Start) -> None:
    node = start(KINDS)
    node.client.apply_snapshot(snapshot_message(5, SITE))
    node.client.apply_entry(entry_message(6, ahead(DAY)))
    assert node.wall() == WALL and node.refusal() == WITHOUT_FAULTS and node.client.position().index == 6
    assert start(KINDS_OF_A_LAB).wall() == WALL + DAY, "started again with the flag, it follows what it had refused"


def test_what_is_published_is_read_as_it_was_written() -> None:
    assert ahead_in(None) == 0.0 and ahead_in(ahead(DAY).SerializeToString()) == DAY
    assert [problem_with(each) is None for each in (0, 1.5, MOST_AHEAD_SECONDS, True, "1", None)] == [True] * 3 + [
        False
    ] * 3
