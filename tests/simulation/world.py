"""Virtual time, a seeded network and a database in memory: what the simulated processes run on."""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from control_plane.change_log import EMPTY_HISTORY, next_digest
from control_plane.nodes import NOTHING_ACKNOWLEDGED, SavedNode
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError
from proto.cdn.v1 import sync_pb2

Callback = Callable[[], None]


class World:
    """The clock, the dice and what is going to happen."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self._queue: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()

    def after(self, seconds: float, callback: Callback) -> None:
        """Have `callback` called later."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), callback))

    def run(self, until: float) -> None:
        """Let everything happen, in order."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, callback = heapq.heappop(queue)
            callback()


class Link:
    """One direction of a connection: in order, each message late by something, sometimes by a lot; `is_silent` loses everything without telling anybody."""

    def __init__(self, world: World, stall_probability: float, deliver: Callable[[object], None]) -> None:
        self._world = world
        self._stall_probability = stall_probability
        self._deliver = deliver
        self._last_arrival = 0.0
        self.is_silent = False
        self.is_closed = False

    def send(self, message: object) -> None:
        """Deliver later, unless the connection is gone by then."""
        world, rng = self._world, self._world.rng
        delay = rng.uniform(0.2, 1.6) if rng.random() < self._stall_probability else rng.uniform(0.001, 0.02)
        self._last_arrival = max(self._last_arrival + 1e-6, world.now + delay)
        world.after(self._last_arrival - world.now, lambda: self._arrive(message))

    def _arrive(self, message: object) -> None:
        if not (self.is_silent or self.is_closed):
            self._deliver(message)


class MemoryLedger:
    """A database that survives the crashes of the control plane; see unsaved.Ledger."""

    def __init__(self, log_id: str, on_completed: Callable[[Receipt], None]) -> None:
        self.log_id = log_id
        self.is_new = True
        self.entries: list[sync_pb2.Entry] = []
        self._committed_at: list[float] = []
        self._oldest_index = 1
        self._on_completed = on_completed
        self._nodes: dict[str, SavedNode] = {}
        self._pending: dict[int, IssuedInvalidation] = {}
        self._completed_index = 0
        self.is_full = False
        """Nothing can be written."""

    @property
    def head_index(self) -> int:
        """See unsaved.Ledger."""
        return len(self.entries)

    @property
    def completed_index(self) -> int:
        """See unsaved.Ledger."""
        return self._completed_index

    def digest_at(self, index: int) -> bytes | None:
        """See unsaved.Ledger."""
        if not self._oldest_index - 1 <= index <= self.head_index:
            return None
        return self.entries[index - 1].digest if index else EMPTY_HISTORY

    def copy(self) -> "MemoryLedger":
        """A backup, as of now."""
        backup = MemoryLedger(self.log_id, self._on_completed)
        backup.is_new = False
        backup.entries, backup._committed_at = self.entries[:], self._committed_at[:]
        backup._oldest_index = self._oldest_index
        backup._nodes, backup._pending = dict(self._nodes), dict(self._pending)
        backup._completed_index = self._completed_index
        return backup

    def become_another_log(self, log_id: str) -> None:
        """What `store.py` does with a backup when it is opened: whatever nodes know and hold is of another log."""
        self.log_id = log_id
        self._nodes = {
            node_id: replace(node, acknowledged_index=NOTHING_ACKNOWLEDGED, lease_seconds=0.0)
            for node_id, node in self._nodes.items()
        }

    def trim(self, committed_before: float) -> None:
        """Forget what is older. A node that holds a lease lacks nothing that old: its lease is not renewed while it is behind."""
        while self._oldest_index <= self.head_index and self._committed_at[self._oldest_index - 1] < committed_before:
            self._oldest_index += 1

    def append(self, invalidation: IssuedInvalidation | None, entry: sync_pb2.Entry, now: float) -> None:
        """Commit an entry."""
        entry.digest = next_digest(self.digest_at(self.head_index) or EMPTY_HISTORY, entry.SerializeToString())
        self.entries.append(entry)
        self._committed_at.append(now)
        if invalidation is not None:
            self._pending[invalidation.index] = invalidation

    def saved_nodes(self) -> Sequence[SavedNode]:
        """See unsaved.Ledger."""
        return list(self._nodes.values())

    def pending_invalidations(self) -> Sequence[IssuedInvalidation]:
        """See unsaved.Ledger."""
        return list(self._pending.values())

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """See unsaved.Ledger."""
        self._check_room()
        self._nodes.update((node.description.identifier, node) for node in nodes)
        for node_id in removed_node_ids:
            self._nodes.pop(node_id, None)
        for receipt in receipts:
            del self._pending[receipt.invalidation.index]
            self._completed_index = max(self._completed_index, receipt.invalidation.index)
            self._on_completed(receipt)

    def _check_room(self) -> None:
        if self.is_full:
            raise StoreError("database or disk is full")
