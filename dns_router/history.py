"""The history of a router: how far it has applied the log, whether it holds a lease, and which directory it answers by (lab/history/schema.py).

Only of a router that was started with `--history`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from dns_router.applier import RouterApplier
from proto.history_applier import APPLIED, APPLIED_COLUMNS, LEASES, LEASES_COLUMNS, NodeFacts, RecordedApplier
from proto.history_recorder import HistoryRecorder

ROUTED: Final = "routed"
ROUTED_COLUMNS: Final = ("node", "at_ns", "version", "routable")
TABLES: Final = {APPLIED: APPLIED_COLUMNS, LEASES: LEASES_COLUMNS, ROUTED: ROUTED_COLUMNS}


class RouterHistory:
    """Who writes it."""

    def __init__(self, recorder: HistoryRecorder, router: RouterApplier, true_steady: Callable[[float], float]) -> None:
        self._recorder = recorder
        self._router = router
        self.applier = RecordedApplier(
            router, recorder, NodeFacts(lambda: router.served, true_steady, directory_applied=self._write_routed)
        )
        """For the session."""
        recorder.when_begun(self._write_routed)

    def _write_routed(self) -> None:
        """Which edges may be named from now on."""
        routable = ",".join(self._router.routable)
        recorder = self._recorder
        recorder.add(ROUTED, (recorder.node, recorder.clock(), self._router.directory_version, routable))


def open_recorder(folder: Path | None, node_id: str) -> HistoryRecorder | None:
    """None without a folder: nothing is written down then. OSError for one that cannot be used."""
    return None if folder is None else HistoryRecorder(folder, node_id, TABLES)
