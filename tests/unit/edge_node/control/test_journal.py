"""The invalidation journal and the control client around it: what a restarted node knows, and when it knows that it does not (DESIGN section 4, rule 7)."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.message import Message

from edge_node.caching import invalidation_index
from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.control.client import JOURNAL_FILE, ControlClient, RestoreResult
from edge_node.control.journal_codec import JournalError, JournalIdentity, replayed, whole_journal
from edge_node.control.resource_kinds import KINDS
from edge_node.storage.node_state import NodeState
from proto import host_clock
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resource_files import POSITION_FILE, ResourceFiles
from proto.resources import distribution_name
from proto.served_configuration import Configuration, from_snapshot
from proto.state_files import StateFiles
from tests.builders import behavior_message, distribution_message, entry_message, origin_message, snapshot_message
from tests.edge_wires import leased_fence

WARM = RestoreResult(has_configuration=True, is_warm=True)
COLD = RestoreResult(has_configuration=True, is_warm=False)
NOTHING = RestoreResult(has_configuration=False, is_warm=False)


def standing(index: int, log_id: str = "log-1") -> LogPosition:
    """Where a node stands that has applied it, with a digest that belongs to this position alone."""
    return LogPosition(log_id, index, f"{log_id}:{index}".encode().ljust(16, b"."))


class Process:
    """A node's half of the log over one state directory; `killed` is the next process over the same."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.invalidated = 0
        self.state = NodeState("eu", leased_fence())
        self.state.invalidate_everything = self._void
        self.client = ControlClient(self.state, "eu", directory, lambda: (0, 0))
        self.restored = self.client.restore()

    def killed(self) -> "Process":
        self.client.close()
        return Process(self.directory)

    def _void(self) -> None:
        self.invalidated += 1
        self.journal_when_invalidated = self.journal.read_bytes() if self.journal.is_file() else None

    @property
    def journal(self) -> Path:
        return self.directory / JOURNAL_FILE

    def is_invalidated(self, stamp: int, target: str = "/a") -> bool:
        return self.state.invalidations.is_invalidated("E1", target, stamp)

    def snapshot(self, index: int, log_id: str = "log-1") -> None:
        distributions = [_distribution("E1")]
        digest = standing(index, log_id).digest
        self.client.apply_snapshot(snapshot_message(index, *distributions, log_id=log_id, digest=digest))

    def entry(self, index: int, *bodies: Message, deleted: Sequence[str] = ()) -> None:
        digest = standing(index).digest
        self.client.apply_entry(entry_message(index, *bodies, deleted_distributions=deleted, digest=digest))

    def invalidate(self, index: int, *paths: str, of: str = "E1") -> None:
        invalidation = configuration_pb2.Invalidation(id=f"I{index}", distribution_id=of, paths=paths or ("/a",))
        self.entry(index, invalidation)

    def configure(self, index: int) -> None:
        self.entry(index, configuration_pb2.RoutingTable(zone="cdn.localhost"))


def write_configuration(directory: Path, snapshot: sync_pb2.Snapshot) -> None:
    """As another process over the same folder would have left it."""
    files = ResourceFiles(StateFiles(directory))
    files.read()
    files.write_anew(from_snapshot(snapshot, Configuration(), KINDS))


def _distribution(identifier: str) -> configuration_pb2.Distribution:
    origin = origin_message(host="127.0.0.1", port=8080)
    return distribution_message(origin, behavior_message(), id=identifier, domain_name=f"{identifier}.cdn.localhost")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """At 10, with `/a` invalidated at 12 and a configuration change at 13."""
    process = Process(tmp_path / "state")
    assert process.restored == NOTHING and process.client.position() == LogPosition()
    process.snapshot(10)
    process.entry(11)  # a kind that it does not know
    process.invalidate(12)
    process.configure(13)
    yield process
    process.client.close()


def test_what_was_acknowledged_is_known_after_a_kill(process: Process) -> None:
    process.invalidate(14, "/b/*")
    after = process.killed()
    assert after.restored == WARM and after.invalidated == 0
    assert after.client.position() == standing(14)
    assert [after.is_invalidated(stamp) for stamp in (9, 10, 11, 12, 13, 14)] == [True, True, True, False, False, False]
    assert (
        after.is_invalidated(13, "/b/c") and not after.is_invalidated(14, "/b/c") and not after.is_invalidated(10, "/c")
    )
    assert after.state.invalidations.epoch == process.state.invalidations.epoch
    after.invalidate(15, "/c")  # and it goes on
    again = after.killed()
    assert (
        again.client.position() == standing(15) and again.is_invalidated(14, "/c") and again.is_invalidated(13, "/b/c")
    )
    again.client.close()


