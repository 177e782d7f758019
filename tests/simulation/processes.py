"""The simulated processes: a control plane around the real Coordinator, and nodes around the real NodeMachine. They crash, restart, and lose each other."""

from collections.abc import Callable
from functools import partial
from math import inf

from control_plane.coordination import Coordinator, FromEntries
from control_plane.leases import Granted, LeaseRules
from control_plane.nodes import NodeDescription, Role
from control_plane.receipts import IssuedInvalidation
from control_plane.state import StoreError
from edge_node.control.journal import InvalidationJournal
from edge_node.control.journal_codec import JournalEntry, JournalError
from edge_node.control.peer_inquiry import LOOK_SECONDS, ROUNDS_UNTIL_GONE
from edge_node.policy.fence import ANSWER_SECONDS, ROUND_SECONDS, Answers, Fence, PeerStanding
from edge_node.storage.node_state import InvalidatedPaths
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import (
    ApplyDirectory,
    ApplyEntry,
    ApplySnapshot,
    Disconnect,
    Effect,
    LeaseHeld,
    LeaseLost,
    Load,
    NodeIdentity,
    NodeMachine,
    Send,
)
from tests.simulation.cache import DISTRIBUTION_ID, Cache, Question, Upstream
from tests.simulation.disk import Disk, KilledError
from tests.simulation.world import Link, MemoryLedger, World

LEASE_SECONDS = 2.0
NO_LOAD = Load()
JOURNAL_GROWTH_BYTES = 300
"""So small that it is compacted again and again."""


class Connection:
    """One Sync stream between a node and the control plane."""

    def __init__(self, node: "Node", plane: "Plane", stall_probability: float) -> None:
        self.node, self.plane = node, plane
        world = node.world
        self.up = Link(world, stall_probability, lambda message: plane.received(self, message))
        self.down = Link(world, stall_probability, lambda message: node.received(self, message))
        self.coordinator = plane.coordinator
        """The incarnation of the control plane that it leads to."""
        self.number = 0
        """What the coordinator calls the stream; 0 until Hello has arrived."""

    def silence(self, *, both_ways: bool) -> None:
        """Half-open: what the node says arrives no more, and perhaps what it is told; nobody is told that."""
        self.up.is_silent = True
        self.down.is_silent = both_ways

    def close(self) -> None:
        """Both ends notice, each when the news arrives."""
        if not self.up.is_closed:
            self.up.is_closed = self.down.is_closed = True
            world = self.node.world
            world.after(world.rng.uniform(0.0, 0.05), lambda: self.plane.lost(self))
            world.after(world.rng.uniform(0.0, 0.05), lambda: self.node.lost(self))


