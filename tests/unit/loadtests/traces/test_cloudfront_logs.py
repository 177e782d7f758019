"""CloudFront's standard logs (reference 8.1). What the lab's own edges write is read in tests/integration/edge_node/test_lifecycle.py."""

import gzip
from pathlib import Path

import pytest

from loadtests.traces.reader import read_trace
from loadtests.traces.trace_reading import TraceError, TraceOptions, TraceProgress
from loadtests.traces.trace_request import TraceRequest

FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) "
    "x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher "
    "x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type "
    "sc-content-type sc-content-len sc-range-start sc-range-end"
)
PLAIN = {
    "date": "2026-11-30", "time": "18:00:10", "x-edge-location": "FRA56-P1", "sc-bytes": "1500", "cs-method": "GET", "cs(Host)": "d1.cloudfront.net",
    "cs-uri-stem": "/a.html", "sc-status": "200", "cs-uri-query": "-", "x-host-header": "www.example.com", "cs-protocol": "https",
    "time-taken": "0.250", "sc-content-len": "1000",
}  # fmt: skip


def line(**values: str) -> str:
    given = PLAIN | {name.replace("_", "-"): value for name, value in values.items()}
    return "\t".join(given.get(name, "-") for name in FIELDS.split())


def log(tmp_path: Path, *lines: str, fields: str = FIELDS) -> Path:
    path = tmp_path / "E1.2026-11-30-18.abcd.gz"
    path.write_bytes(gzip.compress("\n".join(("#Version: 1.0", f"#Fields: {fields}", *lines, "")).encode()))
    return path


def read(path: Path, **options: object) -> list[TraceRequest]:
    return list(read_trace(path, options=TraceOptions(**options)))  # type: ignore[arg-type]  # by name


def test_a_request_began_before_its_line_was_written_and_its_size_is_that_of_the_body(tmp_path: Path) -> None:
    path = log(tmp_path, line(), line(time="18:00:12", time_taken="0.75", cs_uri_query="x=1"))
    assert read(path) == [
        TraceRequest(0.0, "/a.html", 1000, "FRA56-P1"),
        TraceRequest(1.5, "/a.html?x=1", 1000, "FRA56-P1"),
    ]


def test_lines_come_in_the_order_of_their_ends_and_requests_in_that_of_their_beginnings(tmp_path: Path) -> None:
    path = log(
        tmp_path,
        line(cs_uri_stem="/second", time="18:00:01", time_taken="0.1"),
        line(cs_uri_stem="/first", time="18:00:09", time_taken="9"),
    )
    assert [each.target for each in read(path)] == ["/first", "/second"]


@pytest.mark.parametrize(
    ("stem", "query", "target"),
    [
        ("/a%2520b", "-", "/a%20b"),
        ("/a%20b", "-", "/a%20b"),  # encoded once only
        ("/a", "q=%253Cx%253E", "/a?q=%3Cx%3E"),
        ("/%C3%A4", "-", "/%C3%A4"),
    ],
)
def test_a_path_is_what_the_viewer_sent(tmp_path: Path, stem: str, query: str, target: str) -> None:
    assert [each.target for each in read(log(tmp_path, line(cs_uri_stem=stem, cs_uri_query=query)))] == [target]


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, 1000),
        ({"sc_content_len": "-"}, 1500),
        ({"sc_status": "304"}, 0),
        ({"sc_status": "206", "sc_range_start": "100", "sc_range_end": "4999", "sc_content_len": "4900"}, 5000),
    ],
)
def test_the_size_is_the_object_s_as_far_as_the_log_says(tmp_path: Path, values: dict[str, str], size: int) -> None:
    assert [each.size_bytes for each in read(log(tmp_path, line(**values)))] == [size]


def test_other_hosts_tunnels_and_what_was_no_request_are_left_out_and_counted(tmp_path: Path) -> None:
    other = line().replace("d1.cloudfront.net", "d2.cloudfront.net")
    path = log(tmp_path, line(), other, line(cs_protocol="wss"), line(cs_uri_stem="-"))
    progress = TraceProgress()
    assert len(list(read_trace(path, progress=progress))) == 1
    assert sorted(progress.left_out.values()) == [1, 1, 1] and "of other hosts than d1" in progress.summary()
    assert len(read(path, host="d2.cloudfront.net")) == 1


def test_columns_are_where_the_log_says(tmp_path: Path) -> None:
    path = log(tmp_path, "/x\t18:00:00\t2026-11-30", fields="cs-uri-stem time date")
    assert read(path) == [TraceRequest(0.0, "/x", 0)]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("a\tb", "2 fields, where #Fields has 33"),
        (line(time="25:00:00"), "time must be"),
        (line(time="now"), "HH:MM:SS"),
        (line(time_taken="x"), "time-taken must be seconds"),
        (line(sc_content_len="-5"), "size must be"),
        (line(cs_method="g e t"), "method must be"),
    ],
)
def test_a_bad_line_is_named_or_skipped_and_told(tmp_path: Path, bad: str, says: str) -> None:
    path = log(tmp_path, line(), bad, line())
    with pytest.raises(TraceError, match=f"line 4: .*{says}"):
        read(path)
    progress = TraceProgress()
    assert len(list(read_trace(path, options=TraceOptions(skip_bad=True), progress=progress))) == 2
    assert "1 cannot be read (the first: line 4: " in progress.summary()


def test_a_log_without_fields_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(line() + "\n")
    with pytest.raises(TraceError, match="no '#Fields:' line"):
        list(read_trace(path, "cloudfront"))
    with pytest.raises(TraceError, match="#Fields has no date, cs-uri-stem"):
        read(log(tmp_path, fields="time"))
