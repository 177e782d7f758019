"""A history as whoever judges or draws it sees it: tables that are asked in SQL (DuckDB). Pure but for reading the files of one folder.

In a run's folder the tables are Parquet files, `history/TABLE.parquet`. A table without a file is empty, so questions never fail for want of a witness; that
one was missing is seen in `lives` and in `missing`. Bounded: a million requests are judged within MEMORY_LIMIT.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lab.errors import LabError
from lab.history.schema import TABLES, Table

HISTORY_FOLDER = "history"
MEMORY_LIMIT = "768MB"
_THREADS = 2

VIEWS = "CREATE VIEW viewer_requests AS SELECT * FROM requests WHERE profile IS DISTINCT FROM 'probe'"
"""Requests of viewers: those of the lab's own probes are evidence, and no traffic."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class History:
    """Tables of schema.py by their names. `missing` are those that nobody wrote down."""

    connection: duckdb.DuckDBPyConnection
    missing: frozenset[str] = frozenset()

    def rows(self, question: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Of a question in SQL."""
        return self.connection.execute(question, list(parameters)).fetchall()

    def records(self, question: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The same, each row by the names of its columns."""
        answer = self.connection.execute(question, list(parameters))
        names = [column[0] for column in answer.description or ()]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def value(self, question: str, parameters: Sequence[Any] = ()) -> Any:
        """The one value of the one row."""
        rows = self.rows(question, parameters)  # all of them: the connection takes no other question before
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Lets go of the files."""
        self.connection.close()


def open_history(run_directory: Path) -> History:
    """Of a run that has ended; nothing is written, and nothing outside of the folder can be read through it. LabError for a file that is damaged."""
    folder = run_directory / HISTORY_FOLDER
    connection = _connect()
    missing = set()
    paths = []
    for table in TABLES:
        path = (folder / f"{table.name}.parquet").absolute()
        if path.exists():
            try:
                _view(connection, table, str(path))
            except duckdb.Error as error:
                connection.close()
                raise LabError(f"{path} cannot be read as Parquet: {str(error).partition(chr(10))[0]}") from error
            paths.append(str(path))
        else:
            missing.add(table.name)
            connection.execute(_create(table))
    connection.execute(VIEWS)
    _seal(connection, paths)
    return History(connection, frozenset(missing))


def _view(connection: duckdb.DuckDBPyConnection, table: Table, path: str) -> None:
    """A column that the file does not have is NULL: the history may be of another version of this program. duckdb.Error for one that has none of them."""
    stored = connection.read_parquet(path)
    there = set(stored.columns)
    columns = (
        f'"{each.name}"' if each.name in there else f'NULL::{each.type.value} AS "{each.name}"'
        for each in table.columns
    )
    if there.isdisjoint(each.name for each in table.columns):
        raise duckdb.InvalidInputException(f"it has no column of {table.name}")
    stored.project(", ".join(columns)).create_view(table.name)


def _seal(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """From here on only these files are read, whatever is asked, and nobody can change that."""
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def history_of(rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> History:
    """One in memory, of rows by table: what is not given of a row is NULL. Tables that are not named are missing."""
    connection = _connect()
    for table in TABLES:
        connection.execute(_create(table))
        given = list(rows.get(table.name, ()))
        if given:  # by columns: row by row it would take minutes
            columns = ", ".join(f"unnest(?::{column.type.value}[])" for column in table.columns)
            values = [[row.get(column.name) for row in given] for column in table.columns]
            connection.execute(f"INSERT INTO {table.name} SELECT {columns}", values)
    connection.execute(VIEWS)
    return History(connection, frozenset(table.name for table in TABLES if table.name not in rows))


def _connect() -> duckdb.DuckDBPyConnection:
    # Without a folder for what does not fit into memory: such a question is refused, and never fills the disk.
    connection = duckdb.connect(
        ":memory:", config={"memory_limit": MEMORY_LIMIT, "threads": _THREADS, "temp_directory": ""}
    )
    connection.execute("SET enable_progress_bar = false")  # it would be printed among the rows
    return connection


def _create(table: Table) -> str:
    columns = ", ".join(f'"{column.name}" {column.type.value}' for column in table.columns)
    return f"CREATE TABLE {table.name} ({columns})"
