"""A database of an older version becomes one of this version as a whole or not at all."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from benchmarks.postgres_server import Server
from control_plane import postgres as postgres_module
from control_plane import schema, tables
from control_plane.database import DATABASE_NAME, SqliteDatabase
from control_plane.ledger import SqlLedger
from control_plane.migrations.upgrade import upgrade
from control_plane.resource_kinds import put_cache_policy
from control_plane.state import StoreError
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2
from proto.resources import cache_policy_name
from tests.builders import bodies_in, distributions_in

pytest_plugins = ("tests.postgres",)

FIRST_TABLES = """
CREATE TABLE documents (
    sequence INTEGER NOT NULL, kind VARCHAR NOT NULL, identifier VARCHAR NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (sequence), UNIQUE (kind, identifier)
);
CREATE TABLE log ("index" INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY ("index"));
CREATE TABLE meta ("key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE nodes (
    identifier VARCHAR NOT NULL, role INTEGER NOT NULL, region VARCHAR NOT NULL, pop VARCHAR NOT NULL, http_address VARCHAR NOT NULL,
    admin_address VARCHAR NOT NULL, acknowledged_index INTEGER NOT NULL, lease_seconds FLOAT NOT NULL, last_seen FLOAT NOT NULL,
    unleased_since FLOAT NOT NULL, has_left INTEGER NOT NULL, rejections TEXT NOT NULL, PRIMARY KEY (identifier)
);
CREATE TABLE receipts (
    "index" INTEGER NOT NULL, invalidation_id VARCHAR NOT NULL, distribution_id VARCHAR NOT NULL, paths TEXT NOT NULL, issued_at FLOAT NOT NULL,
    completed_at FLOAT, nodes TEXT, PRIMARY KEY ("index"), UNIQUE (invalidation_id)
);
CREATE TABLE resources (kind VARCHAR NOT NULL, identifier VARCHAR NOT NULL, resource BLOB NOT NULL, PRIMARY KEY (kind, identifier));
"""
"""As they were when databases had no version."""

CREATED_AT = "2026-11-21T01:02:03.000004+00:00"


def write_first_version(folder: Path) -> Path:
    """Three invalidations of two distributions, of which the last is in progress, and a receipt that is very old."""
    path = folder / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(FIRST_TABLES)
        database.execute("INSERT INTO meta VALUES ('log_id', 'log-1')")
        database.executemany("INSERT INTO log VALUES (?, ?)", [(20_000, b""), (20_001, b""), (20_002, b"")])
        rows = [(number, "E1" if number < 20_002 else "E2") for number in (20_000, 20_001, 20_002)]
        for index, distribution_id in rows:
            body = {
                "id": f"I{index}",
                "distribution_id": distribution_id,
                "index": index,
                "paths": ["/a", f"/{index}*"],
            }
            body |= {"caller_reference": f"r{index}", "created_at": CREATED_AT}
            put(database, "invalidation", f"I{index}", body)
            completed_at = 1_000.5 if index < 20_002 else None
            insert_receipt(database, index, distribution_id, completed_at)
        insert_receipt(database, 5, "E1", 900.0)
        for distribution_id in ("E1", "E2"):
            entries = [entry(index) for index, owner in rows if owner == distribution_id]
            put(database, "invalidation_history", distribution_id, {"entries": entries})
            put(database, "distribution", distribution_id, {"id": distribution_id})
        database.commit()
    return path


def entry(index: int) -> dict[str, object]:
    counted = {"file_paths": 1, "wildcard_paths": 1}
    return {"id": f"I{index}", "index": index, "created_at": CREATED_AT, "caller_reference": f"r{index}", **counted}


def put(database: sqlite3.Connection, kind: str, identifier: str, body: dict[str, object]) -> None:
    row = (kind, identifier, json.dumps(body))
    database.execute("INSERT INTO documents (kind, identifier, body) VALUES (?, ?, ?)", row)


def insert_receipt(database: sqlite3.Connection, index: int, distribution_id: str, completed_at: float | None) -> None:
    lines = None if completed_at is None else "[]"
    row = (index, f"I{index}", distribution_id, '["/a"]', 800.0, completed_at, lines)
    database.execute("INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def shape_of(path: Path) -> dict[str, object]:
    """Columns and indexes of each table, however they were written down."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        shape: dict[str, object] = {}
        for name in sorted(names):
            columns = database.execute(f"PRAGMA table_info({name})").fetchall()
            indexes = database.execute(f"PRAGMA index_list({name})").fetchall()
            keys = [database.execute(f"PRAGMA index_info({index[1]})").fetchall() for index in indexes]
            facts = sorted((tuple(key), index[2:]) for key, index in zip(keys, indexes, strict=True))
            shape[name] = (columns, facts)
        return shape


