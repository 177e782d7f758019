"""CSV as a trace: what Python's own reader of CSV says of the same file, and what is wrong with others."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.traces.csv_trace import CsvTrace, NumericCsv
from loadtests.traces.reader import read_trace
from loadtests.traces.trace_reading import TraceError
from loadtests.traces.trace_request import TraceRequest

TARGETS = st.from_regex(r"/[!-\"$-~]{0,20}", fullmatch=True)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**6), TARGETS, st.integers(0, 2**53), st.sampled_from(["", "eu", "a,b", 'say "eu"']),
        st.sampled_from(["", "0", "60", "0.5"]), st.sampled_from(["GET", "HEAD", ""]),
    ),
    min_size=1, max_size=20,
)  # fmt: skip


@given(ROWS)
def test_a_file_is_read_as_python_reads_it(rows: list[tuple[int, str, int, str, str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("time", "path", "size", "region", "ttl", "method"))
    writer.writerows(rows)
    header, *lines = text.getvalue().splitlines(keepends=True)
    reader = CsvTrace(header)
    expected = [
        TraceRequest(
            float(row["time"]), row["path"], int(row["size"]), row["region"],
            float(row["ttl"]) if row["ttl"] else None, row["method"] or "GET",
        )
        for row in csv.DictReader(io.StringIO(text.getvalue()))
    ]  # fmt: skip
    assert [reader.request(line) for line in lines] == expected


def test_columns_stand_in_any_order_and_times_may_be_dates(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("size,target,time\r\n5,/a,2026-11-30T18:00:00Z\r\n\r\n6,/b?x=1,2026-11-30T19:00:01.5+01:00\r\n")
    assert list(read_trace(path)) == [TraceRequest(0.0, "/a", 5), TraceRequest(1.5, "/b?x=1", 6)]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("time,path,size,colour", "unknown columns: 'colour'"),
        ("time,path", "no column 'size'"),
        ("time,size", "either a column 'path' or a column 'target'"),
        ("time,path,target,size", "either a column 'path' or a column 'target'"),
        ("time,time,path,size", "there twice: time"),
        ("1,2,3", "the format is csv-numeric"),
    ],
)
def test_a_header_that_makes_no_sense_is_named(header: str, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        CsvTrace(header)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,/a", "2 fields, where the header has 3"),
        ("x,/a,1", "seconds or ISO 8601"),
        ("nan,/a,1", "finite"),
        ("inf,/a,1", "finite"),
        ("1,a,1", "must begin with '/'"),
        ("1,/a b,1", "percent-encoded"),
        ("1,/a#b,1", "without '#'"),
        ("1,/a,-1", "size must be a whole number"),
        ("1,/a,1.5", "size must be a whole number"),
        ("1,/a,99999999999999999", "size must be a whole number"),
        (f"1,/{'a' * 9000},1", "at most 8,192"),
        ('1,"/a,1', "no CSV"),
    ],
)
def test_a_line_that_makes_no_sense_is_named_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"time,path,size\n0,/ok,1\n{line}\n")
    with pytest.raises(TraceError, match=says) as caught:
        list(read_trace(path))
    assert f"{path}: line 3: " in str(caught.value)


def test_three_numbers_are_a_trace_of_a_cache_simulator() -> None:
    reader = NumericCsv()
    assert reader.request("1.5, 7, 100\n") == reader.request("1.5 7 100") == TraceRequest(1.5, "/objects/7", 100)
    assert reader.request("\n") is None
    for line, says in (("1,2", "2 fields"), ("time,id,size", "has the file a header"), ("x,1,1", "number of seconds")):
        with pytest.raises(ValueError, match=says):
            reader.request(line)
