"""Versions of the database, and the steps between them. What the tables are now is in `tables.py`.

The version is SQLite's own (`PRAGMA user_version`). A step is written against the tables of its time, never against those of `tables.py`, which go on. All steps that a
database lacks are one transaction: a control plane that is killed meanwhile finds the old database.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet
from sqlalchemy import Connection, inspect

from control_plane import tables
from control_plane.state import StoreError
from proto.cdn.v1 import configuration_pb2

FIRST_VERSION = 1
"""Of databases that have tables and no number: there were no versions then."""

VERSION = 4

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


def _resources_with_revisions(connection: Connection) -> None:
    """2 to 3: resources have revisions and refer to each other; cache policies, of which distributions carried copies, are resources of their own.

    Entries of before cannot be read any more. The log goes on at the next index with another history, so that every node gets a snapshot, also one of before.
    """
    head = connection.exec_driver_sql(
        'SELECT max("index") FROM (SELECT "index" FROM log UNION ALL SELECT "index" FROM digests)'
    ).scalar_one()
    old = connection.exec_driver_sql("SELECT kind, identifier, resource FROM resources").all()
    for statement in _VERSION_3:
        connection.exec_driver_sql(statement)
    if head is None:
        return
    digest = hashlib.blake2b(b"resources with revisions" + secrets.token_bytes(16), digest_size=16).digest()
    connection.exec_driver_sql("INSERT INTO digests VALUES (?, ?)", (head, digest))
    for revision, (kind, identifier, body, targets) in enumerate(_separated(old), 1):
        row = (kind, identifier, min(revision, head), body)  # apart, so that one which a node refuses is refused alone
        connection.exec_driver_sql("INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?)", row)
        for target in targets:
            reference = (kind, identifier, _CACHE_POLICY, target)
            connection.exec_driver_sql("INSERT INTO resource_references VALUES (?, ?, ?, ?)", reference)


_DISTRIBUTION, _ROUTING_TABLE, _GEO_TABLE, _CACHE_POLICY = 1, 2, 3, 4
_KINDS_BEFORE = {"distribution": _DISTRIBUTION, "routing_table": _ROUTING_TABLE, "geo_table": _GEO_TABLE}
_COPIED_POLICY_FIELD = 5
"""Of a behavior."""


def _separated(old: Iterable[Sequence[Any]]) -> Iterator[tuple[int, str, bytes, list[str]]]:
    """Resources as they are now, each with the ids of the policies that it refers to."""
    for kind_name, identifier, body in old:
        kind = _KINDS_BEFORE[kind_name]
        if kind != _DISTRIBUTION:
            yield kind, identifier, body, []
            continue
        distribution = configuration_pb2.Distribution.FromString(body)
        policies = {}
        for behavior in (distribution.default_behavior, *distribution.behaviors):
            for unknown in UnknownFieldSet(behavior):  # type: ignore[attr-defined]  # the stubs do not know that it is a sequence
                if unknown.field_number == _COPIED_POLICY_FIELD:
                    policy = configuration_pb2.CachePolicy.FromString(unknown.data)
                    behavior.cache_policy_id = policy.id
                    policies[policy.id] = policy.SerializeToString(deterministic=True)
        distribution.DiscardUnknownFields()
        for policy_id, policy_body in policies.items():
            yield _CACHE_POLICY, policy_id, policy_body, []
        yield kind, identifier, distribution.SerializeToString(deterministic=True), sorted(policies)


_VERSION_3 = (
    "DELETE FROM log",
    "DELETE FROM digests",
    "DROP TABLE resources",
    """
    CREATE TABLE resources (
        kind INTEGER NOT NULL,
        identifier VARCHAR NOT NULL,
        revision INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, identifier)
    )
    """,
    """
    CREATE TABLE resource_references (
        kind INTEGER NOT NULL,
        identifier VARCHAR NOT NULL,
        target_kind INTEGER NOT NULL,
        target_identifier VARCHAR NOT NULL,
        PRIMARY KEY (kind, identifier, target_kind, target_identifier)
    )
    """,
    "CREATE INDEX references_by_target ON resource_references (target_kind, target_identifier)",
)


def _times_have_clocks(connection: Connection) -> None:
    """3 to 4: which clock the times of receipts and nodes are of. Those of before have none: they are seconds since the epoch, and compared with nothing."""
    for table, column in (("receipts", "issued_clock"), ("receipts", "completed_clock"), ("nodes", "clock")):
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")


_UPGRADES: Mapping[int, Callable[[Connection], None]] = {
    1: _invalidations_as_rows,
    2: _resources_with_revisions,
    3: _times_have_clocks,
}
"""By the version that each begins with."""
