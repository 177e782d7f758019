"""What the lab itself writes down of a run: its tables of schema.py, as rows by the names of their columns. Several threads may write."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab.history.schema import TABLES
from proto.history_file import HistoryFile

LAB: Final = "lab"
"""Who writes them, beside the nodes and the load generator."""
WRITTEN: Final = (
    *(
        "requests",
        "dns_answers",
        "invalidations",
        "acknowledgements",
        "writes",
        "time_moves",
        "faults",
        "nodes",
        "lives",
    ),
    *("samples", "marks"),
)
"""`requests` are those of its probes."""
_TABLES: Final = {table.name: table for table in TABLES}


def _columns(table: str) -> list[str]:
    return [column.name for column in _TABLES[table].columns]


class LabTables:
    """All of them are there from the beginning: nothing happened is not nobody wrote it down. `flush` is to be called every FLUSH_SECONDS."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made; what it has of a run before is gone."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.tsv"):
            old.unlink()
        self._files = {name: HistoryFile(folder / f"{name}.tsv", _columns(name)) for name in WRITTEN}
        self._lock = threading.Lock()

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        """KeyError for a column that there is not."""
        columns = _columns(table)
        if unknown := row.keys() - set(columns):
            raise KeyError(f"{table} has no column {unknown}")
        with self._lock:
            self._files[table].add(tuple(row.get(name) for name in columns))

    @property
    def dropped_rows(self) -> int:
        """For which there was no room."""
        return sum(file.dropped_rows for file in self._files.values())

    def flush(self) -> None:
        """See HistoryFile."""
        with self._lock:
            for file in self._files.values():
                file.flush()

    def close(self) -> None:
        """After a last flush."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files = {}
