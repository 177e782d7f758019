"""The registry of nodes and the receipts, as rows: what `coordination.py` needs to survive kill -9."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import RowMapping, bindparam, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from control_plane import tables
from control_plane.clock_columns import read_clock, write_clock
from control_plane.nodes import NodeDescription, Rejection, Resource, ResourceKind, Role, SavedNode
from control_plane.receipts import IssuedInvalidation, NodeReceipt, Receipt
from control_plane.store import SqlStore
from proto.moments import ClockAnchor

RETAINED_RECEIPTS = 10_000
"""Receipts are kept for so many entries of the log, as entries are for nodes that lag. An older invalidation is complete, and nothing else is known of it."""


REMEMBERED_DIGESTS = 256

_LINE_FIELDS = tuple(line_field.name for line_field in fields(NodeReceipt))


class SqlLedger:
    """See unsaved.Ledger."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._digests: dict[int, bytes | None] = {}
        self._digests_of = (0, 0)
        """Head and oldest index of the log that they are of."""

    @property
    def log_id(self) -> str:
        """See unsaved.Ledger."""
        return self._store.log_id

    @property
    def is_new(self) -> bool:
        """See unsaved.Ledger."""
        return self._store.is_new

    @property
    def head_index(self) -> int:
        """See unsaved.Ledger."""
        return self._store.head_index

    @property
    def completed_index(self) -> int:
        """See unsaved.Ledger."""
        query = select(func.max(tables.receipts.c.index)).where(tables.receipts.c.completed_at.is_not(None))
        with self._store.reading() as connection:
            return connection.execute(query).scalar_one() or 0

    def digest_at(self, index: int) -> bytes | None:
        """See unsaved.Ledger. Thousands of nodes that come back at once stand at the same few positions."""
        store = self._store
        log = store.head_index, store.oldest_index
        if log != self._digests_of:
            self._digests_of = log
            self._digests.clear()
        if index not in self._digests:
            if len(self._digests) >= REMEMBERED_DIGESTS:
                self._digests.clear()
            self._digests[index] = store.digest_at(index)
        return self._digests[index]

    def saved_nodes(self) -> Sequence[SavedNode]:
        """See unsaved.Ledger."""
        with self._store.reading() as connection:
            return [_to_node(row, self._store.time_of) for row in connection.execute(select(tables.nodes)).mappings()]

    def pending_invalidations(self) -> Sequence[IssuedInvalidation]:
        """See unsaved.Ledger."""
        receipts = tables.receipts
        query = select(receipts).where(receipts.c.completed_at.is_(None)).order_by(receipts.c.index)
        with self._store.reading() as connection:
            rows = connection.execute(query).mappings()
            return [_to_invalidation(row, self._clock_of(row["issued_clock"], self._store.anchor)) for row in rows]

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """See unsaved.Ledger."""
        if not (nodes or removed_node_ids or receipts):
            return
        clock = write_clock(self._store.anchor)
        with self._store.writing() as connection:
            if nodes:
                statement = sqlite_insert(tables.nodes)
                replaced = {column.name: column for column in statement.excluded if not column.primary_key}
                upsert = statement.on_conflict_do_update(index_elements=["identifier"], set_=replaced)
                connection.execute(upsert, [_node_row(node) | {"clock": clock} for node in nodes])
            if removed_node_ids:
                connection.execute(delete(tables.nodes).where(tables.nodes.c.identifier.in_(removed_node_ids)))
            if receipts:
                completed = (
                    update(tables.receipts)
                    .where(tables.receipts.c.index == bindparam("of_index"))
                    .values(completed_at=bindparam("at"), nodes=bindparam("lines"), completed_clock=clock)
                )
                connection.execute(completed, [_completion_row(receipt) for receipt in receipts])
                # All before a completed one are complete: nodes apply the log in order.
                oldest_index = receipts[-1].invalidation.index - RETAINED_RECEIPTS
                connection.execute(delete(tables.receipts).where(tables.receipts.c.index <= oldest_index))

    def receipt(self, invalidation_id: str) -> Receipt | None:
        """A receipt as it is stored; one that is not complete has no nodes yet."""
        query = select(tables.receipts).where(tables.receipts.c.invalidation_id == invalidation_id)
        with self._store.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        nodes = _to_lines(json.loads(row["nodes"] or "[]"))
        anchor = self._store.anchor if row["completed_at"] is None else read_clock(row["completed_clock"])
        invalidation = _to_invalidation(row, self._clock_of(row["issued_clock"], anchor))
        return Receipt(invalidation, row["completed_at"], nodes, None if anchor == self._store.anchor else anchor)

    def _clock_of(self, column: str | None, anchor: ClockAnchor) -> ClockAnchor | None:
        """`anchor` also for what another process of its boot has written down. None: this process's."""
        recorded = read_clock(column)
        clock = anchor if anchor.shares_base_with(recorded) else recorded
        return None if clock == self._store.anchor else clock


