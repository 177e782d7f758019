"""The history of one node, put together: what it has answered, what it has asked upstream, how far it has applied the log, and whether it holds a lease.

Only of a node that was started with `--history`. Which tables there are is said in lab/history/schema.py.
"""

from collections.abc import Callable
from pathlib import Path

from edge_node.delivery.request_recorder import RecordSink
from edge_node.observability.fill_history import FILLS, FILLS_COLUMNS, FillHistory
from edge_node.observability.served_history import SERVED, SERVED_COLUMNS, BothSinks, ServedHistory
from edge_node.storage.node_state import NodeState
from proto.clock_faults import Clocks
from proto.history_applier import APPLIED, APPLIED_COLUMNS, LEASES, LEASES_COLUMNS, NodeFacts, RecordedApplier
from proto.history_recorder import HistoryRecorder
from proto.log_position import LogPosition
from proto.node_session import Applier

TABLES = {
    SERVED: SERVED_COLUMNS,
    FILLS: FILLS_COLUMNS,
    APPLIED: APPLIED_COLUMNS,
    LEASES: LEASES_COLUMNS,
}


class NodeHistory:
    """Who writes it, and where each part is put into the node."""

    def __init__(self, folder: Path, node_id: str, clocks: Clocks, state: NodeState) -> None:
        """OSError for a folder that cannot be used."""
        self.recorder = HistoryRecorder(folder, node_id, TABLES)
        self.fills = FillHistory(self.recorder)
        self._clocks = clocks
        self._state = state
        self._applier: RecordedApplier | None = None

    def beside(self, access_log: RecordSink) -> RecordSink:
        """Where batches of records go now."""
        served = ServedHistory(self.recorder, lambda: self._state.applied_index, self._clocks.true_steady)
        return BothSinks(access_log, served)

    def applier(self, applier: Applier, settle: Callable[[], None]) -> Applier:
        """For the session. `settle` gives the batch of records that is not full yet to the sinks."""
        self.recorder.before_flush(settle)
        facts = NodeFacts(self._position, self._clocks.true_steady, settle, lambda: self._state.fence.state.value)
        self._applier = RecordedApplier(applier, self.recorder, facts)
        return self._applier

    def begin(self, lease_state: Callable[[], str]) -> None:
        """Everything is in its place: go on with a recording that was under way. `lease_state`: the session's."""
        assert self._applier is not None
        self._applier.watch(lease_state)
        self.recorder.resume()

    def _position(self) -> LogPosition:
        return LogPosition(self._state.log_id, self._state.applied_index)


def open_history(folder: Path | None, node_id: str, clocks: Clocks, state: NodeState) -> NodeHistory | None:
    """None without a folder: nothing is written down then, and nothing paid for it. OSError for one that cannot be used."""
    try:
        return None if folder is None else NodeHistory(folder, node_id, clocks, state)
    except OSError as error:
        raise OSError(f"--history: {folder} cannot be used: {error.strerror}") from error
