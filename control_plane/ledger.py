"""The registry of nodes and the receipts, as rows: what `coordination.py` needs to survive kill -9."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, or_, select, update

from control_plane import tables
from control_plane.nodes import NodeDescription, Rejection, Resource, ResourceKind, Role, SavedNode
from control_plane.receipts import IssuedInvalidation, NodeReceipt, Receipt
from control_plane.store import SqlStore

_NO_REJECTIONS = "[]"

RETAINED_RECEIPTS = 10_000
"""Receipts are kept for so many entries of the log, as entries are for nodes that lag. An older invalidation is complete, and nothing else is known of it."""


class SqlLedger:
    """See unsaved.Ledger."""

    def __init__(self, store: SqlStore, fence: Callable[[Connection], None] | None = None) -> None:
        """`fence` is called in each transaction that writes, and fails it when this control plane leads no longer."""
        self._store = store
        self._fence = fence

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

    def digest_at(self, index: int) -> bytes | None:
        """See unsaved.Ledger."""
        return self._store.digest_at(index)

    def saved_nodes(self) -> Sequence[SavedNode]:
        """See unsaved.Ledger."""
        with self._store.reading() as connection:
            return [_to_node(row) for row in connection.execute(select(tables.nodes)).mappings()]

    def pending_invalidations(self) -> Sequence[IssuedInvalidation]:
        """See unsaved.Ledger."""
        receipts = tables.receipts
        query = select(receipts).where(receipts.c.completed_at.is_(None)).order_by(receipts.c.index)
        with self._store.reading() as connection:
            return [_to_invalidation(row) for row in connection.execute(query).mappings()]

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """See unsaved.Ledger."""
        if not (nodes or removed_node_ids or receipts):
            return
        with self._store.writing() as connection:
            if self._fence is not None:
                self._fence(connection)
            if nodes:
                rows = [_node_row(node) for node in nodes]
                self._store.database.put(connection, tables.nodes, ("identifier",), rows)
            if removed_node_ids:
                connection.execute(delete(tables.nodes).where(tables.nodes.c.identifier.in_(removed_node_ids)))
            if receipts:
                completed = (
                    update(tables.receipts)
                    .where(tables.receipts.c.index == bindparam("of_index"))
                    .values(completed_at=bindparam("at"), nodes=bindparam("lines"))
                )
                connection.execute(completed, [_completion_row(receipt) for receipt in receipts])
                # All before a completed one are complete: nodes apply the log in order.
                oldest_index = receipts[-1].invalidation.index - RETAINED_RECEIPTS
                connection.execute(delete(tables.receipts).where(tables.receipts.c.index <= oldest_index))

    def is_deployed(self, resource: Resource, index: int) -> bool:
        """Whether every node that is recorded with a lease serves the resource as the entry at `index` has it. A lease is recorded before it is told, and what a node
        refuses with the acknowledgement that follows it: so this is never true too early, and true as soon as the registry has been saved."""
        nodes = tables.nodes.c
        query = select(tables.nodes).where(nodes.lease_seconds > 0)
        query = query.where(or_(nodes.acknowledged_index < index, nodes.rejections != _NO_REJECTIONS))
        with self._store.reading() as connection:
            doubtful = [_to_node(row).restored(None) for row in connection.execute(query).mappings()]
        return all(node.has_applied(resource, index) for node in doubtful)

    def completed_index(self) -> int:
        """Every invalidation up to this index has a complete receipt, and none after it that is committed."""
        receipts, log = tables.receipts.c, tables.log.c
        oldest = select(func.min(receipts.index)).where(receipts.completed_at.is_(None)).scalar_subquery()
        newest = select(func.max(log.index)).scalar_subquery()
        with self._store.reading() as connection:
            oldest_pending, head_index = connection.execute(select(oldest, newest)).one()
        return (head_index or 0) if oldest_pending is None else oldest_pending - 1

    def receipt(self, invalidation_id: str) -> Receipt | None:
        """A receipt as it is stored; one that is not complete has no nodes yet."""
        query = select(tables.receipts).where(tables.receipts.c.invalidation_id == invalidation_id)
        with self._store.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        nodes = tuple(NodeReceipt(**line) for line in json.loads(row["nodes"] or "[]"))
        return Receipt(_to_invalidation(row), row["completed_at"], nodes)


def _completion_row(receipt: Receipt) -> dict[str, object]:
    lines = json.dumps([asdict(node) for node in receipt.nodes], separators=(",", ":"))
    return {"of_index": receipt.invalidation.index, "at": receipt.completed_at, "lines": lines}


def _to_invalidation(row: RowMapping) -> IssuedInvalidation:
    return IssuedInvalidation(
        identifier=row["invalidation_id"],
        distribution_id=row["distribution_id"],
        index=row["index"],
        paths=tuple(json.loads(row["paths"])),
        issued_at=row["issued_at"],
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


def _to_node(row: RowMapping) -> SavedNode:
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
        last_seen=row["last_seen"],
        unleased_since=row["unleased_since"],
        has_left=bool(row["has_left"]),
        rejections=tuple(map(_to_rejection, json.loads(row["rejections"]))),
    )
