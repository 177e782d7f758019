"""What one process of the control plane knows of the database: SqlStore and SqlLedger over the MemoryLedger. What others commit it hears of later."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from control_plane.change_log import CommittedEntry, Subscriber
from control_plane.nodes import SavedNode
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError
from control_plane.trouble import LogGapError, Trouble
from proto.cdn.v1 import sync_pb2
from tests.builders import resource_message, with_policies
from tests.simulation.router import DISTRIBUTION, ROUTING_TABLE
from tests.simulation.world import MemoryLedger

_CONFIGURED: Final = [resource_message(body, 1) for body in with_policies([DISTRIBUTION])]


class VirtualStore:
    """See change_log.FollowedLog and unsaved.Ledger."""

    def __init__(self, ledger: MemoryLedger, clock: Callable[[], float]) -> None:
        self._ledger, self._clock = ledger, clock
        self.log_id, self.is_new = ledger.log_id, ledger.is_new
        self.head_index = ledger.head_index
        """The newest index that subscribers have been told of."""
        self.trouble: Trouble | None = None
        self._subscribers: list[Subscriber] = []

    # The log

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        """See change_log.Log."""
        return [entry for entry in self._ledger.committed_entries if entry.index > index][:limit]

    def snapshot(self) -> sync_pb2.Snapshot:
        """See change_log.Log."""
        ledger, head_index = self._ledger, self._ledger.head_index
        resources = [*_CONFIGURED, resource_message(ROUTING_TABLE, self._configured_index())]
        digest = ledger.digest_at(head_index) or b""
        return sync_pb2.Snapshot(log_id=self.log_id, index=head_index, digest=digest, resources=resources)

    def _configured_index(self) -> int:
        """Of the newest entry that put the routing table."""
        return next((entry.index for entry in reversed(self._ledger.entries) if entry.changes), 1)

    def subscribe(self, subscriber: Subscriber) -> None:
        """See change_log.FollowedLog."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """See change_log.FollowedLog."""
        self._subscribers.remove(subscriber)

    def catch_up(self) -> None:
        """See change_log.FollowedLog."""
        if self.head_index == self._ledger.head_index:
            return
        entries = self.entries_after(self.head_index, self._ledger.head_index)
        if not entries or entries[0].index != self.head_index + 1:
            raise LogGapError
        issued = {invalidation.index: invalidation for invalidation in self._ledger.pending_invalidations()}
        self.head_index = entries[-1].index
        for entry in entries:
            for subscriber in self._subscribers:
                subscriber(CommittedEntry(entry, issued.get(entry.index)), self._clock())

    def try_to_write(self) -> None:
        """See change_log.FollowedLog."""
        with suppress(StoreError):
            self._write(lambda: self._ledger.save_settled(0))

    # The ledger

    @property
    def completed_index(self) -> int:
        """See unsaved.Ledger."""
        return self._ledger.completed_index

    def digest_at(self, index: int) -> bytes | None:
        """See unsaved.Ledger."""
        return self._ledger.digest_at(index) if index <= self.head_index else None

    def saved_nodes(self) -> Sequence[SavedNode]:
        """See unsaved.Ledger."""
        return self._ledger.saved_nodes()

    def pending_invalidations(self) -> Sequence[IssuedInvalidation]:
        """See unsaved.Ledger."""
        return [each for each in self._ledger.pending_invalidations() if each.index <= self.head_index]

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """See unsaved.Ledger."""
        self._write(lambda: self._ledger.save(nodes, removed_node_ids, receipts))

    def save_settled(self, index: int) -> None:
        """See ledger.SqlLedger."""
        if index > self.completed_index:
            self._write(lambda: self._ledger.save_settled(index))

    def _write(self, do: Callable[[], None]) -> None:
        try:
            do()
        except StoreError as error:
            self.trouble = self.trouble or Trouble(str(error), self._clock())
            raise
        self.trouble = None