def test_a_configuration_change_invalidates_nothing(process: Process) -> None:
    for index in range(14, 20):
        process.configure(index)
    after = process.killed()
    assert after.restored == WARM
    assert not after.is_invalidated(10, "/b") and after.is_invalidated(11) and not after.is_invalidated(12)
    after.client.close()


def test_a_rejected_distribution_advances_what_is_durable(process: Process) -> None:
    broken = _distribution("E2")
    broken.default_behavior.origin_id = "nowhere"
    process.entry(14, broken)
    assert distribution_name("E2") in process.client.rejected()
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(14))
    after.client.close()


def test_a_distribution_comes_and_goes(process: Process) -> None:
    process.entry(14, _distribution("E2"))
    assert "E2" in process.state.router.snapshot.distributions
    process.invalidate(15, of="E2")
    process.entry(16, deleted=["E2"])
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(16))
    assert set(after.state.router.snapshot.distributions) == {"E1"}
    assert set(after.state.invalidations.distributions) == {"E1"}
    after.client.close()


def test_an_entry_that_configures_and_invalidates_counts_as_a_whole(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (_distribution("E2"), configuration_pb2.Invalidation(id="I14", distribution_id="E1", paths=["/c"]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _refuse)
        with pytest.raises(OSError):
            process.entry(14, *both, deleted=["E1"])
    before = process.killed()
    assert (before.restored, before.client.position()) == (WARM, standing(13))
    assert not before.is_invalidated(13, "/c") and set(before.state.router.snapshot.distributions) == {"E1"}
    before.entry(14, *both)
    after = before.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(14))
    assert after.is_invalidated(13, "/c") and set(after.state.router.snapshot.distributions) == {"E1", "E2"}
    after.client.close()


def test_a_snapshot_that_skips_entries_voids_what_was_stored_and_a_restart_keeps_what_came_since(
    process: Process,
) -> None:
    epoch, invalidated = process.state.invalidations.epoch, process.invalidated
    process.snapshot(20)
    assert process.invalidated == invalidated + 1 and process.state.invalidations.epoch != epoch
    process.invalidate(21, "/b")
    after = process.killed()
    assert after.restored == WARM and after.invalidated == 0
    assert after.state.invalidations.epoch == process.state.invalidations.epoch
    assert not after.is_invalidated(20, "/c") and after.is_invalidated(20, "/b")
    after.client.close()


def test_a_snapshot_of_another_history_of_the_log_voids_everything_whatever_its_index(process: Process) -> None:
    for index in (9, 13, 13):
        epoch, invalidated = process.state.invalidations.epoch, process.invalidated
        message = sync_pb2.Snapshot(log_id="log-1", index=index, digest=b"of the other one")
        process.client.apply_snapshot(message)
        assert process.invalidated == invalidated + 1 and process.state.invalidations.epoch != epoch
        assert process.client.position() == LogPosition("log-1", index, b"of the other one")
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, LogPosition("log-1", 13, b"of the other one"))
    after.client.close()


def test_a_journal_of_one_history_beside_a_snapshot_of_another_is_of_no_use(process: Process) -> None:
    """The index fits, and what is stored is of the first: a process that was killed before it voided it."""
    write_configuration(process.directory, snapshot_message(13, _distribution("E1"), digest=b"of the other one"))
    after = process.killed()
    assert (after.restored, after.invalidated, after.client.position()) == (COLD, 1, LogPosition())
    after.client.close()


def test_an_entry_in_the_place_of_a_configuration_that_was_meant_is_the_one_that_counts(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses one entry, the control plane is restored from a backup meanwhile, and has another one at that index."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _refuse)
        with pytest.raises(OSError):
            process.entry(14, deleted=["E1"])
    other = sync_pb2.Entry(log_id="log-1", index=14, digest=b"of the other one")
    other.invalidations.add(distribution_id="E1", paths=["/b"])
    process.client.apply_entry(other)
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, LogPosition("log-1", 14, b"of the other one"))
    assert after.is_invalidated(11, "/a") and after.is_invalidated(13, "/b")
    after.client.close()


def test_another_log_is_invalidated_before_its_journal_is_begun(process: Process) -> None:
    epoch = process.state.invalidations.epoch
    invalidated = process.invalidated
    before = process.journal.read_bytes()
    process.snapshot(5, "log-2")
    assert process.invalidated == invalidated + 1
    assert process.journal_when_invalidated == before
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(5, "log-2"))
    assert after.state.invalidations.epoch != epoch
    after.client.close()


