"""The control plane's side of the protocol, event by event, over a database in memory and a clock of numbers."""

import pytest

from control_plane.coordination import (
    COMMIT_BUCKET_SECONDS,
    FORGET_AFTER_SECONDS,
    Coordinator,
    FromEntries,
    FromSnapshot,
    Settlement,
)
from control_plane.leases import Granted, LeaseRules, Refused
from control_plane.nodes import NodeDescription, Rejection, Role
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError
from proto.cdn.v1 import sync_pb2
from tests.simulation.world import MemoryLedger


class Conversation:
    """A coordinator, and the time that passes."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self.receipts: list[Receipt] = []
        self.ledger = ledger or MemoryLedger("log-1", self.receipts.append)
        self.now = 100.0
        self.coordinator = Coordinator(self.ledger, LeaseRules(5.0), self.now)
        self.streams: dict[str, int] = {}
        self._sequence = 0

    def connect(
        self, node_id: str, log_id: str = "log-1", applied_index: int | None = None
    ) -> FromSnapshot | FromEntries:
        index = self.ledger.head_index if applied_index is None else applied_index
        number, catch_up = self.coordinator.connected(describe(node_id), log_id, index, self.now)
        self.streams[node_id] = number
        return catch_up

    def beat(self, node_id: str) -> Settlement:
        self._sequence += 1
        self.coordinator.beat(node_id, self.streams[node_id], self._sequence, self.now)
        return self.coordinator.settle(self.now)

    def acknowledge(self, node_id: str, index: int) -> Settlement:
        self.coordinator.acknowledged(node_id, self.streams[node_id], index, self.now)
        return self.coordinator.settle(self.now)

    def invalidate(self) -> int:
        index = self.ledger.head_index + 1
        issued = IssuedInvalidation(f"I{index}", "D1", index, ("/*",), self.now)
        self.ledger.append(issued, sync_pb2.Entry(index=index), self.now)
        self.coordinator.committed(index, self.now, issued)
        return index

    def wait(self, seconds: float) -> Settlement:
        self.now += seconds
        return self.coordinator.settle(self.now)

    def is_live(self, node_id: str) -> bool:
        return self.coordinator.nodes[node_id].is_live


def describe(node_id: str) -> NodeDescription:
    return NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


def live_node(node_id: str = "edge-1") -> Conversation:
    talk = Conversation()
    talk.connect(node_id)
    talk.beat(node_id)
    assert talk.is_live(node_id)
    return talk


# Catching up


def test_a_node_of_this_log_gets_what_it_lacks() -> None:
    talk = Conversation()
    talk.invalidate(), talk.invalidate()
    assert talk.connect("edge-1", applied_index=1) == FromEntries(1)


def test_a_node_of_another_log_gets_a_snapshot_whatever_its_index() -> None:
    talk = Conversation()
    talk.invalidate()
    assert talk.connect("edge-1", "", 0) == FromSnapshot()
    assert talk.connect("edge-2", "log-0", 1) == FromSnapshot()
    assert isinstance(talk.beat("edge-2").answers["edge-2"].decision, Refused)


def test_a_node_from_the_future_gives_the_log_a_new_identity_and_disconnects_all() -> None:
    talk = live_node()
    assert talk.connect("edge-2", applied_index=50) == FromSnapshot()
    assert talk.ledger.log_id != "log-1"
    assert not talk.coordinator.is_current("edge-1", talk.streams["edge-1"])
    assert talk.coordinator.nodes["edge-1"].acknowledged_index < 0
    assert talk.connect("edge-1", "log-1", 0) == FromSnapshot()


def test_a_node_from_the_future_gets_a_lease_of_the_new_log_on_its_own_stream() -> None:
    talk = Conversation()
    talk.connect("edge-1", applied_index=50)
    talk.acknowledge("edge-1", 0)
    assert isinstance(talk.beat("edge-1").answers["edge-1"].decision, Granted)


def test_a_log_that_cannot_be_renewed_refuses_the_node_and_nothing_has_changed() -> None:
    talk = live_node()
    talk.ledger.is_full = True
    with pytest.raises(StoreError):
        talk.connect("edge-2", applied_index=50)
    assert talk.ledger.log_id == "log-1" and talk.coordinator.nodes["edge-2"].stream is None
    assert talk.is_live("edge-1") and talk.coordinator.is_current("edge-1", talk.streams["edge-1"])
    talk.ledger.is_full = False
    assert talk.connect("edge-2", applied_index=50) == FromSnapshot() and talk.ledger.log_id != "log-1"


def test_a_new_log_begins_without_the_acknowledgements_of_the_old_one_also_when_a_crash_comes_at_once() -> None:
    talk = live_node()
    talk.acknowledge("edge-1", talk.invalidate())
    talk.wait(0.0)
    talk.ledger.renew_identity()
    after = Conversation(talk.ledger)
    assert after.is_live("edge-1") and after.coordinator.nodes["edge-1"].acknowledged_index < 0


def test_a_node_whose_entries_are_no_longer_retained_keeps_its_lease_and_is_waited_for() -> None:
    """It still serves by that lease, so a receipt that left it out would be false."""
    talk = live_node()
    index = talk.invalidate()
    talk.invalidate()
    talk.now += 1
    talk.ledger.trim(talk.now)
    assert talk.connect("edge-1", applied_index=0) == FromSnapshot()
    talk.wait(0.0)
    assert talk.is_live("edge-1") and not talk.receipts
    talk.acknowledge("edge-1", index + 1)
    assert len(talk.receipts) == 2


# Leases


def test_a_lease_is_granted_on_the_acknowledgement_that_reaches_the_head() -> None:
    talk = Conversation()
    index = talk.invalidate()
    talk.connect("edge-1", applied_index=0)
    assert isinstance(talk.beat("edge-1").answers["edge-1"].decision, Refused)
    answer = talk.acknowledge("edge-1", index).answers["edge-1"]
    assert isinstance(answer.decision, Granted) and answer.sequence == 1 and answer.head_index == index


def test_a_live_node_that_is_behind_for_a_moment_is_renewed_and_one_behind_for_long_is_not() -> None:
    talk = live_node()
    talk.invalidate()
    for _ in range(4):
        talk.wait(1.0)
        assert isinstance(talk.beat("edge-1").answers["edge-1"].decision, Granted)
    talk.wait(1.0 + COMMIT_BUCKET_SECONDS)
    assert isinstance(talk.beat("edge-1").answers["edge-1"].decision, Refused)


def test_a_wedged_node_that_still_beats_does_not_hold_an_invalidation_up_for_ever() -> None:
    talk = live_node()
    talk.invalidate()
    for _ in range(11):
        talk.wait(1.0)
        talk.beat("edge-1")
    assert talk.receipts and talk.receipts[0].nodes[0].state == "left_out"
    assert talk.receipts[0].nodes[0].left_out_since == talk.receipts[0].completed_at


def test_the_end_of_a_lease_is_an_event_at_its_time() -> None:
    talk = live_node()
    talk.coordinator.disconnected("edge-1", talk.streams["edge-1"], talk.now)
    talk.invalidate()
    talk.wait(5.7)
    assert talk.is_live("edge-1") and not talk.receipts
    assert talk.coordinator.next_check_at <= 105.75
    assert talk.wait(0.06).is_directory_changed
    assert not talk.is_live("edge-1") and len(talk.receipts) == 1


def test_a_reconnected_node_must_reach_the_head_again_and_counts_as_live_meanwhile() -> None:
    talk = live_node()
    talk.invalidate()
    talk.connect("edge-1", applied_index=0)
    assert isinstance(talk.beat("edge-1").answers["edge-1"].decision, Refused)
    assert talk.is_live("edge-1") and not talk.receipts


def test_a_node_that_lost_what_it_acknowledged_loses_its_lease() -> None:
    talk = live_node()
    talk.acknowledge("edge-1", talk.invalidate())
    talk.connect("edge-1", applied_index=0)
    assert not talk.is_live("edge-1")


def test_leaving_ends_the_lease_at_once() -> None:
    talk = live_node()
    talk.coordinator.left("edge-1", talk.streams["edge-1"], talk.now)
    assert talk.wait(0.0).is_directory_changed
    assert talk.coordinator.nodes["edge-1"].state == "left" and talk.coordinator.live_nodes() == []


def test_a_replaced_stream_is_not_heard() -> None:
    talk = live_node()
    old = talk.streams["edge-1"]
    index = talk.invalidate()
    talk.connect("edge-1", applied_index=0)
    talk.coordinator.acknowledged("edge-1", old, index, talk.now)
    talk.coordinator.left("edge-1", old, talk.now)
    talk.coordinator.disconnected("edge-1", old, talk.now)
    talk.wait(0.0)
    assert not talk.receipts and talk.is_live("edge-1")
    assert talk.coordinator.is_current("edge-1", talk.streams["edge-1"])


# Receipts


def test_a_receipt_needs_every_live_node_and_times_each() -> None:
    talk = live_node("edge-1")
    talk.connect("edge-2")
    talk.beat("edge-2")
    index = talk.invalidate()
    talk.now += 0.02
    assert talk.acknowledge("edge-1", index).completed == []
    talk.now += 0.03
    (receipt,) = talk.acknowledge("edge-2", index).completed
    assert [(line.node_id, line.state) for line in receipt.nodes] == [
        ("edge-1", "acknowledged"),
        ("edge-2", "acknowledged"),
    ]
    assert [line.acknowledged_at for line in receipt.nodes] == [100.02, 100.05]
    assert receipt.completed_at == 100.05


def test_an_acknowledgement_beyond_the_head_is_not_believed() -> None:
    talk = live_node()
    talk.acknowledge("edge-1", 5)
    talk.invalidate()
    talk.wait(0.0)
    assert not talk.receipts


def test_a_rejected_entry_is_applied_but_not_deployed() -> None:
    talk = live_node()
    index = talk.invalidate()
    talk.coordinator.rejected("edge-1", talk.streams["edge-1"], Rejection(index, "unknown field"))
    talk.acknowledge("edge-1", index)
    assert talk.receipts and not talk.coordinator.is_deployed(index)
    assert talk.coordinator.waiting_for(index) == ["edge-1"]
    assert talk.coordinator.is_deployed(index - 1)


# Restarts


def test_after_a_restart_recorded_leases_are_waited_for() -> None:
    before = live_node()
    before.invalidate()
    before.wait(0.0)
    after = Conversation(before.ledger)
    after.wait(0.0)
    assert after.is_live("edge-1") and not before.receipts
    after.wait(5.74)
    assert not before.receipts
    after.wait(0.02)
    assert len(before.receipts) == 1 and before.receipts[0].nodes[0].state == "left_out"


def test_after_a_restart_a_returning_node_completes_what_was_pending() -> None:
    before = live_node()
    index = before.invalidate()
    after = Conversation(before.ledger)
    after.connect("edge-1", applied_index=0)
    after.acknowledge("edge-1", index)
    assert [receipt.invalidation.index for receipt in before.receipts] == [index]


def test_a_node_that_had_no_lease_when_recorded_is_not_waited_for() -> None:
    before = live_node()
    before.wait(6.0)
    after = Conversation(before.ledger)
    after.invalidate()
    after.wait(0.0)
    assert len(before.receipts) == 1


def test_rejections_survive_a_restart() -> None:
    before = live_node()
    index = before.invalidate()
    before.coordinator.rejected("edge-1", before.streams["edge-1"], Rejection(index, "unknown field"))
    before.acknowledge("edge-1", index)
    after = Conversation(before.ledger)
    assert not after.coordinator.is_deployed(index)


def test_a_node_that_is_gone_for_a_day_is_forgotten() -> None:
    talk = live_node()
    talk.coordinator.disconnected("edge-1", talk.streams["edge-1"], talk.now)
    talk.wait(FORGET_AFTER_SECONDS)
    talk.wait(61.0)
    assert talk.coordinator.nodes == {} and talk.ledger.saved_nodes() == []
