"""What viewers have been promised: the checker. It knows receipts, who reaches whom and for how long, and nothing of what nodes believe of each other.

An object that a receipt vouches for must be at least as new for every later request to a node that

- holds a lease, in its own view or in the control plane's;
- has acknowledged it, whichever process of it that was (rule 7); or
- has no lease, and has been able to ask, for as long as it has to notice in, a node that follows the control plane (rule 10).

A node is exempt that has reached only such as were cut off as well: the third row of the table in docs/invalidation.md. That is told by the network, both ways and
without a break, never by the node. Nothing is asked of a node that has had two processes, until all that either of them was granted is over: what one acknowledges
counts for both, and receipts that wait for somebody else say so long after.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from control_plane.leases import counted_seconds
from control_plane.receipts import Receipt
from proto.lease_times import NOTICE_SECONDS
from tests.simulation.node import Node
from tests.simulation.plan import LEASE_SECONDS, PATHS
from tests.simulation.processes import Plane
from tests.simulation.world import Network, World

ENOUGH_SECONDS = NOTICE_SECONDS * 1.1
"""How long a node has to notice in: what the control plane counts."""


DOUBLED_SECONDS = counted_seconds(LEASE_SECONDS) + ENOUGH_SECONDS
"""How long what was granted to one of two processes may go on after the other one has ended."""


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

    def __init__(self, world: World, network: Network, nodes: Mapping[str, Node], *, is_fenced: bool) -> None:
        self.promises = Promises()
        self._world, self._network = world, network
        self._nodes = nodes
        self._is_fenced = is_fenced
        self._debts = {node_id: Debt() for node_id in nodes}
        self._doubled_until: dict[str, float] = {}

    def doubled(self, node_id: str, until: float) -> None:
        """The node has two processes until then."""
        self._doubled_until[node_id] = max(until + DOUBLED_SECONDS, self._doubled_until.get(node_id, 0.0))

    def is_doubled(self, node: Node) -> bool:
        """Whether nothing is asked of it."""
        return self._world.now < self._doubled_until.get(node.node_id, 0.0)

    def _is_told_by_one(self, node: Node) -> bool:
        """Whether what receipts say that it has acknowledged may be what only the other process has; receipts that wait for somebody else say it long after."""
        return node.node_id in self._doubled_until

    def completed(self, receipt: Receipt, log_id: str, versions: Mapping[str, int]) -> None:
        """A receipt is there."""
        self.promises.add(Promise(log_id, self._world.now, versions))
        for line in receipt.nodes:
            node = self._nodes.get(line.node_id)
            if line.state == "acknowledged" and node is not None and not self._is_told_by_one(node):
                _raise(self._debts[line.node_id].acknowledged.setdefault(log_id, {}), versions)
        for node_id, node in self._nodes.items():
            if node.is_up and node.machine.log_id == log_id and self._is_told(node):
                _raise(self._debts[node_id].of(node), versions)

    def false_claims(self, receipt: Receipt, log_id: str, now: float) -> list[FalseReceipt]:
        """What a receipt says that is not so; `now` by the clock of the control plane. It has to name each node that holds a lease of its log."""
        identifier, index = receipt.invalidation.identifier, receipt.invalidation.index
        lines = {line.node_id: line for line in receipt.nodes}
        false = []
        for node_id, node in self._nodes.items():
            if self.is_doubled(node):
                continue
            line, is_leased = lines.get(node_id), node.is_routable() and node.machine.log_id == log_id
            if line is None and is_leased:
                false.append(FalseReceipt(identifier, node_id, "it is not named"))
            elif line is not None and line.state == "acknowledged":
                if node.furthest.get(log_id, -1) < index and not self._is_told_by_one(node):
                    false.append(FalseReceipt(identifier, node_id, "it has acknowledged"))
            elif line is not None and line.state == "left_out" and is_leased:
                false.append(FalseReceipt(identifier, node_id, "it has no lease"))
            elif line is not None and line.state == "left_out" and not (line.fenced_since or inf) <= now:
                false.append(FalseReceipt(identifier, node_id, "it is fenced"))
        return false

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
        if plane.is_live(node.node_id):
            _raise(owed, promises.of_log(plane.ledger.log_id))
        if self._is_fenced:
            debt = self._debts[node.node_id]
            _raise(owed, debt.of(node))
            _raise(owed, debt.acknowledged.get(log_id, {}))
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
        return self._network.reached_since(node.node_id, other.node_id)

    def _others(self, node: Node) -> Iterable[Node]:
        return (other for other in self._nodes.values() if other is not node and not self.is_doubled(other))


def _raise(owed: dict[str, int], versions: Mapping[str, int]) -> None:
    for path, version in versions.items():
        if version > owed.get(path, 0):
            owed[path] = version
