"""Which receipts are complete is what a plain look at all nodes says, whatever has happened before and however it is kept in between."""

from bisect import bisect_right

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.fencing import waited_for
from control_plane.nodes import NOTHING_ACKNOWLEDGED, NodeDescription, NodeRecord, Role
from control_plane.receipts import IssuedInvalidation, PendingReceipts, Receipt
from tests.depth import examples

NODES = ("a", "b", "c", "d")
STEPS = st.lists(
    st.tuples(st.sampled_from(("issue", "acknowledge", "lease", "end", "leave", "start over")), st.sampled_from(NODES)),
    max_size=60,
)


def record(node_id: str) -> NodeRecord:
    return NodeRecord(NodeDescription(node_id, Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81"))


class Plane:
    """Nodes, receipts, and the plain rule."""

    def __init__(self) -> None:
        self.now, self.head_index = 100.0, 0
        self.nodes = {node_id: record(node_id) for node_id in NODES}
        self.pending = PendingReceipts()
        self.waiting: list[int] = []

    def step(self, action: str, node_id: str) -> None:
        node = self.nodes[node_id]
        match action:
            case "issue":
                self.head_index += 1
                issued = IssuedInvalidation(f"I{self.head_index}", "D1", self.head_index, ("/*",), self.now)
                self.pending.add(issued)
                self.waiting.append(self.head_index)
            case "acknowledge":
                before = node.acknowledged_index
                node.acknowledged_index = min(self.head_index, max(0, before) + 2)
                self.pending.acknowledged(node_id, node.acknowledged_index, self.now, before)
            case "lease":
                node.has_left = False
                node.lease_until, node.witness_since = self.now + 5.0, min(node.witness_since, self.now)
            case "end":
                node.end_lease(self.now)
            case "leave":
                node.has_left = True
                node.end_lease(self.now)
            case _:
                node.acknowledged_index = NOTHING_ACKNOWLEDGED
                self.pending.withdrawn(node_id)

    def expected(self) -> list[int]:
        """Looked at anew each time."""
        waited = waited_for(self.nodes.values(), self.now)
        settled_index = min((node.acknowledged_index for node in waited), default=self.head_index)
        return self.waiting[: bisect_right(self.waiting, settled_index)]


@settings(max_examples=examples(200))
@given(STEPS, st.sampled_from((0.0, 0.5, 2.0)))
def test_what_is_complete_is_what_a_look_at_all_nodes_says(steps: list[tuple[str, str]], seconds: float) -> None:
    plane = Plane()
    for action, node_id in steps:
        plane.step(action, node_id)
        plane.now += seconds
        completed = plane.pending.complete(list(plane.nodes.values()), plane.now)
        assert [receipt.invalidation.index for receipt in completed] == plane.expected()
        for receipt in completed:
            for line in receipt.nodes:
                has_it = plane.nodes[line.node_id].acknowledged_index >= receipt.invalidation.index
                assert (line.state == "acknowledged") == has_it
        plane.pending.remove(completed)
        del plane.waiting[: len(completed)]


def test_while_one_node_lags_no_other_is_looked_at() -> None:
    """Settling runs after each batch of acknowledgements: looking at all nodes each time is a square of their number."""

    class Counted(list[NodeRecord]):
        looks = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            Counted.looks += 1
            return super().__iter__()

    nodes = Counted(record(f"node-{number}") for number in range(100))
    pending = PendingReceipts()
    for node in nodes:
        node.lease_until, node.witness_since = 1_000.0, 0.0
    pending.add(IssuedInvalidation("I1", "D1", 1, ("/*",), 100.0))
    Counted.looks = 0
    receipts: list[Receipt] = []
    for node in list(nodes):
        assert not receipts
        node.acknowledged_index = 1
        pending.acknowledged(node.description.identifier, 1, 100.0)
        receipts = pending.complete(nodes, 100.0)
    assert len(receipts) == 1 and Counted.looks <= 5
