"""Virtual time, seeded dice, a network that can be cut, and a database in memory: what the simulated processes run on."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf

from control_plane.change_log import EMPTY_HISTORY, next_digest
from control_plane.nodes import NOTHING_ACKNOWLEDGED, SavedNode
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.state import StoreError
from proto.cdn.v1 import sync_pb2

Callback = Callable[[], None]
Direction = tuple[str, str]
"""From one process to another one."""


class World:
    """The clock, the dice and what is going to happen."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.is_over = False
        """What was looked for has been found."""
        self.story: list[str] | None = None
        """What has happened, for people; None while nobody reads it."""
        self._seed = seed
        self._dice: dict[str, random.Random] = {}
        self._queue: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._processes = itertools.count(1)

    def new_process(self) -> int:
        """A number that no other process has."""
        return next(self._processes)

    def dice(self, name: str) -> random.Random:
        """Those of one place. Each has its own, so that a schedule with one fault less goes on as before in all other places."""
        dice = self._dice.get(name)
        if dice is None:
            dice = self._dice[name] = random.Random(f"{self._seed} {name}")
        return dice

    def tell(self, text: str, *parts: object) -> None:
        """Add a line to the story, if there is one."""
        if self.story is not None:
            self.story.append(f"{self.now:9.4f}  {text.format(*parts)}")

    def after(self, seconds: float, callback: Callback) -> None:
        """Have `callback` called later."""
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), callback))

    def run(self, until: float) -> None:
        """Let everything happen, in order, until then or until it is over."""
        queue = self._queue
        while queue and queue[0][0] <= until and not self.is_over:
            self.now, _, callback = heapq.heappop(queue)
            callback()

    def end(self) -> None:
        """Nothing happens any more."""
        self._queue.clear()


class Network:
    """Who reaches whom, and which processes stand still. A connection that is cut holds what is said on it until it heals, as TCP does; a request is lost."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cuts: dict[Direction, int] = {}
        self._healed_at: dict[Direction, float] = {}
        self._still: dict[str, int] = {}
        self._went_on_at: dict[str, float] = {}
        self._held: dict[Direction | str, list[Callback]] = {}

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one to the other."""
        return (source, target) in self._cuts

    def reaches(self, one: str, other: str) -> bool:
        """Both ways."""
        return (one, other) not in self._cuts and (other, one) not in self._cuts

    def reached_since(self, one: str, other: str) -> float:
        """Since when the other one could have answered, without a break; infinite when it cannot."""
        if not self.reaches(one, other) or other in self._still:
            return inf
        healed_at, went_on_at = self._healed_at, self._went_on_at.get(other, -inf)
        return max(went_on_at, healed_at.get((one, other), -inf), healed_at.get((other, one), -inf))

    def cut(self, directions: Iterable[Direction], seconds: float) -> None:
        """For so long; what is cut twice is whole again after both."""
        chosen = tuple(directions)
        for direction in chosen:
            self._cuts[direction] = self._cuts.get(direction, 0) + 1
        self._world.after(seconds, lambda: self._heal(chosen))

    def _heal(self, directions: Iterable[Direction]) -> None:
        for direction in directions:
            if self._cuts.get(direction, 0) > 1:
                self._cuts[direction] -= 1
            elif self._cuts.pop(direction, None) is not None:
                self._healed_at[direction] = self._world.now
                self._release(direction)

    def heal_everything(self) -> None:
        """Whatever is cut, and whoever stands still."""
        self._heal([direction for direction, cuts in self._cuts.items() for _ in range(cuts)])
        for process in list(self._still):
            self._still[process] = 1
            self.go_on(process)

    def is_still(self, process: str) -> bool:
        """Whether it does nothing, as after SIGSTOP."""
        return process in self._still

    def stand_still(self, process: str) -> None:
        """Until `go_on`; what comes meanwhile waits."""
        self._still[process] = self._still.get(process, 0) + 1

    def go_on(self, process: str, first: Callback | None = None) -> None:
        """With what is to come first, and all that has come."""
        count = self._still.pop(process, 0) - 1
        if count > 0:
            self._still[process] = count
            return
        self._went_on_at[process] = self._world.now
        if first is not None:
            first()
        self._release(process)

    def has_ended(self, process: str) -> None:
        """Killed while it stood still: the next one of this name does not."""
        if self._still.pop(process, 0):
            self._release(process)

    def arrive(self, source: str, target: str, callback: Callback) -> None:
        """On a connection: at once, or in order when the way is open again."""
        direction = (source, target)
        if direction in self._cuts:
            self._held.setdefault(direction, []).append(callback)
        else:
            self.run_in(target, callback)

    def run_in(self, process: str, callback: Callback) -> None:
        """At once, or when the process goes on."""
        if process in self._still:
            self._held.setdefault(process, []).append(callback)
        else:
            callback()

    def _release(self, place: Direction | str) -> None:
        for callback in self._held.pop(place, ()):
            if isinstance(place, str):
                self.run_in(place, callback)
            else:
                self.run_in(place[1], callback)


