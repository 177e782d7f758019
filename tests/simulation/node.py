"""A simulated cache node: protocol, cache, fence, questions to others, and a disk that outlives it. What it does with its files is what ControlClient does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from control_plane.nodes import NodeDescription, Role
from edge_node.control.journal import InvalidationJournal
from edge_node.control.journal_codec import JournalEntry, JournalError
from edge_node.control.known_peers import KnownPeers
from edge_node.control.peer_inquiry import LOOK_SECONDS, MOST_ASKED, ROUNDS_UNTIL_GONE
from edge_node.control.resource_reader import read_peers
from edge_node.fill.coalescer import RequestCoalescer
from edge_node.policy.fence import ANSWER_SECONDS, ROUND_SECONDS, Answers, Fence, PeerStanding
from edge_node.storage.cache import Cache as ProductCache
from edge_node.storage.node_state import InvalidatedPaths, NodeState
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import NodeMachine
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges
from tests.simulation.cache import Cache, Question, Upstream
from tests.simulation.disk import Disk, KilledError
from tests.simulation.session import ControlPlane, Process
from tests.simulation.stored import DISTRIBUTION_ID
from tests.simulation.world import Network, World

JOURNAL_GROWTH_BYTES = 300
"""So small that it is compacted again and again."""
LOST_ANSWERS = 0.03
"""How often a peer is not heard although it could be."""

Respond = Callable[[int | None], None]
NodeUpstream = Callable[["Node", Question, Respond], None]
"""As Upstream, and who asks."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """The code under test that a node runs."""

    machine: type[NodeMachine] = NodeMachine
    cache: type[Cache] = Cache
    journal: type[InvalidationJournal] = InvalidationJournal
    fence: type[Fence] = Fence
    state: type[NodeState] = NodeState
    known_peers: type[KnownPeers] = KnownPeers
    kept: type[ProductCache] = ProductCache
    coalescer: type[RequestCoalescer] = RequestCoalescer


class Node(Process):
    """One that stores responses. It is its session's Applier."""

    def __init__(
        self, world: World, network: Network, named: tuple[str, Role, str], upstream: NodeUpstream, parts: NodeParts
    ) -> None:
        """`named`: its id, its role, its address."""
        node_id, role, self.address = named
        super().__init__(world, network, node_id)
        self.description = NodeDescription(
            node_id, role, "us-east-1", "IAD89-P1", f"{self.address}:80", f"{self.address}:81"
        )
        self.plane: ControlPlane | None = None
        self.is_cut_off = False
        self.is_wedged = False
        self.is_draining = False
        """It has left, and still answers who asks."""
        self.is_fenced = True
        self.is_mute = False
        """It does not get round to asking others, though it serves: a loop that is late."""
        self.disk = Disk(world, node_id)
        self.warm_starts_total = 0
        self.stamps_beyond_total = 0
        """Stored responses found with a stamp that the journal does not reach; there must be none."""
        self._upstream = upstream
        self._parts = parts
        self.others: Mapping[str, Node] = {}
        """All nodes that there are; which of them it knows is in its NodeState."""
        self.routable_since = inf
        self.renewed_at = -inf
        """When it said what its newest lease answers, by the clock of the world."""
        self.furthest: dict[str, int] = {}
        """The newest entry of each log that any process of it has ever applied."""
        self.told_of: set[str] = set()
        """Whom a directory has named to it, as far as the process can still know: the checker's, not the node's."""
        self._dice = world.dice(f"{node_id} asking")
        self._unanswered: dict[str, int] = {}

    # The process

    def start(self) -> None:
        """Come up with what is on the disk."""
        self.begin(self.disk.ended_processes())
        self.disk.hold(self.identity)
        self.fence = self._parts.fence(self.clock())
        state = self._parts.state("us-east-1", self.fence)
        product = (self._parts.kept, self._parts.coalescer)
        upstream = self._guarded_upstream(self.incarnation)
        self.cache = self._parts.cache(self.world, upstream, self.disk, state, product)
        self.cache.must_confirm = lambda is_strict: (
            self.is_fenced and self.fence.must_confirm(self.clock(), is_strict=is_strict)
        )
        self.routable_since, self.renewed_at = inf, -inf
        self._known_peers = self._parts.known_peers(self.disk.known_peers.nodes)
        self._put_directory(self.disk.directory)
        self.told_of = set(self.disk.told_of)
        self._unanswered = {}
        self.journal = self._parts.journal(self.disk.journal, self.cache.log, self.boot_id(), JOURNAL_GROWTH_BYTES)
        try:
            self.restore()
        except KilledError:
            self.is_up = False
            self.world.tell("{} is killed while it starts", self.node_id)
            return
        assert self.plane is not None
        self.world.tell("{} starts at entry {}", self.node_id, self.position().index)
        self.session = self.plane.session_of(self, self.description, self._parts.machine, self)
        self.session.is_refused = self.is_cut_off
        self.session.connect()
        self._look()

    @property
    def machine(self) -> NodeMachine:
        """Of its session."""
        return self.session.machine

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
        cache.resume(self.disk.snapshot)
        cache.load_entries()
        self.warm_starts_total += 1
        self.stamps_beyond_total += cache.stamps_beyond()

    def crash(self) -> None:
        """As kill -9 does; what is on the disk survives."""
        self.is_up = False
        self.session.disconnect()

    def copy_disk_of(self, other: "Node") -> None:
        """Before it starts: as where a state folder was copied."""
        self.disk = other.disk.copy()
        self.furthest = dict(other.furthest)

    def leave(self) -> None:
        """As SIGTERM does."""
        self.session.leave()
        self.is_up = False

    def writing_seconds(self) -> float:
        """See Process."""
        return self.disk.writing_seconds()

    def set_cut_off(self, is_cut_off: bool) -> None:
        """It can open no stream, or can again."""
        self.is_cut_off = is_cut_off
        if self.is_up:
            self.session.is_refused = is_cut_off

    def is_routable(self) -> bool:
        """Whether the node itself believes that it holds a lease."""
        return self.is_up and self.session.machine.lease_state(self.clock()) == "held"

    def _guarded_upstream(self, incarnation: int) -> Upstream:
        """Answers to a process that is gone reach nobody."""

        def ask(question: Question, answer: Respond) -> None:
            def guarded(result: int | None) -> None:
                if self.is_up and self.incarnation == incarnation:
                    answer(result)

            self._upstream(self, question, lambda result: self.network.run_in(self.place, lambda: guarded(result)))

        return ask

    # Questions to other nodes: peer_inquiry.py, over virtual time

    def _look(self) -> None:
        began_at = self.clock()
        if self.fence.must_ask(began_at) and not self.is_mute:
            self._ask_round(began_at)
        else:
            leased_seconds = (self.fence.lease_until - began_at) / self.rate  # until then it would look in vain
            self.later(max(0.0, leased_seconds) + self._dice.uniform(0.5, 1.0) * LOOK_SECONDS, self._look)

    def _ask_round(self, asked_at: float) -> None:
        answers: dict[str, PeerStanding | None] = {}
        state = self.cache.state
        known = [peer.id for peer in (*state.peers, *state.former_peers) if peer.id != self.node_id]
        asked = [self.others[peer_id] for peer_id in known[:MOST_ASKED]]
        for peer in asked:
            self._ask(peer, answers)

        def ended() -> None:
            late = [peer.node_id for peer in asked if peer.node_id not in answers]
            self._unanswered = {peer_id: self._unanswered.get(peer_id, 0) + 1 for peer_id in late}
            is_missing = any(rounds < ROUNDS_UNTIL_GONE for rounds in self._unanswered.values())
            standings = [answer for answer in answers.values() if answer is not None]
            state, position = self.fence.state, self.cache.position
            self.fence.round_ended(asked_at, self.clock(), position, Answers(standings, is_missing))
            if self.fence.state is not state:
                heard = ", ".join(peer_id for peer_id, answer in answers.items() if answer) or "nobody"
                self.world.tell("{} has heard {}: it is {}", self.node_id, heard, self.fence.state)
            self.later(max(0.0, ROUND_SECONDS - ANSWER_SECONDS), self._look)

        self.later(ANSWER_SECONDS, ended)

    def _ask(self, peer: "Node", answers: dict[str, PeerStanding | None]) -> None:
        """There and back; nothing comes where the way is cut, and a little of the rest is lost."""
        dice, network, names = self._dice, self.network, (self.place, peer.place)
        is_lost = dice.random() < LOST_ANSWERS and self._unanswered.get(peer.node_id, 0) < ROUNDS_UNTIL_GONE - 1
        there, back = dice.uniform(0.001, 0.2), dice.uniform(0.001, 0.2)

        def returned(standing: PeerStanding | None) -> None:
            if network.reaches(*names):
                network.run_in(self.place, lambda: answers.update({peer.node_id: standing}))

        def arrived() -> None:
            standing = peer.standing() if peer.is_up else None
            self.world.after(back, lambda: returned(standing))

        if not is_lost and network.reaches(*names):
            self.world.after(there, lambda: network.run_in(peer.place, arrived) if network.reaches(*names) else None)

    def standing(self) -> PeerStanding:
        """What it tells who asks."""
        now, position, machine = self.clock(), self.cache.position, self.session.machine
        return PeerStanding(
            position.log_id,
            position.index,
            machine.lease_state(now) == "held",
            self.fence.is_starting(now),
            machine.renewed_seconds_ago(now),
        )

    # proto.node_session.Applier

    def position(self) -> LogPosition:
        """What the node introduces itself with: ControlClient.position."""
        return LogPosition() if self.cache.state.has_forgotten else self.cache.position

    def rejected(self) -> RejectedChanges:
        """It can use everything."""
        return NOTHING_REJECTED

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """Durable first, then applied, then acknowledged (rule 7)."""
        if self.is_wedged:
            raise OSError("wedged")
        at = LogPosition(entry.log_id, entry.index, entry.digest)
        self.furthest[at.log_id] = max(at.index, self.furthest.get(at.log_id, -1))
        if entry.invalidations:
            self.apply_invalidation(at, list(entry.invalidations[0].paths))
            self.world.tell("{} has applied entry {}", self.node_id, entry.index)
        else:
            self.journal.will_configure(JournalEntry(at))
            self.disk.write_snapshot(at)
            self.journal.has_configured(at)
            self.cache.apply_nothing(at)

    def apply_invalidation(self, at: LogPosition, paths: list[str]) -> None:
        """In the journal before anything carries its index."""
        self.journal.will_apply(JournalEntry(at, [InvalidatedPaths(DISTRIBUTION_ID, paths)]))
        self.cache.apply_invalidation(at, paths)

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """The journal comes last: until then the one before does not fit the snapshot."""
        self.furthest[snapshot.log_id] = max(snapshot.index, self.furthest.get(snapshot.log_id, -1))
        self.start_over_at(LogPosition(snapshot.log_id, snapshot.index, snapshot.digest))
        self.world.tell("{} has applied a snapshot at {} {}", self.node_id, snapshot.log_id, snapshot.index)

    def start_over_at(self, position: LogPosition) -> None:
        """With nothing stored."""
        self.disk.write_snapshot(position)
        self.cache.apply_snapshot(position)
        self.journal.begin(position)

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """Kept on the disk as well as may be."""
        self._put_directory(directory)
        self.told_of.update(node.id for node in directory.nodes)
        self.disk.keep_directory(directory, self._known_peers.everybody(), self.told_of)

    def _put_directory(self, directory: sync_pb2.Directory) -> None:
        self._known_peers.meet(directory)
        self.cache.state.put_directory(read_peers(directory), read_peers(self._known_peers.former()))

    def lease_held(self, until: float) -> None:
        """See Applier."""
        if not self.fence.lease_until > self.clock():
            self.routable_since = self.world.now
            self.world.tell("{} holds a lease", self.node_id)
        self.use_lease(until)
        self.renewed_at = self.world.now - self.session.machine.renewed_seconds_ago(self.clock()) / self.rate

    def use_lease(self, until: float) -> None:
        """It serves by it."""
        self.fence.leased(until)

    def lease_lost(self) -> None:
        """See Applier."""
        self.fence.lease_lost()

    def checksum(self) -> bytes:
        """It cannot tell."""
        return b""

    def load(self) -> tuple[int, int]:
        """Nobody looks."""
        return 0, 0
