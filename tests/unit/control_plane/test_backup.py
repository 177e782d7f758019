"""Copies of the database: of one moment, whole, marked; and another database in the place of the one that was."""

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane import backup
from control_plane.backup import BackupError, check, put, take
from control_plane.database import DATABASE_NAME
from control_plane.ledger import SqlLedger
from control_plane.nodes import NOTHING_ACKNOWLEDGED, NodeDescription, Role, SavedNode
from control_plane.resource_kinds import delete_distribution
from control_plane.state import Change, Document, Invalidate
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """Of an invalidation that waits for one node with a lease."""
    with contextlib.closing(opened(tmp_path / "state")) as opened_store:
        append(opened_store, Invalidate(configuration_pb2.Invalidation(id="I1", distribution_id="D1", paths=["/*"])))
        SqlLedger(opened_store).save([node("edge-1")], [], [])
        yield opened_store


def opened(folder: Path) -> SqlStore:
    return SqlStore(folder, lambda: 1_000.5)


def append(store: SqlStore, change: Change) -> int:
    with store.transaction() as transaction:
        return transaction.append(change)


def node(identifier: str) -> SavedNode:
    description = NodeDescription(identifier, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
    return SavedNode(
        description, 1, lease_seconds=5.0, last_seen=9.0, unleased_since=0.0, has_left=False, rejections=()
    )


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_backup_holds_what_was_committed_while_the_database_is_open_and_written_to(
    store: SqlStore, tmp_path: Path
) -> None:
    with store.transaction() as transaction:
        transaction.put(Document("distribution", "D1", {}))
        transaction.append(delete_distribution("D2"))
        contents = take(tmp_path / "state", tmp_path / "copy")
    assert (contents.log_id, contents.head_index, contents.distributions) == (store.log_id, 1, 0)
    assert store.head_index == 2 and not store.is_copy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "state"], "a backup is one file"


def test_what_a_backup_is_said_to_hold_is_what_it_holds_whatever_is_committed_meanwhile(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_it = backup._write_marked

    def commit_and_copy(original: sqlite3.Connection, path: Path) -> None:
        append(store, delete_distribution("committed meanwhile"))
        copy_it(original, path)

    monkeypatch.setattr(backup, "_write_marked", commit_and_copy)
    contents = take(tmp_path / "state", tmp_path / "copy")
    assert contents == check(tmp_path / "copy")
    assert (contents.head_index, store.head_index) == (1, 2)


def test_a_restored_backup_is_another_log_and_nobody_of_the_one_before_holds_a_lease(
    store: SqlStore, tmp_path: Path
) -> None:
    take(tmp_path / "state", tmp_path / "copy")
    lost = append(store, delete_distribution("lost"))
    (tmp_path / "other").mkdir()
    assert put(tmp_path / "copy", tmp_path / "other").head_index == 1
    with contextlib.closing(opened(tmp_path / "other")) as restored:
        assert restored.is_copy and restored.log_id == store.log_id
        restored.become_another_log()
        digest = restored.digest_at(1)
        assert restored.log_id != store.log_id and digest == store.digest_at(1)
        (saved,) = SqlLedger(restored).saved_nodes()
        assert (saved.acknowledged_index, saved.lease_seconds) == (NOTHING_ACKNOWLEDGED, 0.0)
        assert saved.unleased_since == 1_000.5
        assert [pending.identifier for pending in SqlLedger(restored).pending_invalidations()] == ["I1"]
        assert append(restored, delete_distribution("lost")) == lost
        log_id = restored.log_id
    with contextlib.closing(opened(tmp_path / "other")) as again:
        assert (again.is_copy, again.log_id) == (False, log_id)


def test_each_restoration_of_one_backup_is_a_log_of_its_own(store: SqlStore, tmp_path: Path) -> None:
    take(tmp_path / "state", tmp_path / "copy")
    log_ids = {store.log_id}
    store.close()
    for _ in range(2):
        put(tmp_path / "copy", tmp_path / "state")
        with contextlib.closing(opened(tmp_path / "state")) as restored:
            restored.become_another_log()
            log_ids.add(restored.log_id)
    assert len(log_ids) == 3


def test_a_database_that_was_copied_by_hand_is_marked_when_it_is_restored(store: SqlStore, tmp_path: Path) -> None:
    by_hand = tmp_path / "by-hand"
    store.close()
    by_hand.write_bytes((tmp_path / "state" / DATABASE_NAME).read_bytes())
    put(by_hand, tmp_path / "state")
    with contextlib.closing(opened(tmp_path / "state")) as restored:
        assert restored.is_copy


def test_nothing_of_the_database_before_is_left_also_after_kill_9(store: SqlStore, tmp_path: Path) -> None:
    """What lies in its write-ahead log would be read into the one that takes its place."""
    state, killed = tmp_path / "state", tmp_path / "killed"
    take(state, tmp_path / "copy")
    for number in range(50):
        append(store, delete_distribution(f"lost-{number}"))
    killed.mkdir()
    for name, content in bytes_of(state).items():
        (killed / name).write_bytes(content)
    assert (killed / f"{DATABASE_NAME}-wal").stat().st_size > 0
    put(tmp_path / "copy", killed)
    assert {path.name for path in killed.iterdir()} == {DATABASE_NAME, f"{DATABASE_NAME}-turn"}
    with contextlib.closing(opened(killed)) as restored:
        assert restored.head_index == 1


@pytest.mark.parametrize("operation", ["replace", "unlink"])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
def test_killed_anywhere_restoring_leaves_the_one_database_or_the_other(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, at: int
) -> None:
    state = tmp_path / "state"
    take(state, tmp_path / "copy")
    append(store, delete_distribution("lost"))
    store.close()
    original, calls = getattr(Path, operation), [0]

    def killed(*arguments: object, **named: object) -> object:
        calls[0] += 1
        if calls[0] == at:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Path, operation, killed)
        put(tmp_path / "copy", state)
    with contextlib.closing(opened(state)) as after:
        assert (after.is_copy, after.head_index) in ((False, 2), (True, 1))
    put(tmp_path / "copy", state)
    with contextlib.closing(opened(state)) as after:
        assert (after.is_copy, after.head_index) == (True, 1)


