"""Times that outlive the boot whose clock they are of: restarts, reboots, and a database that has come from another machine (decision 29)."""

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from control_plane.admin import to_json
from control_plane.backup import put, take
from control_plane.coordination import Coordinator
from control_plane.deployment import receipt_of
from control_plane.fencing import COUNTED_NOTICE_SECONDS
from control_plane.leases import LeaseRules, counted_seconds
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics, Gauges
from control_plane.nodes import NodeDescription, Role
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import Invalidate
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2
from proto.log_position import LogPosition
from proto.moments import ClockAnchor

HOUR = 3_600.0
NOON = 1_800_000_000.0
"""What the wall clock says when the first boot is 1,000 s old."""
LEASE_SECONDS = 5.0
EDGE = NodeDescription("edge-1", Role.EDGE, "eu-central-1", "FRA56-P1", "127.0.0.1:80", "127.0.0.1:81")


def anchor(boot_id: str, wall: float, seconds: float) -> ClockAnchor:
    return ClockAnchor(boot_id, round(wall * 1e9), round(seconds * 1e9))


FIRST = anchor("boot-1", NOON, 1_000.0)
STEPPED_BACK = anchor("boot-1", NOON - 2 * HOUR + 20.0, 1_020.0)
"""The same boot, twenty seconds later; somebody has set the wall clock back by two hours."""
REBOOTED = anchor("boot-2", NOON + 60.0, 30.0)
SET_AHEAD = anchor("boot-2", NOON + 5 * HOUR, 30.0)
SET_BACK = anchor("boot-2", NOON - 5 * HOUR, 30.0)


@dataclass
class Plane:
    """A control plane without its ports, whose clock stands."""

    store: SqlStore
    ledger: SqlLedger
    coordinator: Coordinator
    now: float

    def invalidate(self, identifier: str) -> None:
        """Committed, and waited for."""
        index = self.append(identifier)
        (issued,) = (each for each in self.ledger.pending_invalidations() if each.index == index)
        self.coordinator.committed(index, self.now, issued)

    def append(self, identifier: str) -> int:
        """Committed, and nobody has heard of it."""
        invalidation = configuration_pb2.Invalidation(id=identifier, distribution_id="E1", paths=["/*"])
        with self.store.transaction() as transaction:
            return transaction.append(Invalidate(invalidation))

    def connect(self) -> int:
        position = LogPosition(
            self.store.log_id, self.store.head_index, self.ledger.digest_at(self.store.head_index) or b""
        )
        stream, _ = self.coordinator.connected(EDGE, position, self.now)
        return stream

    def beat(self, stream: int) -> None:
        self.coordinator.acknowledged("edge-1", stream, self.store.head_index, self.now)
        self.coordinator.beat("edge-1", stream, 1, self.now)
        self.coordinator.settle(self.now)

    def receipt(self, identifier: str) -> dict[str, Any]:
        found = receipt_of(identifier, self.coordinator, self.ledger)
        assert found is not None
        return to_json(found, self.store.anchor)


@contextmanager
def plane(folder: Path, clock: ClockAnchor) -> Iterator[Plane]:
    """Started when the anchor was taken."""
    now = clock.monotonic_ns / 1e9
    running: list[Plane] = []
    with contextlib.closing(SqlStore(folder, lambda: running[0].now if running else now, anchor=clock)) as store:
        ledger = SqlLedger(store)
        coordinator = Coordinator(ledger, LeaseRules(LEASE_SECONDS), now)
        running.append(Plane(store, ledger, coordinator, now))
        yield running[0]


def test_a_receipt_has_nanoseconds_of_its_boot_and_wall_time_beside_them(tmp_path: Path) -> None:
    with plane(tmp_path, FIRST) as first:
        stream = first.connect()
        first.beat(stream)
        first.now += 10.0
        first.invalidate("I1")
        first.now += 0.125
        first.beat(stream)
        for receipt in (first.receipt("I1"), first.receipt("I1")):
            assert receipt["clock"] == {
                "boot_id": "boot-1",
                "wall_ns": round(NOON * 1e9),
                "monotonic_ns": 1_000_000_000_000,
            }
            assert (receipt["issued_monotonic_ns"], receipt["completed_monotonic_ns"]) == (
                1_010_000_000_000,
                1_010_125_000_000,
            )
            assert (
                receipt["issued_at"] == "2027-01-15T08:00:10.000Z"
                and receipt["completed_at"] == "2027-01-15T08:00:10.125Z"
            )
            (line,) = receipt["nodes"]
            assert line["acknowledged_monotonic_ns"] == 1_010_125_000_000 and line["seconds"] == 0.125
            assert line["left_out_monotonic_ns"] is line["fenced_monotonic_ns"] is None


