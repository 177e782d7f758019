"""What writers have left becomes whole tables, however they ended."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.history.archive import Archived, archive_history
from lab.history.raw_files import RunGoesOnError, has_raw_files, held, raw_folder
from lab.history.reader import HISTORY_FOLDER, open_history
from lab.history.schema import APPLIED, LIVES, Table
from loadtests.block_file import BlockFile
from loadtests.connection import Request
from loadtests.exchange import Exchange
from loadtests.request_columns import Person, columns_of, seen_of
from loadtests.request_row import Asker
from proto.history_file import HistoryFile, Value

NAMES = {table.name: tuple(column.name for column in table.columns) for table in (APPLIED, LIVES)}


def write(run: Path, writer: str, table: Table, *rows: Sequence[Value], torn: str = "") -> Path:
    folder = raw_folder(run) / writer
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.name}.tsv"
    file = HistoryFile(path, NAMES[table.name])
    for row in rows:
        file.add(tuple(row))
    file.close()
    with path.open("a") as text:
        text.write(torn)
    return path


def applied(run: Path) -> list[tuple[object, ...]]:
    history = open_history(run)
    try:
        return history.rows("SELECT * FROM applied")
    finally:
        history.close()


def test_rows_of_all_writers_are_sorted_by_their_moment_and_a_torn_line_is_none(tmp_path: Path) -> None:
    write(
        tmp_path,
        "edge-1",
        APPLIED,
        ("edge-1", 30, "log", 2, "entry"),
        ("edge-1", 10, "log", 1, "disk"),
        torn="edge-1\t40\tlog\t3\ten",
    )
    write(tmp_path, "edge-2", APPLIED, ("edge-2", 20, "", None, "it's"))
    assert archive_history(tmp_path) == Archived({"applied": 3}, 0)
    assert applied(tmp_path) == [
        ("edge-1", 10, "log", 1, "disk"), ("edge-2", 20, "", None, "it's"), ("edge-1", 30, "log", 2, "entry")
    ]  # fmt: skip
    assert not has_raw_files(tmp_path) and [path.name for path in (tmp_path / HISTORY_FOLDER).iterdir()] == [
        "applied.parquet"
    ]


def test_damaged_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        "edge-1",
        APPLIED,
        ("edge-1", 10, "log", 1, "disk"),
        torn="too\tfew\nedge-1\tno number\tlog\t1\tdisk\na\t1\tb\t2\tc\td\n\n",
    )
    assert archive_history(tmp_path).left_out_lines == 4
    assert applied(tmp_path) == [("edge-1", 10, "log", 1, "disk")]


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    """Of a writer of another version."""
    folder = raw_folder(tmp_path) / "edge-1"
    folder.mkdir(parents=True)
    (folder / "applied.tsv").write_text("index\tnode\tnew\n7\tedge-1\tx\n")
    archive_history(tmp_path)
    assert applied(tmp_path) == [("edge-1", None, None, 7, None)]


def test_of_each_life_the_last_row_counts(tmp_path: Path) -> None:
    first = [("edge-1", "boot", "p1", 5, last_ns, False, 0) for last_ns in (5, 15, 25)]
    write(
        tmp_path,
        "edge-1",
        LIVES,
        *first,
        ("edge-1", "boot", "p2", 40, 40, False, 0),
        ("edge-1", "boot", "p2", 40, 44, True, 3),
    )
    archive_history(tmp_path)
    history = open_history(tmp_path)
    assert history.rows("SELECT process, started_ns, last_ns, is_ended, dropped_rows FROM lives") == [
        ("p1", 5, 25, False, 0), ("p2", 40, 44, True, 3)
    ]  # fmt: skip
    history.close()


def test_who_has_written_nothing_is_there_and_empty_and_who_is_not_there_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "edge-1", APPLIED)
    assert archive_history(tmp_path).rows == {"applied": 0}
    history = open_history(tmp_path)
    assert (
        "applied" not in history.missing
        and "lives" in history.missing
        and history.value("SELECT count(*) FROM lives") == 0
    )
    history.close()


def test_it_can_be_done_again_after_it_failed(tmp_path: Path) -> None:
    write(tmp_path, "edge-1", APPLIED, ("edge-1", 10, "log", 1, "disk"))
    write(tmp_path, "edge-1", LIVES)
    blocked = tmp_path / HISTORY_FOLDER / "lives.parquet.new"
    blocked.mkdir()
    with pytest.raises(LabError, match="cannot be archived"):
        archive_history(tmp_path)
    assert has_raw_files(tmp_path)
    blocked.rmdir()
    archive_history(tmp_path)
    assert applied(tmp_path) == [("edge-1", 10, "log", 1, "disk")]


def test_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "edge-1", APPLIED)
    with held(tmp_path), pytest.raises(RunGoesOnError, match="goes on"):
        archive_history(tmp_path)
    assert has_raw_files(tmp_path)


def test_blocks_of_the_load_become_rows_and_one_that_was_cut_is_counted(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path) / "load"
    folder.mkdir(parents=True)
    person = Person(Asker("website", "eu", "load-0-1.1", "10.2.3.4", "d1.cdn.localhost"))
    exchange = Exchange(None, "refused", "", None, attempts=1, started_ns=100, ended_ns=130)
    columns = columns_of([seen_of(person, 95, Request("/a\\b"), exchange, "refused")] * 2)
    file = BlockFile(folder / "requests.blocks", "load-0-")
    file.add(*columns)
    file.add(*columns)
    file.close()
    (folder / "requests.blocks").write_bytes((folder / "requests.blocks").read_bytes()[:-1])
    assert archive_history(tmp_path) == Archived({"requests": 2}, 2)
    assert not has_raw_files(tmp_path)
    history = open_history(tmp_path)
    assert history.rows("SELECT id, viewer, path, started_ns, status, error, address FROM requests ORDER BY id") == [
        (f"load-0-{number}", "load-0-1.1", "/a\ufffdb", 100, None, "refused", None) for number in (1, 2)
    ]


def test_viewers_who_have_ended_nothing_leave_an_empty_file_of_blocks_and_no_requests(tmp_path: Path) -> None:
    blocks = raw_folder(tmp_path) / "load" / "requests.blocks"
    blocks.parent.mkdir(parents=True)
    blocks.touch()
    archive_history(tmp_path)
    history = open_history(tmp_path)
    assert history.value("SELECT count(*) FROM requests") == 0
    assert "requests" not in history.missing
    history.close()
