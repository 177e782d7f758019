"""One run: a small network, operators who change the origin and invalidate, viewers who read, faults, and the checker of `promises.py`.

Viewers ask every edge, whatever the control plane, the router or the edge itself thinks of it: routing is never safety.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from control_plane.coordination import Coordinator
from control_plane.leases import LeaseRules
from control_plane.nodes import Role
from control_plane.receipts import Receipt
from proto.log_position import LogPosition
from tests.simulation.client_node import ClientNode
from tests.simulation.faults import Faults
from tests.simulation.node import Node, NodeParts
from tests.simulation.plan import EDGES, INVALIDATION_PATHS, LEASE_SECONDS, PATHS, Event, Plan
from tests.simulation.processes import Plane
from tests.simulation.promises import Checker, FalseReceipt, Promise, Violation
from tests.simulation.router import RouterProcess, Viewer, address_of
from tests.simulation.shells import ShellParts, ShellPlane, Shells
from tests.simulation.tiers import Tiers
from tests.simulation.world import MemoryLedger, Network, World

REST_SECONDS = 12.0
COPIED_TWINS = 0.5
"""How often a second process of a node has a copy of the first one's disk. Else it has one with nothing on it."""
AFTER_RECEIPT_SECONDS = (0.0005, 0.004, 0.03, 0.12, 0.4, 1.0)
"""When viewers look at all nodes after a receipt: most mistakes show at once or while a lease runs out."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The code under test; a planted bug replaces one of them."""

    in_nodes: NodeParts = field(default_factory=NodeParts)
    coordinator: type[Coordinator] = Coordinator
    rules: type[LeaseRules] = LeaseRules
    node: type[Node] = Node
    plane: type[Plane] = Plane
    shells: ShellParts = field(default_factory=ShellParts)


PRODUCT = Parts()
"""As it is."""


