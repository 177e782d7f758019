"""Documents and the change log, over a real database file."""

import contextlib
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from control_plane import tables
from control_plane.database import DATABASE_NAME
from control_plane.resource_kinds import (
    delete_distribution,
    put_cache_policy,
    put_distribution,
    put_geo_table,
    put_routing_table,
)
from control_plane.state import BrokenReferenceError, Change, Delete, Document, Invalidate, Put, StoreError
from control_plane.store import LOCKED_MILLISECONDS, SqlStore
from control_plane.trouble import LogGapError
from proto.cdn.v1 import configuration_pb2
from proto.resources import ROUTING_TABLE, cache_policy_name, distribution_name
from tests.builders import (
    behavior_message,
    bodies_in,
    distribution_message,
    geo_table_message,
    origin_message,
    policies_of,
    resource_message,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(tmp_path, lambda: 1_000.5, retained_entries=10)
    yield opened
    opened.close()


def reopened(store: SqlStore, folder: Path) -> SqlStore:
    """As after kill -9: the second one sees only what is in the file."""
    store.close()
    return SqlStore(folder, lambda: 2_000.0, retained_entries=10)


def put(identifier: str) -> Put:
    return put_distribution(configuration_pb2.Distribution(id=identifier))


def append(store: SqlStore, *changes: Change) -> list[int]:
    with store.transaction() as transaction:
        return [transaction.append(change) for change in changes]


def put_both(store: SqlStore, document: Document, change: Change) -> None:
    with store.transaction() as transaction:
        transaction.put(document)
        transaction.append(change)


def has_trouble(store: SqlStore) -> bool:
    return store.trouble is not None


def put_and_fail(store: SqlStore) -> None:
    with store.transaction() as transaction:
        transaction.put(Document("policy", "a", {}))
        transaction.append(put("D1"))
        raise LookupError


def test_documents_keep_the_order_of_their_creation(store: SqlStore) -> None:
    with store.transaction() as transaction:
        for name in ("b", "a", "c"):
            transaction.put(Document("policy", name, {"name": name}))
        transaction.put(Document("policy", "b", {"name": "changed"}))
        transaction.put(Document("other", "b", {}))
        transaction.delete("policy", "a")
        transaction.delete("policy", "never there")
        assert [document.identifier for document in transaction.list("policy")] == ["b", "c"]
        assert transaction.get("policy", "b") == Document("policy", "b", {"name": "changed"})
        assert transaction.get("policy", "a") is None
    assert [document.identifier for document in store.documents("policy")] == ["b", "c"]


def test_a_failed_transaction_leaves_neither_documents_nor_entries(store: SqlStore) -> None:
    told: list[int] = []
    store.subscribe(lambda committed, _now: told.append(committed.entry.index))
    with pytest.raises(LookupError):
        put_and_fail(store)
    assert (store.documents("policy"), store.head_index, told) == ([], 0, [])
    assert append(store, put("D1")) == [1]


def test_subscribers_are_told_in_order_after_the_commit(store: SqlStore) -> None:
    told: list[tuple[int, int, float]] = []
    store.subscribe(lambda committed, now: told.append((committed.entry.index, store.head_index, now)))
    append(store, put("D1"), put("D2"))
    assert told == [(1, 2, 1_000.5), (2, 2, 1_000.5)]


def test_a_second_transaction_inside_one_is_a_mistake_that_is_named(store: SqlStore) -> None:
    with store.transaction() as transaction:
        with pytest.raises(RuntimeError, match="open already"), store.transaction():
            pass
        transaction.put(Document("policy", "a", {}))
    assert store.documents("policy")


def test_what_is_committed_is_there_after_a_restart(store: SqlStore, tmp_path: Path) -> None:
    append(store, put("D1"), Invalidate(configuration_pb2.Invalidation(id="I1", distribution_id="D1", paths=["/*"])))
    again = reopened(store, tmp_path)
    try:
        assert (again.log_id, again.head_index, again.oldest_index) == (store.log_id, 2, 1)
        entries = again.entries_after(0, 10)
        assert [entry.index for entry in entries] == [1, 2]
        assert entries[1].invalidations[0].id == "I1" and entries[1].log_id == store.log_id
        assert entries[0].committed_at.ToNanoseconds() == 1_000_500_000_000
    finally:
        again.close()


def test_a_snapshot_is_what_the_log_amounts_to(store: SqlStore) -> None:
    table = configuration_pb2.RoutingTable(zone="cdn.localhost")
    countries = geo_table_message({"192.0.2.0/24": "US"})
    assert store.published(ROUTING_TABLE) is None and store.snapshot().resources == []
    append(store, put("D1"), put("D2"), put_routing_table(table), put_geo_table(countries), delete_distribution("D1"))
    changed = configuration_pb2.Distribution(id="D2", enabled=True)
    append(store, put_distribution(changed))
    snapshot = store.snapshot()
    assert (snapshot.log_id, snapshot.index) == (store.log_id, 6)
    assert snapshot.digest == store.entries_after(5, 1)[0].digest
    assert list(snapshot.resources) == [
        resource_message(changed, 6),
        resource_message(table, 3),
        resource_message(countries, 4),
    ]
    assert store.published(ROUTING_TABLE) == table.SerializeToString()
    other = geo_table_message({})
    append(store, put_geo_table(other))
    assert bodies_in(store.snapshot(), configuration_pb2.GeoTable) == [other]


BEHAVIOR = behavior_message()
(POLICY,) = policies_of(distribution_message(origin_message("h", 80), BEHAVIOR))


def using_policy(identifier: str) -> Put:
    return put_distribution(configuration_pb2.Distribution(id=identifier, default_behavior=BEHAVIOR))


def test_the_changes_of_an_entry_hold_as_a_whole(store: SqlStore) -> None:
    with store.transaction() as transaction:
        index = transaction.append(using_policy("D1"), put_cache_policy(POLICY), using_policy("D2"))
    (entry,) = store.entries_after(0, 10)
    assert (entry.index, [change.put.id for change in entry.changes]) == (index, ["D1", POLICY.id, "D2"])
    assert {resource.revision for resource in store.snapshot().resources} == {index}
    with store.transaction() as transaction:
        name = cache_policy_name(POLICY.id)
        assert transaction.references_of(distribution_name("D1")) == [name]
        assert sorted(each.identifier for each in transaction.referring_to(name)) == ["D1", "D2"]


def test_nothing_refers_to_what_is_not_there(store: SqlStore) -> None:
    with pytest.raises(BrokenReferenceError, match=f"distribution D1 refers to cache_policy {POLICY.id}"):
        append(store, using_policy("D1"))
    with store.transaction() as transaction:
        transaction.append(put_cache_policy(POLICY), using_policy("D1"))
    with pytest.raises(BrokenReferenceError, match="distribution D1 would refer"):
        append(store, Delete(cache_policy_name(POLICY.id)))
    assert store.head_index == 1 and len(store.snapshot().resources) == 2
    with store.transaction() as transaction:
        transaction.append(Delete(cache_policy_name(POLICY.id)), delete_distribution("D1"))
    assert store.snapshot().resources == []


@pytest.mark.parametrize(
    "changes",
    [
        (put("D1"), put("D1")),
        (put("D1"), delete_distribution("D1")),
        tuple(Invalidate(configuration_pb2.Invalidation(id=each, paths=["/*"])) for each in ("I1", "I2")),
    ],
)
def test_an_entry_that_would_not_mean_one_thing_is_a_mistake(store: SqlStore, changes: tuple[Change, ...]) -> None:
    with pytest.raises(ValueError, match=r"twice|two invalidations"), store.transaction() as transaction:
        transaction.append(*changes)
    assert store.head_index == 0


def test_the_log_is_trimmed_and_the_snapshot_is_not(store: SqlStore, tmp_path: Path) -> None:
    for number in range(25):
        append(store, put(f"D{number}"))
    assert 10 <= store.head_index - store.oldest_index + 1 <= 12
    assert store.entries_after(0, 100)[0].index == store.oldest_index
    assert len(store.snapshot().resources) == 25
    again = reopened(store, tmp_path)
    try:
        assert (again.oldest_index, again.head_index) == (store.oldest_index, 25)
    finally:
        again.close()


def test_the_digest_of_every_position_that_gets_entries_is_known_also_when_older_ones_are_trimmed(
    store: SqlStore, tmp_path: Path
) -> None:
    assert store.digest_at(0) == b"" == store.snapshot().digest and store.digest_at(1) is None
    told: list[bytes] = []
    store.subscribe(lambda committed, _now: told.append(committed.entry.digest))
    append(store, put("D1"), put("D2"))
    for number in range(3, 26):
        append(store, put(f"D{number}"))
    before_the_oldest = store.oldest_index - 1
    assert before_the_oldest > 0 and len(set(told)) == 25
    again = reopened(store, tmp_path)
    try:
        for index in range(before_the_oldest, 26):
            assert again.digest_at(index) == told[index - 1]
        assert again.digest_at(before_the_oldest - 1) is None and again.digest_at(26) is None
        assert again.digest_at(2**64 - 1) is None
        assert [entry.digest for entry in again.entries_after(before_the_oldest, 99)] == told[before_the_oldest:]
    finally:
        again.close()


def test_two_copies_of_a_database_that_go_on_have_other_digests_from_there(store: SqlStore, tmp_path: Path) -> None:
    append(store, put("D1"))
    (tmp_path / "copy").mkdir()
    live, copy = (sqlite3.connect(folder / DATABASE_NAME) for folder in (tmp_path, tmp_path / "copy"))
    with contextlib.closing(live), contextlib.closing(copy):
        live.backup(copy)
    with contextlib.closing(SqlStore(tmp_path / "copy", lambda: 2_000.0)) as other:
        append(store, put("D2"))
        append(other, put("D2"))
        assert other.log_id == store.log_id and other.digest_at(1) == store.digest_at(1)
        assert other.digest_at(2) != store.digest_at(2)


def test_the_history_of_a_database_without_digests_begins_at_its_head(store: SqlStore, tmp_path: Path) -> None:
    """As one is that an earlier version has written: nodes that come with a position in it get a snapshot, once."""
    append(store, put("D1"), put("D2"))
    with store.writing() as connection:
        connection.execute(delete(tables.digests))
    again = reopened(store, tmp_path)
    try:
        assert (again.digest_at(1), again.digest_at(2)) == (None, b"")
        append(again, put("D3"))
        assert again.digest_at(3) == again.snapshot().digest != b""
    finally:
        again.close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^cannot use the folder .*/file: File exists$"):
        SqlStore(tmp_path / "file", lambda: 0.0)


def test_the_database_is_in_its_folder_whatever_that_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20c?mode=ro#d"
    with contextlib.closing(SqlStore(folder, lambda: 0.0)) as store:
        append(store, put("E1"))
    assert (folder / "control-plane.sqlite3").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "control-plane.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(
        StoreError, match=r"^cannot use the database .*/control-plane\.sqlite3: file is not a database$"
    ):
        SqlStore(tmp_path, lambda: 0.0)


