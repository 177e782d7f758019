"""The registry of nodes and the receipts, as rows: what `coordination.py` needs to survive kill -9."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, or_, select, update

from control_plane import tables
from control_plane.clock_columns import read_clock, write_clock
from control_plane.log_rows import SETTLED_INDEX
from control_plane.nodes import NodeDescription, Rejection, Resource, ResourceKind, Role, SavedNode
from control_plane.receipts import IssuedInvalidation, NodeReceipt, Receipt
from control_plane.store import SqlStore, WriteFence
from proto.moments import ClockAnchor

RETAINED_RECEIPTS = 10_000
"""Receipts are kept for so many entries of the log, as entries are for nodes that lag. An older invalidation is complete, and nothing else is known of it."""


REMEMBERED_DIGESTS = 256

_NO_REJECTIONS = "[]"

_LINE_FIELDS = tuple(line_field.name for line_field in fields(NodeReceipt))


class SqlLedger:
    """See unsaved.Ledger."""

    def __init__(self, store: SqlStore, fence: WriteFence | None = None) -> None:
        """`fence` is called in each transaction that writes, and fails it when this control plane leads no longer."""
        self._store = store
        self._fence = fence
        self._saved_settled_index = 0
        """Or proven by a receipt, which needs no other write."""
        self._digests: dict[int, bytes | None] = {}
        self._digests_of = 0
        """Head of the log that they are of, which is trimmed when it grows."""

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
        with self._store.reading() as connection:
            return _read_settled_index(connection)

    def digest_at(self, index: int) -> bytes | None:
        """See unsaved.Ledger. Thousands of nodes that come back at once stand at the same few positions."""
        store = self._store
        if store.head_index != self._digests_of:
            self._digests_of = store.head_index
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
        query = select(receipts).where(receipts.c.completed_at.is_(None), receipts.c.index <= self._store.head_index)
        with self._store.reading() as connection:
            rows = connection.execute(query.order_by(receipts.c.index)).mappings()
            return [_to_invalidation(row, self._clock_of(row["issued_clock"], self._store.anchor)) for row in rows]

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """See unsaved.Ledger."""
        if not (nodes or removed_node_ids or receipts):
            return
        clock = write_clock(self._store.anchor)
        with self._writing() as connection:
            if nodes:
                rows = [_node_row(node) | {"clock": clock} for node in nodes]
                self._store.database.put(connection, tables.nodes, ("identifier",), rows)
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
        if receipts:
            self._saved_settled_index = max(self._saved_settled_index, receipts[-1].invalidation.index)

    def save_settled(self, index: int) -> None:
        """All nodes with a lease have acknowledged everything up to this index, and what they refuse of it is saved. StoreError when this is not."""
        if index <= self._saved_settled_index:
            return
        with self._writing() as connection:
            row = {"key": SETTLED_INDEX, "value": str(index)}
            self._store.database.put(connection, tables.meta, ("key",), [row])
        self._saved_settled_index = index

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._store.writing() as connection:
            if self._fence is not None:
                self._fence(connection)
            yield connection

    def is_deployed(self, resources: Collection[Resource], index: int) -> bool:
        """Whether every node that is recorded with a lease serves the resources as the log has them at `index`. A lease is recorded before it is told, and what a node
        refuses before what it has acknowledged: so this is never true too early, and true as soon as that has been saved."""
        nodes = tables.nodes.c
        query = select(tables.nodes).where(nodes.lease_seconds > 0)
        query = query.where(or_(nodes.acknowledged_index < index, nodes.rejections != _NO_REJECTIONS))
        with self._store.reading() as connection:
            self._store.database.begin_view(connection)
            settled_index = _read_settled_index(connection)
            doubtful = [_to_node(row, self._store.time_of) for row in connection.execute(query).mappings()]
        return all(node.settled(settled_index).restored(None).has_applied(resources, index) for node in doubtful)

    def complete_up_to(self) -> int:
        """Every invalidation up to this index has a complete receipt, and none after it that is committed."""
        receipts, digests = tables.receipts.c, tables.digests.c
        oldest = select(func.min(receipts.index)).where(receipts.completed_at.is_(None)).scalar_subquery()
        newest = select(func.max(digests.index)).scalar_subquery()
        with self._store.reading() as connection:
            oldest_pending, head_index = connection.execute(select(oldest, newest)).one()
        return int(head_index) if oldest_pending is None else oldest_pending - 1

    def receipt(self, invalidation_id: str) -> Receipt | None:
        """A receipt as it is stored; one that is not complete has no nodes yet."""
        if "\0" in invalidation_id:
            return None  # PostgreSQL does not even look for it
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


def _read_settled_index(connection: Connection) -> int:
    """What `save_settled` has said, or the newest completed receipt proves."""
    saved = connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == SETTLED_INDEX))
    completed = select(func.max(tables.receipts.c.index)).where(tables.receipts.c.completed_at.is_not(None))
    return max(int(saved.scalar_one_or_none() or 0), connection.execute(completed).scalar_one() or 0)


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
        "process": node.process,
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
        process=row["process"],
    )
