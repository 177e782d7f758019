"""Questions about a history: answered from its own files and no others, or refused in one line that helps."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from lab.commands import query
from lab.errors import LabError, UsageError
from lab.history.archive import archive_history
from lab.history.questions import BadQuestionError, ask
from lab.history.raw_files import raw_folder
from lab.history.reader import HISTORY_FOLDER, History, open_history
from lab.history.schema import APPLIED
from proto.history_file import HistoryFile


def write_run(run: Path) -> None:
    """Raw files, as of a run that was killed."""
    folder = raw_folder(run) / "edge-1"
    folder.mkdir(parents=True)
    file = HistoryFile(folder / "applied.tsv", tuple(column.name for column in APPLIED.columns))
    for number in range(query.MOST_ROWS + 1):
        file.add(("edge-1", number, "log", number, "entry"))
    file.close()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    run = tmp_path / "it's a run"
    write_run(run)
    return run


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is not of the history, beside it."""
    run = tmp_path_factory.mktemp("runs") / "it's another run"
    write_run(run)
    archive_history(run)
    return Path(shutil.copy(run / HISTORY_FOLDER / "applied.parquet", run / HISTORY_FOLDER / "other.parquet"))


@pytest.fixture(scope="module")
def archived(other: Path) -> Iterator[History]:
    history = open_history(other.parent.parent)
    yield history
    history.close()


def told(run: Path, question: str | None, capsys: pytest.CaptureFixture[str], **given: object) -> tuple[str, str]:
    settings = {"forms": (False, False), "is_all": False, "schema": None, **given}
    assert query.run(run=str(run), question=question, **settings) == 0  # type: ignore[arg-type]
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_run_that_was_killed_is_archived_when_it_is_asked(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = told(run_folder, 'SELECT max("index") AS newest FROM applied', capsys, forms=(True, False))
    assert json.loads(out) == {"newest": query.MOST_ROWS}
    assert not (run_folder / HISTORY_FOLDER / "raw").exists()


def test_rows_are_bounded_unless_all_are_wanted(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(run_folder, "FROM applied", capsys, forms=(False, True))
    assert len(out.splitlines()) == 1 + query.MOST_ROWS and "--all" in err
    out, err = told(run_folder, "FROM applied", capsys, forms=(False, True), is_all=True)
    assert len(out.splitlines()) == 2 + query.MOST_ROWS and not err


def test_the_schema_is_told(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(run_folder, None, capsys, schema="")
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("applied", "served"))] == [
        ["served", "-"],
        ["applied", "1001"],
    ]
    out, _ = told(run_folder, None, capsys, schema="applied")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [column.name for column in APPLIED.columns]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("DROP VIEW applied", "one SELECT"),
        ("COPY applied TO 'applied.parquet'", "one SELECT"),
        ("SET threads = 1", "one SELECT"),
        ("ATTACH 'x.db'", "one SELECT"),
        ("SELECT * FROM aplied", r"no table 'aplied' \(did you mean applied or samples\?\); the tables are requests, "),
        ("SELECT indx FROM applied", r"no column 'indx' \(did you mean index or "),
        ("SELECT a.nod FROM applied a", r"no column 'nod' \(did you mean node"),
        ("SELECT frobnicate(node) FROM applied", "frobnicate"),
        ("SELECT node::INTEGER FROM applied", "edge-1"),
        ("SELECT * FROM 'OTHER'", "cannot access file"),
        ("SELECT * FROM read_parquet('OTHER')", "cannot access file"),
        ("SELECT * FROM read_text('/etc/hostname')", "cannot access file"),
        ("SELECT * FROM glob('/etc/*')", "cannot access file"),
    ],
)
def test_what_is_no_question_about_this_history(archived: History, other: Path, question: str, said: str) -> None:
    with pytest.raises(BadQuestionError, match=f"(?i){said}") as refused:
        list(ask(archived, question.replace("OTHER", str(other).replace("'", "''"))).rows)
    assert "\n" not in str(refused.value)


def test_a_run_without_history_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no history"):
        query.run(run=str(tmp_path), question="SELECT 1", forms=(False, False), is_all=False, schema=None)


def test_what_json_has_no_word_for_is_told_in_a_way_that_json_has(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "select 1 / 0 as nothing, 'nan'::DOUBLE as none, '\\x00\\xff'::BLOB as bytes, 2 as two"
    assert query.run(run=str(run_folder), question=question, forms=(True, False), is_all=False, schema=None) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "nothing": None, "none": None, "bytes": "00ff", "two": 2
    }  # fmt: skip


def test_two_columns_of_one_name_are_no_object(run_folder: Path) -> None:
    with pytest.raises(UsageError, match="two columns have one name"):
        query.run(run=str(run_folder), question="select 1 as n, 2 as n", forms=(True, False), is_all=False, schema=None)


def test_a_question_that_takes_long_ends_with_an_interrupt_and_prints_nothing_but_rows(run_folder: Path) -> None:
    """DuckDB works for minutes, and says how far it is, if it is let."""
    question = "select count(*) from range(1000000000000) t(i) where i % 7 = 3"
    # Whoever runs the tests in the background of a shell lets them ignore the signal, and all that they start.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from lab.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "query", str(run_folder), question, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_threads(process.pid, 2)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")


def wait_for_threads(pid: int, busy: int) -> None:
    """Until so many of its threads have worked for a while."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ticks = []
        for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                ticks.append(int(stat.read_text().rpartition(")")[2].split()[11]))
        if sum(each > 20 for each in ticks) >= busy:
            return
        time.sleep(0.05)
    raise AssertionError("it does not work")


def test_a_column_that_another_version_did_not_write_is_null_and_a_file_of_another_table_is_refused(
    run_folder: Path,
) -> None:
    archive_history(run_folder)
    path = run_folder / HISTORY_FOLDER / "applied.parquet"
    duckdb.sql(
        f"copy (select node, at_ns from '{str(path).replace(chr(39), chr(39) * 2)}') to '{run_folder.parent!s}/older.parquet'"
    )
    shutil.move(run_folder.parent / "older.parquet", path)
    history = open_history(run_folder)
    assert history.rows('SELECT DISTINCT node, "index", how FROM applied') == [("edge-1", None, None)]
    history.close()
    shutil.copy(path, run_folder / HISTORY_FOLDER / "marks.parquet")
    with pytest.raises(LabError, match=r"marks\.parquet cannot be read"):
        open_history(run_folder)
