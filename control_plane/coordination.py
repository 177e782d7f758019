"""Who the nodes are, how far each is, who holds a lease, and which invalidations are complete: DESIGN sections 3 and 4, rules 5, 6, 7 and 9.

No input or output and no clock of its own: `sync.py` drives it from gRPC streams and the simulation from virtual ones. Events change records at once; `settle` then
draws the consequences of all events since the last time, makes them durable in one write, and only then returns what may be told to anybody.

A ledger that takes no writes holds promises back, and nothing else (decision 22): no first lease, no completed receipt. A lease that has ended is told all the same,
since a node that leaves the directory is always safe, and leases that the ledger knows of are renewed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from control_plane.leases import Granted, LeaseDecision, LeaseRules, LogAge, Standing, counted_seconds
from control_plane.nodes import NOTHING_ACKNOWLEDGED, NodeDescription, NodeRecord, Rejection, SavedNode
from control_plane.receipts import IssuedInvalidation, PendingReceipts, Receipt
from control_plane.unsaved import UnsavedChanges

FORGET_AFTER_SECONDS = 24 * 3600.0
"""A node that has been gone for so long is dropped from the registry and from receipts."""

LONGEST_CHECK_SECONDS = 60.0
"""How late a forgotten node may be noticed."""

MAXIMUM_NODES = 4096
"""More are refused: each costs memory here and a line in every receipt."""

COMMIT_BUCKET_SECONDS = 0.05
"""How finely the age of log entries is remembered, which bounds the memory for it."""


class Ledger(Protocol):
    """What coordination needs to survive kill -9. `store.py` has the real one."""

    @property
    def log_id(self) -> str:
        """Identity of the log."""

    @property
    def head_index(self) -> int:
        """Newest index; 0 when nothing was ever appended."""

    @property
    def oldest_index(self) -> int:
        """Oldest entry that is still in the log; head_index + 1 when there is none."""

    def saved_nodes(self) -> Sequence[SavedNode]:
        """The registry as it was saved last."""

    def pending_invalidations(self) -> Sequence[IssuedInvalidation]:
        """Those that have no completed receipt, in order of the log."""

    def save(self, nodes: Sequence[SavedNode], removed_node_ids: Sequence[str], receipts: Sequence[Receipt]) -> None:
        """Durable, all together, when it returns. StoreError when it is not; the same may be saved again then."""

    def renew_identity(self) -> None:
        """Give the log another random identity: it has turned out to be a copy that went its own way. Acknowledgements that are saved are of the old one, and end
        with it. StoreError when nothing has changed."""


@dataclass(frozen=True, slots=True)
class FromSnapshot:
    """The node's position is unknown here: it starts from a snapshot at the head."""


@dataclass(frozen=True, slots=True)
class FromEntries:
    """The node lacks the entries after this index."""

    after_index: int


CatchUp = FromSnapshot | FromEntries


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """What a node is told about its newest heartbeat."""

    sequence: int
    decision: LeaseDecision
    head_index: int


@dataclass(slots=True)
class Settlement:
    """What has followed from the events since the last one, and may be told."""

    answers: dict[str, LeaseAnswer] = field(default_factory=dict)
    completed: list[Receipt] = field(default_factory=list)
    is_directory_changed: bool = False


class TooManyNodesError(Exception):
    """The registry is full."""


