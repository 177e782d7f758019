"""From what the writers of a run have left, `RUN/history/raw/WRITER/TABLE.tsv`, and `requests.blocks` of the load, to one Parquet file for each table,
`RUN/history/TABLE.parquet`.

Columns are found by the names in the first line of each file, so that a writer of another version is read as far as it goes. A last line that was cut is left out;
so is any that does not have the form of its table, and a last block that was cut: they are counted. Rows are sorted by their first moment. `lives` has a row for each
start: the last of those that a process has written. Raw files go when all Parquet files are there; until then it can be done again, also by another process.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from lab.errors import LabError
from lab.history.raw_files import held
from lab.history.reader import HISTORY_FOLDER, MEMORY_LIMIT
from lab.history.request_blocks import write_lines
from lab.history.schema import LIVES, REQUESTS, TABLES, Table, Type
from proto.history_file import NULL, cut_torn_line

_SPILL, _LINES, _ARCHIVED = ".spill", ".lines", ".archived"
_LONGEST_LINE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Archived:
    """What was made of raw files."""

    rows: dict[str, int]
    """By table, of those that somebody wrote."""
    left_out_lines: int
    """That did not have the form of their table; and rows of blocks that were cut."""


def archive_history(run_directory: Path) -> Archived:
    """LabError when a file cannot be read or written, or is still being written; then everything is as it was, and can be done again."""
    try:
        with held(run_directory) as raw:
            archived = _archive(run_directory, raw)
            # Half of the raw files would be taken for all of them: they go in one step.
            done = raw.rename(raw.with_name(_ARCHIVED))
        shutil.rmtree(done, ignore_errors=True)
    except (OSError, duckdb.Error) as error:
        reason = str(error).partition("\n")[0]
        raise LabError(f"the history of {run_directory} cannot be archived: {reason}") from error
    return archived


def _archive(run_directory: Path, raw: Path) -> Archived:
    made: dict[Path, Path] = {}
    rows: dict[str, int] = {}
    left_out = 0
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "threads": 2,
        "temp_directory": str(raw / _SPILL),
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        for table in TABLES:
            # Workers of the load share a folder: requests-1.tsv, requests-2.tsv.
            files = sorted({*raw.glob(f"*/{table.name}.tsv"), *raw.glob(f"*/{table.name}-[0-9]*.tsv")})
            if table is REQUESTS:
                of_blocks, lost = write_lines(raw, raw / _LINES)
                files, left_out = [*files, *of_blocks], left_out + lost
            if not files:
                continue
            reader = _TableReader(connection, table)
            left_out += reader.read(files)
            target = run_directory / HISTORY_FOLDER / f"{table.name}.parquet"
            beside = target.with_name(f"{target.name}.new")
            rows[table.name] = reader.write(beside)
            made[beside] = target
    for beside, target in made.items():
        beside.replace(target)
    return Archived(rows, left_out)


class _TableReader:
    """Reads the raw files of one table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        self._connection = connection
        self._table = table
        columns = ", ".join(f'"{column.name}" {column.type.value}' for column in table.columns)
        connection.execute(f'CREATE TABLE "{table.name}" ({columns})')

    def read(self, files: Iterable[Path]) -> int:
        """How many lines were left out."""
        left_out = 0
        for path in files:
            cut_torn_line(path)
            names = _names_of(path)
            if names:
                left_out += self._read_file(path, names)
        return left_out

    def _read_file(self, path: Path, names: list[str]) -> int:
        types = {column.name: column.type.value for column in self._table.columns}
        chosen = ", ".join(
            f'"{column.name}"' if column.name in names else f'NULL AS "{column.name}"' for column in self._table.columns
        )
        count = self._count()
        source = self._connection.read_csv(
            str(path),
            delimiter="\t",
            header=True,
            quotechar="",
            escapechar="",
            na_values=NULL,
            columns={name: types.get(name, Type.TEXT.value) for name in names},
            auto_detect=False,
            ignore_errors=True,
            max_line_size=_LONGEST_LINE_BYTES,
        )
        source.create_view("source", replace=True)
        self._connection.execute(f'INSERT INTO "{self._table.name}" SELECT {chosen} FROM source')
        return _count_lines(path) - 1 - (self._count() - count)

    def _count(self) -> int:
        return self._count_of(f'"{self._table.name}"')

    def _count_of(self, rows: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0])

    def write(self, path: Path) -> int:
        """Sorted; how many rows."""
        name = self._table.name
        rows = _LAST_OF_EACH_LIFE if self._table is LIVES else f'SELECT * FROM "{name}"'
        order = next((column.name for column in self._table.columns if column.name.endswith("_ns")), None)
        ordered = f'"{order}" NULLS LAST' if order else "ALL"
        target = str(path).replace("'", "''")
        self._connection.execute(f"COPY ({rows} ORDER BY {ordered}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
        count = self._count_of(f"({rows})")
        self._connection.execute(f'DROP TABLE "{name}"')
        return count


_LAST_OF_EACH_LIFE: Final = """
SELECT node, boot_id, process, started_ns, max(last_ns) AS last_ns, bool_or(is_ended) AS is_ended, max(dropped_rows) AS dropped_rows
FROM lives GROUP BY node, boot_id, process, started_ns"""


def _names_of(path: Path) -> list[str]:
    """Of the columns; none of an empty file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.rstrip("\n").split("\t") if first.strip() else []


def _count_lines(path: Path) -> int:
    return sum(piece.count(b"\n") for piece in _pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece
