"""What reaches a node of a log that is distorted, and when."""

from itertools import cycle

import pytest

from proto.cdn.v1 import sync_pb2
from proto.injected_faults import InjectedFault, InjectedFaults, Value
from proto.log_distortion import LOG_KINDS, MOST_HELD_ENTRIES, REORDER_SECONDS, Distortion, TooMuchHeldError


class Log:
    """A stream whose faults a test sets, and what the node has got of it."""

    def __init__(self, *rolls: float) -> None:
        self.now = 100.0
        self._table = InjectedFaults(LOG_KINDS)
        rolled = cycle(rolls or (0.0,))
        self._roll = lambda: next(rolled)
        self._distortion = Distortion(lambda kind: self._table.in_force(kind, self.now))

    def suffers(self, kind: str, **parameters: Value) -> InjectedFault:
        document = {"kind": kind, "parameters": parameters, "lease_seconds": 60}
        fault = self._table.inject(document, f"f-{kind}", self.now)
        fault.dice = self._roll
        return fault

    def says(self, *indexes: int, is_batch: bool = False) -> None:
        entries = [sync_pb2.Entry(index=index) for index in indexes]
        if is_batch:
            batch = sync_pb2.Entries(entries=entries)
            self._distortion.received(sync_pb2.ControlMessage(entries=batch), self.now)
            return
        for entry in entries:
            self._distortion.received(sync_pb2.ControlMessage(entry=entry), self.now)

    def tells(self, message: sync_pb2.ControlMessage) -> None:
        self._distortion.received(message, self.now)

    @property
    def next_due_at(self) -> float | None:
        return self._distortion.next_due_at

    def heard(self) -> list[int | str]:
        """Indexes of entries, kinds of everything else."""
        found: list[int | str] = []
        while (message := self._distortion.next_message(self.now)) is not None:
            kind = message.WhichOneof("kind")
            found.append(message.entry.index if kind == "entry" else str(kind))
        return found


LEASE = sync_pb2.ControlMessage(lease=sync_pb2.Lease(sequence=1))
DIRECTORY = sync_pb2.ControlMessage(directory=sync_pb2.Directory(version=1))
CHANGE = sync_pb2.ControlMessage(directory_change=sync_pb2.DirectoryChange(version=2))
SNAPSHOT = sync_pb2.ControlMessage(snapshot=sync_pb2.Snapshot(index=9))


def test_without_faults_everything_arrives_as_it_was_said() -> None:
    log = Log()
    log.says(1)
    log.says(2, 3, is_batch=True)
    for message in (LEASE, DIRECTORY, CHANGE, SNAPSHOT):
        log.tells(message)
    assert log.heard() == [1, 2, 3, "lease", "directory", "directory_change", "snapshot"] and log.next_due_at is None


def test_lost_entries_are_lost_one_by_one_and_nothing_else_is() -> None:
    log = Log(0.4, 0.6)
    fault = log.suffers("log-lose", probability=0.5)
    log.says(1, 2, 3, 4, is_batch=True)
    for message in (LEASE, DIRECTORY, SNAPSHOT):
        log.tells(message)
    assert log.heard() == [2, 4, "lease", "directory", "snapshot"] and fault.times == 2


def test_so_many_entries_are_lost_and_no_more() -> None:
    log = Log()
    log.suffers("log-lose", count=2)
    log.says(1, 2, 3, 4)
    assert log.heard() == [3, 4]


def test_delayed_entries_keep_their_order_and_leases_do_not_wait() -> None:
    log = Log()
    fault = log.suffers("log-delay", by=2.0)
    log.says(1)
    log.tells(LEASE)
    log.now += 1
    log.says(2)
    seen = [(log.heard(), log.next_due_at)]
    for log.now in (102.0, 103.0):
        seen.append((log.heard(), log.next_due_at))
    assert seen == [(["lease"], 102.0), ([1], 103.0), ([2], None)] and fault.times == 2


def test_what_comes_after_a_delay_does_not_overtake_what_it_holds() -> None:
    log = Log()
    log.suffers("log-delay", by=100.0)
    log.says(1)
    log.now += 60
    log.says(2)
    assert log.heard() == []
    log.now += 40
    assert log.heard() == [1, 2]


def test_a_delay_holds_so_much_and_no_more() -> None:
    log = Log()
    log.suffers("log-delay", by=100.0)
    log.says(*range(MOST_HELD_ENTRIES))
    with pytest.raises(TooMuchHeldError):
        log.says(MOST_HELD_ENTRIES)


def test_duplicated_entries_come_twice() -> None:
    log = Log()
    log.suffers("log-duplicate")
    log.says(1, 2)
    assert log.heard() == [1, 1, 2, 2]


def test_an_entry_waits_for_the_next_one_to_overtake_it() -> None:
    log = Log()
    fault = log.suffers("log-reorder", probability=1)
    log.says(1)
    assert log.heard() == [] and log.next_due_at == 100.0 + REORDER_SECONDS
    log.says(2, 3)
    assert log.heard() == [2, 1] and fault.times == 2
    log.now += REORDER_SECONDS
    assert log.heard() == [3]


def test_faults_stand_beside_each_other() -> None:
    log = Log()
    log.suffers("log-duplicate")
    log.suffers("log-delay", by=1.0)
    log.suffers("directory-lost")
    log.says(1)
    log.tells(DIRECTORY)
    log.tells(CHANGE)
    assert log.heard() == []
    log.now += 1
    assert log.heard() == [1, 1]


def test_a_fault_that_is_over_does_nothing() -> None:
    log = Log()
    for kind in ("log-lose", "log-duplicate", "log-reorder", "directory-lost"):
        log.suffers(kind)
    log.suffers("log-delay", by=1.0)
    log.now += 60
    log.says(1)
    log.tells(DIRECTORY)
    assert log.heard() == [1, "directory"]
