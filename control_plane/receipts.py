"""Invalidations that wait for nodes, and the proof that they have them: DESIGN section 4, rules 5 and 6. Pure; whom they wait for is `fencing.py`'s."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from control_plane.fencing import fenced_at, is_waited_for, waited_for
from control_plane.nodes import NOTHING_ACKNOWLEDGED, NodeRecord
from proto.moments import ClockAnchor

FencedBy = Literal["left", "lease_over"]
"""It said that it leaves; or its lease is over, and it has had the time to hear from any node that it can reach that the control plane goes on without it."""

NodeReceiptState = Literal["acknowledged", "pending", "left_out"]


@dataclass(frozen=True, slots=True)
class IssuedInvalidation:
    """What was asked for, and where it stands in the log."""

    identifier: str
    distribution_id: str
    index: int
    paths: tuple[str, ...]
    issued_at: float
    clock: ClockAnchor | None = None
    """Whose seconds `issued_at` is in; None: this process's. Of another boot after a restart of the machine, or in a database that several machines use."""


@dataclass(frozen=True, slots=True)
class NodeReceipt:
    """One node's line in a receipt. A node without a lease is left out: it is not routable before it has caught up, and serves nothing unconfirmed (rule 10)."""

    node_id: str
    state: NodeReceiptState
    acknowledged_at: float | None = None
    left_out_since: float | None = None
    """When its lease ended."""
    fenced_by: FencedBy | None = None
    """Why it serves nothing old, if it was left out."""
    fenced_since: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """An invalidation, how far it is, and who has it; `completed_at` is None while a live node has not."""

    invalidation: IssuedInvalidation
    completed_at: float | None
    nodes: tuple[NodeReceipt, ...]
    clock: ClockAnchor | None = None
    """Whose seconds its times are in; None: this process's. Of `issued_at` too, unless it was issued on another boot."""

    def seconds_after_issue(self, moment: float | None) -> float | None:
        """From the commit of the invalidation to a moment of this receipt. None when it was issued on another boot: nobody knows how long that was ago."""
        if moment is None or self.invalidation.clock != self.clock:
            return None
        return max(0.0, moment - self.invalidation.issued_at)


@dataclass(slots=True)
class _Pending:
    invalidation: IssuedInvalidation
    acknowledged: dict[str, NodeReceipt] = field(default_factory=dict)


class PendingReceipts:
    """Invalidations that a live node has not acknowledged yet, in order of the log."""

    def __init__(self, issued: Iterable[IssuedInvalidation] = ()) -> None:
        self._indexes: list[int] = []
        self._pending: dict[int, _Pending] = {}
        self._lagging: list[NodeRecord] = []
        """Of those that the oldest waited for when it was looked at last; while one of them still lags, nobody else has to be looked at."""
        for invalidation in issued:
            self.add(invalidation)

    def __len__(self) -> int:
        return len(self._indexes)

    @property
    def oldest_index(self) -> int | None:
        """Of the first in the log that waits; all before it are complete."""
        return self._indexes[0] if self._indexes else None

    def add(self, invalidation: IssuedInvalidation) -> None:
        """A newly committed invalidation; one that is known already, because it was committed while all that wait were read, is no news."""
        if invalidation.index in self._pending:
            return
        self._indexes.append(invalidation.index)
        self._pending[invalidation.index] = _Pending(invalidation)

    def acknowledged(self, node_id: str, index: int, now: float, after_index: int = NOTHING_ACKNOWLEDGED) -> None:
        """The node has applied everything up to `index`, and had said so before up to `after_index`. Its line is the same in all receipts that this is news for."""
        indexes = self._indexes
        begin, end = bisect_right(indexes, after_index), bisect_right(indexes, index)
        if begin == end:
            return
        line = NodeReceipt(node_id, "acknowledged", acknowledged_at=now)
        for pending_index in indexes[begin:end]:
            self._pending[pending_index].acknowledged.setdefault(node_id, line)

    def withdrawn(self, node_id: str) -> None:
        """What the node has acknowledged so far counts for nothing."""
        for pending in self._pending.values():
            pending.acknowledged.pop(node_id, None)

    def renamed(self, node_id: str, name: str) -> None:
        """What was acknowledged under one name was by the process that has another one now."""
        for pending in self._pending.values():
            line = pending.acknowledged.pop(node_id, None)
            if line is not None:
                pending.acknowledged[name] = replace(line, node_id=name)

    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        """The receipts of what every node has acknowledged that receipts wait for. They stay pending until they are durable, and are taken out then.

        Called after each batch of acknowledgements, so it looks at all nodes only when none is left of those that lagged: twice or so for each receipt.
        """
        if not self._indexes or self._is_lagging(now):
            return []
        oldest_index, newest_index = self._indexes[0], self._indexes[-1]
        waited = waited_for(nodes, now)
        settled_index = min((node.acknowledged_index for node in waited), default=newest_index)
        if settled_index < oldest_index:
            self._lagging = [node for node in waited if node.acknowledged_index < oldest_index]
            return []
        count = bisect_right(self._indexes, settled_index)
        return [_receipt(self._pending[index], nodes, now) for index in self._indexes[:count]]

    def _is_lagging(self, now: float) -> bool:
        """Whether one of those that lagged still does, and is waited for whatever is known of others. Who does not is looked at no more: each of them once."""
        lagging, oldest_index = self._lagging, self._indexes[0]
        while lagging:
            node = lagging[-1]
            if node.acknowledged_index < oldest_index and is_waited_for(node, now):
                return True
            lagging.pop()
        return False

    def remove(self, completed: Sequence[Receipt]) -> None:
        """Take out the oldest, which are complete and durable."""
        for receipt in completed:
            del self._pending[receipt.invalidation.index]
        del self._indexes[: len(completed)]

    def find(self, identifier: str, nodes: Iterable[NodeRecord]) -> Receipt | None:
        """The receipt so far of one that is pending."""
        for pending in self._pending.values():
            if pending.invalidation.identifier == identifier:
                return _receipt(pending, nodes, None)
        return None


def _receipt(pending: _Pending, nodes: Iterable[NodeRecord], completed_at: float | None) -> Receipt:
    lines = tuple(_node_receipt(pending, node, completed_at) for node in nodes)
    return Receipt(pending.invalidation, completed_at, lines)


def _node_receipt(pending: _Pending, node: NodeRecord, completed_at: float | None) -> NodeReceipt:
    node_id = node.description.identifier
    if node.acknowledged_index >= pending.invalidation.index:
        return pending.acknowledged.get(node_id) or NodeReceipt(node_id, "acknowledged")
    if completed_at is None:
        return NodeReceipt(node_id, "pending")
    fenced_by: FencedBy = "left" if node.has_left else "lease_over"
    return NodeReceipt(node_id, "left_out", None, node.unleased_since, fenced_by, fenced_at(node))
