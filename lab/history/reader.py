"""A history as whoever judges or draws it sees it: tables that are asked in SQL (DuckDB). Pure but for reading the files of one folder.

In a run's folder the tables are Parquet files, `history/TABLE.parquet`. A table without a file is empty, so questions never fail for want of a witness; that
one was missing is seen in `lives` and in `missing`. Bounded: a million requests are judged within MEMORY_LIMIT.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lab.history.schema import TABLES, Table

HISTORY_FOLDER = "history"
MEMORY_LIMIT = "768MB"
_THREADS = 2

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
        row = self.connection.execute(question, list(parameters)).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Lets go of the files."""
        self.connection.close()


def open_history(run_directory: Path) -> History:
    """Of a run that has ended; nothing is written, and nothing outside of the folder can be read through it."""
    folder = run_directory / HISTORY_FOLDER
    connection = _connect()
    missing = set()
    for table in TABLES:
        path = folder / f"{table.name}.parquet"
        if path.exists():
            connection.read_parquet(str(path)).create_view(table.name)
        else:
            missing.add(table.name)
            connection.execute(_create(table))
    return History(connection, frozenset(missing))


def history_of(rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> History:
    """One in memory, of rows by table: what is not given of a row is NULL. Tables that are not named are missing."""
    connection = _connect()
    for table in TABLES:
        connection.execute(_create(table))
        given = [[row.get(column.name) for column in table.columns] for row in rows.get(table.name, ())]
        if given:
            places = ", ".join("?" for _ in table.columns)
            connection.executemany(f"INSERT INTO {table.name} VALUES ({places})", given)  # noqa: S608 - of the schema
    return History(connection, frozenset(table.name for table in TABLES if table.name not in rows))


def _connect() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"memory_limit": MEMORY_LIMIT, "threads": _THREADS})


def _create(table: Table) -> str:
    columns = ", ".join(f'"{column.name}" {column.type.value}' for column in table.columns)
    return f"CREATE TABLE {table.name} ({columns})"
