"""Sentences about histories of a log: whoever goes on from entries knows exactly what the log has, however often copies have taken each other's place."""

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from control_plane.coordination import Coordinator, FromEntries, FromSnapshot
from control_plane.leases import LeaseRules
from control_plane.nodes import NodeDescription, Role
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from tests.depth import examples
from tests.simulation.world import MemoryLedger

NODE = NodeDescription("edge-1", Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
NUMBERS = st.integers(0, 9)
STEPS = st.one_of(
    st.tuples(st.just("append"), NUMBERS),
    st.tuples(st.just("append"), NUMBERS),
    st.tuples(st.just("copy"), NUMBERS),
    st.tuples(st.just("trim"), NUMBERS),
)


@dataclass
class Copy:
    """One database, and the obvious account of it: the number of each entry ever committed, none given twice."""

    ledger: MemoryLedger
    history: list[int] = field(default_factory=list)
    oldest_retained: int = 1

    def append(self, number: int) -> None:
        entry = sync_pb2.Entry(log_id=self.ledger.log_id, index=self.ledger.head_index + 1)
        entry.committed_at.FromSeconds(number)
        self.ledger.append(None, entry, float(number))
        self.history.append(number)

    def trim(self, number: int) -> None:
        """Forget what was committed before this entry."""
        self.ledger.trim(float(number))
        while self.oldest_retained <= len(self.history) and self.history[self.oldest_retained - 1] < number:
            self.oldest_retained += 1


def copies_of(steps: list[tuple[str, int]]) -> list[Copy]:
    copies = [Copy(MemoryLedger("log-1", lambda _receipt: None))]
    for number, (step, which) in enumerate(steps, 1):
        copy = copies[which % len(copies)]
        match step:
            case "append":
                copy.append(number)
            case "copy":
                copies.append(Copy(copy.ledger.copy(), list(copy.history), copy.oldest_retained))
            case "trim":
                copy.trim(number - which)
    return copies


@settings(max_examples=examples(100))
@given(st.lists(STEPS, max_size=25), NUMBERS, NUMBERS)
@example([("append", 0), ("copy", 0), ("append", 0), ("append", 1), ("append", 1)], 0, 1)
def test_a_node_gets_entries_exactly_when_its_history_is_the_beginning_of_the_logs(
    steps: list[tuple[str, int]], of_node: int, of_log: int
) -> None:
    copies = copies_of(steps)
    known, log = copies[of_node % len(copies)], copies[of_log % len(copies)]
    digests = {0: b""} | {entry.index: entry.digest for entry in known.ledger.entries}
    for index in range(len(known.history) + 1):
        coordinator = Coordinator(log.ledger, LeaseRules(), 0.0)
        _, catch_up = coordinator.connected(NODE, LogPosition("log-1", index, digests[index]), 0.0)
        is_beginning = known.history[:index] == log.history[:index]
        is_retained = log.oldest_retained - 1 <= index <= len(log.history)
        assert catch_up == (FromEntries(index) if is_beginning and is_retained else FromSnapshot())
        acknowledged_index = coordinator.nodes["edge-1"].acknowledged_index
        assert acknowledged_index == (index if isinstance(catch_up, FromEntries) else -1)
