"""What a node writes down of the log and of its lease: the history's tables `applied` and `leases` (lab/history/schema.py), the same of edges and routers.

Stands between the session and what applies. A step is written down when it holds, before anybody can be served by it: nothing else runs on the event loop meanwhile.
A lease also ends by the passing of time alone, of which nobody is told: so it is looked at before each flush, and its end is known exactly all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proto.cdn.v1 import sync_pb2
from proto.history_recorder import HistoryRecorder
from proto.log_position import LogPosition
from proto.moments import NANOSECONDS_PER_SECOND
from proto.node_session import Applier
from proto.rejected_changes import RejectedChanges

APPLIED: Final = "applied"
APPLIED_COLUMNS: Final = ("node", "at_ns", "log_id", "index", "how")
LEASES: Final = "leases"
LEASES_COLUMNS: Final = ("node", "at_ns", "state", "fence")


def nothing() -> None:
    """Is to be done."""


def no_fence() -> str | None:
    """Of a node that answers with what it last knew."""
    return None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is asked of a node."""

    position: Callable[[], LogPosition]
    """Of what it serves from."""
    true_steady: Callable[[float], float]
    """What the host's clock said when the program's said so, in seconds."""
    settle: Callable[[], None] = nothing
    """Writes down what was done before the next step of the log."""
    fence: Callable[[], str | None] = no_fence
    directory_applied: Callable[[], None] = nothing


class RecordedApplier:
    """An applier of which each step is written down."""

    def __init__(self, applier: Applier, recorder: HistoryRecorder, facts: NodeFacts) -> None:
        """The position that it has now is one that the node found on its disk."""
        self._applier = applier
        self._recorder = recorder
        self._facts = facts
        self._how = "disk"
        self._lease_until = 0.0
        self._lease_state: Callable[[], str] = lambda: "none"
        self._told: tuple[str, str | None] | None = None
        recorder.when_begun(self._begin)
        recorder.before_flush(self._look_at_lease)

    def watch(self, lease_state: Callable[[], str]) -> None:
        """Ask the session from now on."""
        self._lease_state = lease_state

    # -- Applier

    def position(self) -> LogPosition:
        """See Applier."""
        return self._applier.position()

    def rejected(self) -> RejectedChanges:
        """See Applier."""
        return self._applier.rejected()

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """See Applier."""
        self._facts.settle()
        self._applier.apply_snapshot(snapshot)
        self._applied("snapshot")

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """See Applier."""
        self._facts.settle()
        self._applier.apply_entry(entry)
        self._applied("entry")

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """See Applier."""
        self._applier.apply_directory(directory)
        self._facts.directory_applied()

    def lease_held(self, until: float) -> None:
        """See Applier."""
        self._lease_until = until
        self._applier.lease_held(until)

    def lease_lost(self) -> None:
        """See Applier."""
        self._lease_until = 0.0
        self._applier.lease_lost()

    def load(self) -> tuple[int, int]:
        """See Applier."""
        return self._applier.load()

    def checksum(self) -> bytes:
        """See Applier."""
        return self._applier.checksum()

    # -- inside

    def _begin(self) -> None:
        """What holds when a recording begins."""
        self._write_position(self._how)
        self._told = None
        self._look_at_lease()

    def _applied(self, how: str) -> None:
        self._how = "held"
        self._write_position(how)

    def _write_position(self, how: str) -> None:
        position = self._facts.position()
        self._recorder.add(APPLIED, (self._recorder.node, self._recorder.clock(), position.log_id, position.index, how))

    def _look_at_lease(self) -> None:
        state, fence = self._lease_state(), self._facts.fence()
        if (state, fence) == self._told:
            return
        is_first, was = self._told is None, self._told and self._told[0]
        self._told = (state, fence)
        at_ns = self._recorder.clock()
        if not is_first and was == "held" and state == "expired" and self._lease_until:
            ended_at = self._facts.true_steady(self._lease_until)
            at_ns = min(at_ns, round(ended_at * NANOSECONDS_PER_SECOND))
        self._recorder.add(LEASES, (self._recorder.node, at_ns, state, fence))
