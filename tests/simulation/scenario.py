"""One seed: a small network, operators who change the origin and invalidate, viewers who read, faults, and the checker of DESIGN section 4.

The checker knows nothing of the protocol: an object that a receipt vouches for must be at least as new for every later request that is routed to a node that holds
a lease, in its own view or in the control plane's. Each seed enables a random subset of the faults, so that rare combinations get seeds of their own.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from control_plane.coordination import Coordinator
from control_plane.leases import LeaseRules, counted_seconds
from control_plane.nodes import Role
from control_plane.receipts import Receipt
from edge_node.control.journal import InvalidationJournal
from edge_node.policy.fence import Fence
from proto.lease_times import NOTICE_SECONDS
from proto.log_position import LogPosition
from proto.node_machine import NodeMachine
from tests.simulation.cache import NOT_MODIFIED, Cache, Question, validator
from tests.simulation.disk import Disk
from tests.simulation.processes import LEASE_SECONDS, Node, Plane
from tests.simulation.world import MemoryLedger, World

DURATION_SECONDS = 11.0
LONGER_SECONDS = 20.0
REST_SECONDS = 12.0
RETAINED_SECONDS = 2.2 * LEASE_SECONDS
"""How long entries stay in the log at least where it is trimmed: no lease outlives them."""
PATHS = ("/a", "/b/c", "/seldom")
INVALIDATION_PATHS = {"/a": ("/a", "/a", "/a", "/*"), "/b/c": ("/b/c", "/b/*"), "/seldom": ("/seldom",)}
CHANGED_SELDOM = 0.1
"""How often the last path is the one that changes: what is old there stays old for long, where the others are soon invalidated again."""
AFTER_RECEIPT_SECONDS = (0.0005, 0.004, 0.03, 0.12, 0.4, 1.0)
"""When viewers look at all nodes after a receipt: most mistakes show at once or while a lease runs out."""

FAULTS = (
    "plane_crash",
    "node_crash",
    "cut",
    "silence",
    "wedge",
    "stall",
    "upstream",
    "leave",
    "new_log",
    "wipe",
    "trim",
    "mute",
    "restored_backup",
)
DISK_FAULTS = ("killed_writing", "power_loss", "damaged_journal", "disk_full")


@dataclass(frozen=True, slots=True)
class Parts:
    """The code under test; a planted bug replaces one of them."""

    machine: type[NodeMachine] = NodeMachine
    coordinator: type[Coordinator] = Coordinator
    rules: type[LeaseRules] = LeaseRules
    cache: type[Cache] = Cache
    journal: type[InvalidationJournal] = InvalidationJournal
    fence: type[Fence] = Fence
    node: type[Node] = Node
    plane: type[Plane] = Plane


@dataclass(frozen=True, slots=True)
class Violation:
    """A viewer saw content older than a receipt completed before the request began."""

    node_id: str
    path: str
    version: int
    promised: int
    began_at: float


@dataclass(frozen=True, slots=True)
class Promise:
    """What one receipt vouches for."""

    log_id: str
    made_at: float
    versions: dict[str, int]


@dataclass(slots=True)
class Promises:
    """What receipts have promised so far: what a node of each log owes, by the order in which logs came into being.

    It owes also what was promised by the logs before, since it started from nothing when it came to this one.
    """

    owed: dict[str, dict[str, int]] = field(default_factory=dict)
    of_the_latest: dict[str, int] = field(default_factory=dict)
    made: list[Promise] = field(default_factory=list)

    def begin(self, log_id: str) -> None:
        """Another log comes into being."""
        self.add(Promise(log_id, 0.0, {}))

    def add(self, promise: Promise) -> None:
        """A receipt is complete."""
        self.made.append(promise)
        log_id, versions = promise.log_id, promise.versions
        if log_id not in self.owed:
            self.of_the_latest = self.owed[log_id] = dict(self.of_the_latest)
        for known in itertools.dropwhile(lambda each: each != log_id, self.owed):
            of_log = self.owed[known]
            for path, version in versions.items():
                of_log[path] = max(of_log.get(path, 0), version)

    def withdraw(self, log_id: str, made_after: float) -> None:
        """An older copy of the database has been put in place by hand: nobody knows of the receipts since then, nor who was left out of them."""
        made, self.made = self.made, []
        self.owed, self.of_the_latest = {}, {}
        for promise in made:
            if promise.log_id != log_id or promise.made_at <= made_after:
                self.add(promise)

    def version(self, log_id: str, path: str) -> int:
        """What a node of this log owes."""
        return self.owed.get(log_id, self.of_the_latest).get(path, 0)


class Simulation:
    """Everything of one seed."""

    def __init__(self, seed: int, parts: Parts = Parts()) -> None:
        world = self.world = World(seed)
        rng = world.rng
        faults = [fault for fault in FAULTS if rng.random() < 0.35]
        if rng.random() < 0.5:  # by itself, or one kind of fault would hide the other's mistakes
            faults = [fault for fault in faults if rng.random() < 0.6] + rng.sample(DISK_FAULTS, 2)
        self._is_fenced = rng.random() < 0.6
        """Else nodes without a lease serve what they have, and owe only what rules 1 to 9 promise: of those who hold a lease. Rule 10 would hide mistakes in them."""
        self._is_everybody_mute = self._is_fenced and rng.random() < 0.3
        """Nobody asks anybody: what holds then holds by the clocks alone, and no other protection hides a mistake of them. It takes longer to show."""
        if self._is_everybody_mute:
            faults += rng.sample(("cut", "silence", "stall", "plane_crash"), 2)
        self.faults = set(faults)  # dice are never thrown in the order of a set, which is another one in each process
        self.stall_probability = rng.choice((0.02, 0.1, 0.3)) if "stall" in self.faults else 0.0
        self.versions = dict.fromkeys(PATHS, 1)
        self.promises = Promises()
        self.violations: list[Violation] = []
        self.receipts_total = 0
        self.answers_total = 0
        self._is_operating = True
        self._issued: dict[str, tuple[str, dict[str, int]]] = {}
        self._logs_total = 0
        self._restored_at = 0.0
        """Until then nobody starts the control plane: leases that its backup does not know are not over."""
        self._ledger_rng = random.Random(f"ledger {seed}")  # of its own: it leaves all other dice as they are
        self._may_ledger_fill = self._ledger_rng.random() < 0.3
        self._parts = parts
        code = (parts.machine, parts.cache, parts.journal, parts.fence)
        self.regional = parts.node(world, "regional", Role.REGIONAL, self._from_origin, code)
        self.edges = [parts.node(world, name, Role.EDGE, self._from_regional, code) for name in ("edge-1", "edge-2")]
        self.nodes = [*self.edges, self.regional]
        self.plane = self._new_plane()
        for node in self.nodes:
            node.plane = self.plane
            node.peers = [other for other in self.nodes if other is not node]
            node.stall_probability = self.stall_probability
            node.is_mute = self._is_everybody_mute
            node.is_fenced = self._is_fenced
            node.start()

    def run(self) -> list[Violation]:
        """Play it to the end."""
        world = self.world
        self.plane.start()
        world.after(0.3, self._operate)
        world.after(0.2, self._browse)
        for fault in sorted(self.faults):
            world.after(world.rng.uniform(0.3, 4.0), lambda fault=fault: self._inject(fault))  # type: ignore[misc]  # bound now
        if self._may_ledger_fill:
            world.after(self._ledger_rng.uniform(0.3, 4.0), self._fill_ledger)
        takes_longer = self._is_everybody_mute or "restored_backup" in self.faults
        world.run(LONGER_SECONDS if takes_longer else DURATION_SECONDS)
        return self.violations

    def come_to_rest(self) -> list[str]:
        """Heal everything and wait; what is not as it should be then. Changes and viewers go on until the end, faults do not."""
        self.faults.clear()
        self._may_ledger_fill = self.plane.ledger.is_full = False
        self._restart_plane()
        for node in self.nodes:
            node.is_cut_off = node.is_wedged = node.is_mute = False
            node.stall_probability = 0.0
            node.cut(silently=False)
            self._heal_disk(node)
        self._is_operating = False
        self.world.run(self.world.now + REST_SECONDS)
        coordinator = self.plane.coordinator
        assert coordinator is not None
        problems = [f"{node.node_id} is not routable" for node in self.nodes if not node.is_routable()]
        problems.extend(f"{len(coordinator.pending)} receipts are pending" for _ in range(len(coordinator.pending) > 0))
        ledger = self.plane.ledger
        head = LogPosition(ledger.log_id, ledger.head_index, ledger.digest_at(ledger.head_index) or b"")
        problems.extend(f"{node.node_id} is not at the head" for node in self.nodes if node.cache.position != head)
        return problems

    def _new_plane(self) -> Plane:
        ledger = MemoryLedger(self._new_log_id(), self._completed)
        return self._parts.plane(self.world, ledger, self._parts.coordinator, self._parts.rules(LEASE_SECONDS))

    def _new_log_id(self) -> str:
        self._logs_total += 1
        log_id = f"log-{self._logs_total}"
        self.promises.begin(log_id)
        return log_id

    # Origin and tiers

    def _from_origin(self, question: Question, answer: Callable[[int | None], None]) -> None:
        """The version that is read lies somewhere in the middle of the fetch."""
        wanted = question.wanted
        there, back = self._travel_seconds(), self._travel_seconds()
        has_failed = "upstream" in self.faults and self.world.rng.random() < 0.25

        def read() -> None:
            version = self.versions[question.path]
            is_same = wanted is not None and validator(version) == validator(wanted)
            result = None if has_failed else NOT_MODIFIED if is_same else version
            self.world.after(back, lambda: answer(result))

        self.world.after(there, read)

    def _from_regional(self, question: Question, answer: Callable[[int | None], None]) -> None:
        there, back = self._travel_seconds(), self._travel_seconds()

        def returned(result: int | None) -> None:
            self.world.after(back, lambda: answer(result))

        def bypass() -> None:
            self._from_origin(question, returned)

        def arrived() -> None:
            if self.regional.is_up and self.regional.cache.log_id and question.position.log_id:
                self.regional.cache.serve(question, returned, bypass)
            else:
                bypass()

        self.world.after(there, arrived)

    def _travel_seconds(self) -> float:
        rng = self.world.rng
        return rng.uniform(0.1, 0.8) if rng.random() < 0.15 else rng.uniform(0.001, 0.03)

    # Operators

    def _operate(self) -> None:
        """Change an object, then invalidate it."""
        if not self._is_operating:
            return
        rng = self.world.rng
        path = PATHS[-1] if rng.random() < CHANGED_SELDOM else rng.choice(PATHS[:-1])
        self._look_at_all()
        if rng.random() < 0.1:
            self.plane.configure()
        self.versions[path] += 1
        self.world.after(rng.choice((0.0, 0.002, 0.05)), lambda: self._invalidate(path))
        self.world.after(rng.choice((0.005, 0.2, 0.9)), self._operate)

    def _invalidate(self, path: str) -> None:
        identifier = f"I{len(self._issued)}"
        pattern = self.world.rng.choice(INVALIDATION_PATHS[path])
        covered = {
            known: self.versions[known] for known in PATHS if pattern in INVALIDATION_PATHS[known] or pattern == "/*"
        }
        self._issued[identifier] = (self.plane.ledger.log_id, covered)
        self.plane.invalidate(identifier, (pattern,))

    def _completed(self, receipt: Receipt) -> None:
        self.receipts_total += 1
        assert all(line.state != "pending" for line in receipt.nodes), "a receipt is complete while a node is not"
        assert all(line.left_out_since is not None for line in receipt.nodes if line.state == "left_out")
        log_id, versions = self._issued[receipt.invalidation.identifier]
        self.promises.add(Promise(log_id, self.world.now, versions))
        acknowledged = {line.node_id for line in receipt.nodes if line.state == "acknowledged"}
        for edge in self.edges:
            if edge.node_id in acknowledged:
                edge.has_acknowledged(log_id, versions)
            if edge.is_up and edge.machine.log_id == log_id and self._others_routable(edge):
                edge.owes.update({path: max(edge.owes.get(path, 0), versions[path]) for path in versions})
        for seconds in self.world.rng.sample(AFTER_RECEIPT_SECONDS, 3):
            self.world.after(seconds, self._look_at_all)

    # Viewers

    def _browse(self) -> None:
        self._look_at_all()
        self.world.after(self.world.rng.uniform(0.05, 0.4), self._browse)

    def _look_at_all(self) -> None:
        for edge in self.edges:
            if edge.is_up and edge.cache.log_id:
                for path in PATHS:
                    self._view(edge, path)

    def _view(self, edge: Node, path: str) -> None:
        promised = self._promised(edge, path)
        began_at = self.world.now

        def respond(version: int | None) -> None:
            self.answers_total += 1
            if version is not None and version < promised:
                self.violations.append(Violation(edge.node_id, path, version, promised, began_at))

        edge.cache.request(path, respond)

    def _promised(self, edge: Node, path: str) -> int:
        promised = self.promises.version(edge.machine.log_id, path) if edge.is_routable() else 0
        if self.plane.is_live(edge.node_id):
            promised = max(promised, self.promises.version(self.plane.ledger.log_id, path))
        if not self._is_fenced:
            return promised
        told = [self.promises.version(node.machine.log_id, path) for node in self._witnesses(edge)]
        acknowledged = edge.acknowledged.get(edge.machine.log_id, {}).get(path, 0)
        return max([promised, edge.owes.get(path, 0), acknowledged, *told])

    def _others_routable(self, edge: Node) -> list[Node]:
        """Who can tell this edge, when a receipt comes, that it is without a lease because it is cut off: from then on it owes what the receipt says (rule 10)."""
        return [node for node in self.nodes if node is not edge and node.is_routable()]

    def _witnesses(self, edge: Node) -> list[Node]:
        """Whom a node without a lease has had the time to ask, so that it owes what they owe, whatever it was told when receipts came."""
        enough = NOTICE_SECONDS * 1.2
        if not edge.is_up or edge.clock() - edge.fence.lease_until < enough:
            return []
        return [node for node in self._others_routable(edge) if self.world.now - node.routable_since >= enough]

    # Faults

    def _inject(self, fault: str) -> None:
        if fault not in self.faults:
            return
        rng, after = self.world.rng, self.world.after
        node = rng.choice(self.nodes)
        healed_after = rng.choice((0.05, 0.6, 2.0, 3.2))
        match fault:
            case "plane_crash":
                self.plane.crash()
                after(healed_after, self._restart_plane)
                if self._is_everybody_mute:  # what takes the control plane takes the way to somebody, too
                    self._cut_off(node, healed_after)
            case "new_log":
                self._replace_plane(healed_after)
            case "restored_backup":
                self._back_up()
            case "node_crash" | "leave" | "wipe" | "power_loss" | "damaged_journal":
                self._stop(node, fault)
                after(healed_after, lambda: self._restart(node))
                if rng.random() < 0.4:  # and once more, at once
                    after(healed_after + 0.1, lambda: self._stop(node, "node_crash"))
                    after(healed_after + 0.15, lambda: self._restart(node))
            case "cut" | "silence":
                node.cut(silently=fault == "silence")
                self._cut_off(node, healed_after)
            case "mute":
                node.is_mute = True
                after(healed_after, lambda: setattr(node, "is_mute", self._is_everybody_mute))
            case "wedge":
                node.is_wedged = True
                after(healed_after, lambda: setattr(node, "is_wedged", False))
            case _:
                self._inject_into_storage(fault, node, healed_after)
        if fault != "new_log":
            after(healed_after + rng.uniform(0.2, 3.0), lambda: self._inject(fault))

    def _cut_off(self, node: Node, healed_after: float) -> None:
        """For so long, or until a node must have noticed that it is."""
        seconds = self.world.rng.choice((healed_after, LEASE_SECONDS + 2 * NOTICE_SECONDS))
        node.is_cut_off = True
        self.world.after(seconds, lambda: setattr(node, "is_cut_off", False))

    def _inject_into_storage(self, fault: str, node: Node, healed_after: float) -> None:
        """What happens to the retained log and to disks."""
        rng, after = self.world.rng, self.world.after
        match fault:
            case "trim":
                node.is_cut_off = True
                node.cut(silently=False)
                after(rng.uniform(0.2, RETAINED_SECONDS), lambda: self.plane.ledger.trim(self.world.now))
                after(RETAINED_SECONDS, lambda: setattr(node, "is_cut_off", False))
            case "disk_full":
                node.disk.is_full = True
                if rng.random() < 0.5:
                    after(healed_after, lambda: self._stop(node, fault))
                after(healed_after, lambda: self._heal_disk(node))
            case "killed_writing":
                node.disk.kill_in = rng.randrange(1, 5)
                after(healed_after, lambda: self._heal_disk(node))

    def _fill_ledger(self) -> None:
        """The control plane's database takes no writes for a while, and perhaps the process is killed meanwhile."""
        if not self._may_ledger_fill:
            return
        rng, after, ledger = self._ledger_rng, self.world.after, self.plane.ledger
        seconds = rng.choice((0.05, 0.6, 2.0, 3.2))
        ledger.is_full = True
        after(seconds, lambda: setattr(ledger, "is_full", False))
        if rng.random() < 0.5:
            after(seconds * rng.random(), self.plane.crash)
            after(seconds + 0.1, self._restart_plane)
        after(seconds + rng.uniform(0.2, 3.0), self._fill_ledger)

    def _stop(self, node: Node, fault: str) -> None:
        if not node.is_up:
            return
        if fault == "leave":
            node.leave()
        else:
            node.crash()
        match fault:
            case "wipe":
                node.disk = Disk(self.world)
            case "power_loss":
                node.disk.lose_power()
            case "damaged_journal":
                node.disk.damage_journal()

    def _heal_disk(self, node: Node) -> None:
        """Whatever it did to the process is over."""
        node.disk.is_full, node.disk.kill_in = False, None
        self._restart(node)

    def _restart(self, node: Node) -> None:
        if node.is_up:
            return
        if self.faults and self.world.rng.random() < 0.5:  # viewers are there before the control plane is
            node.is_cut_off = True
            self.world.after(0.8, lambda: setattr(node, "is_cut_off", False))
        node.start()
        self._look_at_all()

    def _restart_plane(self) -> None:
        if self.plane.coordinator is None and self.world.now >= self._restored_at:
            self.plane.start()

    def _back_up(self) -> None:
        plane, backup, made_at = self.plane, self.plane.ledger.copy(), self.world.now
        self.world.after(self.world.rng.uniform(0.2, 1.2), lambda: self._restore(plane, backup, made_at))

    def _restore(self, plane: Plane, backup: MemoryLedger, made_at: float) -> None:
        """An older copy of the database, when every lease that was granted since is over; made as a backup, or copied by hand, which nobody is told."""
        if plane is not self.plane:
            return
        rng, after = self.world.rng, self.world.after
        plane.crash()
        if rng.random() < 0.5:
            log_id = self._new_log_id()
        else:
            log_id = backup.log_id
            self.promises.withdraw(log_id, made_at)
            for node in self.nodes:
                node.acknowledged.clear()
        plane.restore(backup, log_id)
        lost_seconds = counted_seconds(LEASE_SECONDS)
        self._restored_at = self.world.now + lost_seconds
        after(lost_seconds, self._restart_plane)
        for node in self.nodes:
            if rng.random() < 0.6:  # while the log goes on
                node.is_cut_off = True
                after(lost_seconds + rng.uniform(0.1, 2.0), lambda node=node: setattr(node, "is_cut_off", False))  # type: ignore[misc]  # bound now

    def _replace_plane(self, healed_after: float) -> None:
        """The address leads to a control plane with another database."""
        self.plane.crash()
        self.plane = self._new_plane()
        self.world.after(healed_after, self._restart_plane)
        for node in self.nodes:
            node.plane = self.plane
            if "killed_writing" in self.faults:
                node.disk.kill_in = self.world.rng.randrange(1, 5)
                self.world.after(healed_after + 0.5, lambda node=node: self._heal_disk(node))  # type: ignore[misc]  # bound now
