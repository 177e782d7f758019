"""What viewers have been promised: the checker. It knows receipts, who reaches whom and for how long, and nothing of what nodes believe of each other.

An object that a receipt vouches for must be at least as new for every later request to a node that

- holds a lease, in its own view or in the control plane's;
- has acknowledged it, whichever process of it that was (rule 7); or
- has no lease, and has been able to ask, for as long as it has to notice in, a node that follows the control plane (rule 10).

A node is exempt that has reached only such as were cut off as well: the third row of the table in docs/invalidation.md. That is told by the network, both ways and
without a break, never by the node. Two processes of one node owe for themselves: what one has acknowledged, the other one has not.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from control_plane.receipts import NodeReceipt, Receipt
from proto.lease_times import NOTICE_SECONDS
from tests.simulation.node import Node
from tests.simulation.plan import PATHS
from tests.simulation.processes import Plane
from tests.simulation.world import World

ENOUGH_SECONDS = NOTICE_SECONDS * 1.1
"""How long a node has to notice in: what the control plane counts."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A viewer saw content older than a receipt completed before the request began."""

    node_id: str
    path: str
    version: int
    promised: int
    began_at: float


@dataclass(frozen=True, slots=True)
class FalseReceipt:
    """A receipt says of a node what is not so (rule 6)."""

    identifier: str
    node_id: str
    claim: str


@dataclass(frozen=True, slots=True)
class Promise:
    """What one receipt vouches for."""

    log_id: str
    made_at: float
    versions: Mapping[str, int]


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
            _raise(self.owed[known], versions)

    def withdraw(self, log_id: str, made_after: float) -> None:
        """An older copy of the database has been put in place by hand: nobody knows of the receipts since then, nor who was left out of them."""
        made, self.made = self.made, []
        self.owed, self.of_the_latest = {}, {}
        for promise in made:
            if promise.log_id != log_id or promise.made_at <= made_after:
                self.add(promise)

    def of_log(self, log_id: str) -> Mapping[str, int]:
        """What a node of this log owes."""
        return self.owed.get(log_id, self.of_the_latest)


@dataclass(slots=True)
class Debt:
    """What one node owes besides what every node of its log does."""

    of_process: dict[str, int] = field(default_factory=dict)
    """From receipts that left it out while it could hear so; until the process ends."""
    incarnation: int = 0
    acknowledged: dict[str, dict[str, int]] = field(default_factory=dict)
    """What receipts say that this node has acknowledged, by log and path, whichever process it was (rule 7)."""

    def of(self, node: Node) -> dict[str, int]:
        """Of the process that is there now."""
        if self.incarnation != node.incarnation:
            self.incarnation, self.of_process = node.incarnation, {}
        return self.of_process


class Checker:
    """Judges answers."""

    def __init__(self, world: World, nodes: Mapping[str, Node], *, is_fenced: bool) -> None:
        self.promises = Promises()
        self._world = world
        self._nodes = nodes
        self._is_fenced = is_fenced
        self._runs: list[Node] = [*nodes.values()]
        """Of each its processes, one after the other, on a disk of their own; a node may be run twice."""
        self._debts = {node: Debt() for node in self._runs}

    def add(self, twin: Node) -> None:
        """A node is run a second time."""
        self._runs.append(twin)
        self._debts[twin] = Debt()

    def completed(self, receipt: Receipt, plane: Plane, promise: Promise) -> None:
        """A receipt is there."""
        self.promises.add(promise)
        log_id, versions = promise.log_id, promise.versions
        acknowledged = {plane.process_of(line.node_id) for line in receipt.nodes if line.state == "acknowledged"}
        for node in self._runs:
            debt = self._debts[node]
            if not acknowledged.isdisjoint(node.processes):
                _raise(debt.acknowledged.setdefault(log_id, {}), versions)
            if node.is_up and node.machine.log_id == log_id and self._is_told(node):
                _raise(debt.of(node), versions)

    def false_claims(self, receipt: Receipt, plane: Plane) -> list[FalseReceipt]:
        """What a receipt says that is not so. It has to name each process that holds a lease of its log."""
        lines = {plane.process_of(line.node_id): line for line in receipt.nodes}
        claims = [(node, claim) for node in self._runs for claim in self._claims_of(node, lines, receipt, plane)]
        return [FalseReceipt(receipt.invalidation.identifier, node.node_id, claim) for node, claim in claims]

    def _claims_of(self, node: Node, lines: Mapping[int, NodeReceipt], receipt: Receipt, plane: Plane) -> Iterator[str]:
        log_id = plane.ledger.log_id
        is_leased = node.is_routable() and node.machine.log_id == log_id
        own = lines.get(node.identity.number)
        if is_leased and own is None and not any(node.identity.follows(number) for number in lines):
            yield "it is not named"
        if is_leased and own is not None and own.state == "left_out":
            yield "it has no lease"
        for number in node.processes & lines.keys():
            line = lines[number]
            if line.state == "acknowledged" and node.furthest.get(log_id, -1) < receipt.invalidation.index:
                yield "it has acknowledged"
            if line.state == "left_out" and not (line.fenced_since or inf) <= plane.clock():
                yield "it is fenced"

    def forget_acknowledgements(self) -> None:
        """Of a database that is gone."""
        for debt in self._debts.values():
            debt.acknowledged.clear()

    def owed_by(self, node: Node, plane: Plane) -> dict[str, int]:
        """The oldest version of each object that a viewer who asks this node now may see."""
        promises, log_id = self.promises, node.machine.log_id
        owed = dict.fromkeys(PATHS, 0)
        if node.is_routable():
            _raise(owed, promises.of_log(log_id))
        if plane.is_live(node.node_id) and plane.process_of(node.node_id) == node.identity.number:
            _raise(owed, promises.of_log(plane.ledger.log_id))
        debt = self._debts[node]
        _raise(owed, debt.acknowledged.get(node.cache.log_id, {}))  # also of one that has forgotten where it stood
        if self._is_fenced:
            _raise(owed, debt.of(node))
            for witness in self._witnesses(node):
                _raise(owed, promises.of_log(witness.machine.log_id))
        return owed

    def _is_told(self, node: Node) -> bool:
        """Whether, when a receipt comes, others can have told this node that it is without a lease because it is cut off: from then on it owes what the receipt says."""
        since = max(node.started_at, self._world.now - ENOUGH_SECONDS)
        return any(other.is_routable() and self._may_ask_since(node, other) <= since for other in self._others(node))

    def _witnesses(self, node: Node) -> list[Node]:
        """Whom a node without a lease has had the time to ask, so that it owes what they owe, whatever it was told when receipts came."""
        enough = ENOUGH_SECONDS * 1.1
        if node.clock() - node.fence.lease_until < enough:
            return []
        since = self._world.now - enough
        return [
            other
            for other in self._others(node)
            if other.is_routable() and other.routable_since <= since and self._may_ask_since(node, other) <= since
        ]

    def _may_ask_since(self, node: Node, other: Node) -> float:
        """Without a break; infinite also for one whom no directory has ever named to this node."""
        if other.node_id not in node.told_of:
            return inf
        return node.network.reached_since(node.place, other.place)

    def _others(self, node: Node) -> Iterable[Node]:
        return (other for other in self._nodes.values() if other.node_id != node.node_id)


def _raise(owed: dict[str, int], versions: Mapping[str, int]) -> None:
    for path, version in versions.items():
        if version > owed.get(path, 0):
            owed[path] = version
