"""Versions of the database, and the steps between them. What the tables are now is in `tables.py`.

The version is SQLite's own (`PRAGMA user_version`). A step is written against the tables of its time, never against those of `tables.py`, which go on. All steps that a
database lacks are one transaction: a control plane that is killed meanwhile finds the old database.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, inspect

from control_plane import tables
from control_plane.state import StoreError

FIRST_VERSION = 1
"""Of databases that have tables and no number: there were no versions then."""

VERSION = 3

_Row = dict[str, Any]


def prepare(connection: Connection) -> None:
    """Create the tables of an empty database, or bring those of an older version up to date. StoreError when it is of a newer one. Nothing is written when nothing
    is to be done, so that a control plane starts on a full disk."""
    if not inspect(connection).has_table(tables.meta.name):
        tables.metadata.create_all(connection)
        _set_version(connection)
        return
    version = max(FIRST_VERSION, connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > VERSION:
        raise StoreError(f"is of version {version}, and this control plane knows none after {VERSION}")
    for older in range(version, VERSION):
        _UPGRADES[older](connection)
    if version < VERSION:
        _set_version(connection)


def _set_version(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _invalidations_as_rows(connection: Connection) -> None:
    """1 to 2: the invalidations of a distribution, which were one document for each and a list of all of them, are rows; receipts that wait are found by an
    index, and old ones are gone; entries have digests."""
    for statement in _VERSION_2:
        connection.exec_driver_sql(statement)
    bodies = "SELECT identifier, body FROM documents WHERE kind = ?"
    remembered = {row.identifier: row.body for row in connection.exec_driver_sql(bodies, ("invalidation",))}
    for distribution_id, history in connection.exec_driver_sql(bodies, ("invalidation_history",)).all():
        for number, entry in enumerate(json.loads(history)["entries"], 1):
            row = (distribution_id, number, *_columns(entry, json.loads(remembered[entry["id"]])))
            connection.exec_driver_sql("INSERT INTO invalidations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.exec_driver_sql("DELETE FROM documents WHERE kind IN ('invalidation', 'invalidation_history')")


def _columns(entry: _Row, record: _Row) -> tuple[object, ...]:
    return (
        entry["index"], entry["id"], entry["caller_reference"], entry["created_at"],
        entry["file_paths"], entry["wildcard_paths"], json.dumps(record["paths"]),
    )  # fmt: skip


_VERSION_2 = (
    """
    CREATE TABLE invalidations (
        distribution_id VARCHAR NOT NULL,
        number INTEGER NOT NULL,
        "index" INTEGER NOT NULL,
        identifier VARCHAR NOT NULL,
        caller_reference VARCHAR NOT NULL,
        created_at VARCHAR NOT NULL,
        file_paths INTEGER NOT NULL,
        wildcard_paths INTEGER NOT NULL,
        paths TEXT NOT NULL,
        PRIMARY KEY (distribution_id, number),
        UNIQUE (distribution_id, "index"),
        UNIQUE (distribution_id, caller_reference),
        UNIQUE (identifier)
    )
    """,
    'CREATE INDEX receipts_pending ON receipts ("index") WHERE completed_at IS NULL',
    'DELETE FROM receipts WHERE "index" <= (SELECT max("index") FROM receipts WHERE completed_at IS NOT NULL) - 10000',
    'CREATE TABLE digests ("index" INTEGER NOT NULL, digest BLOB NOT NULL, PRIMARY KEY ("index"))',
    "UPDATE nodes SET rejections = '[]'",  # named no resources; nodes say them again when they connect
)


def _times_have_clocks(connection: Connection) -> None:
    """2 to 3: which clock the times of receipts and nodes are of. Those of before have none: they are seconds since the epoch, and compared with nothing."""
    for table, column in (("receipts", "issued_clock"), ("receipts", "completed_clock"), ("nodes", "clock")):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")


_UPGRADES: Mapping[int, Callable[[Connection], None]] = {1: _invalidations_as_rows, 2: _times_have_clocks}
"""By the version that each begins with."""
