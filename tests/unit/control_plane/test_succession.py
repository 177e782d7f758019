"""Two processes of one node: who has its name, what receipts say of the other one, and how long that is waited for."""

import pytest

from control_plane.coordination import FromEntries
from control_plane.fencing import COUNTED_NOTICE_SECONDS
from control_plane.leases import counted_seconds
from control_plane.nodes import FORGET_AFTER_SECONDS, FORGET_REPLACED_AFTER_SECONDS, NOTHING_ACKNOWLEDGED
from control_plane.receipts import NodeReceipt, Receipt
from control_plane.succession import MOST_SET_ASIDE, NameTakenError
from proto.process_identity import NO_PROCESS, ProcessIdentity
from tests.unit.control_plane.test_coordination import Conversation

LEASE_SECONDS = 5.0
FIRST, SECOND, THIRD = ProcessIdentity(11), ProcessIdentity(22), ProcessIdentity(33)
SUCCESSOR = ProcessIdentity(44, (33, 11))
"""Of the first: it has its folder, after another one that nobody has heard of."""


def live(process: ProcessIdentity = FIRST) -> Conversation:
    """One node, which holds a lease, and for so long that everybody has heard of it."""
    talk = Conversation()
    talk.connect("edge-1", process=process)
    talk.beat("edge-1")
    talk.wait(COUNTED_NOTICE_SECONDS)
    talk.beat("edge-1")
    return talk


def lines(receipt: Receipt) -> dict[str, str]:
    return {line.node_id: line.state for line in receipt.nodes}


def receipts(talk: Conversation) -> list[dict[str, str]]:
    return [lines(receipt) for receipt in talk.receipts]


def names(talk: Conversation) -> dict[str, int]:
    """Of all processes that are known, with their numbers."""
    return {name: record.process for name, record in talk.coordinator.nodes.items()}


def routable(talk: Conversation) -> list[str]:
    return [node.identifier for node in talk.coordinator.live_nodes()]


# A process that has ended


def test_a_process_that_proves_that_the_one_before_has_ended_goes_on_where_that_stood() -> None:
    talk = live()
    talk.break_stream("edge-1")
    assert talk.connect("edge-1", process=SUCCESSOR) == FromEntries(0)
    assert names(talk) == {"edge-1": 44} and routable(talk) == ["edge-1"], "its lease goes on"
    talk.invalidate(), talk.acknowledge("edge-1", 1)
    assert receipts(talk) == [{"edge-1": "acknowledged"}]


def test_the_proof_holds_also_while_the_stream_of_the_one_before_seems_to_be_open() -> None:
    """Killed on another machine, or behind a connection that nobody has closed."""
    talk = live()
    talk.connect("edge-1", process=SUCCESSOR)
    assert names(talk) == {"edge-1": 44}


def test_another_stream_of_the_same_process_is_no_other_process() -> None:
    talk = live()
    talk.connect("edge-1", process=FIRST)
    assert names(talk) == {"edge-1": 11} and routable(talk) == ["edge-1"]


def test_nodes_that_do_not_tell_their_processes_apart_are_one_process_each() -> None:
    talk = live(NO_PROCESS)
    talk.connect("edge-1")
    assert names(talk) == {"edge-1": 0} and routable(talk) == ["edge-1"]


# A process that may still run


def test_what_one_process_has_acknowledged_says_nothing_of_the_other_one() -> None:
    talk = live()
    talk.break_stream("edge-1")
    talk.connect("edge-1", process=SECOND), talk.beat("edge-1")
    talk.invalidate(), talk.acknowledge("edge-1", 1)
    assert receipts(talk) == [], "the first one holds a lease and may serve what is invalidated"
    for _ in range(2):
        talk.wait(counted_seconds(LEASE_SECONDS) / 2), talk.beat("edge-1")
    talk.wait(COUNTED_NOTICE_SECONDS - 0.1)
    assert receipts(talk) == [], "and then it has the time to notice that it does not"
    talk.wait(0.2)
    assert receipts(talk) == [{"edge-1": "acknowledged", "edge-1!1": "left_out"}]
    (line,) = [line for line in talk.receipts[0].nodes if line.node_id == "edge-1!1"]
    assert line.fenced_by == "lease_over"
    assert line.left_out_since == pytest.approx(talk.now - 0.1 - COUNTED_NOTICE_SECONDS)


