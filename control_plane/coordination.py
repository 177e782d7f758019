"""Who the nodes are, how far each is, who holds a lease, and which invalidations are complete: DESIGN sections 3 and 4, rules 5, 6, 7 and 9.

No input or output and no clock of its own: `sync.py` drives it from gRPC streams and the simulation from virtual ones. Events change records at once; `settle` then
draws the consequences of all events since the last time, makes them durable in one write, and only then returns what may be told to anybody.

A ledger that takes no writes holds promises back, and nothing else (decision 22): no first lease, no completed receipt. A lease that has ended is told all the same,
since a node that leaves the directory is always safe, and leases that the ledger knows of are renewed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from control_plane.commit_ages import CommitAges
from control_plane.due_checks import LONGEST_CHECK_SECONDS, DueChecks
from control_plane.fencing import COUNTED_NOTICE_SECONDS, next_change_at
from control_plane.leases import Granted, LeaseDecision, LeaseRules, LogAge, Standing, counted_seconds
from control_plane.nodes import (
    NOTHING_ACKNOWLEDGED,
    NodeDescription,
    NodeRecord,
    Rejection,
    Resource,
    SavedNode,
)
from control_plane.receipts import IssuedInvalidation, PendingReceipts, Receipt
from control_plane.succession import Succession
from control_plane.unsaved import Ledger, UnsavedChanges
from proto.log_position import LogPosition
from proto.process_identity import NO_PROCESS, ProcessIdentity

STARTS_OVER_SECONDS = 60.0
"""Between two snapshots for a node whose configuration differs from the log's."""


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
        self._may_know_too_few = not ledger.is_new
        """Nodes may follow a log that was there before this process and not be in the registry, which may be that of an older copy, or was not written at the end."""
        self._complete_from = now
        """No receipt comes before: those whom nobody knows of have heard by then of the first lease that was granted."""
        if self._may_know_too_few:
            self._complete_from += counted_seconds(rules.duration_seconds) + COUNTED_NOTICE_SECONDS
        self._streams_total = 0
        self.started_over_total = 0
        """Nodes that had another configuration than the log."""
        self._commits = CommitAges(ledger.head_index, now)
        self._beating: set[str] = set()
        self._unsaved = UnsavedChanges(ledger, saved, now)
        self._is_directory_changed = True
        self._is_urgent = False
        self._checks = DueChecks(now)
        for record in self.nodes.values():
            self._checks.plan(record, now)
        by_name = (self.pending, self._unsaved, self._checks)
        self.succession = Succession(self.nodes, by_name, silence_seconds=rules.duration_seconds)

    def _restore(self, saved: Iterable[SavedNode], now: float) -> dict[str, NodeRecord]:
        """Every node that was recorded with a lease counts as live until that lease must have ended, however long before the restart it was renewed: renewals are not
        recorded, so no clock could tell, not even that of the same boot.

        What it had acknowledged is recorded with other news of it only. At least it was what has been reported complete since, or saved as settled: no receipt comes
        without a node that is live, and when one is not any more, that is recorded with the receipt.
        """
        restored = {}
        completed_index = self._ledger.completed_index
        for node in saved:
            lease_until = now + counted_seconds(node.lease_seconds) if node.lease_seconds > 0 else None
            settled = node.settled(completed_index)
            record = restored[node.description.identifier] = settled.restored(lease_until)
            record.unleased_since = min(record.unleased_since, now)  # also when it was written down by another clock
        return restored

    # A stream begins and ends

    def connected(
        self,
        node: NodeDescription,
        position: LogPosition,
        now: float,
        process: ProcessIdentity = NO_PROCESS,
        incarnation: int = 0,
    ) -> tuple[int, CatchUp]:
        """A node introduces itself and says where it stands: the number of its stream, which replaces an older one, and what it lacks. `incarnation` is another one where
        the process has been without a lease. NameTakenError when another process speaks for the node."""
        record, is_directory_changed = self.succession.take_name(node, process, now)
        self._is_directory_changed |= is_directory_changed
        catch_up = FromSnapshot() if record.must_start_over else self._catch_up(position)  # or a StoreError
        if incarnation != record.incarnation or not incarnation:
            record.incarnation = incarnation
            record.witness_since = inf  # another process, which has nothing to tell others before it is granted a lease
        self._streams_total += 1
        record.stream = self._streams_total
        record.has_left = False
        record.is_granted_on_stream = False
        record.is_heartbeat_answered = True
        record.heartbeat_sequence = 0
        self._beating.discard(
            node.identifier
        )  # an answer would be taken for one to a beat of this stream, which is later
        record.directory_version = 0
        record.last_seen = now
        self._unsaved.change(node.identifier)
        record.must_start_over = False
        self._believe(record, position, catch_up, now)
        return record.stream, catch_up

    def disconnected(self, node_id: str, stream: int, now: float) -> None:
        """The stream broke. The lease goes on: the node may be serving."""
        record = self._speaking(node_id, stream)
        if record is not None:
            record.stream = None
            record.last_seen = now

    # The node speaks

    def acknowledged(self, node_id: str, stream: int, index: int, now: float) -> None:
        """The node has applied everything up to `index`, durably."""
        record = self._speaking(node_id, stream)
        if record is None or index <= record.acknowledged_index or index > self._ledger.head_index:
            return
        self.pending.acknowledged(node_id, index, now, record.acknowledged_index)
        record.acknowledged_index = index
        record.last_seen = now
        if not record.is_granted_on_stream and record.heartbeat_sequence:
            # Under continuous changes a node may stand at the head between two heartbeats only.
            self._beating.add(node_id)

    def restated_rejections(self, node_id: str, stream: int, rejections: Iterable[Rejection]) -> None:
        """All that a node which has introduced itself refuses of this log up to its position: what it said on earlier streams may be lost, or hold no longer."""
        record = self._speaking(node_id, stream)
        if record is not None:
            before = record.rejections
            record.restate_rejections(rejections)
            if record.rejections != before:
                self._unsaved.change(node_id)

    def rejected(self, node_id: str, stream: int, rejection: Rejection) -> None:
        """The node stays on its last good version of one resource. That is durable before anything that its acknowledgement completes: both are in one row."""
        record = self._speaking(node_id, stream)
        if record is not None:
            record.reject(rejection)
            self._unsaved.change(node_id)

    def accepted(self, node_id: str, stream: int, resource: Resource) -> None:
        """A resource that the node had refused is in use in its newest version, or gone."""
        record = self._speaking(node_id, stream)
        if record is not None:
            record.rejections.pop(resource, None)
            self._unsaved.change(node_id)

    def beat(self, node_id: str, stream: int, sequence: int, now: float) -> None:
        """A heartbeat. What it says of the applied index counts for nothing: it may be of another log, until the node has acknowledged on this stream."""
        record = self._speaking(node_id, stream)
        if record is None:
            return
        record.heartbeat_sequence = sequence
        record.heartbeat_received_at = record.last_seen = now
        record.is_heartbeat_answered = False
        self._beating.add(node_id)

    def has_directory(self, node_id: str, stream: int, version: int) -> None:
        """Which version of the directory is in use there. Nothing waits for it: it is told to people."""
        record = self._speaking(node_id, stream)
        if record is not None:
            record.directory_version = version

    def starts_over(self, node_id: str, stream: int, now: float) -> bool:
        """The node has another configuration than the log; whether it gets a snapshot on its next stream. Not twice in a minute: that would be the node's fault, or
        ours, and a cache that is emptied again and again serves nobody."""
        record = self._speaking(node_id, stream)
        if record is None or record.acknowledged_index != self._ledger.head_index:
            return False  # it does not stand where it said, or is getting a snapshot already
        if now < record.started_over_at + STARTS_OVER_SECONDS:
            return False
        self.started_over_total += 1
        record.started_over_at = now
        record.must_start_over = True
        return True

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
        self._commits.committed(index, now)

    @property
    def next_check_at(self) -> float:
        """When `settle` has to be called even if nothing happens until then: no lease ends earlier, and what could not be saved is not tried again earlier."""
        check_at = self._checks.next_at
        if self._checks.taken_at < self._complete_from:
            check_at = min(check_at, self._complete_from)
        return min(check_at, self._unsaved.save_again_at) if self._is_urgent else check_at

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
        settlement = Settlement(self._answers(decisions, now), completed, self._is_directory_changed)
        self._is_directory_changed = False
        return settlement

    @property
    def unsaved_nodes(self) -> int:
        """How many nodes are further than the ledger knows."""
        return len(self._unsaved)

    def save_changes(self, now: float) -> bool:
        """Have the ledger know what is known here, for those who read it, but for acknowledgements; nothing of it is a promise. What cannot be saved now is saved with
        what comes later. Whether all is saved."""
        return not self.unsaved_nodes or self._unsaved.save(self.nodes, {}, [], now)

    # Questions

    def live_nodes(self) -> list[NodeDescription]:
        """Who is routable."""
        return [node.description for node in self.nodes.values() if node.is_routable]

    def is_deployed(self, resources: Collection[Resource], index: int) -> bool:
        """Every node with a live lease serves the resources as the log has them at `index`: it has acknowledged that, and refuses none of them (DESIGN section 3)."""
        return all(node.has_applied(resources, index) for node in self.nodes.values() if node.is_live)

    # Rules

    def _speaking(self, node_id: str, stream: int) -> NodeRecord | None:
        record = self.nodes.get(node_id)
        return record if record is not None and record.stream == stream else None

    def _catch_up(self, position: LogPosition) -> CatchUp:
        """Only a node whose history is the beginning of this log's gets the entries after it (rule 9). Which entries it has applied is not told by their number: a log
        that was restored from a backup goes on with the same numbers. Whose entries are no longer retained cannot prove it, and starts over as well."""
        digest = self._ledger.digest_at(position.index)
        if position.log_id != self._ledger.log_id or digest is None or digest != position.digest:
            return FromSnapshot()
        return FromEntries(position.index)

    def _believe(self, record: NodeRecord, position: LogPosition, catch_up: CatchUp, now: float) -> None:
        """What the node has acknowledged, as far as it is of this log's history. One that starts over has acknowledged nothing, until it has applied the snapshot.

        A lease from before goes on meanwhile and is waited for, since the node may be serving by it. It ends for a node that has lost what it acknowledged: that
        is another process under the same name, and not routable.
        """
        node_id = record.description.identifier
        said_index = position.index if position.log_id == self._ledger.log_id else NOTHING_ACKNOWLEDGED
        if said_index < record.acknowledged_index:
            record.end_lease(now)
            self._is_directory_changed = True
            self._checks.plan(record, now)
        match catch_up:
            case FromEntries(after_index):
                record.acknowledged_index = after_index
                self.pending.acknowledged(node_id, after_index, now)
            case FromSnapshot():
                record.acknowledged_index = NOTHING_ACKNOWLEDGED
                self.pending.withdrawn(node_id)

    def _completed(self, now: float) -> list[Receipt]:
        """The receipts that are complete, and may be saved now."""
        if now < max(self._unsaved.save_again_at, self._complete_from) or not len(self.pending):
            return []
        return self.pending.complete(list(self.nodes.values()), now)

    def _decisions(self, now: float) -> dict[str, LeaseDecision]:
        """What each node that has beaten, or reached the head after it has, is to be told."""
        decisions: dict[str, LeaseDecision] = {}
        if not self._beating:
            return decisions
        log = LogAge(self._ledger.head_index, self._commits.newest_before(now - self._rules.duration_seconds))
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
        return {node_id: each for node_id, each in granted if self._unsaved.is_promise(self.nodes[node_id], each)}

    def _answers(self, decisions: Mapping[str, LeaseDecision], now: float) -> dict[str, LeaseAnswer]:
        """Carry the decisions out; what the nodes are told."""
        answers = {}
        for node_id, decision in decisions.items():
            record = self.nodes[node_id]
            if isinstance(decision, Granted):
                self._grant(record, decision, now)
            record.is_heartbeat_answered = True
            answers[node_id] = LeaseAnswer(record.heartbeat_sequence, decision, self._ledger.head_index)
        return answers

    def _decide(self, record: NodeRecord, log: LogAge, now: float) -> LeaseDecision:
        has_lease = record.is_granted_on_stream and record.is_live
        standing = Standing(record.acknowledged_index, has_lease, record.heartbeat_received_at)
        return self._rules.decide(standing, log, now)

    def _grant(self, record: NodeRecord, granted: Granted, now: float) -> None:
        """Told now: a first lease that was held back is no news to anybody before, however old its heartbeat is."""
        self._is_directory_changed |= not record.is_live
        if record.is_live and not record.is_granted_on_stream:
            self._unsaved.change(record.description.identifier)  # what is saved may be from before it started over
        if record.witness_since == inf:
            record.witness_since = now
        if self._may_know_too_few:
            self._may_know_too_few = False
            self._complete_from = now + COUNTED_NOTICE_SECONDS
        record.lease_seconds = max(record.lease_seconds, granted.duration_seconds)
        record.lease_until = max(record.lease_until or granted.until, granted.until)
        record.is_granted_on_stream = True
        self._checks.plan(record, min(record.lease_until, record.witness_since + COUNTED_NOTICE_SECONDS))

    def _expire(self, now: float) -> None:
        """End the leases that have run out, and forget the nodes that have been gone for long."""
        for record in self._checks.take(self.nodes, now):
            node_id = record.description.identifier
            if record.lease_until is not None and record.lease_until <= now:
                record.end_lease(now)
                self._unsaved.change(node_id)
                self._is_directory_changed = True
            elif not record.is_live and record.stream is None and record.last_seen < now - record.remembered_seconds:
                del self.nodes[node_id]
                self._unsaved.forget(node_id)
                self._is_urgent = True
                continue
            self._checks.plan(record, min(next_change_at(record, now), now + LONGEST_CHECK_SECONDS))