class Plane:
    """The control plane process, and the database that outlives it."""

    def __init__(self, world: World, ledger: MemoryLedger, coordinator: type[Coordinator], rules: LeaseRules) -> None:
        self.world = world
        self.ledger = ledger
        self._new_coordinator = coordinator
        self._rules = rules
        self.connections: dict[str, Connection] = {}
        self.coordinator: Coordinator | None = None
        self._check_at = 0.0

    def start(self) -> None:
        """Come up over the database as it is."""
        self.coordinator = self._new_coordinator(self.ledger, self._rules, self.world.now)
        self._settle()

    def crash(self) -> None:
        """As kill -9 does."""
        self.coordinator = None
        self.ledger.is_new = False
        for connection in list(self.connections.values()):
            connection.close()
        self.connections.clear()

    def restore(self, backup: MemoryLedger, log_id: str) -> None:
        """Have an older copy of the database. One that was made as a backup becomes another log when it is opened; one that was copied by hand does not."""
        self.ledger = backup
        if log_id != backup.log_id:
            backup.become_another_log(log_id)

    def is_live(self, node_id: str) -> bool:
        """Whether the control plane has the node in its directory."""
        record = self.coordinator.nodes.get(node_id) if self.coordinator else None
        return record is not None and record.is_live

    def invalidate(self, identifier: str, paths: tuple[str, ...]) -> bool:
        """Commit an invalidation and push it; False when nobody is there to do it, or it cannot be written."""
        if self.coordinator is None or self.ledger.is_full:
            return False
        index = self.ledger.head_index + 1
        entry = sync_pb2.Entry(log_id=self.ledger.log_id, index=index)
        entry.invalidations.add(id=identifier, distribution_id=DISTRIBUTION_ID, paths=paths)
        self._commit(entry, IssuedInvalidation(identifier, DISTRIBUTION_ID, index, paths, self.world.now))
        return True

    def configure(self) -> None:
        """Commit an entry of another kind."""
        if self.coordinator is not None and not self.ledger.is_full:
            entry = sync_pb2.Entry(log_id=self.ledger.log_id, index=self.ledger.head_index + 1)
            entry.changes.add(delete=sync_pb2.ResourceName(kind=sync_pb2.RESOURCE_KIND_ROUTING_TABLE))
            self._commit(entry, None)

    def _commit(self, entry: sync_pb2.Entry, issued: IssuedInvalidation | None) -> None:
        assert self.coordinator is not None
        self.ledger.append(issued, entry, self.world.now)
        self.coordinator.committed(entry.index, self.world.now, issued)
        for connection in self.connections.values():
            self._push(connection, entry)
        self._settle()

    def received(self, connection: Connection, message: object) -> None:
        """A message of a node has arrived."""
        coordinator = self.coordinator
        if coordinator is None or coordinator is not connection.coordinator:
            return
        assert isinstance(message, sync_pb2.NodeMessage)
        now, node_id, number = self.world.now, connection.node.node_id, connection.number
        match message.WhichOneof("kind"):
            case "hello":
                self._introduced(connection, message.hello)
            case "acknowledgement":
                coordinator.acknowledged(node_id, number, message.acknowledgement.index, now)
            case "heartbeat":
                self.beat(coordinator, connection, message.heartbeat)
            case "leaving":
                coordinator.left(node_id, number, now)
        self._settle()

    def beat(self, coordinator: Coordinator, connection: Connection, heartbeat: sync_pb2.Heartbeat) -> None:
        """A heartbeat has arrived."""
        coordinator.beat(connection.node.node_id, connection.number, heartbeat.sequence, self.world.now)

    def lost(self, connection: Connection) -> None:
        """A stream has broken."""
        node_id = connection.node.node_id
        if self.coordinator is not None and self.coordinator is connection.coordinator and connection.number:
            self.coordinator.disconnected(node_id, connection.number, self.world.now)
        if self.connections.get(node_id) is connection:
            del self.connections[node_id]

    def _introduced(self, connection: Connection, hello: sync_pb2.Hello) -> None:
        assert self.coordinator is not None
        node = connection.node
        replaced = self.connections.get(node.node_id)
        if replaced is not None:
            replaced.close()
        position = LogPosition(hello.log_id, hello.applied_index, hello.digest)
        try:
            connection.number, catch_up = self.coordinator.connected(
                node.description, position, self.world.now, hello.incarnation
            )
        except StoreError:
            connection.close()
            return
        self.connections[node.node_id] = connection
        if isinstance(catch_up, FromEntries):
            for entry in self.ledger.entries[catch_up.after_index :]:
                self._push(connection, entry)
        else:
            head_index = self.ledger.head_index
            digest = self.ledger.digest_at(head_index) or b""
            snapshot = sync_pb2.Snapshot(log_id=self.ledger.log_id, index=head_index, digest=digest)
            connection.down.send(sync_pb2.ControlMessage(snapshot=snapshot))

    def _push(self, connection: Connection, entry: sync_pb2.Entry) -> None:
        message = sync_pb2.ControlMessage(entry=entry)
        connection.down.send(message)
        if self.world.rng.random() < 0.05:
            connection.down.send(message)  # a duplicate

    def _settle(self) -> None:
        if self.coordinator is None:
            return
        settlement = self.coordinator.settle(self.world.now)
        for node_id, answer in settlement.answers.items():
            lease = sync_pb2.Lease(sequence=answer.sequence, head_index=answer.head_index)
            if isinstance(answer.decision, Granted):
                lease.is_granted = True
                lease.duration_milliseconds = round(answer.decision.duration_seconds * 1000)
            connection = self.connections.get(node_id)
            if connection is not None:
                connection.down.send(sync_pb2.ControlMessage(lease=lease))
        self._check_later(self.coordinator.next_check_at)

    def _check_later(self, check_at: float) -> None:
        if self._check_at <= self.world.now or check_at < self._check_at:
            self._check_at = check_at
            self.world.after(max(0.0, check_at - self.world.now), self._settle)


