"""Which process speaks for a node, and what becomes of another one that may still run under its name: DESIGN section 4, rule 5. Pure; `coordination.py` acts on it.

Where a state folder or a certificate was copied, two processes have one identity. What one of them acknowledges says nothing of the other, so each has a record. The
process that speaks for the node has the node's name; others are set aside under names of their own (`edge-1!1`), where receipts wait for them and name them as they do
with any node without a stream, until the lease is over and the process has had the time to notice. A process that is proven to have ended is not waited for: the next one
takes its record over.
"""

from dataclasses import replace

from control_plane.due_checks import DueChecks
from control_plane.fencing import is_waited_for
from control_plane.nodes import MAXIMUM_NODES, SET_ASIDE_MARK, NodeDescription, NodeRecord, TooManyNodesError
from control_plane.receipts import PendingReceipts
from control_plane.unsaved import UnsavedChanges
from proto.process_identity import ProcessIdentity

MOST_SET_ASIDE = 8
"""Of one node. A container that keeps nothing of itself makes one with each start."""


_BETWEEN_NAMES = 0
"""Number of the name that one has while two change theirs."""


class NameTakenError(Exception):
    """Another process speaks for the node; the message says so to this one. `is_news`: it is the first time that this one is told."""

    def __init__(self, reason: str, *, is_news: bool) -> None:
        super().__init__(reason)
        self.is_news = is_news


class Succession:
    """Gives the names of nodes to processes, and keeps the records of those that have none."""

    def __init__(
        self,
        nodes: dict[str, NodeRecord],
        by_name: tuple[PendingReceipts, UnsavedChanges, DueChecks],
        *,
        silence_seconds: float,
    ) -> None:
        """`by_name`: what else is kept under names of nodes. A process that was heard of less than `silence_seconds` ago keeps its name, unless it is proven to have
        ended."""
        self._nodes = nodes
        self._pending, self._unsaved, self._checks = by_name
        self._silence_seconds = silence_seconds
        self.set_aside_total = 0
        """Processes that another one has taken the place of, without a proof that they had ended."""
        self.refused_total = 0
        """Processes that came under the name of a node for which another one spoke."""

    def take_name(self, node: NodeDescription, process: ProcessIdentity, now: float) -> tuple[NodeRecord, bool]:
        """The record of this process, which speaks for the node from now on; and whether the directory is another one for that.

        NameTakenError when another process does, and was heard of just now: the two would take the node's lease from each other, in turn and for ever. TooManyNodesError.
        """
        node_id = node.identifier
        record, own = self._nodes.get(node_id), self._own(node_id, process)
        was_routable = False
        if record is not None and not process.follows(record.process):
            if record.stream is not None and now < record.last_seen + self._silence_seconds:
                reason = f"another process speaks for node {node_id}, and was heard of just now"
                self._note_refused(own, node, process, now)
                raise NameTakenError(reason, is_news=own is None)
            was_routable = record.is_routable
            self._set_record_aside(record, own, now)
            record = None
        if own is not None and record is None:
            self._rename(own, node_id, now)
            record, was_routable = own, was_routable or own.is_routable
        if record is None:
            record = self._add(node, process, now)
        is_described_anew = record.description != node
        record.description, record.process = node, process.number
        return record, was_routable or is_described_anew

    def _set_record_aside(self, record: NodeRecord, own: NodeRecord | None, now: float) -> None:
        """In the place of the one that takes the name, if that was set aside before: it must not be taken for the one that is forgotten to make room."""
        node_id = record.description.identifier
        if own is None:
            name = self._free_name(node_id, now)
        else:
            name = own.description.identifier
            self._rename(own, f"{node_id}{SET_ASIDE_MARK}{_BETWEEN_NAMES}", now)
        self._rename(record, name, now)
        self.set_aside_total += 1

    def _add(self, description: NodeDescription, process: ProcessIdentity, now: float) -> NodeRecord:
        if len(self._nodes) >= MAXIMUM_NODES:
            raise TooManyNodesError(f"the registry holds {MAXIMUM_NODES} nodes")
        record = NodeRecord(description, unleased_since=now, process=process.number)
        self._nodes[description.identifier] = record
        self._unsaved.change(description.identifier)
        self._checks.plan(record, now)
        return record

    def _own(self, node_id: str, process: ProcessIdentity) -> NodeRecord | None:
        """Of this process, or of one that it has taken the folder of over, from before it was set aside."""
        return next((each for each in self._set_aside(node_id) if process.follows(each.process)), None)

    def _set_aside(self, node_id: str) -> list[NodeRecord]:
        return [self._nodes[name] for name in _names(node_id) if name in self._nodes]

    def _note_refused(
        self, own: NodeRecord | None, node: NodeDescription, process: ProcessIdentity, now: float
    ) -> None:
        """It is there, without a lease. After a time in which nobody had one, receipts wait for it too (`fencing.waited_for`)."""
        if own is None:
            own = self._add(replace(node, identifier=self._free_name(node.identifier, now)), process, now)
            self.refused_total += 1
        own.last_seen = now

    def _free_name(self, node_id: str, now: float) -> str:
        """Or that of whoever has been without a lease for longest. NameTakenError where receipts wait for all of them."""
        free = next((name for name in _names(node_id) if name not in self._nodes), None)
        if free is not None:
            return free
        over = [record for record in self._set_aside(node_id) if not is_waited_for(record, now)]
        if not over:
            reason = (
                f"{MOST_SET_ASIDE} other processes of node {node_id} may still run: wait until their leases are over"
            )
            raise NameTakenError(reason, is_news=True)
        return min(over, key=lambda record: record.unleased_since).description.identifier

    def _rename(self, record: NodeRecord, name: str, now: float) -> None:
        """With everything that is known of it. No stream speaks for it."""
        before = record.description.identifier
        del self._nodes[before]
        record.description = replace(record.description, identifier=name)
        record.stream = None
        record.is_granted_on_stream = False
        self._nodes[name] = record
        self._pending.withdrawn(name)  # of whoever had the name before
        self._pending.renamed(before, name)
        self._unsaved.forget(before)
        self._unsaved.change(name)
        self._checks.replan(record, now)


def _names(node_id: str) -> list[str]:
    return [f"{node_id}{SET_ASIDE_MARK}{number}" for number in range(1, MOST_SET_ASIDE + 1)]
