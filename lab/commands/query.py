"""`cdnlab query RUN "select ..."`: asks the history of a run, which docs/history.md describes."""

import csv
import json
import math
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.history.archive import archive_history
from lab.history.questions import Answer, ask, find_table
from lab.history.raw_files import has_raw_files
from lab.history.reader import HISTORY_FOLDER, History, Row, open_history
from lab.history.run_folders import find_run
from lab.history.schema import TABLES
from lab.streams import complain

ALL_TABLES = ""
MOST_ROWS = 1_000
"""That are printed without `--all`."""
_WIDEST_CELL = 60


class Form(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def run(*, run: str, question: str | None, forms: tuple[bool, bool], is_all: bool, schema: str | None) -> int:
    """`forms`: as JSON, as CSV. `schema`: of which table the columns are wanted, ALL_TABLES for a list of the tables; None: the question is to be answered."""
    form = _form(*forms)
    directory = find_run(run)
    if schema is not None and schema != ALL_TABLES:
        columns = [(column.name, column.type.value, column.says) for column in find_table(schema).columns]
        _print_rows(("column", "type", "says"), columns, form)
        return 0
    if schema is None and question is None:
        raise UsageError(
            'what is the question? Give a SELECT in SQL, as in "select count(*) from requests", or --tables'
        )
    history = _open(directory)
    try:
        if question is None or schema is not None:
            _print_rows(("table", "rows", "says"), _tables(history), form)
        else:
            _answer(ask(history, question), form, is_all=is_all)
    finally:
        history.close()
    return 0


def _form(is_json: bool, is_csv: bool) -> Form:
    if is_json and is_csv:
        raise UsageError("--json and --csv are two forms: give one")
    return Form.JSON if is_json else Form.CSV if is_csv else Form.TABLE


def _answer(answer: Answer, form: Form, *, is_all: bool) -> None:
    _print_rows(answer.names, answer.rows if is_all else list(islice(answer.rows, MOST_ROWS)), form)
    if not is_all and next(answer.rows, None) is not None:
        complain(f"cdnlab: these are the first {MOST_ROWS} rows; --all prints every one")


def _open(directory: Path) -> History:
    """Of a run that was killed its raw files are archived first."""
    if has_raw_files(directory):
        archived = archive_history(directory)
        if archived.left_out_lines:
            complain(f"cdnlab: {archived.left_out_lines} damaged lines of the history were left out")
    if not any((directory / HISTORY_FOLDER).glob("*.parquet")):
        raise UsageError(f"{directory} has no history")
    return open_history(directory)


def _tables(history: History) -> list[tuple[str, int | None, str]]:
    """With how many rows; None where nobody wrote any down."""
    counts = {table.name: history.value(f'SELECT count(*) FROM "{table.name}"') for table in TABLES}  # noqa: S608
    return [(table.name, None if table.name in history.missing else counts[table.name], table.says) for table in TABLES]


def _print_rows(names: Sequence[str], rows: Iterable[Row], form: Form) -> None:
    match form:
        case Form.JSON:
            if len(set(names)) < len(names):
                raise UsageError(
                    f"two columns have one name, which an object of JSON cannot have: {', '.join(names)}; name them by AS"
                )
            for row in rows:
                told = {name: _finite(value) for name, value in zip(names, row, strict=True)}
                print(json.dumps(told, default=_in_json, allow_nan=False))
        case Form.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(rows)
        case Form.TABLE:
            _print_table(names, list(rows))


def _finite(value: Any) -> Any:
    """JSON has no infinity, and no number that is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _in_json(value: Any) -> str:
    """Of what JSON has no word for: bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _print_table(names: Sequence[str], rows: Sequence[Row]) -> None:
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[place]) for row in texts)]) for place, name in enumerate(names)]
    is_number = [all(isinstance(row[place], int | float | None) for row in rows) for place in range(len(names))]
    for line in (list(names), *texts):
        cells = (
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, is_number, strict=True)
        )
        print("  ".join(cells).rstrip())
    if not rows:
        print("(no rows)")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST_CELL else f"{text[: _WIDEST_CELL - 1]}…"