class Link:
    """One direction of a connection: in order, each message late by something, sometimes by a lot; `is_silent` loses everything without telling anybody."""

    def __init__(
        self, network: Network, ends: Direction, stall_probability: float, deliver: Callable[[object], None]
    ) -> None:
        self._world, self._network = network._world, network
        self._source, self._target = ends
        self._dice = self._world.dice(f"{self._source} > {self._target}")
        self._stall_probability = stall_probability
        self._deliver = deliver
        self._last_arrival = 0.0
        self.is_silent = False
        self.is_closed = False

    def send(self, message: object) -> None:
        """Deliver later, unless the connection is gone by then."""
        world, dice = self._world, self._dice
        delay = dice.uniform(0.2, 1.6) if dice.random() < self._stall_probability else dice.uniform(0.001, 0.02)
        self._last_arrival = max(self._last_arrival + 1e-6, world.now + delay)
        world.after(
            self._last_arrival - world.now,
            lambda: self._network.arrive(self._source, self._target, lambda: self._arrive(message)),
        )

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
        self._settled_index = 0
        self.is_full = False
        """Nothing can be written."""
        self.loses_answers = False
        """What is written is there, and nobody hears of it: a server that was cut off while it committed."""

    @property
    def head_index(self) -> int:
        """See unsaved.Ledger."""
        return len(self.entries)

    @property
    def completed_index(self) -> int:
        """See unsaved.Ledger."""
        return max(self._completed_index, self._settled_index)

    @property
    def committed_entries(self) -> Sequence[sync_pb2.Entry]:
        """Those that are retained, oldest first."""
        return self.entries[self._oldest_index - 1 :]

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
        backup._completed_index, backup._settled_index = self._completed_index, self._settled_index
        return backup

    def become_another_log(self, log_id: str) -> None:
        """What `store.py` does with a backup when it is opened: whatever nodes know and hold is of another log."""
        self.log_id, self._settled_index = log_id, 0
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
        saved = {node.description.identifier: node for node in nodes}
        self._nodes.update((node_id, saved[node_id]) for node_id in sorted(saved))  # in whatever order they come
        for node_id in removed_node_ids:
            self._nodes.pop(node_id, None)
        for receipt in receipts:
            del self._pending[receipt.invalidation.index]
            self._completed_index = max(self._completed_index, receipt.invalidation.index)
            self._on_completed(receipt)
        if self.loses_answers:
            raise StoreError("the server has not answered")

    def save_settled(self, index: int) -> None:
        """See ledger.SqlLedger."""
        self._check_room()
        self._settled_index = max(self._settled_index, index)

    def _check_room(self) -> None:
        if self.is_full:
            raise StoreError("database or disk is full")
