"""The history's table `directory`: which nodes the control plane counts in, a row for each change of a node's state (lab/history/schema.py).

Only of a control plane that was started with `--history`. A change is noted when it has been decided; its row waits until the directory has been made of which it is
part, so that it says from which version on routers have it. A follower decides nothing, and writes nothing.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from control_plane.nodes import NodeRecord
from proto.history_recorder import HistoryRecorder

DIRECTORY: Final = "directory"
DIRECTORY_COLUMNS: Final = ("control_plane", "node", "at_ns", "state", "version")


class DirectoryHistory:
    """Who writes it."""

    def __init__(self, folder: Path, control_plane: str) -> None:
        """OSError for a folder that cannot be used."""
        self.recorder = HistoryRecorder(folder, control_plane, {DIRECTORY: DIRECTORY_COLUMNS})
        self._records: Callable[[], Iterable[NodeRecord]] = tuple
        self._published_version: Callable[[], int | None] = lambda: None
        self._told: dict[str, str] = {}
        self._waiting: list[tuple[str, int, str]] = []
        """Node, moment, state."""
        self.recorder.when_begun(self._begin)
        self.recorder.before_flush(self._write)

    def leads(self, records: Callable[[], Iterable[NodeRecord]], published_version: Callable[[], int | None]) -> None:
        """A term has begun: who is known now, and the directory's version, or None while another one is due."""
        self._records, self._published_version = records, published_version

    def settled(self) -> None:
        """Something may have been decided."""
        if not self.recorder.is_recording:
            return
        now_ns = self.recorder.clock()
        for record in self._records():
            node_id, state = record.description.identifier, record.state
            if self._told.get(node_id) != state:
                self._told[node_id] = state
                self._waiting.append((node_id, now_ns, state))

    def _begin(self) -> None:
        """All that holds."""
        self._told.clear()
        self._waiting.clear()
        self.settled()

    def _write(self) -> None:
        version = self._published_version()
        if version is None:
            return
        waiting, self._waiting = self._waiting, []
        rows = ((self.recorder.node, node, at_ns, state, version) for node, at_ns, state in waiting)
        self.recorder.add_all(DIRECTORY, rows)