class Node:
    """A node process: protocol, cache, a disk that outlives it, and a clock that is a little off. What it does with its files is what ControlClient does."""

    def __init__(
        self,
        world: World,
        node_id: str,
        role: Role,
        upstream: Upstream,
        parts: tuple[type[NodeMachine], type[Cache], type[InvalidationJournal], type[Fence]],
    ) -> None:
        self.world = world
        self.node_id = node_id
        self.description = NodeDescription(node_id, role, "us-east-1", "IAD89-P1", node_id, node_id)
        self.plane: Plane | None = None
        self.stall_probability = 0.0
        self.incarnation = 0
        self.is_up = False
        self.is_cut_off = False
        self.is_wedged = False
        self.is_fenced = True
        self.is_mute = False
        """It does not get round to asking others, as a process does not that stands still; what is due when it goes on is served first."""
        self.disk = Disk(world)
        self.warm_starts_total = 0
        self.stamps_beyond_total = 0
        """Stored responses found with a stamp that the journal does not reach; there must be none."""
        self._upstream = upstream
        self._new_machine, self._new_cache, self._new_journal, self._new_fence = parts
        self.peers: list[Node] = []
        """Whom it can ask when it holds no lease."""
        self.routable_since = inf
        self.owes: dict[str, int] = {}
        """What receipts have promised for this process, by path: the checker's, not the node's."""
        self.acknowledged: dict[str, dict[str, int]] = {}
        """What receipts say that this node has acknowledged, by log and path, whichever process it was (rule 7)."""
        self._rate = world.rng.uniform(0.94, 1.06)
        self._connection: Connection | None = None

    def clock(self) -> float:
        """The node's own time."""
        return self.world.now * self._rate

    # The process

    def start(self) -> None:
        """Come up with what is on the disk."""
        self.incarnation += 1
        self.is_up = True
        self.cache = self._new_cache(self.world, self._guarded_upstream(self.incarnation), self.disk)
        self.fence = self._new_fence(self.clock())
        self.cache.must_confirm = lambda is_strict: (
            self.is_fenced and self.fence.must_confirm(self.clock(), is_strict=is_strict)
        )
        self.routable_since = inf
        self.owes = {}
        self._unanswered: dict[str, int] = {}
        self.journal = self._new_journal(self.disk.journal, self.cache.log, self.boot_id(), JOURNAL_GROWTH_BYTES)
        try:
            self.restore()
        except KilledError:
            self.crash()
        else:
            identity = NodeIdentity(self.node_id, int(self.description.role), "us-east-1", "IAD89-P1", "", "")
            self.machine = self._new_machine(identity, self.position, self.incarnation)
            self._connect(self.incarnation)
            self._look(self.incarnation)

    @property
    def position(self) -> LogPosition:
        """What the node introduces itself with: ControlClient.position."""
        return LogPosition() if self.cache.has_forgotten else self.cache.position

    def boot_id(self) -> str:
        """Of the machine."""
        return f"boot-{self.disk.boots}"

    def restore(self) -> None:
        """Go on from what is on the disk, as far as it vouches for it; else invalidate what was stored (rule 7)."""
        snapshot, cache = self.disk.snapshot, self.cache
        if not snapshot.log_id:
            cache.invalidate_everything()
            self.journal.discard()
            return
        try:
            self.journal.resume(snapshot)
        except JournalError:
            cache.start_cold(snapshot)
            self.journal.discard()
            return
        self.start_warm()

    def start_warm(self) -> None:
        """With what was stored before."""
        cache = self.cache
        cache.log_id = self.disk.snapshot.log_id
        cache.load_entries()
        self.warm_starts_total += 1
        self.stamps_beyond_total += sum(e.stamp > cache.log.applied_index for e in cache.entries.values())

    def crash(self) -> None:
        """As kill -9 does; what is on the disk survives."""
        self.is_up = False
        self._disconnect()

    def leave(self) -> None:
        """As SIGTERM does."""
        self._carry_out(self.machine.left())
        connection = self._connection
        self._connection = None  # not closed: the message is on its way
        self.crash()
        if connection is not None:
            self.world.after(0.1, connection.close)

    def is_routable(self) -> bool:
        """Whether the node itself believes that it holds a lease."""
        return self.is_up and self.machine.lease_state(self.clock()) == "held"

    def _guarded_upstream(self, incarnation: int) -> Upstream:
        """Answers to a process that is gone reach nobody."""

        def ask(question: Question, answer: Callable[[int | None], None]) -> None:
            def guarded(result: int | None) -> None:
                if self.is_up and self.incarnation == incarnation:
                    answer(result)

            self._upstream(question, guarded)

        return ask

    # Questions to other nodes: peer_inquiry.py, over virtual time

    def _look(self, incarnation: int) -> None:
        if not self.is_up or self.incarnation != incarnation:
            return
        began_at = self.clock()
        if self.fence.must_ask(began_at) and not self.is_mute:
            self._ask_round(incarnation, began_at)
        else:
            self.world.after(LOOK_SECONDS, lambda: self._look(incarnation))

    def _ask_round(self, incarnation: int, asked_at: float) -> None:
        answers: dict[str, PeerStanding | None] = {}
        rng = self.world.rng
        for peer in self.peers:
            is_lost = rng.random() < 0.03 and self._unanswered.get(peer.node_id, 0) < ROUNDS_UNTIL_GONE - 1
            if not is_lost:
                self.world.after(rng.uniform(0.001, 0.2), partial(self._asked, peer, answers))

        def ended() -> None:
            if not self.is_up or self.incarnation != incarnation:
                return
            late = [peer.node_id for peer in self.peers if peer.node_id not in answers]
            self._unanswered = {peer_id: self._unanswered.get(peer_id, 0) + 1 for peer_id in late}
            is_missing = any(rounds < ROUNDS_UNTIL_GONE for rounds in self._unanswered.values())
            standings = [answer for answer in answers.values() if answer is not None]
            position = LogPosition(self.cache.position.log_id, self.cache.position.index)
            self.fence.round_ended(asked_at, self.clock(), position, Answers(standings, is_missing))
            self.world.after(max(0.0, ROUND_SECONDS - ANSWER_SECONDS), lambda: self._look(incarnation))

        self.world.after(ANSWER_SECONDS, ended)

    def _asked(self, peer: "Node", answers: dict[str, PeerStanding | None]) -> None:
        standing = peer.standing() if peer.is_up else None
        self.world.after(self.world.rng.uniform(0.001, 0.2), lambda: answers.update({peer.node_id: standing}))

    def has_acknowledged(self, log_id: str, versions: dict[str, int]) -> None:
        """A receipt says so."""
        owed = self.acknowledged.setdefault(log_id, {})
        owed.update({path: max(owed.get(path, 0), version) for path, version in versions.items()})

    def standing(self) -> PeerStanding:
        """What it tells who asks."""
        now, position = self.clock(), self.cache.position
        return PeerStanding(
            position.log_id,
            position.index,
            self.machine.lease_state(now) == "held",
            self.fence.is_starting(now),
            self.machine.renewed_seconds_ago(now),
        )

    # The stream

    def _connect(self, incarnation: int) -> None:
        if not self.is_up or self.incarnation != incarnation or self._connection is not None:
            return
        plane = self.plane
        if plane is None or plane.coordinator is None or self.is_cut_off:
            self._connect_later()
            return
        self._connection = Connection(self, plane, self.stall_probability)
        self._carry_out(self.machine.connected(self.clock(), self.position))
        self._tick(self._connection)

    def _connect_later(self) -> None:
        incarnation = self.incarnation
        self.world.after(self.world.rng.uniform(0.05, 0.4), lambda: self._connect(incarnation))

    def _tick(self, connection: Connection) -> None:
        if self._connection is not connection:
            return
        self._carry_out(self.machine.ticked(self.clock(), NO_LOAD))
        if self._connection is connection:
            seconds = max(0.001, (self.machine.next_tick_at - self.clock()) / self._rate)
            self.world.after(seconds, lambda: self._tick(connection))

    def received(self, connection: Connection, message: object) -> None:
        """A message of the control plane has arrived."""
        if self._connection is connection and isinstance(message, sync_pb2.ControlMessage):
            try:
                self._carry_out(self.machine.received(message, self.clock()))
            except KilledError:
                self.crash()
            except OSError:  # not durable, so not applied and not acknowledged
                self._start_over()

    def lost(self, connection: Connection) -> None:
        """The stream has broken."""
        if self._connection is connection:
            self._connection = None
            self._connect_later()

    def cut(self, *, silently: bool) -> None:
        """Lose the stream."""
        if self._connection is not None:
            if silently:
                self._connection.silence(both_ways=self.world.rng.random() < 0.5)
            else:
                self._connection.close()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    if self._connection is not None:
                        self._connection.up.send(message)
                case ApplyEntry(entry):
                    self.apply_entry(entry)
                case ApplySnapshot(snapshot):
                    self.apply_snapshot(LogPosition(snapshot.log_id, snapshot.index, snapshot.digest))
                    self._carry_out(self.machine.snapshot_applied(snapshot.log_id, snapshot.index))
                case ApplyDirectory():
                    pass
                case LeaseHeld(until):
                    if not self.fence.lease_until > self.clock():
                        self.routable_since = self.world.now
                    self.fence.leased(until)
                case LeaseLost():
                    self.fence.lease_lost()
                case Disconnect():
                    self._start_over()

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """Durable first, then applied, then acknowledged (rule 7)."""
        if self.is_wedged:
            self._start_over()
            return
        at = LogPosition(entry.log_id, entry.index, entry.digest)
        if entry.invalidations:
            self.apply_invalidation(at, list(entry.invalidations[0].paths))
        else:
            self.journal.will_configure(JournalEntry(at))
            self.disk.write_snapshot(at)
            self.journal.has_configured(at)
            self.cache.apply_nothing(at)
        self._carry_out(self.machine.entry_applied(entry.index))

    def apply_invalidation(self, at: LogPosition, paths: list[str]) -> None:
        """In the journal before anything carries its index."""
        self.journal.will_apply(JournalEntry(at, [InvalidatedPaths(DISTRIBUTION_ID, paths)]))
        self.cache.apply_invalidation(at, paths)

    def apply_snapshot(self, position: LogPosition) -> None:
        """The journal comes last: until then the one before does not fit the snapshot."""
        self.disk.write_snapshot(position)
        self.cache.apply_snapshot(position)
        self.journal.begin(position)

    def _start_over(self) -> None:
        self._disconnect()
        self._connect_later()
