"""A node's side of the Sync protocol as conversations: what arrives, what follows."""

import pytest

from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.lease_times import HEARTBEAT_SECONDS
from proto.log_position import LogPosition
from proto.node_machine import (
    PATIENT,
    REMEMBERED_HEARTBEATS,
    ApplyDirectory,
    ApplyEntry,
    ApplySnapshot,
    Disconnect,
    Effect,
    Load,
    NodeIdentity,
    NodeMachine,
    Send,
)
from proto.rejected_changes import (
    LONGEST_REASON,
    NOTHING_REJECTED,
    RejectedChanges,
    rejected_change,
)
from proto.resources import distribution_name, put_change
from tests.builders import resource_message

IDENTITY = NodeIdentity("edge-1", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
LOAD = Load(7, 3)


def connected(log_id: str = "log-1", applied_index: int = 5, now: float = 100.0) -> NodeMachine:
    position = LogPosition(log_id, applied_index)
    machine = NodeMachine(IDENTITY, position)
    machine.connected(now, position)
    return machine


def entry(index: int, log_id: str = "log-1") -> sync_pb2.ControlMessage:
    return sync_pb2.ControlMessage(entry=sync_pb2.Entry(log_id=log_id, index=index))


def snapshot(index: int, log_id: str = "log-1") -> sync_pb2.ControlMessage:
    return sync_pb2.ControlMessage(snapshot=sync_pb2.Snapshot(log_id=log_id, index=index))


def lease(
    sequence: int, *, is_granted: bool = True, seconds: float = 5.0, head_index: int = 5
) -> sync_pb2.ControlMessage:
    message = sync_pb2.Lease(
        sequence=sequence,
        is_granted=is_granted,
        duration_milliseconds=int(seconds * 1000),
        head_index=head_index,
    )
    return sync_pb2.ControlMessage(lease=message)


def sent(effects: list[Effect]) -> list[str]:
    return [effect.message.WhichOneof("kind") or "" for effect in effects if isinstance(effect, Send)]


def messages(effects: list[Effect]) -> list[sync_pb2.NodeMessage]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def rejected(
    index: int, identifier: str, before: RejectedChanges = NOTHING_REJECTED, reason: str = "unknown field"
) -> RejectedChanges:
    change = put_change(resource_message(configuration_pb2.Distribution(id=identifier), index))
    return {**before, distribution_name(identifier): rejected_change(change, index, reason)}


def without(refused: RejectedChanges, identifier: str) -> RejectedChanges:
    return {name: change for name, change in refused.items() if name != distribution_name(identifier)}


def test_hello_says_who_and_where() -> None:
    machine = NodeMachine(IDENTITY, LogPosition("log-1", 5, b"five"))
    (effect,) = machine.connected(100.0, LogPosition("log-1", 6, b"six"))
    assert isinstance(effect, Send)
    hello = effect.message.hello
    assert (hello.log_id, hello.applied_index, hello.digest) == ("log-1", 6, b"six")
    assert (hello.node.id, hello.node.role, hello.node.pop) == ("edge-1", sync_pb2.ROLE_EDGE, "IAD89-P1")
    assert (hello.node.http_address, hello.node.admin_address) == ("127.0.0.1:80", "127.0.0.1:81")


def test_the_acknowledgement_follows_the_application() -> None:
    machine = connected()
    message = entry(6)
    assert machine.received(message, 100.1) == [ApplyEntry(message.entry)]
    assert machine.applied_index == 5
    (acknowledgement,) = machine.entry_applied(6)
    assert isinstance(acknowledgement, Send) and acknowledgement.message.acknowledgement.index == 6
    assert machine.applied_index == 6


def test_a_rejection_goes_first_and_the_index_advances() -> None:
    machine = connected()
    machine.received(entry(6), 100.1)
    effects = machine.entry_applied(6, rejected(6, "D1"))
    assert sent(effects) == ["rejection", "acknowledgement"]
    assert messages(effects)[0].rejection == sync_pb2.Rejection(
        index=6, reason="unknown field", kind=sync_pb2.RESOURCE_KIND_DISTRIBUTION, id="D1"
    )
    assert machine.applied_index == 6 and machine.rejections_total == 1


def test_of_what_is_refused_only_what_has_changed_is_said_and_acceptance_too() -> None:
    machine = connected()
    one = rejected(6, "D1")
    both = rejected(7, "D2", one)
    machine.entry_applied(6, one)
    assert sent(machine.entry_applied(7, both)) == ["rejection", "acknowledgement"]
    assert sent(machine.entry_applied(8, both)) == ["acknowledgement"]
    effects = machine.entry_applied(9, without(both, "D1"))
    assert sent(effects) == ["acceptance", "acknowledgement"] and messages(effects)[0].acceptance.id == "D1"


def test_an_introduction_says_all_that_is_refused_and_stays_small() -> None:
    all_of_them = NOTHING_REJECTED
    for number in range(200):
        all_of_them = rejected(number, f"D{number}", all_of_them, "x" * 5_000)
    machine = NodeMachine(IDENTITY, LogPosition("log-1", 300))
    (effect,) = messages(machine.connected(100.0, LogPosition("log-1", 300), all_of_them))
    stated = effect.hello.rejections
    assert [(rejection.index, rejection.id) for rejection in stated] == [(n, f"D{n}") for n in range(200)]
    assert {len(rejection.reason) for rejection in stated} == {LONGEST_REASON, 0} and effect.ByteSize() < 32_000
    assert sent(machine.entry_applied(301, all_of_them)) == ["acknowledgement"]


def test_of_a_snapshot_everything_that_is_refused_is_said_also_what_was_of_the_log_before() -> None:
    machine = connected()
    refused = rejected(6, "D2", rejected(6, "D1"))
    machine.entry_applied(6, refused)
    effects = machine.snapshot_applied("log-2", 6, without(refused, "D1"))
    assert sent(effects) == ["acceptance", "rejection", "acknowledgement"]
    assert [messages(effects)[0].acceptance.id, messages(effects)[1].rejection.id] == ["D1", "D2"]


def piece(remaining: int, index: int = 6, *, resource: str = "D") -> sync_pb2.ControlMessage:
    resources = [resource_message(configuration_pb2.Distribution(id=f"{resource}{remaining}"), 1)]
    snapshot = sync_pb2.Snapshot(log_id="log-1", index=index, remaining_pieces=remaining, resources=resources)
    return sync_pb2.ControlMessage(snapshot=snapshot)


def test_a_snapshot_is_applied_when_it_is_whole_whatever_comes_between_its_pieces() -> None:
    machine = connected()
    assert machine.received(piece(2), 100.1) == []
    assert machine.received(sync_pb2.ControlMessage(directory=sync_pb2.Directory(version=1)), 100.1) != []
    assert machine.received(piece(1), 100.2) == []
    (effect,) = machine.received(piece(0), 100.3)
    assert isinstance(effect, ApplySnapshot)
    assert [resource.id for resource in effect.snapshot.resources] == ["D2", "D1", "D0"]


@pytest.mark.parametrize("second", [piece(0), piece(2), piece(1, index=7)])
def test_a_piece_that_does_not_follow_the_one_before_ends_the_stream(second: sync_pb2.ControlMessage) -> None:
    machine = connected()
    machine.received(piece(2), 100.1)
    (effect,) = machine.received(second, 100.2)
    assert isinstance(effect, Disconnect)


def test_pieces_of_an_earlier_stream_are_forgotten() -> None:
    machine = connected()
    machine.received(piece(2), 100.1)
    machine.connected(101.0, LogPosition())
    assert [type(effect) for effect in machine.received(piece(0), 101.1)] == [ApplySnapshot]


def entries(*messages: sync_pb2.ControlMessage) -> sync_pb2.ControlMessage:
    return sync_pb2.ControlMessage(entries=sync_pb2.Entries(entries=[message.entry for message in messages]))


def test_entries_in_one_message_are_applied_one_after_another_and_what_is_known_of_them_is_left_out() -> None:
    machine = connected()
    effects = machine.received(entries(entry(4), entry(5), entry(6), entry(7)), 100.1)
    assert effects == [ApplyEntry(entry(6).entry), ApplyEntry(entry(7).entry)]


@pytest.mark.parametrize("last", [entry(8), entry(7, "log-2")])
def test_a_gap_between_entries_of_one_message_ends_the_stream_after_those_before_it(
    last: sync_pb2.ControlMessage,
) -> None:
    first, second = connected().received(entries(entry(6), last), 100.1)
    assert first == ApplyEntry(entry(6).entry) and isinstance(second, Disconnect)


def test_messages_with_one_entry_put_together_are_a_message_with_all_of_them() -> None:
    """The control plane does that (`entry_batches.py`)."""
    body = entry(6).SerializeToString() + entry(7).SerializeToString()
    assert sync_pb2.Entries.FromString(body) == entries(entry(6), entry(7)).entries


def test_a_duplicate_is_ignored() -> None:
    machine = connected()
    assert machine.received(entry(5), 100.1) == []
    assert machine.received(entry(1), 100.1) == []


@pytest.mark.parametrize("message", [entry(7), entry(6, "log-2")])
def test_a_gap_or_another_log_starts_the_stream_over(message: sync_pb2.ControlMessage) -> None:
    machine = connected()
    (effect,) = machine.received(message, 100.1)
    assert isinstance(effect, Disconnect)
    assert machine.applied_index == 5 and machine.log_id == "log-1"


def test_a_snapshot_brings_a_new_node_to_the_log_even_when_it_is_empty() -> None:
    machine = connected("", 0)
    message = snapshot(0)
    assert machine.received(message, 100.1) == [ApplySnapshot(message.snapshot)]
    assert sent(machine.snapshot_applied("log-1", 0)) == ["acknowledgement"]
    assert machine.log_id == "log-1"
    assert machine.received(entry(1), 100.2) == [ApplyEntry(entry(1).entry)]


@pytest.mark.parametrize(("log_id", "index"), [("log-2", 2), ("log-1", 2), ("log-1", 5), ("log-1", 9)])
def test_a_snapshot_is_applied_whatever_its_index_and_ends_the_lease(log_id: str, index: int) -> None:
    """Also one of the same log, and of an index that the node has passed: the log has another history than the node."""
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.received(lease(1, head_index=7), 100.1)
    assert machine.lease_state(100.2) == "held"
    message = snapshot(index, log_id)
    assert machine.received(message, 100.2) == [ApplySnapshot(message.snapshot)]
    assert sent(machine.snapshot_applied(log_id, index)) == ["acknowledgement"]
    assert (machine.log_id, machine.applied_index, machine.lease_state(100.3)) == (log_id, index, "none")
    assert machine.head_index == index


def test_the_directory_is_handed_on() -> None:
    message = sync_pb2.ControlMessage(directory=sync_pb2.Directory(version=3))
    assert connected().received(message, 100.1) == [ApplyDirectory(message.directory)]


def test_a_message_of_a_newer_kind_is_ignored() -> None:
    assert connected().received(sync_pb2.ControlMessage(), 100.1) == []


def test_heartbeats_count_up_and_carry_the_load() -> None:
    machine = connected()
    beats = []
    for now in (100.0, 100.5, 101.0, 102.0):
        beats += [effect.message.heartbeat for effect in machine.ticked(now, LOAD) if isinstance(effect, Send)]
    assert [beat.sequence for beat in beats] == [1, 2, 3]
    assert (beats[0].applied_index, beats[0].requests_total, beats[0].open_connections) == (5, 7, 3)
    assert machine.next_tick_at == 103.0


def test_a_lease_counts_from_when_its_heartbeat_was_sent() -> None:
    machine = connected()
    assert machine.lease_state(100.0) == "none" and machine.lease_remaining_seconds(100.0) == 0.0
    machine.ticked(100.0, LOAD)
    machine.received(lease(1), 102.5)
    assert machine.lease_remaining_seconds(102.5) == 2.5
    assert machine.lease_state(104.9) == "held" and machine.lease_state(105.0) == "expired"


def test_a_refusal_takes_no_lease_back_and_a_grant_for_an_answered_beat_counts() -> None:
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.received(lease(1, is_granted=False, head_index=9), 100.1)
    assert machine.lease_state(100.2) == "none" and machine.head_index == 9
    machine.received(lease(1), 100.3)
    machine.ticked(101.0, LOAD)
    machine.received(lease(2, is_granted=False), 101.1)
    assert machine.lease_state(104.9) == "held"


def test_a_lease_for_a_beat_of_an_earlier_stream_or_of_long_ago_counts_for_nothing() -> None:
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.connected(100.5, LogPosition("log-1", 5))
    machine.received(lease(1), 100.6)
    assert machine.lease_state(100.6) == "none"
    for number in range(REMEMBERED_HEARTBEATS + 1):
        machine.received(lease(0, is_granted=False), 101.0 + number)
        machine.ticked(101.0 + number, LOAD)
    machine.received(lease(1), 101.0 + REMEMBERED_HEARTBEATS)
    assert machine.lease_state(101.0 + REMEMBERED_HEARTBEATS) == "none"


def test_a_short_lease_makes_the_heart_beat_faster_and_a_long_one_not_slower() -> None:
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.received(lease(1, seconds=1.0), 100.1)
    machine.ticked(101.0, LOAD)
    assert machine.next_tick_at == pytest.approx(101.2)
    machine.received(lease(1, seconds=60.0), 100.9)
    machine.ticked(101.2, LOAD)
    assert machine.next_tick_at == pytest.approx(102.2)


def test_the_first_lease_says_when_the_next_heartbeat_is_due_and_not_the_one_after_it() -> None:
    """A second later, as before a lease is known, would be at the end of a short one."""
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.received(lease(1, seconds=1.0), 100.1)
    assert machine.next_tick_at == pytest.approx(100.2)


def test_a_lease_of_no_time_does_not_make_a_node_beat_without_a_pause() -> None:
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.received(lease(1, seconds=0.0), 100.0)
    assert machine.next_tick_at == pytest.approx(100.02)


def incarnation(effects: list[Effect]) -> int:
    (hello,) = messages(effects)
    return hello.hello.incarnation


def leased_machine() -> NodeMachine:
    """Until 105, and introduced as 7."""
    machine = NodeMachine(IDENTITY, LogPosition("log-1", 5), 7)
    assert incarnation(machine.connected(100.0, LogPosition("log-1", 5))) == 7
    machine.ticked(100.0, LOAD)
    machine.received(lease(1), 100.1)
    return machine


def test_a_stream_ends_with_its_lease_and_the_next_one_is_of_another_incarnation() -> None:
    """While it had none, others were told so. The control plane, which may have counted on, has to know before anything is acknowledged."""
    machine = leased_machine()
    (effect,) = machine.received(entry(6), 105.0)
    assert isinstance(effect, Disconnect)
    assert incarnation(machine.connected(105.2, LogPosition("log-1", 5))) == 8
    machine.ticked(105.2, LOAD)
    assert machine.received(entry(6), 105.3) != [], "it catches up"
    assert incarnation(machine.connected(106.0, LogPosition("log-1", 6))) == 8, "it has had no other lease"


def test_a_stream_that_breaks_while_the_lease_goes_on_is_followed_by_one_of_the_same_incarnation() -> None:
    machine = leased_machine()
    assert incarnation(machine.connected(104.9, LogPosition("log-1", 5))) == 7
    (effect,) = machine.received(lease(0, is_granted=False), 105.0)
    assert isinstance(effect, Disconnect), "nobody has renewed it on this stream"


def test_a_grant_that_comes_when_it_is_over_is_no_lease_and_ends_no_stream() -> None:
    machine = NodeMachine(IDENTITY, LogPosition("log-1", 5), 7)
    machine.connected(100.0, LogPosition("log-1", 5))
    machine.ticked(100.0, LOAD)
    for now in (105.5, 105.6):
        assert not any(isinstance(effect, Disconnect) for effect in machine.received(lease(1), now))


def test_a_silent_stream_is_given_up() -> None:
    machine = connected()
    limit = PATIENT.heartbeats * HEARTBEAT_SECONDS
    assert machine.ticked(100.0 + limit - 0.1, LOAD) != [Disconnect("the control plane is silent")]
    assert machine.ticked(100.0 + limit, LOAD) == [Disconnect("the control plane is silent")]
    machine.connected(200.0, LogPosition("log-1", 5))
    machine.received(lease(0, is_granted=False), 203.0)
    assert not any(isinstance(effect, Disconnect) for effect in machine.ticked(200.0 + limit, LOAD))


def test_a_node_that_leaves_holds_no_lease_any_more() -> None:
    machine = connected()
    machine.ticked(100.0, LOAD)
    machine.received(lease(1), 100.1)
    assert sent(machine.left()) == ["leaving"]
    assert machine.lease_state(100.2) == "expired"
    machine.received(lease(1), 100.3)
    assert machine.lease_state(100.3) == "expired" and machine.lease_remaining_seconds(100.3) == 0.0


# Directories


def node(identifier: str, address: str = "127.0.0.9:80") -> sync_pb2.Node:
    return sync_pb2.Node(id=identifier, http_address=address)


def whole(version: int, *nodes: sync_pb2.Node) -> sync_pb2.ControlMessage:
    return sync_pb2.ControlMessage(directory=sync_pb2.Directory(version=version, nodes=nodes))


def change(
    from_version: int, version: int, *put: sync_pb2.Node, removed: tuple[str, ...] = ()
) -> sync_pb2.ControlMessage:
    message = sync_pb2.DirectoryChange(from_version=from_version, version=version, put=put, removed_ids=removed)
    return sync_pb2.ControlMessage(directory_change=message)


def told(effects: list[Effect]) -> dict[str, str]:
    (effect,) = effects
    assert isinstance(effect, ApplyDirectory)
    return {node.id: node.http_address for node in effect.directory.nodes}


def test_changes_of_the_directory_are_applied_to_the_one_that_was_sent_before() -> None:
    machine = connected()
    machine.received(whole(3, node("a"), node("b")), 100.1)
    assert told(machine.received(change(3, 5, node("c"), node("a", "127.0.0.8:80"), removed=("b",)), 100.2)) == {
        "a": "127.0.0.8:80",
        "c": "127.0.0.9:80",
    }
    assert told(machine.received(whole(6, node("d")), 100.3)) == {"d": "127.0.0.9:80"}
    assert told(machine.received(change(6, 7, removed=("d", "unknown")), 100.4)) == {}


def test_a_change_of_a_directory_that_it_does_not_have_ends_the_stream() -> None:
    machine = connected()
    assert isinstance(machine.received(change(1, 2, node("a")), 100.1)[0], Disconnect)
    machine.received(whole(3, node("a")), 100.1)
    assert isinstance(machine.received(change(4, 5, node("b")), 100.2)[0], Disconnect)
    machine.connected(101.0, LogPosition("log-1", 5))
    assert isinstance(machine.received(change(3, 4, node("b")), 101.1)[0], Disconnect), "of the stream before"


def test_heartbeats_say_which_directory_is_in_use() -> None:
    machine = connected()
    versions = []
    for now, message in ((100.0, whole(3)), (101.0, change(3, 4)), (102.0, None)):
        versions += [sent.heartbeat.directory_version for sent in messages(machine.ticked(now, LOAD))]
        if message is not None:
            machine.received(message, now)
    assert versions == [0, 3, 4]
