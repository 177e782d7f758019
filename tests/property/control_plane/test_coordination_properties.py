"""A ledger that refuses writes: nothing is told that is not durable, nothing is lost, nothing is told twice (decision 22)."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.coordination import Coordinator, Settlement
from control_plane.leases import Granted, LeaseRules
from control_plane.nodes import NodeDescription, Role, SavedNode
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError
from control_plane.unsaved import SAVE_AGAIN_SECONDS
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from tests.depth import examples
from tests.simulation.planted import MISTAKES_WITH_LEASES
from tests.simulation.world import MemoryLedger

LEASE_SECONDS = 5.0
NODES = ("edge-1", "edge-2", "edge-3")


class RefusingLedger(MemoryLedger):
    """Does not take the write with the number that is said, and none while it is full."""

    def __init__(self, refused_number: int = 0) -> None:
        super().__init__("log-1", lambda receipt: None)
        self.writes_total = 0
        self._refused_number = refused_number

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """See unsaved.Ledger."""
        self.writes_total += 1
        if self.writes_total == self._refused_number:
            raise StoreError("database or disk is full")
        super().save(nodes, removed_node_ids, receipts)

    def lease_seconds(self, node_id: str) -> float:
        """Of the lease that a restarted control plane would wait for."""
        return next((n.lease_seconds for n in self.saved_nodes() if n.description.identifier == node_id), 0.0)


class Fleet:
    """A coordinator, its nodes, and a judge of everything that it tells."""

    def __init__(self, ledger: RefusingLedger, coordinator: type[Coordinator] = Coordinator) -> None:
        self.ledger = ledger
        self.now = 100.0
        self._new_coordinator = coordinator
        self.coordinator = coordinator(ledger, LeaseRules(LEASE_SECONDS), self.now)
        self.told: Counter[str] = Counter()
        self.leases_until: dict[str, float] = {}
        """Until when nodes count the leases that they were told: from their heartbeats."""
        self._beaten_at: dict[str, float] = {}
        self._streams: dict[str, int] = {}

    def connect(self, node_id: str, index: int | None = None) -> None:
        """With all that there is, unless another index is given."""
        node = NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
        index = self.ledger.head_index if index is None else index
        position = LogPosition("log-1", index, self.ledger.digest_at(index) or b"")
        self._streams[node_id], _ = self.coordinator.connected(node, position, self.now)
        self.beat(node_id)

    def beat(self, node_id: str) -> None:
        if node_id in self._streams:
            self._beaten_at[node_id] = self.now
            self.coordinator.beat(node_id, self._streams[node_id], 1, self.now)
        self.settle()

    def acknowledge(self, node_id: str) -> None:
        if node_id in self._streams:
            self.coordinator.acknowledged(node_id, self._streams[node_id], self.ledger.head_index, self.now)
        self.settle()

    def leave(self, node_id: str) -> None:
        if node_id in self._streams:
            self.coordinator.left(node_id, self._streams.pop(node_id), self.now)
            self.leases_until.pop(node_id, None)
        self.settle()

    def invalidate(self, _node_id: str = "") -> None:
        """The log is in the same database: a full disk takes no entry either."""
        if not self.ledger.is_full:
            index = self.ledger.head_index + 1
            issued = IssuedInvalidation(f"I{index}", "D1", index, ("/*",), self.now)
            self.ledger.append(issued, sync_pb2.Entry(index=index), self.now)
            self.coordinator.committed(index, self.now, issued)
        self.settle()

    def wait(self, seconds: float) -> None:
        """The coordinator is called when it wants to be."""
        until = self.now + seconds
        while (check_at := max(self.now, self.coordinator.next_check_at)) <= until and check_at > self.now:
            self.now = check_at
            self.settle()
        self.now = until
        self.settle()

    def settle(self) -> None:
        self._judge(self.coordinator.settle(self.now))

    def _judge(self, settlement: Settlement) -> None:
        for node_id, answer in settlement.answers.items():
            if isinstance(answer.decision, Granted):
                assert self.ledger.lease_seconds(node_id) >= answer.decision.duration_seconds, "told, not durable"
                self.leases_until[node_id] = self._beaten_at[node_id] + LEASE_SECONDS
        pending = {invalidation.identifier for invalidation in self.ledger.pending_invalidations()}
        for receipt in settlement.completed:
            assert receipt.invalidation.identifier not in pending, "told, not durable"
            self.told[receipt.invalidation.identifier] += 1
        routable = [node.identifier for node in self.coordinator.live_nodes()]
        assert all(self.ledger.lease_seconds(node_id) > 0 for node_id in routable), "routable, not durable"
        restarted = self._new_coordinator(self.ledger, LeaseRules(LEASE_SECONDS), self.now)
        waited_for = {node.identifier for node in restarted.live_nodes()}
        assert {node_id for node_id, until in self.leases_until.items() if until > self.now} <= waited_for


def play(ledger: RefusingLedger) -> Fleet:
    """Nodes come, one dies, one leaves and comes back, all are gone for more than a day; invalidations all the while."""
    fleet = Fleet(ledger)
    for node_id in NODES:
        fleet.connect(node_id)
    for _ in range(3):
        fleet.invalidate()
        fleet.acknowledge("edge-1")
        fleet.acknowledge("edge-2")
        fleet.wait(1.0)
        fleet.beat("edge-1")
    fleet.leave("edge-2")
    fleet.wait(6.0)
    fleet.invalidate()
    fleet.connect("edge-2")
    fleet.acknowledge("edge-2")
    fleet.leave("edge-1")
    fleet.wait(10.0)
    for node_id in NODES:
        fleet.coordinator.disconnected(node_id, fleet._streams.get(node_id, 0), fleet.now)
    fleet.wait(25 * 3600.0)
    return fleet


HEALTHY_WRITES = play(RefusingLedger()).ledger.writes_total


@pytest.mark.parametrize("number", range(1, HEALTHY_WRITES + 1))
def test_one_failed_write_anywhere_loses_nothing_and_tells_nothing_twice(number: int) -> None:
    fleet, healthy = play(RefusingLedger(number)), play(RefusingLedger())
    assert fleet.ledger.writes_total > number, "it was not tried again"
    assert fleet.told == healthy.told and set(fleet.told.values()) == {1}
    assert set(fleet.coordinator.nodes) == set(healthy.coordinator.nodes)
    assert len(fleet.ledger.saved_nodes()) == len(healthy.ledger.saved_nodes())


ACTIONS = st.tuples(st.sampled_from(("connect", "beat", "acknowledge", "leave", "invalidate")), st.sampled_from(NODES))
STEPS = st.lists(st.tuples(ACTIONS, st.sampled_from((0.0, 0.2, 1.0, 6.0)), st.booleans()), max_size=40)


@settings(max_examples=examples(150))
@given(STEPS)
def test_while_the_disk_is_full_nothing_is_told_that_is_not_durable_and_later_nothing_is_missing(
    steps: list[tuple[tuple[str, str], float, bool]],
) -> None:
    ledger = RefusingLedger()
    fleet = Fleet(ledger)
    for (action, node_id), seconds, is_full in steps:
        ledger.is_full = is_full
        getattr(fleet, action)(node_id)
        fleet.wait(seconds)
    ledger.is_full = False
    fleet.wait(2 * LEASE_SECONDS)
    assert fleet.told == Counter(f"I{index}" for index in range(1, ledger.head_index + 1))
    live = {node.identifier for node in fleet.coordinator.live_nodes()}
    assert live == {node_id for node_id in NODES if ledger.lease_seconds(node_id) > 0}, "what is settled is saved"


def test_a_lease_that_was_held_back_comes_when_there_is_room_without_another_heartbeat() -> None:
    ledger = RefusingLedger()
    fleet = Fleet(ledger)
    ledger.is_full = True
    fleet.connect("edge-1")
    assert fleet.coordinator.live_nodes() == []
    ledger.is_full = False
    fleet.wait(SAVE_AGAIN_SECONDS)
    assert [node.identifier for node in fleet.coordinator.live_nodes()] == ["edge-1"]


def test_a_full_disk_is_tried_at_a_bounded_pace_whatever_happens() -> None:
    ledger = RefusingLedger()
    fleet = Fleet(ledger)
    fleet.connect("edge-1")
    ledger.is_full = True
    before = ledger.writes_total
    fleet.leave("edge-1")
    for _ in range(1_000):
        fleet.connect("edge-2")
        fleet.wait(0.01)
    assert 10 / SAVE_AGAIN_SECONDS / 2 <= ledger.writes_total - before <= 10 / SAVE_AGAIN_SECONDS + 1


def reconnect_while_behind(fleet: Fleet) -> None:
    """With room on the disk, and without."""
    for is_full in (False, True):
        fleet.ledger.is_full = is_full
        fleet.connect("edge-2" if is_full else "edge-1")
        fleet.wait(0.2)
        fleet.invalidate()
        fleet.connect("edge-1", index=0)
        fleet.wait(LEASE_SECONDS - 0.5)


@pytest.mark.parametrize("mistake", MISTAKES_WITH_LEASES)
def test_the_judge_finds_mistakes_with_leases(mistake: type[Coordinator]) -> None:
    """Nodes that ask each other, and receipts that wait for that, hide most of them from viewers, and so from the simulation."""
    reconnect_while_behind(Fleet(RefusingLedger()))
    with pytest.raises(AssertionError):
        reconnect_while_behind(Fleet(RefusingLedger(), mistake))