def test_whoever_takes_the_name_of_another_is_routable_only_with_a_lease_of_its_own() -> None:
    talk = live()
    talk.break_stream("edge-1")
    talk.connect("edge-1", applied_index=0, process=SECOND)
    assert routable(talk) == [], "the lease is not its own"
    assert talk.wait(0.0).is_directory_changed, "routers are told"
    talk.beat("edge-1")
    assert routable(talk) == ["edge-1"], "and the other one is in no directory, although its lease goes on"


def test_what_the_first_one_has_acknowledged_before_is_told_of_it_under_its_other_name() -> None:
    talk = live()
    talk.connect("edge-2"), talk.beat("edge-2")
    talk.invalidate(), talk.acknowledge("edge-1", 1)
    acknowledged_at = talk.now
    talk.break_stream("edge-1"), talk.wait(1.0)
    talk.connect("edge-1", applied_index=0, process=SECOND)
    talk.acknowledge("edge-2", 1)
    assert receipts(talk) == [], "the second one holds no lease; but it may be that it serves, and it is asked before"
    talk.acknowledge("edge-1", 1)
    (receipt,) = talk.receipts
    assert NodeReceipt("edge-1!1", "acknowledged", acknowledged_at) in receipt.nodes
    assert NodeReceipt("edge-1", "acknowledged", talk.now) in receipt.nodes


def test_a_process_that_comes_back_has_its_own_record_again_and_the_other_one_is_set_aside() -> None:
    talk = live()
    talk.invalidate(), talk.acknowledge("edge-1", 1)
    talk.break_stream("edge-1")
    talk.connect("edge-1", applied_index=0, process=SECOND), talk.break_stream("edge-1")
    assert names(talk) == {"edge-1!1": 11, "edge-1": 22}
    talk.connect("edge-1", process=FIRST)
    assert names(talk) == {"edge-1!1": 22, "edge-1": 11}
    assert [talk.coordinator.nodes[name].acknowledged_index for name in ("edge-1", "edge-1!1")] == [1, 0]


def test_the_successor_of_one_that_was_set_aside_has_its_record() -> None:
    talk = live()
    talk.break_stream("edge-1")
    talk.connect("edge-1", process=SECOND), talk.break_stream("edge-1")
    talk.connect("edge-1", process=SUCCESSOR)
    assert names(talk) == {"edge-1!1": 22, "edge-1": 44}


# A process that speaks


def test_while_one_process_speaks_another_one_is_refused_and_known() -> None:
    talk = live()
    with pytest.raises(NameTakenError, match="another process speaks for node edge-1"):
        talk.connect("edge-1", process=SECOND)
    assert names(talk) == {"edge-1": 11, "edge-1!1": 22} and routable(talk) == ["edge-1"]
    with pytest.raises(NameTakenError) as again:
        talk.connect("edge-1", process=SECOND)
    assert not again.value.is_news, "nobody wants a line in the log for each attempt"
    assert names(talk) == {"edge-1": 11, "edge-1!1": 22}, "once"
    assert talk.coordinator.succession.refused_total == 1
    talk.invalidate(), talk.acknowledge("edge-1", 1)
    talk.wait(COUNTED_NOTICE_SECONDS)
    assert receipts(talk) == [{"edge-1": "acknowledged", "edge-1!1": "left_out"}], "it has never had a lease"


def test_one_that_nothing_was_heard_of_for_the_time_of_a_lease_does_not_speak_any_more() -> None:
    """Its stream may be half-open: the machine has gone."""
    talk = live()
    talk.wait(LEASE_SECONDS)
    talk.connect("edge-1", process=SECOND)
    assert names(talk) == {"edge-1!1": 11, "edge-1": 22}