def test_a_full_disk_refuses_the_change_and_says_so(store: SqlStore, tmp_path: Path) -> None:
    append(store, put("before"))
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to be full
    large = Document("note", "large", {"text": "x" * 1_000_000})
    reason = rf"^cannot write to the database {tmp_path}/control-plane\.sqlite3: database or disk is full$"
    with pytest.raises(StoreError, match=reason):
        put_both(store, large, put("after"))
    assert store.head_index == 1 and store.documents("note") == []
    assert store.trouble is not None and re.search(reason, store.trouble.reason)
    with store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    with store.transaction() as transaction:
        transaction.put(large)
    assert store.documents("note") == [large]


def test_a_full_disk_is_said_once_until_something_was_really_written(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreError), store.writing():
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    with store.transaction():
        pass  # succeeds on a full disk too
    with pytest.raises(StoreError), store.writing():
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert len(caplog.messages) == 1 and has_trouble(store)
    store.try_to_write()
    assert not has_trouble(store) and "takes writes again" in caplog.messages[1] and len(caplog.messages) == 2


def test_a_database_that_cannot_be_read_is_named(store: SqlStore) -> None:
    with pytest.raises(StoreError, match=r"cannot read the database .*: disk I/O error"), store.reading():
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))


def test_somebody_elses_lock_holds_a_write_up_for_a_moment_only(store: SqlStore, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "control-plane.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            append(store, put("D1"))
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == LOCKED_MILLISECONDS
    assert append(store, put("D1")) == [1]


def test_who_waits_to_write_is_next_however_often_another_process_writes(store: SqlStore, tmp_path: Path) -> None:
    """With SQLite's own lock whoever has just written asks again at once, and whoever waits sleeps ever longer."""
    code = "import sys, time; from pathlib import Path; from control_plane.store import SqlStore; from control_plane.state import Document\n"
    code += "store = SqlStore(Path(sys.argv[1]), lambda: 0.0, busy_milliseconds=5_000)\nprint('writes', flush=True)\n"
    code += "while True:\n    with store.transaction() as t:\n        t.put(Document('other', 'x', {}))\n        time.sleep(0.02)\n"
    busy = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None and busy.stdout.readline() == b"writes\n"
        for number in range(30):
            append(store, put(f"D{number}"))  # StoreError when it waits for longer than LOCKED_MILLISECONDS
    finally:
        busy.kill()
        busy.wait()
        assert busy.stdout is not None
        busy.stdout.close()


def test_what_another_process_has_committed_is_told_once_and_in_order(store: SqlStore, tmp_path: Path) -> None:
    told: list[int] = []
    store.subscribe(lambda committed, _now: told.append(committed.entry.index))
    with contextlib.closing(SqlStore(tmp_path, lambda: 1_000.0)) as other:
        append(other, put("D1"), put("D2"))
        store.catch_up()
        append(other, put("D3"))
        append(store, put("D4"))
    store.catch_up()
    assert told == [1, 2, 3, 4] and store.head_index == 4


def test_a_log_that_was_trimmed_past_what_was_read_is_noticed(store: SqlStore, tmp_path: Path) -> None:
    with contextlib.closing(SqlStore(tmp_path, lambda: 1_000.0, retained_entries=2)) as other:
        append(other, *(put(f"D{number}") for number in range(10)))
    with pytest.raises(LogGapError):
        store.catch_up()
    store.start_at_head()
    store.catch_up()
    assert store.head_index == 10


def test_a_view_changes_nothing(store: SqlStore) -> None:
    append(store, put("D1"))
    with pytest.raises(StoreError, match="readonly"), store.view() as view:
        view.put(Document("policy", "a", {}))
    assert store.documents("policy") == []
