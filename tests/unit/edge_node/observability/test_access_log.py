"""The access log as a file: reference 8.1 for its lines, and what bounds it."""

from pathlib import Path

import pytest

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.request_record import HitRecord, LogRecord
from edge_node.http.ranges import BodyPart, ByteRange
from edge_node.http.request_head import make_request_head
from edge_node.model.configuration import Role
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.counters import Counters
from edge_node.observability import access_log
from edge_node.observability.access_log import FIELDS, AccessLog
from edge_node.policy.parse_cache import HeaderSection
from edge_node.policy.representation import Representation
from edge_node.policy.response_head import LocalNode
from edge_node.policy.router import Route, Router, Snapshot
from edge_node.storage.entry_templates import EntryTemplates
from tests.builders import distribution_message, origin_message, read_distribution


def record(target: bytes = b"/a.txt", **changes: object) -> LogRecord:
    headers = [
        (b"host", b"d1.cdn.localhost"),
        (b"user-agent", b"Mozilla/5.0 (X11; Linux)"),
        (b"referer", b"http://a/\tb"),
    ]
    head = make_request_head(b"GET", target, headers, 1, True)
    values: dict[str, object] = {
        "ended_at": 1_800_000_000.0, "head": head, "connection": ConnectionFacts("127.0.0.1", 4711), "domain_name": b"d1.cdn.localhost", "status": 200,
        "sent_bytes": 1500, "received_bytes": 90, "result": Result.HIT, "reason": Reason.FRESH, "request_id": b"id==", "seconds": 0.0125,
        "first_byte_seconds": 0.002, "content_type": b"text/plain", "content_length": 1024, "byte_range": None,
    }  # fmt: skip
    return LogRecord(**(values | changes))  # type: ignore[arg-type]  # the values above have the types of the fields


def written(path: Path) -> list[dict[str, str]]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [dict(zip(FIELDS.split(), line.split("\t"), strict=True)) for line in lines]


def test_a_line_has_the_33_fields_and_nothing_breaks_it(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log", "FRA56-P1", Counters())
    log.write([record(b"/a%20b.txt?x=1&y=<>")])
    log.close()
    (line,) = written(tmp_path / "access.log")
    assert len(line) == 33
    assert line["date"] == "2027-01-15" and line["time"] == "08:00:00" and line["x-edge-location"] == "FRA56-P1"
    assert (line["cs-uri-stem"], line["cs-uri-query"]) == ("/a%2520b.txt", "x=1&y=%3C%3E")
    assert line["cs(Referer)"] == "http://a/%09b" and line["cs(User-Agent)"] == "Mozilla/5.0%20(X11;%20Linux)"
    assert (line["time-taken"], line["time-to-first-byte"], line["x-edge-result-type"]) == ("0.013", "0.002", "Hit")


def test_a_hit_of_the_fast_path_gives_the_same_line_as_one_of_the_pipeline(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log", "FRA56-P1", Counters())
    long = record(b"/a.txt?x=1")
    section = HeaderSection(b"", long.head)
    read = read_distribution(distribution_message(origin_message("h", 80)))
    route = Router(Snapshot("log-1", 1, {read.id: read})).route(long.head)
    assert isinstance(route, Route)
    facts = LocalNode(Role.EDGE, b"FRA56-P1", b"1.1 a")
    template = EntryTemplates(facts).of(
        200, b"OK", b"text/plain", CacheMetadata(60.0, LifetimeRule.MAX_AGE), is_strict=False
    )
    part = Representation(206, b"", 10, 10, (BodyPart(b"", ByteRange(5, 14)),))
    for content in (None, part):
        short = HitRecord(
            long.ended_at, long.connection, section, route, template, 1500, 90, b"id==", 0.0125, 1024, content, 0.0
        )
        log.write([record(b"/a.txt?x=1", first_byte_seconds=0.0125), short])
    log.close()
    long_line, whole, again, in_part = written(tmp_path / "access.log")
    assert long_line == whole == again
    assert (in_part["sc-status"], in_part["sc-range-start"], in_part["sc-range-end"]) == ("206", "5", "14")


@pytest.mark.parametrize(
    ("status", "result", "reason", "result_type", "detailed"),
    [
        (200, Result.MISS, Reason.NOT_STORED, "Miss", "Miss"),
        (200, Result.REFRESH_HIT, Reason.REVALIDATED, "RefreshHit", "RefreshHit"),
        (404, Result.HIT, Reason.FRESH, "Error", "Error"),
        (403, Result.ERROR, Reason.METHOD_NOT_ALLOWED, "Error", "InvalidRequestMethod"),
        (403, Result.ERROR, Reason.GEO_BLOCKED, "Error", "ClientGeoBlocked"),
        (403, Result.ERROR, Reason.HTTPS_ONLY, "Error", "Error"),
        (403, Result.ERROR, Reason.LOOP_DETECTED, "Error", "Error"),
        (301, Result.REDIRECT, Reason.REDIRECT_TO_HTTPS, "Redirect", "Redirect"),
        (307, Result.REDIRECT, Reason.REDIRECT_TO_HTTPS, "Redirect", "Redirect"),
        (502, Result.ERROR, Reason.UPSTREAM_FAILED, "Error", "OriginCommError"),
        (200, Result.MISS, Reason.VIEWER_LEFT, "Error", "ClientCommError"),
    ],
)
def test_the_result_types_are_the_reference_s(
    tmp_path: Path, status: int, result: Result, reason: Reason, result_type: str, detailed: str
) -> None:
    log = AccessLog(tmp_path / "access.log", "FRA56-P1", Counters())
    log.write([record(status=status, result=result, reason=reason)])
    log.close()
    (line,) = written(tmp_path / "access.log")
    assert (line["x-edge-result-type"], line["x-edge-detailed-result-type"]) == (result_type, detailed)


def test_a_full_file_makes_room_for_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "LARGEST_FILE_BYTES", 2_000)
    path = tmp_path / "access.log"
    log = AccessLog(path, "FRA56-P1", Counters())
    for number in range(100):
        log.write([record(b"/%d" % number)])
    log.close()
    assert {file.name for file in tmp_path.iterdir()} == {"access.log", "access.log.1"}
    assert all(file.stat().st_size < 2_500 for file in tmp_path.iterdir())
    assert (written(path) or written(tmp_path / "access.log.1"))[-1]["cs-uri-stem"] == "/99"


def test_what_a_full_disk_does_not_take_waits_and_then_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MAXIMUM_UNWRITTEN_BYTES", 10_000)
    counters = Counters()
    log = AccessLog(Path("/dev/full"), "FRA56-P1", counters)
    for _ in range(50):
        log.write([record()] * 4)
    log.close()
    assert 0 < counters.log_records_dropped < 200
    assert len(log._unwritten) < 12_000