class Coordinator:
    """The control plane's side of the protocol, for all nodes together."""

    def __init__(self, ledger: Ledger, rules: LeaseRules, now: float) -> None:
        self._ledger = ledger
        self._rules = rules
        saved = ledger.saved_nodes()
        self.nodes: dict[str, NodeRecord] = self._restore(saved, now)
        self.pending = PendingReceipts(ledger.pending_invalidations())
        for node_id, record in self.nodes.items():
            self.pending.acknowledged(node_id, record.acknowledged_index, now)
        self._streams_total = 0
        self._overdue_index = 0
        self._recent_commits: list[tuple[float, int]] = [(now, ledger.head_index)]
        self._beating: set[str] = set()
        self._unsaved = UnsavedChanges(ledger, saved, now)
        self._is_directory_changed = True
        self._is_urgent = False
        self._next_check_at = now

    def _restore(self, saved: Iterable[SavedNode], now: float) -> dict[str, NodeRecord]:
        """Every node that was recorded with a lease counts as live until that lease must have ended, however long before the restart it was renewed."""
        restored = {}
        for node in saved:
            lease_until = now + counted_seconds(node.lease_seconds) if node.lease_seconds > 0 else None
            restored[node.description.identifier] = node.restored(lease_until)
        return restored

    # A stream begins and ends

    def connected(self, node: NodeDescription, log_id: str, applied_index: int, now: float) -> tuple[int, CatchUp]:
        """A node introduces itself: the number of its stream, which replaces an older one, and what it lacks."""
        record = self._registered(node)
        if log_id == self._ledger.log_id and applied_index > self._ledger.head_index:
            self._renew_identity()
        self._streams_total += 1
        record.stream = self._streams_total
        record.has_left = False
        record.is_granted_on_stream = False
        record.is_heartbeat_answered = True
        record.last_seen = now
        self._unsaved.change(node.identifier)
        catch_up = self._catch_up(log_id, applied_index)
        # Of this log it knows what it says, also when the entries after that are no longer retained and come as a snapshot: its lease is not over for that.
        known_index = applied_index if log_id == self._ledger.log_id else NOTHING_ACKNOWLEDGED
        if known_index < record.acknowledged_index:
            record.end_lease(
                now
            )  # it has lost what it acknowledged: it is another node under the same name, and not routable
            self._is_directory_changed = True
        record.acknowledged_index = known_index
        self.pending.acknowledged(node.identifier, known_index, now)
        return record.stream, catch_up

    def disconnected(self, node_id: str, stream: int, now: float) -> None:
        """The stream broke. The lease goes on: the node may be serving."""
        record = self._speaking(node_id, stream)
        if record is not None:
            record.stream = None
            record.last_seen = now

    def is_current(self, node_id: str, stream: int) -> bool:
        """Whether no other stream has replaced this one."""
        return self._speaking(node_id, stream) is not None

    # The node speaks

    def acknowledged(self, node_id: str, stream: int, index: int, now: float) -> None:
        """The node has applied everything up to `index`, durably."""
        record = self._speaking(node_id, stream)
        if record is None or index <= record.acknowledged_index or index > self._ledger.head_index:
            return
        record.acknowledged_index = index
        record.last_seen = now
        self.pending.acknowledged(node_id, index, now)
        self._unsaved.change(node_id)
        if not record.is_granted_on_stream and record.heartbeat_sequence:
            self._beating.add(
                node_id
            )  # under continuous changes a node may stand at the head between two heartbeats only

    def rejected(self, node_id: str, stream: int, rejection: Rejection) -> None:
        """The node stays on its last good version of one resource."""
        record = self._speaking(node_id, stream)
        if record is not None:
            record.rejections.append(rejection)
            self._unsaved.change(node_id)
            self._is_urgent = True

    def beat(self, node_id: str, stream: int, sequence: int, now: float) -> None:
        """A heartbeat. What it says of the applied index counts for nothing: it may be of another log, until the node has acknowledged on this stream."""
        record = self._speaking(node_id, stream)
        if record is None:
            return
        record.heartbeat_sequence = sequence
        record.heartbeat_received_at = record.last_seen = now
        record.is_heartbeat_answered = False
        self._beating.add(node_id)

    def left(self, node_id: str, stream: int, now: float) -> None:
        """The node drains: its lease ends now."""
        record = self._speaking(node_id, stream)
        if record is None:
            return
        record.has_left = True
        record.end_lease(now)
        record.last_seen = now
        self._unsaved.change(node_id)
        self._is_directory_changed = True

    # The log grows and time passes

    def committed(self, index: int, now: float, invalidation: IssuedInvalidation | None = None) -> None:
        """An entry has been committed at `index`, which is the head now."""
        if invalidation is not None:
            self.pending.add(invalidation)
        newest_at, _ = self._recent_commits[-1] if self._recent_commits else (float("-inf"), 0)
        if now - newest_at < COMMIT_BUCKET_SECONDS:
            self._recent_commits[-1] = (newest_at, index)
        else:
            self._recent_commits.append((now, index))

    @property
    def next_check_at(self) -> float:
        """When `settle` has to be called even if nothing happens until then: no lease ends earlier, and what could not be saved is not tried again earlier."""
        return min(self._next_check_at, self._unsaved.save_again_at) if self._is_urgent else self._next_check_at

    def settle(self, now: float) -> Settlement:
        """Draw the consequences. First leases and completions are durable before they are returned, so that a restarted control plane knows of each that was told;
        those that could not be saved are held back, and come with a later call."""
        self._expire(now)
        decisions = self._decisions(now)
        promises = self._promises(decisions)
        completed = self._completed(now)
        if promises or completed or self._is_directory_changed or self._is_urgent:
            self._is_urgent = not self._unsaved.save(self.nodes, promises, completed, now)
        if self._is_urgent:
            self._beating.update(promises)
            decisions = {node_id: each for node_id, each in decisions.items() if node_id not in promises}
            completed = []
        self.pending.remove(completed)
        settlement = Settlement(self._answers(decisions), completed, self._is_directory_changed)
        self._is_directory_changed = False
        return settlement

    # Questions

    def live_nodes(self) -> list[NodeDescription]:
        """Who is routable."""
        return [node.description for node in self.nodes.values() if node.is_live]

    def is_deployed(self, index: int) -> bool:
        """Every node with a live lease has applied the entry at `index`."""
        return all(node.has_applied(index) for node in self.nodes.values() if node.is_live)

    def waiting_for(self, index: int) -> list[str]:
        """The live nodes that have not."""
        return [node_id for node_id, node in self.nodes.items() if node.is_live and not node.has_applied(index)]

    # Rules

    def _registered(self, node: NodeDescription) -> NodeRecord:
        record = self.nodes.get(node.identifier)
        if record is None:
            if len(self.nodes) >= MAXIMUM_NODES:
                raise TooManyNodesError(f"the registry holds {MAXIMUM_NODES} nodes")
            record = self.nodes[node.identifier] = NodeRecord(node)
        elif record.description != node:
            record.description = node
            self._is_directory_changed = True
        return record

    def _speaking(self, node_id: str, stream: int) -> NodeRecord | None:
        record = self.nodes.get(node_id)
        return record if record is not None and record.stream == stream else None

    def _catch_up(self, log_id: str, applied_index: int) -> CatchUp:
        """Indexes are compared within one log only (rule 9); entries that are no longer retained come as a snapshot."""
        if log_id != self._ledger.log_id or applied_index + 1 < self._ledger.oldest_index:
            return FromSnapshot()
        return FromEntries(applied_index)

    def _renew_identity(self) -> None:
        """A node knows entries that this log does not have: the database is an old copy. Nothing that anybody acknowledged of the old log counts in this one."""
        self._ledger.renew_identity()
        for node_id, record in self.nodes.items():
            record.acknowledged_index = NOTHING_ACKNOWLEDGED
            record.stream = None
            self._unsaved.change(node_id)
        self._is_urgent = True

    def _completed(self, now: float) -> list[Receipt]:
        """The receipts that are complete, and may be saved now."""
        if now < self._unsaved.save_again_at or not len(self.pending):
            return []
        return self.pending.complete(list(self.nodes.values()), now)

    def _decisions(self, now: float) -> dict[str, LeaseDecision]:
        """What each node that has beaten, or reached the head after it has, is to be told."""
        decisions: dict[str, LeaseDecision] = {}
        if not self._beating:
            return decisions
        log = LogAge(self._ledger.head_index, self._overdue(now))
        for node_id in self._beating:
            record = self.nodes.get(node_id)
            if record is None or record.stream is None:
                continue
            decision = self._decide(record, log, now)
            if isinstance(decision, Granted) or not record.is_heartbeat_answered:
                decisions[node_id] = decision  # else it has been told already, and an acknowledgement changed nothing
        self._beating.clear()
        return decisions

    def _promises(self, decisions: Mapping[str, LeaseDecision]) -> dict[str, Granted]:
        """The leases that have to be durable before they are told."""
        granted = [(node_id, each) for node_id, each in decisions.items() if isinstance(each, Granted)]
        return {node_id: each for node_id, each in granted if self._unsaved.is_promise(node_id, each)}

    def _answers(self, decisions: Mapping[str, LeaseDecision]) -> dict[str, LeaseAnswer]:
        """Carry the decisions out; what the nodes are told."""
        answers = {}
        for node_id, decision in decisions.items():
            record = self.nodes[node_id]
            if isinstance(decision, Granted):
                self._grant(record, decision)
            record.is_heartbeat_answered = True
            answers[node_id] = LeaseAnswer(record.heartbeat_sequence, decision, self._ledger.head_index)
        return answers

    def _decide(self, record: NodeRecord, log: LogAge, now: float) -> LeaseDecision:
        has_lease = record.is_granted_on_stream and record.is_live
        standing = Standing(record.acknowledged_index, has_lease, record.heartbeat_received_at)
        return self._rules.decide(standing, log, now)

    def _grant(self, record: NodeRecord, granted: Granted) -> None:
        if not record.is_live:
            self._is_directory_changed = True
        record.lease_seconds = max(record.lease_seconds, granted.duration_seconds)
        record.lease_until = max(record.lease_until or granted.until, granted.until)
        record.is_granted_on_stream = True
        self._next_check_at = min(self._next_check_at, record.lease_until)

    def _overdue(self, now: float) -> int:
        """The newest index committed longer ago than one lease lasts."""
        limit = now - self._rules.duration_seconds
        while self._recent_commits and self._recent_commits[0][0] < limit:
            self._overdue_index = self._recent_commits.pop(0)[1]
        return self._overdue_index

    def _expire(self, now: float) -> None:
        """End the leases that have run out, and forget the nodes that have been gone for long."""
        if now < self._next_check_at:
            return
        forgotten = []
        next_check_at = now + LONGEST_CHECK_SECONDS
        for node_id, record in self.nodes.items():
            if record.lease_until is not None and record.lease_until <= now:
                record.end_lease(now)
                self._unsaved.change(node_id)
                self._is_directory_changed = True
            elif not record.is_live and record.stream is None and record.last_seen < now - FORGET_AFTER_SECONDS:
                forgotten.append(node_id)
            if record.lease_until is not None:
                next_check_at = min(next_check_at, record.lease_until)
        for node_id in forgotten:
            del self.nodes[node_id]
            self._unsaved.forget(node_id)
            self._is_urgent = True
        self._next_check_at = next_check_at