def _completion_row(receipt: Receipt) -> dict[str, object]:
    lines = json.dumps(_to_columns(receipt.nodes), separators=(",", ":"))
    return {"of_index": receipt.invalidation.index, "at": receipt.completed_at, "lines": lines}


def _to_columns(lines: Sequence[NodeReceipt]) -> dict[str, object]:
    """Of thousands of lines, fifty times a second: a list for each field, and one value where it is the same in all lines, which most are."""
    columns: dict[str, object] = {}
    for name in _LINE_FIELDS:
        values = list(map(attrgetter(name), lines))
        columns[name] = values[0] if len(set(values)) == 1 and name != "node_id" else values
    return columns


def _to_lines(stored: dict[str, Any] | list[dict[str, Any]]) -> tuple[NodeReceipt, ...]:
    """From columns; or from lines, as they were written before."""
    if isinstance(stored, list):
        return tuple(NodeReceipt(**line) for line in stored)
    count = len(stored["node_id"])
    columns = [values if isinstance(values, list) else [values] * count for values in stored.values()]
    return tuple(NodeReceipt(**dict(zip(stored, line, strict=True))) for line in zip(*columns, strict=True))


def _to_invalidation(row: RowMapping, clock: ClockAnchor | None) -> IssuedInvalidation:
    return IssuedInvalidation(
        identifier=row["invalidation_id"],
        distribution_id=row["distribution_id"],
        index=row["index"],
        paths=tuple(json.loads(row["paths"])),
        issued_at=row["issued_at"],
        clock=clock,
    )


def _node_row(node: SavedNode) -> dict[str, object]:
    return asdict(node.description) | {
        "role": int(node.description.role),
        "acknowledged_index": node.acknowledged_index,
        "lease_seconds": node.lease_seconds,
        "last_seen": node.last_seen,
        "unleased_since": node.unleased_since,
        "has_left": int(node.has_left),
        "rejections": json.dumps([_rejection_line(rejection) for rejection in node.rejections]),
    }


def _rejection_line(rejection: Rejection) -> dict[str, object]:
    resource = rejection.resource
    return {
        "kind": int(resource.kind),
        "id": resource.identifier,
        "index": rejection.index,
        "reason": rejection.reason,
    }


def _to_rejection(line: dict[str, Any]) -> Rejection:
    """Of one that was written before rejections named their resource the resource is not known: the node says it when it connects."""
    resource = Resource(ResourceKind.of(line.get("kind", 0)), line.get("id", ""))
    return Rejection(resource, line["index"], line["reason"])


def _to_node(row: RowMapping, time_of: Callable[[float, str | None], float]) -> SavedNode:
    description = NodeDescription(
        identifier=row["identifier"],
        role=Role(row["role"]),
        region=row["region"],
        pop=row["pop"],
        http_address=row["http_address"],
        admin_address=row["admin_address"],
    )
    return SavedNode(
        description=description,
        acknowledged_index=row["acknowledged_index"],
        lease_seconds=row["lease_seconds"],
        last_seen=time_of(row["last_seen"], row["clock"]),
        unleased_since=time_of(row["unleased_since"], row["clock"]),
        has_left=bool(row["has_left"]),
        rejections=tuple(map(_to_rejection, json.loads(row["rejections"]))),
    )