def test_a_node_that_is_left_out_is_so_since_a_moment_of_the_same_clock(tmp_path: Path) -> None:
    with plane(tmp_path, FIRST) as first:
        first.beat(first.connect())
        first.invalidate("I1")
        first.now += 60.0
        first.coordinator.settle(first.now)
        first.now += 60.0
        first.coordinator.settle(first.now)
        receipt = first.receipt("I1")
    (line,) = receipt["nodes"]
    assert line["left_out_monotonic_ns"] == 1_060_000_000_000
    assert line["fenced_monotonic_ns"] == 1_060_000_000_000 + round(COUNTED_NOTICE_SECONDS * 1e9)
    assert receipt["completed_monotonic_ns"] == 1_120_000_000_000
    assert line["acknowledged_monotonic_ns"] is None


def test_a_restart_on_the_same_boot_goes_on_with_the_same_base(tmp_path: Path) -> None:
    """Whatever has become of the wall clock in between."""
    with plane(tmp_path, FIRST) as first:
        first.beat(first.connect())
        first.invalidate("I1")
    with plane(tmp_path, STEPPED_BACK) as second:
        record = second.coordinator.nodes["edge-1"]
        assert record.last_seen == 1_000.0
        assert record.lease_until == 1_020.0 + counted_seconds(LEASE_SECONDS), (
            "the lease is counted anew from the start"
        )
        stream = second.connect()
        second.beat(stream)
        second.now += 60.0
        second.beat(stream)
        receipt = second.receipt("I1")
    assert receipt["clock"] == STEPPED_BACK.to_json(), "the process that completed it"
    assert receipt["issued_monotonic_ns"] == 1_000_000_000_000
    assert receipt["completed_monotonic_ns"] == 1_080_000_000_000
    assert receipt["issued_at"] < receipt["completed_at"], "by one anchor"
    (line,) = receipt["nodes"]
    assert line["seconds"] == 20.0
    for later in (anchor("boot-1", NOON + 9 * HOUR, 1_200.0), SET_AHEAD):
        with plane(tmp_path, later) as third:
            assert third.receipt("I1") == receipt, "what was completed stays as it is"


@pytest.mark.parametrize("clock", [REBOOTED, SET_AHEAD, SET_BACK])
def test_after_a_reboot_nothing_is_compared_with_what_was_before(tmp_path: Path, clock: ClockAnchor) -> None:
    with plane(tmp_path, FIRST) as first:
        first.beat(first.connect())
        first.invalidate("I1")
    with plane(tmp_path, clock) as second:
        record = second.coordinator.nodes["edge-1"]
        assert record.lease_until == 30.0 + counted_seconds(LEASE_SECONDS), "as if it had been granted just now"
        assert record.last_seen <= second.now and record.unleased_since <= second.now
        stream = second.connect()
        second.beat(stream)
        second.coordinator.settle(second.now)
        assert second.receipt("I1")["status"] == "InProgress", "others may serve by leases that nobody knows of"
        second.now += 60.0
        second.beat(stream)
        receipt = second.receipt("I1")
        assert second.receipt("I1") == receipt
    assert receipt["status"] == "Completed" and receipt["clock"]["boot_id"] == "boot-2"
    assert receipt["completed_monotonic_ns"] == 90_000_000_000
    assert receipt["issued_monotonic_ns"] is None and receipt["issued_at"] == "2027-01-15T08:00:00.000Z"
    assert [line["seconds"] for line in receipt["nodes"]] == [None]


def test_a_receipt_of_another_boot_says_so_for_ever(tmp_path: Path) -> None:
    with plane(tmp_path, FIRST) as first:
        stream = first.connect()
        first.invalidate("I1")
        first.now += 0.5
        first.beat(stream)
        before = first.receipt("I1")
    assert before["status"] == "Completed"
    with plane(tmp_path, SET_AHEAD) as second:
        assert second.receipt("I1") == before, "its moments are of its own boot, and so is its wall time"


