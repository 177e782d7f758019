"""Statements over the log and the documents that need nothing but a connection; whoever runs them says in which transaction."""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select

from control_plane import tables
from control_plane.change_log import EMPTY_HISTORY, CommittedEntry
from control_plane.clock_columns import foreign_clock
from control_plane.receipts import IssuedInvalidation
from control_plane.state import Document
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.moments import ClockAnchor


def read_oldest_index(connection: Connection) -> int | None:
    """Of the oldest entry that is retained; None of a log without entries."""
    oldest: int | None = connection.execute(select(func.min(tables.log.c.index))).scalar_one()
    return oldest


LOG_ID: Final = "log_id"
"""The key of the log's identity in `meta`."""

SETTLED_INDEX: Final = "settled_index"
"""The key, in `meta`, of an index up to which all nodes with a lease have acknowledged the log; saved later than it is so (`ledger.py`)."""


def read_log_id(connection: Connection) -> str:
    """Of the log; a restored copy gets another one."""
    identity: str = connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == LOG_ID)).scalar_one()
    return identity


def read_documents(connection: Connection, kind: str) -> Sequence[Document]:
    """Documents of one kind, in the order in which they were created."""
    documents = tables.documents.c
    query = select(documents.identifier, documents.body).where(documents.kind == kind).order_by(documents.sequence)
    return [Document(kind, identifier, json.loads(body)) for identifier, body in connection.execute(query)]


def begin_history(connection: Connection) -> None:
    """Of a database that is just being made, and of one whose digests are gone: nodes that stand elsewhere than at the head get a snapshot."""
    if connection.execute(select(func.max(tables.digests.c.index))).scalar_one() is None:
        newest = connection.execute(select(func.max(tables.log.c.index))).scalar_one()
        connection.execute(insert(tables.digests).values(index=newest or 0, digest=EMPTY_HISTORY))


def read_head(connection: Connection, log_id: str) -> LogPosition:
    """Where the log ends; there is a digest for it from the beginning."""
    digests = tables.digests.c
    newest = select(func.max(digests.index)).scalar_subquery()
    index, digest = connection.execute(select(digests.index, digests.digest).where(digests.index == newest)).one()
    return LogPosition(log_id, index, digest)


def read_committed(connection: Connection, own: ClockAnchor, index: int, limit: int) -> Sequence[CommittedEntry]:
    """The entries that follow `index`, oldest first, each with its invalidation, if it has one: when that was issued, and by which clock, is in the receipt."""
    log, receipts = tables.log.c, tables.receipts
    columns = [log.entry, receipts.c.distribution_id, receipts.c.invalidation_id, receipts.c.paths]
    joined = tables.log.outerjoin(receipts, receipts.c.index == log.index)
    query = select(*columns, receipts.c.issued_at, receipts.c.issued_clock).select_from(joined)
    rows = connection.execute(query.where(log.index > index).order_by(log.index).limit(limit))
    return [_to_committed(row, own) for row in rows.mappings()]


def _to_committed(row: RowMapping, own: ClockAnchor) -> CommittedEntry:
    entry = sync_pb2.Entry.FromString(row["entry"])
    if row["invalidation_id"] is None:
        return CommittedEntry(entry, None)
    invalidation = IssuedInvalidation(
        identifier=row["invalidation_id"],
        distribution_id=row["distribution_id"],
        index=entry.index,
        paths=tuple(json.loads(row["paths"])),
        issued_at=row["issued_at"],
        clock=foreign_clock(row["issued_clock"], own),
    )
    return CommittedEntry(entry, invalidation)