# -- what cannot be relied on


def _flip(process: Process, at: int) -> None:
    content = bytearray(process.journal.read_bytes())
    content[at] ^= 0x10
    process.journal.write_bytes(content)


def _truncate(process: Process, by: int) -> None:
    process.journal.write_bytes(process.journal.read_bytes()[:-by])


DAMAGES: dict[str, Callable[[Process], object]] = {
    "it is missing": lambda process: process.journal.unlink(),
    "it is empty": lambda process: process.journal.write_bytes(b""),
    "it is something else": lambda process: process.journal.write_bytes(b"x" * 1000),
    "a bit of the mark": lambda process: _flip(process, 9),
    "a bit in the middle": lambda process: _flip(process, len(process.journal.read_bytes()) // 2),
    "a bit of the last record": lambda process: _flip(process, -2),
    "a lost byte": lambda process: _truncate(process, 1),
    "a lost record": lambda process: _truncate(process, 17),
    "it cannot be read": lambda process: (
        process.journal.rename(process.journal.with_suffix(".old")).parent.joinpath(JOURNAL_FILE).mkdir()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_journal_that_cannot_be_relied_on_invalidates_everything(process: Process, damage: str) -> None:
    DAMAGES[damage](process)
    after = process.killed()
    assert (after.restored, after.invalidated) == (COLD, 1)
    assert after.state.invalidations.epoch != process.state.invalidations.epoch
    assert set(after.state.router.snapshot.distributions) == {"E1"}
    assert (after.state.applied_index, after.client.position()) == (
        13,
        LogPosition(),
    )  # what it knows, and what it says
    after.client.close()


def test_a_node_has_forgotten_until_it_has_a_snapshot_however_often_it_restarts(process: Process) -> None:
    _flip(process, -2)
    after = process.killed()
    assert after.journal_when_invalidated is not None and not after.journal.exists()
    again = after.killed()
    assert (again.restored, again.invalidated, again.client.position()) == (COLD, 1, LogPosition())
    again.snapshot(13)
    assert again.client.position() == standing(13)
    warm = again.killed()
    assert (warm.restored, warm.invalidated) == (WARM, 0)
    warm.client.close()


def test_a_node_that_has_forgotten_asks_no_regional_cache_until_it_has_a_snapshot(process: Process) -> None:
    node = sync_pb2.Node(id="r", role=sync_pb2.ROLE_REGIONAL, region="eu", http_address="127.0.0.1:1")
    process.client.apply_directory(sync_pb2.Directory(version=1, nodes=[node]))
    process.journal.unlink()
    after = process.killed()
    assert _regional_ids(after) == []
    after.snapshot(13)
    assert _regional_ids(after) == ["r"]
    assert after.client.position() == standing(13)
    again = after.killed()
    assert again.restored == WARM and _regional_ids(again) == ["r"]
    again.client.close()


def _regional_ids(process: Process) -> list[str]:
    return [peer.id for peer in process.state.regionals]


def test_after_a_power_loss_nothing_is_relied_on(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(host_clock, "BOOT_ID_FILE", boot)
    boot.write_text("another\n")
    after = process.killed()
    assert after.restored == COLD
    after.snapshot(13)
    again = after.killed()
    assert again.restored == WARM
    boot.unlink()  # unknown is never the same
    unknown = again.killed()
    unknown.snapshot(13)
    unknown = unknown.killed()
    assert unknown.restored == COLD
    unknown.client.close()


def test_a_journal_beside_another_snapshot_is_of_no_use(process: Process) -> None:
    snapshot = snapshot_message(14, _distribution("E1"), digest=standing(14).digest)
    write_configuration(process.directory, snapshot)  # of a process that was killed before it began its journal
    after = process.killed()
    assert (after.restored, after.invalidated) == (COLD, 1)
    after.client.close()


def test_without_a_snapshot_there_is_nothing_to_go_on_from(process: Process) -> None:
    (process.directory / POSITION_FILE).unlink()
    after = process.killed()
    assert (after.restored, after.invalidated, after.client.position()) == (NOTHING, 1, LogPosition())
    after.snapshot(30)
    again = after.killed()
    assert again.restored == WARM
    again.client.close()


# -- crashes and full disks


def test_a_tail_that_was_cut_off_is_not_read(process: Process) -> None:
    before = process.journal.read_bytes()
    process.invalidate(14, "/a", "/b")
    whole = process.journal.read_bytes()
    for length in range(len(before), len(whole) + 1):  # the mark still covers what was there before
        process.journal.write_bytes(before + whole[len(before) : length])
        after = process.killed()
        assert (after.restored, after.client.position()) == (WARM, standing(13))
        after.client.close()
    after = process.killed()
    after.invalidate(14, "/c")  # shorter than what lies there
    again = after.killed()
    assert again.client.position() == standing(14)
    assert again.is_invalidated(13, "/c") and not again.is_invalidated(13, "/b")
    again.client.close()


def test_a_configuration_that_was_meant_and_not_written_is_not_applied(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _refuse)
        with pytest.raises(OSError):
            process.configure(14)
    assert process.client.position() == standing(13)
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(13))
    after.configure(14)  # the control plane tells it again
    after.invalidate(15)
    again = after.killed()
    assert (again.restored, again.client.position()) == (WARM, standing(15)) and again.is_invalidated(14)
    again.client.close()


def _refuse(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, "no space left on device")


def test_a_full_disk_costs_the_journal_and_not_the_invalidation(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", _refuse)
        for index in range(14, 17):
            process.invalidate(index, f"/{index}")
        assert not process.journal.exists()  # a restart now would invalidate everything
        assert process.is_invalidated(13, "/15")
    for index in range(17, 22):
        process.invalidate(index, f"/{index}")
    after = process.killed()  # there was room again, and all that was missed is there
    assert (after.restored, after.client.position()) == (WARM, standing(21))
    assert [after.is_invalidated(13, f"/{index}") for index in (14, 15, 16, 17, 21, 22)] == [True] * 5 + [False]
    after.client.close()


def test_a_disk_that_cannot_even_remove_has_the_entry_refused(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", _refuse)
        patch.setattr(Path, "unlink", _refuse)
        with pytest.raises(OSError):
            process.invalidate(14)
    assert process.client.position() == standing(13) and not process.is_invalidated(13)
    process.invalidate(14)
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(14)) and after.is_invalidated(13)
    after.client.close()


# -- its size


def test_the_journal_is_compacted_to_the_newest_index_of_each_path(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    process.client._journal._growth_bytes = 2000
    process.snapshot(20)
    for index in range(21, 400):
        process.invalidate(index, f"/{index % 5}", f"/{index % 7}/*")
        sizes.append(process.journal.stat().st_size)
    assert max(sizes) < 5000 and sizes != sorted(sizes)
    after = process.killed()
    known, now = process.state.invalidations, after.state.invalidations
    assert after.restored == WARM
    for path in ("/0", "/4", "/0/x", "/6/y", "/7/z", "/9"):
        for stamp in range(15, 400):
            assert known.is_invalidated("E1", path, stamp) == now.is_invalidated("E1", path, stamp)
    after.client.close()


def test_there_is_no_room_to_compact(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    process.client._journal._growth_bytes = 200
    process.snapshot(20)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _refuse)
        for index in range(21, 60):
            process.invalidate(index, f"/{index}")
    assert not [path for path in process.directory.iterdir() if path.suffix == ".new" and path.stem == "invalidations"]
    after = process.killed()
    assert (after.restored, after.client.position()) == (WARM, standing(59)) and after.is_invalidated(20, "/21")
    after.client.close()


def test_all_distributions_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidation_index, "MAXIMUM_COST_BYTES", 10_000)
    log = InvalidationLog()
    for index in range(1, 301):
        log.append(index, f"E{index % 3}", [f"/{index}"])
        assert sum(of.cost_bytes for of in log.distributions.values()) == log._cost_bytes <= 10_000
        assert log.is_invalidated(f"E{index % 3}", f"/{index}", index - 1)
    assert all(log.is_invalidated(f"E{index % 3}", f"/{index}", index - 1) for index in range(1, 301))
    origin = JournalIdentity(LogPosition("log-1"), "boot")
    again, _ = replayed(whole_journal(origin, log), origin)
    assert again._cost_bytes == log._cost_bytes
    assert all(again.is_invalidated(f"E{index % 3}", f"/{index}", index - 1) for index in range(1, 301))


def test_texts_of_any_kind_come_back() -> None:
    log = InvalidationLog(3)
    paths = ["/", "/*", "*", "", "/ü\0€\n", "/" + "x" * 4000]
    log.append(4, "Ü1", paths)
    origin = JournalIdentity(LogPosition("lög", 3), "boot")
    again, _ = replayed(whole_journal(origin, log), origin)
    assert (again.distributions["Ü1"].exact, again.distributions["Ü1"].prefixes) == (
        log.distributions["Ü1"].exact,
        log.distributions["Ü1"].prefixes,
    )
    with pytest.raises(JournalError):
        replayed(whole_journal(origin, log), JournalIdentity(LogPosition("log", 3), "boot"))
