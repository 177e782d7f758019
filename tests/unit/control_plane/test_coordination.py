"""The control plane's side of the protocol, event by event, over a database in memory and a clock of numbers."""

import pytest

from control_plane.commit_ages import COMMIT_BUCKET_SECONDS
from control_plane.coordination import (
    Coordinator,
    FromEntries,
    FromSnapshot,
    Settlement,
)
from control_plane.fencing import COUNTED_NOTICE_SECONDS
from control_plane.leases import Granted, LeaseRules, Refused
from control_plane.nodes import FORGET_AFTER_SECONDS, NodeDescription, Rejection, Resource, ResourceKind, Role
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.process_identity import NO_PROCESS, ProcessIdentity
from tests.simulation.world import MemoryLedger


class Conversation:
    """A coordinator, and the time that passes."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self.receipts: list[Receipt] = []
        self.ledger = ledger or MemoryLedger("log-1", self.receipts.append)
        self.now = 100.0
        self.coordinator = Coordinator(self.ledger, LeaseRules(5.0), self.now)
        self.streams: dict[str, int] = {}
        self.digests = {entry.index: entry.digest for entry in self.ledger.entries}
        """What nodes keep, also of entries that are trimmed."""
        self._sequence = 0

    def connect(
        self,
        node_id: str,
        log_id: str = "log-1",
        applied_index: int | None = None,
        incarnation: int = 0,
        process: ProcessIdentity = NO_PROCESS,
    ) -> FromSnapshot | FromEntries:
        index = self.ledger.head_index if applied_index is None else applied_index
        position = LogPosition(log_id, index, self.digests.get(index, b""))
        return self.introduce(node_id, position, incarnation, process)

    def introduce(
        self, node_id: str, position: LogPosition, incarnation: int = 0, process: ProcessIdentity = NO_PROCESS
    ) -> FromSnapshot | FromEntries:
        node = describe(node_id)
        number, catch_up = self.coordinator.connected(node, position, self.now, process, incarnation)
        self.streams[node_id] = number
        return catch_up

    def beat(self, node_id: str) -> Settlement:
        self._sequence += 1
        self.coordinator.beat(node_id, self.streams[node_id], self._sequence, self.now)
        return self.coordinator.settle(self.now)

    def acknowledge(self, node_id: str, index: int) -> Settlement:
        self.coordinator.acknowledged(node_id, self.streams[node_id], index, self.now)
        return self.coordinator.settle(self.now)

    def break_stream(self, node_id: str) -> Settlement:
        self.coordinator.disconnected(node_id, self.streams[node_id], self.now)
        return self.coordinator.settle(self.now)

    def invalidate(self) -> int:
        index = self.ledger.head_index + 1
        issued = IssuedInvalidation(f"I{index}", "D1", index, ("/*",), self.now)
        entry = sync_pb2.Entry(index=index)
        entry.committed_at.FromNanoseconds(int(self.now * 1e9))
        self.ledger.append(issued, entry, self.now)
        self.digests[index] = entry.digest
        self.coordinator.committed(index, self.now, issued)
        return index

    def wait(self, seconds: float) -> Settlement:
        self.now += seconds
        return self.coordinator.settle(self.now)

    def reject(self, node_id: str, distribution_id: str, index: int, reason: str = "unknown field") -> None:
        rejection = Rejection(distribution(distribution_id), index, reason)
        self.coordinator.rejected(node_id, self.streams[node_id], rejection)

    def in_progress(self, *published: tuple[str, int]) -> list[str]:
        """Those of these distributions, each published at an index, that are not deployed."""
        return [name for name, index in published if not self.coordinator.is_deployed([distribution(name)], index)]

    def is_live(self, node_id: str) -> bool:
        return self.coordinator.nodes[node_id].is_live


def describe(node_id: str) -> NodeDescription:
    return NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")


def distribution(identifier: str) -> Resource:
    return Resource(ResourceKind.DISTRIBUTION, identifier)


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


def forked() -> tuple[Conversation, Conversation]:
    """Two copies of a log of one entry, each with two more of its own."""
    lost = live_node()
    lost.acknowledge("edge-1", lost.invalidate())
    restored = Conversation(lost.ledger.copy())
    restored.now += 1.0
    for talk in (lost, restored):
        talk.invalidate(), talk.invalidate()
    return lost, restored


def test_a_node_of_another_history_gets_a_snapshot_although_its_index_is_one_of_this_log() -> None:
    lost, restored = forked()
    for index in (2, 3):
        assert restored.introduce("edge-1", LogPosition("log-1", index, lost.digests[index])) == FromSnapshot()
    assert restored.introduce("edge-1", LogPosition("log-1", 1, lost.digests[1])) == FromEntries(1)
    assert restored.introduce("edge-1", LogPosition("log-1", 3, restored.digests[3])) == FromEntries(3)


def test_what_was_acknowledged_of_another_history_is_in_no_receipt_and_is_waited_for() -> None:
    lost, restored = forked()
    restored.introduce("edge-1", LogPosition("log-1", 3, lost.digests[3]))
    assert restored.is_live("edge-1") and not restored.wait(0.0).completed
    assert isinstance(restored.beat("edge-1").answers["edge-1"].decision, Refused)
    restored.now += 1.0
    acknowledged_at = restored.now
    assert not restored.acknowledge("edge-1", 3).completed, "the registry may be that of an older copy"
    receipts = []
    for _ in range(4):
        receipts += [*restored.wait(1.0).completed, *restored.beat("edge-1").completed]
    assert [receipt.nodes[0].acknowledged_at for receipt in receipts] == [acknowledged_at] * 2
    assert restored.is_live("edge-1")


def test_a_time_of_an_acknowledgement_of_another_history_is_in_no_receipt() -> None:
    talk = live_node()
    talk.connect("edge-2")
    talk.beat("edge-2")
    talk.acknowledge("edge-1", talk.invalidate())
    talk.introduce("edge-1", LogPosition("log-1", 1, b"of the other one"))
    talk.now += 1.0
    talk.acknowledge("edge-2", 1)
    (receipt,) = talk.acknowledge("edge-1", 1).completed
    assert [line.acknowledged_at for line in receipt.nodes] == [talk.now] * 2


@pytest.mark.parametrize(
    "position",
    [
        LogPosition("log-1", 50, b"x" * 16),
        LogPosition("log-1", 2**64 - 1),
        LogPosition("log-1", 1, b""),
        LogPosition("", 1),
    ],
)
def test_one_node_that_differs_starts_over_alone(position: LogPosition) -> None:
    talk = live_node()
    talk.acknowledge("edge-1", talk.invalidate())
    assert talk.introduce("edge-2", position) == FromSnapshot()
    assert talk.ledger.log_id == "log-1"
    assert talk.coordinator.nodes["edge-1"].stream == talk.streams["edge-1"] and talk.is_live("edge-1")
    assert talk.coordinator.nodes["edge-1"].acknowledged_index == 1
    assert talk.connect("edge-1") == FromEntries(1)


def test_a_node_from_the_future_gets_a_lease_of_the_new_log_on_its_own_stream() -> None:
    talk = Conversation()
    talk.connect("edge-1", applied_index=50)
    talk.acknowledge("edge-1", 0)
    assert isinstance(talk.beat("edge-1").answers["edge-1"].decision, Granted)


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
    for _ in range(15):
        talk.wait(1.0)
        talk.beat("edge-1")
    line = talk.receipts[0].nodes[0]
    assert (line.state, line.fenced_by) == ("left_out", "lease_over")
    assert line.left_out_since is not None and line.fenced_since == line.left_out_since + COUNTED_NOTICE_SECONDS


def test_the_end_of_a_lease_is_an_event_at_its_time() -> None:
    talk = live_node()
    talk.coordinator.disconnected("edge-1", talk.streams["edge-1"], talk.now)
    talk.invalidate()
    talk.wait(5.7)
    assert talk.is_live("edge-1") and not talk.receipts
    assert talk.coordinator.next_check_at <= 105.75
    assert talk.wait(0.06).is_directory_changed
    assert not talk.is_live("edge-1") and not talk.receipts


def test_a_receipt_waits_until_a_node_without_a_lease_must_have_noticed_that() -> None:
    talk = live_node()
    talk.connect("edge-2"), talk.beat("edge-2")
    talk.invalidate()
    for _ in range(6):
        talk.wait(1.0)
        talk.acknowledge("edge-2", 1), talk.beat("edge-2")
    assert not talk.is_live("edge-1") and not talk.receipts
    ended_at = talk.coordinator.nodes["edge-1"].unleased_since
    assert talk.coordinator.next_check_at <= ended_at + COUNTED_NOTICE_SECONDS
    talk.wait(ended_at + COUNTED_NOTICE_SECONDS - talk.now - 0.01)
    assert not talk.receipts
    talk.wait(0.02)
    assert len(talk.receipts) == 1


def test_a_receipt_does_not_wait_for_a_node_that_has_left() -> None:
    talk = live_node()
    talk.connect("edge-2"), talk.beat("edge-2")
    talk.wait(COUNTED_NOTICE_SECONDS)
    talk.beat("edge-1"), talk.beat("edge-2")
    talk.coordinator.left("edge-1", talk.streams["edge-1"], talk.now)
    index = talk.invalidate()
    talk.acknowledge("edge-2", index)
    assert talk.receipts[0].nodes[0].fenced_by == "left"


def test_a_node_that_was_alone_is_waited_for_until_it_must_have_heard_of_a_first_lease() -> None:
    """It may have been asking all the time, and was told last that nobody holds one."""
    talk = live_node()
    talk.connect("edge-2"), talk.beat("edge-2")
    talk.wait(60.0)
    assert not talk.is_live("edge-1") and not talk.is_live("edge-2")
    talk.connect("edge-2"), talk.beat("edge-2")
    index = talk.invalidate()
    talk.acknowledge("edge-2", index)
    assert talk.is_live("edge-2") and not talk.receipts
    assert talk.coordinator.next_check_at <= talk.now + COUNTED_NOTICE_SECONDS
    talk.wait(COUNTED_NOTICE_SECONDS - 0.01)
    assert not talk.receipts
    talk.wait(0.02)
    assert len(talk.receipts) == 1


def test_a_first_lease_that_was_held_back_is_news_from_when_it_is_told() -> None:
    """However old the heartbeat is that it answers: until then nobody can have heard of it."""
    talk = live_node()
    talk.wait(60.0)
    talk.ledger.is_full = True
    talk.connect("edge-2")
    assert not talk.beat("edge-2").answers
    talk.ledger.is_full = False
    assert talk.wait(4.0).answers
    talk.beat("edge-2"), talk.acknowledge("edge-2", talk.invalidate())
    talk.wait(COUNTED_NOTICE_SECONDS - 0.01)
    assert not talk.receipts
    talk.wait(0.02)
    assert len(talk.receipts) == 1


@pytest.mark.parametrize(("incarnation", "is_news"), [(7, False), (8, True)])
def test_another_process_of_a_node_is_news_and_another_stream_of_one_is_not(incarnation: int, is_news: bool) -> None:
    talk = live_node()
    talk.connect("edge-2", incarnation=7), talk.beat("edge-2")
    talk.wait(60.0)
    for _ in range(2):
        talk.connect("edge-2", incarnation=7), talk.beat("edge-2")
        talk.wait(4.0)
    talk.connect("edge-2", incarnation=incarnation), talk.beat("edge-2")
    index = talk.invalidate()
    talk.acknowledge("edge-2", index)
    assert bool(talk.receipts) is not is_news


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


def test_a_heartbeat_of_the_stream_before_is_not_answered_on_the_new_one() -> None:
    """Nodes number their heartbeats anew on each stream: they would count the lease from another one, which was sent later than what is counted from here."""
    talk = live_node()
    talk.coordinator.beat("edge-1", talk.streams["edge-1"], 3, talk.now)
    talk.connect("edge-1")
    assert not talk.wait(0.0).answers
    assert not talk.acknowledge("edge-1", talk.invalidate()).answers
    assert talk.beat("edge-1").answers


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
    assert talk.coordinator.nodes["edge-1"].stream == talk.streams["edge-1"]


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


# Rejections


def test_a_rejected_entry_is_applied_but_not_deployed() -> None:
    talk = live_node()
    index = talk.invalidate()
    talk.reject("edge-1", "D1", index)
    talk.acknowledge("edge-1", index)
    assert talk.receipts
    assert talk.in_progress(("D1", index), ("D2", index), ("D3", index - 1)) == ["D1"]
    assert [
        node.description.identifier
        for node in talk.coordinator.nodes.values()
        if node.is_live and not node.has_applied([distribution("D1")], index)
    ] == ["edge-1"]


def test_however_many_distributions_a_node_rejects_none_of_them_reads_as_deployed() -> None:
    talk = live_node()
    published = [(f"D{number}", talk.invalidate()) for number in range(400)]
    for name, index in published:
        talk.reject("edge-1", name, index)
        talk.acknowledge("edge-1", index)
    assert talk.in_progress(*published) == [name for name, _ in published]


def test_a_node_that_rejects_more_than_is_kept_has_applied_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.nodes.MAXIMUM_REJECTIONS", 3)
    talk = live_node()
    index = talk.invalidate()
    for number in range(5):
        talk.reject("edge-1", f"D{number}", index)
    talk.acknowledge("edge-1", index)
    assert len(talk.coordinator.nodes["edge-1"].rejections) == 3
    assert talk.in_progress(("D4", index), ("D9", index)) == ["D4", "D9"]


def test_a_resource_is_rejected_once_in_its_newest_version_until_it_is_accepted() -> None:
    talk = live_node()
    for _ in range(2):
        index = talk.invalidate()
        talk.reject("edge-1", "D1", index, f"at {index}")
        talk.acknowledge("edge-1", index)
    assert talk.coordinator.nodes["edge-1"].rejections == {distribution("D1"): Rejection(distribution("D1"), 2, "at 2")}
    talk.coordinator.accepted("edge-1", talk.streams["edge-1"], distribution("D1"))
    talk.acknowledge("edge-1", talk.invalidate())
    assert talk.in_progress(("D1", 3)) == [] and not talk.coordinator.nodes["edge-1"].rejections


def test_what_a_node_says_when_it_connects_replaces_what_is_known_of_it() -> None:
    talk = live_node()
    for name in ("lost", "learned", "known"):
        index = talk.invalidate()
        if name != "lost":  # its message was on the stream that broke
            talk.reject("edge-1", name, index, "unknown field")
        talk.acknowledge("edge-1", index)
    published = (("lost", 1), ("learned", 2), ("known", 3))
    assert talk.in_progress(*published) == ["learned", "known"]
    talk.connect("edge-1", applied_index=3)
    stated = [Rejection(distribution("lost"), 1, "unknown field"), Rejection(distribution("known"), 3, "")]
    talk.coordinator.restated_rejections("edge-1", talk.streams["edge-1"], stated)
    assert talk.in_progress(*published) == ["lost", "known"]
    assert talk.coordinator.nodes["edge-1"].rejections[distribution("known")].reason == "unknown field"


def test_nodes_without_a_lease_are_not_asked_what_they_reject() -> None:
    talk = live_node("edge-1")
    talk.connect("edge-2")
    talk.beat("edge-2")
    index = talk.invalidate()
    talk.reject("edge-2", "D1", index)
    for node_id in ("edge-1", "edge-2"):
        talk.acknowledge(node_id, index)
    assert talk.in_progress(("D1", index)) == ["D1"]
    talk.coordinator.left("edge-2", talk.streams["edge-2"], talk.now)
    talk.wait(0.0)
    assert talk.in_progress(("D1", index)) == []


# Restarts


def test_after_a_restart_recorded_leases_are_waited_for() -> None:
    before = live_node()
    before.invalidate()
    before.wait(0.0)
    after = Conversation(before.ledger)
    after.wait(0.0)
    assert after.is_live("edge-1") and not before.receipts
    after.wait(5.74)
    assert after.is_live("edge-1")
    after.wait(0.02)
    after.wait(COUNTED_NOTICE_SECONDS - 0.01)
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


def test_a_node_that_had_no_lease_when_recorded_is_waited_for_no_longer_than_it_takes_to_notice() -> None:
    """Also when the clock was set back meanwhile."""
    before = live_node()
    before.wait(6.0)
    after = Conversation(before.ledger)
    after.invalidate()
    after.wait(0.0)
    assert after.now < before.coordinator.nodes["edge-1"].unleased_since and not before.receipts
    after.wait(COUNTED_NOTICE_SECONDS)
    assert len(before.receipts) == 1


def test_after_a_restart_a_node_that_lacks_what_a_receipt_says_it_had_is_another_process() -> None:
    """Its lease ends: it is not routable. That it had acknowledged so much was never written beside the receipt."""
    before = live_node()
    for _ in range(3):
        before.acknowledge("edge-1", before.invalidate())
    assert len(before.receipts) == 3 and before.ledger.saved_nodes()[0].acknowledged_index < 3
    after = Conversation(before.ledger)
    assert after.is_live("edge-1")
    assert after.connect("edge-1", applied_index=2) == FromEntries(2)
    assert not after.is_live("edge-1")
    same = Conversation(before.ledger)
    assert same.connect("edge-1", applied_index=3) == FromEntries(3) and same.is_live("edge-1")


def test_rejections_survive_a_restart() -> None:
    before = live_node()
    index = before.invalidate()
    before.reject("edge-1", "D1", index)
    before.acknowledge("edge-1", index)
    after = Conversation(before.ledger)
    assert after.in_progress(("D1", index), ("D2", index)) == ["D1"]


def test_a_node_that_is_gone_for_a_day_is_forgotten() -> None:
    talk = live_node()
    talk.coordinator.disconnected("edge-1", talk.streams["edge-1"], talk.now)
    talk.wait(FORGET_AFTER_SECONDS)
    talk.wait(61.0)
    assert talk.coordinator.nodes == {} and talk.ledger.saved_nodes() == []


# What is told is durable


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_lease_that_is_granted_in_the_turn_in_which_the_one_before_ended_is_one_that_the_ledger_knows_of(
    is_lost: bool,
) -> None:
    """Also when the ledger has written the end of the first one down and could not say so."""
    talk = live_node()
    talk.coordinator.left("edge-1", talk.streams["edge-1"], talk.now)
    if is_lost:
        talk.ledger.loses_answers = True
        talk.wait(0.0)
        talk.ledger.loses_answers, talk.ledger.is_full = False, True
    talk.connect("edge-1")
    answers = talk.beat("edge-1").answers
    (saved,) = talk.ledger.saved_nodes()
    is_told = "edge-1" in answers and isinstance(answers["edge-1"].decision, Granted)
    assert saved.lease_seconds == 5.0 or not is_told


def test_a_node_that_started_over_while_its_lease_went_on_is_recorded_where_it_stands_afterwards() -> None:
    talk = live_node()
    talk.acknowledge("edge-1", talk.invalidate())
    talk.introduce("edge-1", LogPosition("log-1", 1, b"another history"))
    assert talk.is_live("edge-1") and talk.coordinator.save_changes(talk.now)
    talk.acknowledge("edge-1", 1)
    talk.beat("edge-1")
    talk.coordinator.save_changes(talk.now)
    (saved,) = talk.ledger.saved_nodes()
    assert saved.acknowledged_index == 1, "else nothing is ever deployed for those who read it"


def test_a_stream_that_could_not_be_begun_does_not_end_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the node would have a stream that nobody ends, and never be forgotten."""
    talk = live_node()
    number = talk.streams["edge-1"]

    def fails(_index: int) -> bytes:
        raise StoreError("the server has not answered")

    monkeypatch.setattr(talk.ledger, "digest_at", fails)
    with pytest.raises(StoreError):
        talk.connect("edge-1")
    assert talk.coordinator.nodes["edge-1"].stream == number
