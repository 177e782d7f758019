"""Rows of a history as another reader of such files sees them: DuckDB."""

from pathlib import Path

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.history_file import NULL, HistoryFile

COLUMNS = ("text", "number", "other")
VALUES = st.one_of(st.none(), st.text(), st.sampled_from(["", NULL, "\t", "a\nb", "\\", '"', "é", "\u2028", "\ud800"]))


def read(path: Path) -> list[tuple[object, ...]]:
    return duckdb.read_csv(
        str(path),
        delimiter="\t",
        header=True,
        quotechar="",
        escapechar="",
        na_values=NULL,
        dtype={"text": "VARCHAR", "number": "BIGINT", "other": "VARCHAR"},
    ).fetchall()


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(VALUES, st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), VALUES), max_size=8))
def test_whatever_is_added_is_read_as_so_many_rows_with_their_nulls(
    tmp_path_factory: object, rows: list[tuple[str | None, int | None, str | None]]
) -> None:
    path = Path(tmp_path_factory.mktemp("history")) / "rows.tsv"  # type: ignore[attr-defined]
    file = HistoryFile(path, COLUMNS)
    for row in rows:
        file.add(row)
    file.close()
    found = read(path)
    assert [(text is None, number, other is None) for text, number, other in found] == [
        (text is None, number, other is None) for text, number, other in rows
    ]


def test_text_of_every_day_stays_as_it_is(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "rows.tsv", COLUMNS)
    file.add(('GET /a?b="c"', 7, "München"))
    file.close()
    assert read(tmp_path / "rows.tsv") == [('GET /a?b="c"', 7, "München")]


def test_what_is_flushed_is_there_without_a_goodbye_and_a_second_process_goes_on(tmp_path: Path) -> None:
    first = HistoryFile(tmp_path / "rows.tsv", COLUMNS)
    first.add(("a", 1, None))
    first.flush()
    second = HistoryFile(tmp_path / "rows.tsv", COLUMNS)
    second.add(("b", 2, None))
    second.flush()
    first.close()
    second.close()
    assert [row[0] for row in read(tmp_path / "rows.tsv")] == ["a", "b"]


def test_rows_beyond_the_bound_are_counted(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "rows.tsv", COLUMNS, largest_bytes=64)
    for number in range(10):
        file.add(("x" * 20, number, None))
        file.flush()
    file.close()
    assert file.dropped_rows > 0
    assert len(read(tmp_path / "rows.tsv")) == 10 - file.dropped_rows