def test_a_duration_over_a_reboot_is_not_measured(tmp_path: Path) -> None:
    with plane(tmp_path, FIRST) as first:
        first.invalidate("I1")
    with plane(tmp_path, SET_AHEAD) as second:
        second.now += 60.0
        (receipt,) = second.coordinator.settle(second.now).completed
        metrics = ControlMetrics(Gauges(lambda: None, lambda: 0, lambda: True, lambda: 0, lambda: 0))
        metrics.invalidation_completed(receipt)
        assert b"cdn_control_invalidation_duration_seconds_count 0.0" in metrics.exposition()


def test_a_backup_of_another_machine_holds_no_lease_and_no_moment(tmp_path: Path) -> None:
    with plane(tmp_path / "one", FIRST) as first:
        first.beat(first.connect())
    take(tmp_path / "one", tmp_path / "copy")
    (tmp_path / "other").mkdir()
    put(tmp_path / "copy", tmp_path / "other")
    elsewhere = anchor("boot-of-another-machine", NOON - 24 * HOUR, 7.0)
    with contextlib.closing(SqlStore(tmp_path / "other", lambda: 12.0, anchor=elsewhere)) as store:
        store.become_another_log()
        (saved,) = SqlLedger(store).saved_nodes()
    assert (saved.lease_seconds, saved.unleased_since, saved.last_seen) == (0.0, 12.0, 12.0)


def test_times_of_before_there_were_clocks_are_wall_times(tmp_path: Path) -> None:
    with plane(tmp_path, FIRST) as first:
        first.invalidate("I1")
        first.now += 60.0
        first.coordinator.settle(first.now)
        with first.store.writing() as connection:
            lines = json.dumps([{"node_id": "edge-1", "state": "acknowledged", "acknowledged_at": NOON - 59.0}])
            old = "UPDATE receipts SET issued_clock = NULL, completed_clock = NULL, issued_at = ?, completed_at = ?, nodes = ?"
            connection.exec_driver_sql(old, (NOON - 60.0, NOON - 59.0, lines))
        receipt = first.receipt("I1")
    assert receipt["clock"] is receipt["issued_monotonic_ns"] is receipt["completed_monotonic_ns"] is None
    assert receipt["issued_at"] == "2027-01-15T07:59:00.000Z" and receipt["completed_at"] == "2027-01-15T07:59:01.000Z"
    (line,) = receipt["nodes"]
    assert line["seconds"] == 1.0 and line["acknowledged_monotonic_ns"] is None


def test_the_log_says_when_its_entries_were_committed_in_wall_time(tmp_path: Path) -> None:
    with plane(tmp_path, FIRST) as first:
        first.now += 1.5
        first.invalidate("I1")
        (entry,) = first.store.entries_after(0, 1)
    assert entry.committed_at.ToNanoseconds() == round((NOON + 1.5) * 1e9)


@pytest.mark.parametrize(
    ("committer", "clock"), [(STEPPED_BACK, None), (SET_AHEAD, SET_AHEAD)], ids=["same boot", "another machine"]
)
def test_what_another_process_has_committed_was_issued_by_its_clock(
    tmp_path: Path, committer: ClockAnchor, clock: ClockAnchor | None
) -> None:
    """On the same boot that is ours, however the wall clock was set between the starts of both."""
    told: list[IssuedInvalidation | None] = []
    with plane(tmp_path, FIRST) as leader, plane(tmp_path, committer) as other:
        leader.store.subscribe(lambda committed, _now: told.append(committed.invalidation))
        other.now = 1_025.5
        other.append("I1")
        leader.now = 1_026.0
        leader.store.catch_up()
        (issued,) = told
        assert issued is not None and (issued.issued_at, issued.clock) == (1_025.5, clock)
        leader.coordinator.committed(issued.index, leader.now, issued)
        pending = leader.receipt("I1")
        seconds = Receipt(issued, 1_026.0, ()).seconds_after_issue(1_026.0)
    assert pending["issued_monotonic_ns"] == (None if clock else 1_025_500_000_000)
    assert seconds == (None if clock else 0.5)
