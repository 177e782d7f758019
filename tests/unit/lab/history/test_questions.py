"""Questions about a history: answered from its own files and no others, or refused in one line that helps."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.commands import query
from lab.errors import UsageError
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
