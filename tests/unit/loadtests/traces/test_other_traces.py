"""oracleGeneral beside libCacheSim's own reader, HAR, compressed and damaged files, and the order of times."""

import gzip
import json
from pathlib import Path
from random import Random
from struct import pack
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from loadtests.traces.reader import read_trace
from loadtests.traces.time_order import in_order
from loadtests.traces.trace_reading import TraceError, TraceProgress
from loadtests.traces.trace_request import TraceRequest


def packed(count: int, seed: int = 1) -> bytes:
    rng = Random(seed)
    times = sorted(rng.randrange(2**31) for _ in range(count))
    return b"".join(pack("<IQIq", at, rng.getrandbits(63), rng.randrange(1, 2**31), -1) for at in times)


def test_records_are_those_that_libcachesim_reads(tmp_path: Path) -> None:
    libcachesim = pytest.importorskip("libcachesim")
    path = tmp_path / "t.oracleGeneral"
    path.write_bytes(packed(9_000))  # more than the reader takes at once
    theirs = list(libcachesim.TraceReader(str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE))
    ours = list(read_trace(path))
    assert [(f"/objects/{each.obj_id}", each.obj_size) for each in theirs] == [
        (each.target, each.size_bytes) for each in ours
    ]
    assert [each.clock_time - theirs[0].clock_time for each in theirs] == [each.at_seconds for each in ours]


def test_a_file_that_is_cut_says_where(tmp_path: Path) -> None:
    path = tmp_path / "t.oracleGeneral"
    path.write_bytes(packed(3)[:-5])
    with pytest.raises(TraceError, match="offset 48: 19 bytes are left"):
        list(read_trace(path))


@pytest.mark.parametrize("extension", ["", ".gz", ".zst"])
def test_compressed_files_hold_the_same_and_cut_ones_are_errors(tmp_path: Path, extension: str) -> None:
    text = "time,path,size\n" + "".join(f"{number},/{Random(number).random()},1\n" for number in range(5_000))
    data = text.encode()
    whole = {"": data, ".gz": gzip.compress(data), ".zst": zstandard.compress(data)}[extension]
    path = tmp_path / f"t.csv{extension}"
    path.write_bytes(whole)
    assert len(list(read_trace(path))) == 5_000
    if extension:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(TraceError, match="cut or damaged"):
            list(read_trace(path))
        path.write_bytes(b"no such thing" + whole)
        with pytest.raises(TraceError):
            list(read_trace(path))


def entry(url: str = "http://a.test/x", at: str = "2026-11-30T18:00:00.000Z", **response: Any) -> dict[str, Any]:
    return {
        "startedDateTime": at,
        "request": {"method": "GET", "url": url},
        "response": {"status": 200, "bodySize": 700, "content": {"size": 2_000}, "headers": [], **response},
    }


def har(tmp_path: Path, *entries: Any) -> Path:
    path = tmp_path / "t.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


def test_a_har_is_in_the_order_of_its_times_and_of_one_host(tmp_path: Path) -> None:
    later = entry("http://a.test/y?q=1#part", "2026-11-30T19:00:02.500+01:00", bodySize=-1)
    path = har(tmp_path, later, entry("https://other.test/z"), entry("data:text/plain,x"), entry())
    progress = TraceProgress()
    assert list(read_trace(path, progress=progress)) == [
        TraceRequest(0.0, "/x", 700),
        TraceRequest(2.5, "/y?q=1", 2_000),
    ]
    assert progress.left_out.total() == 2


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("max-age=60", 60.0),
        ("public, Max-Age=60, s-maxage=5", 5.0),
        ("no-store, max-age=60", 0.0),
        ("private", 0.0),
        ("public", None),
    ],
)
def test_a_har_says_how_long_an_answer_may_be_reused(tmp_path: Path, cache_control: str, seconds: float | None) -> None:
    headers = [{"name": "Cache-Control", "value": cache_control}]
    assert [each.lifetime_seconds for each in read_trace(har(tmp_path, entry(headers=headers)))] == [seconds]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("{}", "a list 'entries'"),
        ('{"log": {"entries": []}}', "no requests in it"),
        ('{"log": {"entries": [5]}}', "entry 1: an entry must be an object"),
        ('{"log": {"entries": [{"request": {}}]}}', "entry 1: no object 'response'"),
    ],
)
def test_what_is_no_har_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "t.har"
    path.write_text(text)
    with pytest.raises(TraceError, match=says):
        list(read_trace(path))


@pytest.mark.parametrize(("name", "text"), [("a.txt", "hello\n"), ("b", ""), ("c.log", "1,2,3\n")])
def test_a_format_that_cannot_be_told_has_to_be_named(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TraceError, match=r"cannot be recognised|no requests"):
        list(read_trace(path))
    with pytest.raises(TraceError, match="there is no format 'xml'"):
        list(read_trace(path, "xml"))


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.csv"):
        list(read_trace(tmp_path / "none.csv"))


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time,path,size\n" + "x" * 1_000_000)
    with pytest.raises(TraceError, match="line 2: longer than"):
        list(read_trace(path))


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 10))
def test_times_are_sorted_as_far_as_the_window_and_no_request_is_lost(times: list[int], window: int) -> None:
    requests = [TraceRequest(float(at), f"/{number}", 1) for number, at in enumerate(times)]
    try:
        found = list(in_order(requests, TraceProgress(), window))
    except TraceError:
        late = (max(times[: max(0, place - window + 1)], default=0) > at for place, at in enumerate(times))
        assert any(late)
        return
    expected = sorted(requests, key=lambda each: each.at_seconds)
    assert [each.target for each in found] == [each.target for each in expected]
    assert not found or found[0].at_seconds == 0
