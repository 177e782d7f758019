"""A file of a history: rows of one table, appended as lines of text with tabs between (lab/history/schema.py).

Edges, origin and lab write it; the load generator writes blocks of numbers (loadtests/block_file.py).

A program that is killed loses what it has added since the last `flush`, so its owner calls that every FLUSH_SECONDS; what was flushed is the kernel's and outlives
it. A last line may be cut. Bounded: rows beyond MOST_WAITING, or beyond a file's LARGEST_BYTES, are dropped and counted.
"""

from collections.abc import Sequence
from io import SEEK_END, FileIO
from pathlib import Path
from typing import Final

FLUSH_SECONDS: Final = 0.1
MOST_WAITING: Final = 50_000
"""Rows: seconds of a busy node. They wait for room on the disk as well."""
LARGEST_BYTES: Final = 1 << 30
NULL: Final = "\\N"
"""What stands for a value that is not known; a text is never this, since backslashes are replaced."""
_LONGEST_TORN_BYTES: Final = 1 << 20
"""A line has no more; one that has is left out by whoever reads the file."""
Value = str | int | float | bool | None


class HistoryFile:
    """One table's rows, in the order of its columns. Not for several threads."""

    def __init__(self, path: Path, columns: Sequence[str], largest_bytes: int = LARGEST_BYTES) -> None:
        """Goes on with a file that is there, behind its last whole line. OSError when it cannot be opened."""
        cut_torn_line(path)
        self._file = FileIO(path, "a")
        self._columns = len(columns)
        self._largest_bytes = largest_bytes
        self._rows: list[tuple[Value, ...]] = []
        self._texts: list[str] = []
        self._lines_of_texts = 0
        self._unwritten = b""
        self.dropped_rows = self.rows = 0
        """`rows`: added and kept, as of the last flush."""
        if self._file.tell() == 0:
            self._unwritten = ("\t".join(columns) + "\n").encode()

    def add(self, row: tuple[Value, ...]) -> None:
        """One row; as cheap as it can be, since it is done for each request."""
        if len(self._rows) < MOST_WAITING:
            self._rows.append(row)
        else:
            self.dropped_rows += 1

    def add_lines(self, lines: Sequence[str]) -> None:
        """Rows as they stand in the file, each with its end: by whoever knows that all of a line is right as it is (`printable`). Cheaper by far than rows."""
        if self._lines_of_texts + len(lines) <= MOST_WAITING:
            self._texts.append("".join(lines))
            self._lines_of_texts += len(lines)
        else:
            self.dropped_rows += len(lines)

    def flush(self) -> None:
        """Hands everything to the kernel; what it does not take waits for the next time."""
        if not self.is_behind:
            return
        rows, self._rows = self._rows, []
        texts, self._texts = self._texts, []
        count, self._lines_of_texts = len(rows) + self._lines_of_texts, 0
        if len(self._unwritten) < self._largest_bytes >> 6 and self._file.tell() < self._largest_bytes:
            self._unwritten += "".join((*texts, *map(self._line, rows))).encode("utf-8", "replace")
            self.rows += count
        else:
            self.dropped_rows += count
        try:
            self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
        except OSError:
            return

    @property
    def is_behind(self) -> bool:
        """Whether something that was added is not the kernel's."""
        return bool(self._rows or self._texts or self._unwritten)

    def close(self) -> None:
        """After a last flush."""
        self.flush()
        self._file.close()

    def _line(self, row: tuple[Value, ...]) -> str:
        line = "\t".join([NULL if value is None else str(value) for value in row])
        # Nearly every line is right as it is, which a look at all of it says.
        bare = line.replace("\t", "")
        if len(line) - len(bare) == self._columns - 1 and bare.isprintable() and bare.count("\\") == row.count(None):
            return line + "\n"
        return "\t".join([NULL if value is None else printable(str(value)) for value in row]) + "\n"


def cut_torn_line(path: Path) -> None:
    """Of a process that was killed while it wrote: half a number looks like another one."""
    try:
        with path.open("rb+") as file:
            end = file.seek(0, SEEK_END)
            start = max(0, end - _LONGEST_TORN_BYTES)
            file.seek(start)
            whole = file.read().rfind(b"\n") + 1
            if start + whole < end:
                file.truncate(start + whole)
    except FileNotFoundError:
        return


def printable(text: str) -> str:
    """Without what would end a line or a value, or be no UTF-8: histories are no place to keep such bytes."""
    return "".join([each if each.isprintable() and each != "\\" else "\ufffd" for each in text])