def no_database(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "bad")) as database:
        database.execute("CREATE TABLE other (id)")


def damaged(folder: Path) -> None:
    take(folder / "state", folder / "bad")
    content = bytearray((folder / "bad").read_bytes())
    content[4096:8192] = os.urandom(4096)
    (folder / "bad").write_bytes(content)


BAD = {
    "is no file": lambda folder: None,
    "is no file ": lambda folder: (folder / "bad").mkdir(),
    "cannot be used as a database: file is not a database": lambda folder: (folder / "bad").write_text("x" * 5000),
    "is a database, but not of a control plane": no_database,
    "is a database, but not of a control plane ": lambda folder: (folder / "bad").write_bytes(b""),
    "(is damaged|cannot be used as a database|not of a control plane)": damaged,
}


@pytest.mark.parametrize("problem", BAD)
def test_what_is_no_backup_is_named_and_changes_nothing(store: SqlStore, tmp_path: Path, problem: str) -> None:
    BAD[problem](tmp_path)
    store.close()
    before = bytes_of(tmp_path / "state")
    with pytest.raises(BackupError, match=problem.strip()):
        put(tmp_path / "bad", tmp_path / "state")
    assert bytes_of(tmp_path / "state") == before


def test_a_file_that_is_there_is_not_overwritten(store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(BackupError, match="is there already"):
        take(tmp_path / "state", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"


def test_where_there_is_nothing_to_copy_or_no_place_for_it_that_is_said(store: SqlStore, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="holds no database"):
        take(tmp_path, tmp_path / "copy")
    with pytest.raises(BackupError, match="is no folder"):
        take(tmp_path / "state", tmp_path / "nowhere" / "copy")


def test_a_full_disk_leaves_no_half_of_a_backup(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match=r"copy cannot be used: no space left on device"):
        take(tmp_path / "state", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_the_program_says_what_it_did_or_why_not(
    store: SqlStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--state-dir", str(tmp_path / "state"), "--file", str(tmp_path / "copy")]
    assert backup.main(["take", *flags]) == 0
    assert json.loads(capsys.readouterr().out) == {"log_id": store.log_id, "head_index": 1, "distributions": 0}
    assert backup.main(["take", *flags]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"{tmp_path / 'copy'} is there already\n"
    store.close()
    assert backup.main(["put", *flags]) == 0
