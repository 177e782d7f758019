"""What the lab writes down itself: whole rows from several threads, in files that are there from the beginning."""

import threading
from pathlib import Path

import pytest

from lab.history.lab_tables import WRITTEN, LabTables
from lab.history.schema import TABLES

COLUMNS = {table.name: [column.name for column in table.columns] for table in TABLES}


def lines(folder: Path, table: str) -> list[list[str]]:
    text = (folder / f"{table}.tsv").read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [line.split("\t") for line in text.splitlines()]


def test_nothing_happened_is_written_down_and_a_run_before_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "lab"
    for text in ("first", "second"):
        tables = LabTables(folder)
        tables.add("marks", {"text": text})
        tables.close()
    for name in WRITTEN:
        assert lines(folder, name)[0] == COLUMNS[name]
    (row,) = lines(folder, "marks")[1:]
    assert dict(zip(COLUMNS["marks"], row, strict=True)) == dict.fromkeys(COLUMNS["marks"], "\\N") | {"text": "second"}


def test_a_column_that_there_is_not_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    tables = LabTables(tmp_path)
    with pytest.raises(KeyError, match="marks has no column"):
        tables.add("marks", {"text": "a", "txt": "b"})
    tables.close()
    assert len(lines(tmp_path, "marks")) == 1


def test_what_is_flushed_is_in_the_file_before_the_end(tmp_path: Path) -> None:
    tables = LabTables(tmp_path)
    tables.add("faults", {"id": "f1", "parameters": '{"a": "tab\there"}'})
    assert lines(tmp_path, "faults")[1:] == []
    tables.flush()
    (row,) = lines(tmp_path, "faults")[1:]
    assert (row[0], len(row)) == ("f1", len(COLUMNS["faults"]))
    assert tables.dropped_rows == 0
    tables.close()


def test_rows_of_several_threads_are_whole_and_none_is_lost(tmp_path: Path) -> None:
    tables = LabTables(tmp_path)
    is_over = threading.Event()

    def write(number: int) -> None:
        for each in range(500):
            tables.add("marks", {"subject": f"thread-{number}", "began_ns": each})

    def flush() -> None:
        while not is_over.is_set():
            tables.flush()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    flusher = threading.Thread(target=flush)
    for thread in (*writers, flusher):
        thread.start()
    for thread in writers:
        thread.join()
    is_over.set()
    flusher.join()
    tables.close()
    subject, began = COLUMNS["marks"].index("subject"), COLUMNS["marks"].index("began_ns")
    rows = lines(tmp_path, "marks")[1:]
    for number in range(4):
        assert [int(row[began]) for row in rows if row[subject] == f"thread-{number}"] == list(range(500))