def version_of(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
        return version


def revisions_of(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [revision for (revision,) in database.execute("SELECT version_num FROM alembic_version")]


def content_of(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_a_database_without_a_version_gets_everything_that_it_lacks(tmp_path: Path) -> None:
    path = write_first_version(tmp_path)
    with contextlib.closing(SqlStore(tmp_path, lambda: 2_000.0)) as store:
        with store.transaction() as transaction:
            listed = [summary.id for summary in transaction.invalidations.newest("E1", 10)]
            assert listed == ["I20001", "I20000"]
            record = transaction.invalidations.with_reference("E2", "r20002")
            assert record is not None and record.paths == ("/a", "/20002*") and record.index == 20_002
            assert record.created_at.isoformat() == CREATED_AT
            assert transaction.list("invalidation") == transaction.list("invalidation_history") == []
            assert [document.identifier for document in transaction.list("distribution")] == ["E1", "E2"]
            assert transaction.invalidations.in_progress("E2", 20_001).batches == 1
        ledger = SqlLedger(store)
        assert (store.log_id, store.head_index) == ("log-1", 20_002)
        assert [pending.index for pending in ledger.pending_invalidations()] == [20_002]
        assert ledger.receipt("I20001") is not None and ledger.receipt("I5") is None
    assert version_of(path) == schema.VERSION and revisions_of(path) == [schema.HEAD]
    SqlStore(tmp_path, lambda: 2_000.0).close()


def test_a_database_with_the_row_of_an_older_revision_beside_its_own_is_opened(tmp_path: Path) -> None:
    """As upgrades have left it."""
    SqlStore(tmp_path, lambda: 2_000.0).close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as database:
        database.execute("INSERT INTO alembic_version VALUES ('0003')")
        database.commit()
    SqlStore(tmp_path, lambda: 2_000.0).close()


def test_an_upgraded_database_has_the_shape_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    write_first_version(tmp_path)
    for folder in (tmp_path, tmp_path / "new"):
        SqlStore(folder, lambda: 2_000.0).close()
    assert shape_of(tmp_path / DATABASE_NAME) == shape_of(tmp_path / "new" / DATABASE_NAME)
    assert version_of(tmp_path / "new" / DATABASE_NAME) == schema.VERSION


def test_an_upgrade_that_fails_in_its_middle_leaves_the_old_database(tmp_path: Path) -> None:
    path = write_first_version(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE documents SET body = '{' WHERE kind = 'invalidation_history' AND identifier = 'E2'")
        database.commit()
    before = content_of(path)
    with pytest.raises(ValueError, match="Expecting"):
        SqlStore(tmp_path, lambda: 2_000.0)
    assert content_of(path) == before and version_of(path) == 0


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    SqlStore(tmp_path, lambda: 2_000.0).close()
    path = tmp_path / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreError, match=rf"cannot use the database .* it is of version {schema.VERSION + 1}, and "):
        SqlStore(tmp_path, lambda: 2_000.0)
    assert version_of(path) == schema.VERSION + 1


def test_a_start_with_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    SqlStore(tmp_path, lambda: 2_000.0).close()
    store = SqlStore(tmp_path, lambda: 2_000.0)
    with contextlib.closing(store), store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT total_changes()").scalar_one() == 0


def old_distribution(identifier: str, *policies: configuration_pb2.CachePolicy) -> bytes:
    """As it was when each behavior carried a copy of its policy, in field 5."""
    behaviors = []
    for policy in policies:
        copied = policy.SerializeToString()
        behaviors.append(configuration_pb2.Behavior.FromString(b"\x2a%c" % len(copied) + copied))
    message = configuration_pb2.Distribution(id=identifier, behaviors=behaviors[:-1], default_behavior=behaviors[-1])
    return message.SerializeToString()


def test_policies_that_distributions_carried_become_resources_that_they_refer_to(tmp_path: Path) -> None:
    one, two = (configuration_pb2.CachePolicy(id=f"P{n}", default_ttl_seconds=n) for n in (1, 2))
    path = write_first_version(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        for identifier, policies in (("E1", (one, two)), ("E2", (two,))):
            row = ("distribution", identifier, old_distribution(identifier, *policies))
            database.execute("INSERT INTO resources VALUES (?, ?, ?)", row)
        database.execute("INSERT INTO resources VALUES ('routing_table', '', ?)", (b"",))
        database.commit()
    with contextlib.closing(SqlStore(tmp_path, lambda: 2_000.0)) as store:
        snapshot = store.snapshot()
        assert bodies_in(snapshot, configuration_pb2.CachePolicy) == [one, two]
        first, second = distributions_in(snapshot)
        assert [each.cache_policy_id for each in (*first.behaviors, first.default_behavior)] == ["P1", "P2"]
        assert second.default_behavior.cache_policy_id == "P2"
        with store.transaction() as transaction:
            users = transaction.referring_to(cache_policy_name("P2"))
        assert sorted(user.identifier for user in users) == ["E1", "E2"]
        assert (snapshot.index, store.entries_after(0, 10)) == (20_002, [])
        assert snapshot.digest and store.digest_at(20_002) == snapshot.digest and store.digest_at(20_001) is None
        with store.transaction() as transaction:
            assert transaction.append(put_cache_policy(one)) == 20_003


def test_a_database_of_an_unknown_revision_is_left_alone(tmp_path: Path) -> None:
    SqlStore(tmp_path, lambda: 2_000.0).close()
    path = tmp_path / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    before = content_of(path)
    with pytest.raises(StoreError, match=rf"it is of revision 9999, and .* knows none after {schema.HEAD}"):
        SqlStore(tmp_path, lambda: 2_000.0)
    assert content_of(path) == before


def write_version(folder: Path, version: int) -> Path:
    """As the control plane of that version made it: with the number, and without revisions."""
    path = folder / DATABASE_NAME
    with contextlib.closing(SqliteDatabase(path)) as database, database.engine.begin() as connection:
        upgrade(connection, "base", f"{version:04}")
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql("INSERT INTO meta VALUES ('log_id', 'log-1')")
        connection.exec_driver_sql("INSERT INTO digests VALUES (6, x'01')")
        connection.exec_driver_sql("INSERT INTO log VALUES (7, x'')")
        connection.exec_driver_sql("INSERT INTO digests VALUES (7, x'02')")
        connection.exec_driver_sql("INSERT INTO documents VALUES (1, 'distribution', 'E1', '{}')")
        database.set_version(connection, version)
    return path


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_version_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    path = write_version(tmp_path, version)
    with contextlib.closing(sqlite3.connect(path)) as database:
        body = old_distribution("E1", configuration_pb2.CachePolicy(id="P1"))
        if version == 2:
            database.execute("INSERT INTO resources VALUES ('distribution', 'E1', ?)", (body,))
        else:
            database.execute("INSERT INTO resources VALUES (4, 'P1', 7, x'')")
        times = [5.0, None, None, None, None][: 3 if version < 4 else 5]
        row = (7, "I7", "E1", "[]", *times)
        database.execute(f"INSERT INTO receipts VALUES ({', '.join('?' * len(row))})", row)
        database.commit()
    with contextlib.closing(SqlStore(tmp_path, lambda: 2_000.0)) as store:
        assert [document.identifier for document in store.documents("distribution")] == ["E1"]
        assert (store.log_id, store.head_index) == ("log-1", 7) and not store.is_new
        assert store.digest_at(7) is not None and (store.digest_at(7) == b"\x02") == (version > 2)
        assert store.published(cache_policy_name("P1")) is not None
        assert [pending.issued_at for pending in SqlLedger(store).pending_invalidations()] == [5.0]
        assert SqlLedger(store).complete_up_to() == 6
    assert revisions_of(path) == [schema.HEAD]
    SqlStore(tmp_path, lambda: 2_000.0).close()  # the process of the management API opens it next
    (tmp_path / "new").mkdir()
    SqlStore(tmp_path / "new", lambda: 2_000.0).close()
    assert shape_of(path) == shape_of(tmp_path / "new" / DATABASE_NAME)
    assert version_of(path) == schema.VERSION


def test_all_steps_together_make_the_tables_of_today_in_postgresql_too(postgres: Server) -> None:
    shapes = []
    for has_steps in (True, False):
        address = postgres.create()
        with contextlib.closing(postgres_module.PostgresDatabase(address, 5.0)) as database:
            with database.engine.begin() as connection:
                if has_steps:
                    upgrade(connection, "base", schema.HEAD)
                else:
                    schema.prepare(connection, database)
            shapes.append(postgres_shape(database.engine))
        postgres.drop(address)
    assert shapes[0] == shapes[1] and len(shapes[0]) == len(tables.metadata.tables)


def postgres_shape(engine: Engine) -> dict[str, object]:
    """Columns, keys and indexes of each table."""
    found = inspect(engine)
    return {
        name: (
            sorted((column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(name)),
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(unique["column_names"] for unique in found.get_unique_constraints(name)),
            sorted((str(index["name"]), index["column_names"]) for index in found.get_indexes(name)),
        )
        for name in found.get_table_names()
    }