def test_while_nobody_has_heard_of_a_lease_one_that_was_refused_is_waited_for_as_everybody_is() -> None:
    """Cut off together, both serve what they have; when the first is heard again, the second does not know yet that receipts come."""
    talk = live()
    with pytest.raises(NameTakenError):
        talk.connect("edge-1", process=SECOND)
    talk.break_stream("edge-1"), talk.wait(60.0)
    talk.connect("edge-1", process=FIRST), talk.beat("edge-1")
    talk.invalidate(), talk.acknowledge("edge-1", 1)
    assert receipts(talk) == []
    talk.wait(COUNTED_NOTICE_SECONDS)
    assert receipts(talk) == [{"edge-1": "acknowledged", "edge-1!1": "left_out"}]


# Bounds


def come_and_go(talk: Conversation, numbers: range) -> None:
    """Processes that keep nothing, each with a lease."""
    for number in numbers:
        talk.connect("edge-1", process=ProcessIdentity(number)), talk.beat("edge-1"), talk.break_stream("edge-1")


def test_so_many_processes_may_be_waited_for_and_no_more() -> None:
    talk = Conversation()
    come_and_go(talk, range(1, MOST_SET_ASIDE + 2))
    assert len(talk.coordinator.nodes) == MOST_SET_ASIDE + 1
    with pytest.raises(NameTakenError, match="8 other processes of node edge-1 may still run: wait"):
        talk.connect("edge-1", process=ProcessIdentity(99))
    talk.wait(counted_seconds(LEASE_SECONDS)), talk.wait(COUNTED_NOTICE_SECONDS)
    talk.connect("edge-1", process=ProcessIdentity(99))
    assert len(talk.coordinator.nodes) == MOST_SET_ASIDE + 1, "one that is not waited for any more has made room"


def test_one_that_comes_back_when_all_places_are_taken_takes_nobodys_record_away() -> None:
    """It has been without a lease for longest: its place is the one that would be given to somebody else."""
    talk = Conversation()
    come_and_go(talk, range(1, MOST_SET_ASIDE + 2))
    talk.wait(counted_seconds(LEASE_SECONDS)), talk.wait(COUNTED_NOTICE_SECONDS)
    known = sorted(names(talk).values())
    for number in (1, 5, 1, MOST_SET_ASIDE + 1, 2):
        talk.connect("edge-1", process=ProcessIdentity(number)), talk.break_stream("edge-1")
        assert sorted(names(talk).values()) == known and names(talk)["edge-1"] == number
    talk.coordinator.save_changes(talk.now)
    assert names(Conversation(talk.ledger)) == names(talk)


def test_a_process_that_was_replaced_is_forgotten_earlier_than_a_node() -> None:
    talk = live()
    talk.break_stream("edge-1")
    talk.connect("edge-1", process=SECOND), talk.break_stream("edge-1")
    talk.wait(FORGET_REPLACED_AFTER_SECONDS - 61.0), talk.wait(1.0)
    assert "edge-1!1" in names(talk)
    for _ in range(3):
        talk.wait(61.0)
    assert names(talk) == {"edge-1": 22}
    assert FORGET_REPLACED_AFTER_SECONDS < FORGET_AFTER_SECONDS
    assert [node.description.identifier for node in talk.ledger.saved_nodes()] == ["edge-1"]


# A restart of the control plane


def test_a_restarted_control_plane_knows_which_process_it_was_and_waits_for_those_that_were_set_aside() -> None:
    talk = live()
    talk.break_stream("edge-1")
    talk.connect("edge-1", process=SECOND), talk.beat("edge-1")
    again = Conversation(talk.ledger)
    assert names(again) == {"edge-1!1": 11, "edge-1": 22}
    again.connect("edge-1", process=SECOND)
    assert names(again) == {"edge-1!1": 11, "edge-1": 22} and routable(again) == ["edge-1"]
    assert again.coordinator.nodes["edge-1!1"].is_live, "until its lease is over"


def test_a_crash_before_anything_of_it_is_written_forgets_no_lease() -> None:
    talk = live()
    talk.break_stream("edge-1")
    talk.connect("edge-1", process=SECOND)  # and nothing is settled
    again = Conversation(talk.ledger)
    assert names(again) == {"edge-1": 11}
    again.connect("edge-1", process=SECOND)
    assert names(again) == {"edge-1!1": 11, "edge-1": 22}
    assert again.coordinator.nodes["edge-1"].acknowledged_index == 0 != NOTHING_ACKNOWLEDGED
