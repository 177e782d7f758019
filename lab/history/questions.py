"""A question about a history, in SQL, from somebody who may have mistyped it: one answer, or one line that says what is there instead.

Only what reads is a question. A history is sealed (reader.py), so that whatever is asked, no other file is touched.
"""

import difflib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import duckdb

from lab.errors import UsageError
from lab.history.reader import History, Row
from lab.history.schema import TABLES, Table

ROWS_AT_A_TIME: Final = 1_000
_TABLE_MISSING = re.compile(r"Table with name (\S+) does not exist")
_COLUMN_MISSING = re.compile(r'(?:Referenced column "([^"]+)"|does not have a column named "([^"]+)")')
_ASKING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


class BadQuestionError(UsageError):
    """What was asked is no question, or names something that there is not; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """To be read once."""

    names: tuple[str, ...]
    """Of the columns."""
    rows: Iterator[Row]


def ask(history: History, question: str) -> Answer:
    """BadQuestionError for what cannot be answered."""
    try:
        statements = duckdb.extract_statements(question)
        if len(statements) != 1 or statements[0].type not in _ASKING:
            raise BadQuestionError(
                'this is not one question: give one SELECT in SQL, such as "select count(*) from requests"'
            )
        cursor = _interruptible(history.connection, question)
    except duckdb.Error as error:
        raise BadQuestionError(explain(str(error))) from error
    names = tuple(column[0] for column in cursor.description or ())
    return Answer(names, _rows(cursor))


def _interruptible(connection: duckdb.DuckDBPyConnection, question: str) -> duckdb.DuckDBPyConnection:
    """While DuckDB works in the main thread nobody hears Ctrl-C: it works in another one, and is told."""
    with ThreadPoolExecutor(1, thread_name_prefix="question") as worker:
        answer = worker.submit(connection.execute, question)
        try:
            return answer.result()
        except BaseException:
            connection.interrupt()
            raise


def explain(message: str) -> str:
    """One line of what DuckDB has to say, with what there is instead."""
    missing, column = _TABLE_MISSING.search(message), _COLUMN_MISSING.search(message)
    if missing:
        return _no_table(missing[1].strip('"'))
    if column:
        name = column[1] or column[2]
        nearest = _nearest(name, sorted({each.name for table in TABLES for each in table.columns}))
        return f"there is no column {name!r}{nearest}; `cdnlab query RUN --schema TABLE` lists those of a table"
    lines = [line.strip() for line in message.splitlines() if line.strip() and not line.lstrip().startswith("^")]
    first = lines[0].replace(" Error: ", " error: ", 1) if lines else "it cannot be answered"
    return f"this cannot be answered: {first[0].lower()}{first[1:]}"


def find_table(name: str) -> Table:
    """BadQuestionError for one that there is not."""
    for table in TABLES:
        if table.name == name:
            return table
    raise BadQuestionError(_no_table(name))


def _no_table(name: str) -> str:
    names = [table.name for table in TABLES]
    return f"there is no table {name!r}{_nearest(name, names)}; the tables are {', '.join(names)}"


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    try:
        while rows := cursor.fetchmany(ROWS_AT_A_TIME):
            yield from rows
    except duckdb.Error as error:
        raise BadQuestionError(explain(str(error))) from error


def _nearest(name: str, names: list[str]) -> str:
    found = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(found)}?)" if found else ""