class Simulation:
    """Everything of one run."""

    def __init__(self, plan: Plan, parts: Parts = PRODUCT, *, is_told: bool = False) -> None:
        """`is_told`: `world.story` is wanted. Where a bug is planted, it says whether shells run, and not the plan."""
        if parts != PRODUCT:
            has_shells = parts.shells != PRODUCT.shells
            plan = replace(plan, conditions=replace(plan.conditions, has_shells=has_shells))
        world = self.world = World(plan.seed)
        world.story = [] if is_told else None
        self.plan = plan
        self.network = Network(world)
        self.versions = dict.fromkeys(PATHS, 1)
        self.violations: list[Violation | FalseReceipt] = []
        self.receipts_total = 0
        self.answers_total = 0
        self._issued: dict[str, tuple[str, Mapping[str, int]]] = {}
        self._logs_total = 0
        self._looks_from = -1.0
        """The moment of the newest receipt."""
        self._parts = parts
        self._shells = Shells(world, parts.shells)
        self._dice = world.dice("viewers")
        conditions = plan.conditions
        self.tiers = Tiers(world, self.versions, is_origin_failing=conditions.is_origin_failing)
        roles = {**dict.fromkeys(EDGES, Role.EDGE), **dict.fromkeys(conditions.regionals, Role.REGIONAL)}
        self.nodes = {
            node_id: self._new_node((node_id, role, address_of(n)))
            for n, (node_id, role) in enumerate(roles.items(), 1)
        }
        self.tiers.nodes = self.nodes
        self.edges = [self.nodes[node_id] for node_id in EDGES]
        self.twins: list[Node] = []
        """Second processes of nodes, as where a state folder and a certificate were copied."""
        self.checker = Checker(world, self.nodes, is_fenced=conditions.is_fenced)
        self.plane = self.new_plane()
        self.router = RouterProcess(world, self.network, self.plane) if conditions.has_router else None
        self.viewers = (
            [] if self.router is None else [Viewer(self.router, n, keeps_its_answer=n == 0) for n in range(3)]
        )
        self.held_answers_total = 0
        """How often a viewer came to an edge that was not in the directory any more."""
        self.faults = Faults(self)
        for node in self.nodes.values():
            node.plane = self.plane
            node.others = self.nodes
            node.is_mute = conditions.is_everybody_mute
            node.is_fenced = conditions.is_fenced
            node.start()
        if self.router is not None:
            self.router.start()

    def run(self) -> list[Violation | FalseReceipt]:
        """Play it to the end, or until a viewer has seen what no viewer may see."""
        self.plane.start()
        for event in self.plan.events:
            self.world.after(event.at, lambda event=event: self._begin(event))  # type: ignore[misc]  # bound now
        self.world.run(self.plan.conditions.duration_seconds)
        return self.violations

    def __enter__(self) -> "Simulation":
        """It is looked at; when that is over, nothing of its processes is left."""
        return self

    def __exit__(self, *_: object) -> None:
        self._shells.end()
        self.world.end()
        for part in (*self.nodes.values(), *self.viewers, self.router, self.plane, self.faults, self.tiers):
            if part is not None:
                vars(part).clear()  # they know each other, and to find that out takes a collector longer

    def come_to_rest(self) -> list[str]:
        """Heal everything and wait; what is not as it should be then."""
        self.faults.end()
        self.world.run(self.world.now + REST_SECONDS)
        coordinator = self.plane.coordinator
        assert coordinator is not None
        problems = [f"{node_id} is not routable" for node_id, node in self.nodes.items() if not node.is_routable()]
        problems.extend(f"{len(coordinator.pending)} receipts are pending" for _ in range(len(coordinator.pending) > 0))
        ledger = self.plane.ledger
        head = LogPosition(ledger.log_id, ledger.head_index, ledger.digest_at(ledger.head_index) or b"")
        problems.extend(
            f"{node_id} is not at the head" for node_id, node in self.nodes.items() if node.cache.position != head
        )
        if self.router is not None:
            named = set(self.router.addresses())
            wanted = {edge.address for edge in self.edges if self.plane.is_live(edge.node_id)}
            problems.extend(f"the router names {sorted(named)}, not {sorted(wanted)}" for _ in range(named != wanted))
        return problems

    def new_plane(self) -> Plane:
        """With a database that has nothing in it."""
        ledger = MemoryLedger(self.new_log_id(), self._completed)
        parts, stall_probability = self._parts, self.plan.conditions.stall_probability
        rules = parts.rules(LEASE_SECONDS)
        kind = ShellPlane if self.plan.conditions.has_shells else parts.plane
        plane = kind(self.world, self.network, ledger, parts.coordinator, rules, stall_probability)
        if isinstance(plane, ShellPlane):
            self._shells.at_address(plane)
        return plane

    def make_twin(self, node: Node) -> Node:
        """Another process under the name of a node, in another place and on another disk. Viewers find it as well."""
        named = (node.node_id, node.description.role, node.address)
        twin = self._new_node(named)
        twin.place = f"{node.node_id} elsewhere"
        twin.plane, twin.others = self.plane, self.nodes
        twin.is_mute, twin.is_fenced = node.is_mute, node.is_fenced
        if self.world.dice("twins").random() < COPIED_TWINS:
            twin.copy_disk_of(node)
        self.twins.append(twin)
        self.checker.add(twin)
        return twin

    def _new_node(self, named: tuple[str, Role, str]) -> Node:
        parts, upstream = self._parts, self.tiers.ask
        if self.plan.conditions.has_shells and parts.node is Node:
            in_client_node = (parts.in_nodes, parts.shells.client)
            return ClientNode(self.world, self.network, named, upstream, in_client_node)
        return parts.node(self.world, self.network, named, upstream, parts.in_nodes)

    def new_log_id(self) -> str:
        """Of another log."""
        self._logs_total += 1
        log_id = f"log-{self._logs_total}"
        self.checker.promises.begin(log_id)
        return log_id

    def _begin(self, event: Event) -> None:
        match event.kind:
            case "look":
                self.look_at_all()
            case "change":
                self._change(event)
            case "configure":
                self.network.run_in("plane", self.plane.configure)
            case _:
                self.world.tell("FAULT: {}", event)
                self.faults.begin(event)

    # Operators

    def _change(self, event: Event) -> None:
        """Change an object, then invalidate it."""
        path = event.subject
        self.look_at_all()
        self.versions[path] += 1
        self.world.tell("the origin has {} in version {}", path, self.versions[path])
        self.world.after(event.seconds, lambda: self.network.run_in("plane", lambda: self._invalidate(event.detail)))

    def _invalidate(self, pattern: str) -> None:
        identifier = f"I{len(self._issued) + 1}"
        covered = {
            known: self.versions[known] for known in PATHS if pattern in INVALIDATION_PATHS[known] or pattern == "/*"
        }
        self._issued[identifier] = (self.plane.ledger.log_id, covered)
        if self.plane.invalidate(identifier, (pattern,)):
            self.world.tell("{} of {} is entry {}", identifier, pattern, self.plane.ledger.head_index)

    def _completed(self, receipt: Receipt) -> None:
        self.receipts_total += 1
        assert all(line.state != "pending" for line in receipt.nodes), "a receipt is complete while a node is not"
        assert all(line.left_out_since is not None for line in receipt.nodes if line.state == "left_out")
        log_id, versions = self._issued[receipt.invalidation.identifier]
        self._tell(receipt)
        self.checker.completed(receipt, self.plane, Promise(log_id, self.world.now, versions))
        for false in self.checker.false_claims(receipt, self.plane):
            self._violated(
                false, f"the receipt of {false.identifier} says of {false.node_id}, which is not so: {false.claim}"
            )
        if self._looks_from == self.world.now:
            return
        self._looks_from = self.world.now
        for seconds in self._dice.sample(AFTER_RECEIPT_SECONDS, 2):
            self.world.after(seconds, self.look_at_all)

    def _tell(self, receipt: Receipt) -> None:
        if self.world.story is not None:
            lines = ", ".join(f"{line.node_id} {line.state.replace('_', ' ')}" for line in receipt.nodes) or "nobody"
            self.world.tell(
                "RECEIPT of {} (entry {}): {}", receipt.invalidation.identifier, receipt.invalidation.index, lines
            )

    # Viewers

    def look_at_all(self) -> None:
        """Everything at every edge that answers. Those who come by the router's answers see what all others see there."""
        for edge in (*self.edges, *self.twins):
            self.look_at(edge)
        for viewer in self.viewers:
            address = viewer.edge()
            self.held_answers_total += any(
                e.address == address and not self.plane.is_live(e.node_id) for e in self.edges
            )

    def look_at(self, edge: Node) -> None:
        """Everything there, unless it stands still: viewers wait until it goes on."""
        if edge.description.role is not Role.EDGE or self.network.is_still(edge.place):
            return
        if edge.is_up and edge.cache.log_id:
            owed = self.checker.owed_by(edge, self.plane)
            for path in PATHS:
                self._view(edge, path, owed[path])

    def _view(self, edge: Node, path: str, promised: int) -> None:
        began_at = self.world.now

        def respond(version: int | None) -> None:
            self.answers_total += 1
            if version is not None and version < promised:
                violation = Violation(edge.node_id, path, version, promised, began_at)
                self._violated(
                    violation,
                    f"a viewer who asked {edge.node_id} for {path} at {began_at:.4f} got version {version},"
                    f" and version {promised} was promised",
                )

        edge.cache.request(path, respond)

    def _violated(self, violation: Violation | FalseReceipt, told: str) -> None:
        self.violations.append(violation)
        self.world.is_over = True
        self.world.tell("VIOLATION: {}", told)
