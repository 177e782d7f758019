"""Statements over the log and the documents that need nothing but a connection; whoever runs them says in which transaction."""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, select

from control_plane import tables
from control_plane.state import Document
from proto.log_position import LogPosition


def read_oldest_index(connection: Connection) -> int | None:
    """Of the oldest entry that is retained; None of a log without entries."""
    oldest: int | None = connection.execute(select(func.min(tables.log.c.index))).scalar_one()
    return oldest


LOG_ID: Final = "log_id"
"""The key of the log's identity in `meta`."""


def read_log_id(connection: Connection) -> str:
    """Of the log; a restored copy gets another one."""
    identity: str = connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == LOG_ID)).scalar_one()
    return identity


def read_documents(connection: Connection, kind: str) -> Sequence[Document]:
    """Documents of one kind, in the order in which they were created."""
    documents = tables.documents.c
    query = select(documents.identifier, documents.body).where(documents.kind == kind).order_by(documents.sequence)
    return [Document(kind, identifier, json.loads(body)) for identifier, body in connection.execute(query)]


def read_head_index(connection: Connection) -> int:
    """The newest index; the log is never trimmed to nothing."""
    head: int | None = connection.execute(select(func.max(tables.log.c.index))).scalar_one()
    return head or 0


def read_head(connection: Connection, log_id: str) -> LogPosition:
    """Where the log ends; there is a digest for it from the beginning."""
    digests = tables.digests.c
    newest = select(func.max(digests.index)).scalar_subquery()
    index, digest = connection.execute(select(digests.index, digests.digest).where(digests.index == newest)).one()
    return LogPosition(log_id, index, digest)
