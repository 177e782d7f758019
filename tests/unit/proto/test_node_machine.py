"""A node's side of the Sync protocol as conversations: what arrives, what follows."""

import pytest

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import (
    HEARTBEAT_SECONDS,
    REMEMBERED_HEARTBEATS,
    SILENT_HEARTBEATS,
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
    (acknowledgement,) = machine.entry_applied(6, None)
    assert isinstance(acknowledgement, Send) and acknowledgement.message.acknowledgement.index == 6
    assert machine.applied_index == 6


def test_a_rejection_goes_first_and_the_index_advances() -> None:
    machine = connected()
    machine.received(entry(6), 100.1)
    effects = machine.entry_applied(6, "unknown field")
    assert sent(effects) == ["rejection", "acknowledgement"]
    assert machine.applied_index == 6 and machine.rejections_total == 1


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
    machine.received(lease(2, seconds=60.0), 101.1)
    machine.ticked(101.2, LOAD)
    assert machine.next_tick_at == pytest.approx(102.2)


def test_a_silent_stream_is_given_up() -> None:
    machine = connected()
    limit = SILENT_HEARTBEATS * HEARTBEAT_SECONDS
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
