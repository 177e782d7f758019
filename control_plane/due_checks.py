"""Which node has to be looked at when, because time alone changes something about it: a heap, so that nobody walks over all nodes to find the few. Pure."""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from math import inf

from control_plane.nodes import NodeRecord

LONGEST_CHECK_SECONDS = 60.0
"""Nobody is left alone for longer: how late a forgotten node may be noticed."""


class DueChecks:
    """What is planned for each node is in its `check_at`; an entry of the heap that says something else is void."""

    def __init__(self, now: float) -> None:
        self._heap: list[tuple[float, str]] = []
        self.taken_at = now - LONGEST_CHECK_SECONDS
        """When it was asked last who is due."""

    @property
    def next_at(self) -> float:
        """When the first is due; a minute after the last time, if nobody is before."""
        latest = self.taken_at + LONGEST_CHECK_SECONDS
        return min(latest, self._heap[0][0]) if self._heap else latest

    def plan(self, record: NodeRecord, at: float) -> None:
        """See that the node is looked at then, or before."""
        if at < record.check_at:
            record.check_at = at
            heappush(self._heap, (at, record.description.identifier))

    def replan(self, record: NodeRecord, at: float) -> None:
        """It has another name: what was planned under the one before is void."""
        record.check_at = inf
        self.plan(record, at)

    def take(self, nodes: Mapping[str, NodeRecord], now: float) -> Iterator[NodeRecord]:
        """Those that are due, each once. Nothing is planned for them then: whoever looks at one plans the next time."""
        self.taken_at = now
        while self._heap and self._heap[0][0] <= now:
            at, node_id = heappop(self._heap)
            record = nodes.get(node_id)
            if record is not None and record.check_at == at:
                record.check_at = inf
                yield record
