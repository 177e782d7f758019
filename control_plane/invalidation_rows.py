"""The invalidations that the management API remembers, as rows: see state.Invalidations. Every statement finds its rows by an index, and none touches more of them the
longer the history of a distribution is."""

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select

from control_plane import tables
from control_plane.state import InvalidationRecord, InvalidationsInProgress, InvalidationSummary

_rows = tables.invalidations
_columns = tables.invalidations.c


class SqlInvalidations:
    """See state.Invalidations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, record: InvalidationRecord) -> None:
        """See state.Invalidations."""
        values = {
            "distribution_id": record.distribution_id,
            "number": _newest_number(record.distribution_id) + 1,
            "index": record.index,
            "identifier": record.id,
            "caller_reference": record.caller_reference,
            "created_at": record.created_at.isoformat(),
            "file_paths": record.file_paths,
            "wildcard_paths": record.wildcard_paths,
            "paths": json.dumps(record.paths),
        }
        self._connection.execute(insert(_rows).values(values))

    def get(self, identifier: str) -> InvalidationRecord | None:
        """See state.Invalidations."""
        return self._one(_columns.identifier == identifier)

    def with_reference(self, distribution_id: str, caller_reference: str) -> InvalidationRecord | None:
        """See state.Invalidations."""
        return self._one(_columns.distribution_id == distribution_id, _columns.caller_reference == caller_reference)

    def newest(
        self, distribution_id: str, limit: int, before_index: int | None = None
    ) -> Sequence[InvalidationSummary]:
        """See state.Invalidations."""
        query = select(_columns.identifier, _columns.index, _columns.created_at)
        query = query.where(_columns.distribution_id == distribution_id)
        if before_index is not None:
            query = query.where(_columns.index < before_index)
        found = self._connection.execute(query.order_by(_columns.index.desc()).limit(limit))
        return [InvalidationSummary(identifier, index, datetime.fromisoformat(at)) for identifier, index, at in found]

    def in_progress(self, distribution_id: str, completed_index: int) -> InvalidationsInProgress:
        """See state.Invalidations."""
        query = select(func.count(), func.sum(_columns.file_paths), func.sum(_columns.wildcard_paths))
        query = query.where(_columns.distribution_id == distribution_id, _columns.index > completed_index)
        batches, file_paths, wildcard_paths = self._connection.execute(query).one()
        return InvalidationsInProgress(batches, file_paths or 0, wildcard_paths or 0)

    def forget_oldest(self, distribution_id: str, retained: int, completed_index: int) -> None:
        """See state.Invalidations."""
        self._connection.execute(
            delete(_rows).where(
                _columns.distribution_id == distribution_id,
                _columns.number <= _newest_number(distribution_id) - retained,
                _columns.index <= completed_index,
            )
        )

    def forget_all(self, distribution_id: str) -> None:
        """See state.Invalidations."""
        self._connection.execute(delete(_rows).where(_columns.distribution_id == distribution_id))

    def _one(self, *conditions: ColumnElement[bool]) -> InvalidationRecord | None:
        row = self._connection.execute(select(_rows).where(*conditions)).mappings().one_or_none()
        return None if row is None else _to_record(row)


def _newest_number(distribution_id: str) -> ColumnElement[int]:
    """0 of a distribution without any; part of a statement."""
    newest = select(func.coalesce(func.max(_columns.number), 0)).where(_columns.distribution_id == distribution_id)
    return newest.scalar_subquery()


def _to_record(row: RowMapping) -> InvalidationRecord:
    return InvalidationRecord(
        id=row["identifier"],
        distribution_id=row["distribution_id"],
        index=row["index"],
        paths=tuple(json.loads(row["paths"])),
        caller_reference=row["caller_reference"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )
