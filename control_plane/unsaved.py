"""What of the registry is not durable yet, and what may be promised meanwhile: decision 22. Pure; `coordination.py` decides what changes.

A ledger that takes no writes is tried again after a moment, with everything that has come together until then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from control_plane.leases import Granted
from control_plane.nodes import NodeRecord, SavedNode
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError

SAVE_AGAIN_SECONDS = 0.5
"""After a write that failed. A part of a lease, so that who waits for one gets it soon; and a full disk is not tried once for each heartbeat."""


class Ledger(Protocol):
    """What coordination needs to survive kill -9. `store.py` has the real one."""

    @property
    def log_id(self) -> str:
        """Identity of the log."""

    @property
    def is_new(self) -> bool:
        """Whether the log was made by this process, so that nobody was told of it before."""

    @property
    def head_index(self) -> int:
        """Newest index; 0 when nothing was ever appended."""

    @property
    def completed_index(self) -> int:
        """All nodes that are recorded with a lease, and with any acknowledgement, have acknowledged everything up to here: the index of the newest completed
        receipt, or a later one that was saved as such; 0 when there is none."""

    def digest_at(self, index: int) -> bytes | None:
        """Of the log's history up to `index`; None where the log does not reach, and where it has been trimmed: the entries after `index` are not all there."""

    def saved_nodes(self) -> Sequence[SavedNode]:
        """The registry as it was saved last."""

    def pending_invalidations(self) -> Sequence[IssuedInvalidation]:
        """Those that have no completed receipt, in order of the log."""

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """Durable, all together, when it returns. StoreError when it is not; the same may be saved again then."""


class UnsavedChanges:
    """Which nodes have to be saved or removed, and which leases are saved."""

    def __init__(self, ledger: Ledger, saved: Sequence[SavedNode], now: float) -> None:
        self._ledger = ledger
        self._saved_lease_seconds = {node.description.identifier: node.lease_seconds for node in saved}
        self._changed: set[str] = set()
        self._forgotten: set[str] = set()
        self.save_again_at = now
        """Nothing is saved earlier."""

    def change(self, node_id: str) -> None:
        """The node's record is another than the saved one; or is there again after it was forgotten."""
        self._changed.add(node_id)
        self._forgotten.discard(node_id)

    def forget(self, node_id: str) -> None:
        """The node is in the registry no longer."""
        self._changed.discard(node_id)
        self._forgotten.add(node_id)

    def __len__(self) -> int:
        """How many nodes have to be saved or removed."""
        return len(self._changed) + len(self._forgotten)

    def is_promise(self, record: NodeRecord, granted: Granted) -> bool:
        """Whether a control plane that is restarted from the ledger might not wait for this lease to end: nothing of it is there; or the end of the one before is
        about to be written down, or was when the server did not answer."""
        saved_seconds = self._saved_lease_seconds.get(record.description.identifier, 0.0)
        return min(saved_seconds, record.lease_seconds) < granted.duration_seconds

    def save(
        self,
        records: Mapping[str, NodeRecord],
        promises: Mapping[str, Granted],
        completed: Sequence[Receipt],
        now: float,
    ) -> bool:
        """Make all that has changed durable, with the leases that are about to be granted; whether it is."""
        if now < self.save_again_at:
            return False
        saved = [_saved_with(records[node_id], promises.get(node_id)) for node_id in self._changed | promises.keys()]
        try:
            self._ledger.save(saved, list(self._forgotten), completed)
        except StoreError:
            self.save_again_at = now + SAVE_AGAIN_SECONDS
            return False
        self._saved_lease_seconds.update((node.description.identifier, node.lease_seconds) for node in saved)
        for node_id in self._forgotten:
            self._saved_lease_seconds.pop(node_id, None)
        self._changed.clear()
        self._forgotten.clear()
        return True


def _saved_with(record: NodeRecord, promise: Granted | None) -> SavedNode:
    """The node as it is saved, with the lease that it is about to be granted."""
    saved = SavedNode.of(record)
    return (
        saved if promise is None else replace(saved, lease_seconds=max(saved.lease_seconds, promise.duration_seconds))
    )
