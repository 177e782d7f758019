"""The history of a real origin: what it writes down while a run asks for it, judged by who asked and by its own log."""

import signal
import zlib
from pathlib import Path
from typing import Any

from lab.history.archive import archive_history
from lab.history.raw_files import raw_folder
from lab.history.reader import open_history
from proto.host_clock import host_nanoseconds
from proto.origin_stamp import OriginStamp, parse_stamp
from tests.integration.origin_process import Answer, OriginProcess, wait_until

_HOST = "127.14.1.7"


def stamp_of(answer: Answer) -> OriginStamp:
    stamp = parse_stamp(answer.headers["X-Origin-Stamp"])
    assert stamp is not None
    return stamp


def rows_of(run: Path) -> list[dict[str, Any]]:
    archive_history(run)
    history = open_history(run)
    try:
        return history.records("SELECT * FROM origin_requests")
    finally:
        history.close()


def test_each_answer_is_a_row_once_it_is_sent(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path) / "o1"
    with OriginProcess(_HOST, "--history", str(folder)) as origin:
        origin.ask("GET", "/pages/1.html")  # nobody asks for a history yet
        assert origin.admin("POST", "/history", {"run": "r", "lease_seconds": 60})["state"] == "recording"
        began_ns = host_nanoseconds()
        page = origin.ask("GET", "/pages/1.html", cookie="session=me", x_amz_cf_id="id-1")
        origin.ask("GET", "/pages/1.html", if_none_match=page.headers["ETag"])
        origin.ask("GET", "/download/1MiB.bin", range="bytes=0-99")
        origin.ask("GET", "/download/1MiB.bin")
        behavior = origin.admin("POST", "/behaviors", {"path_prefix": "/bucket/", "status": 503})["id"]
        origin.ask("GET", "/bucket/none/a?x-id=1")
        assert b"HTTP/1.1 400" in origin.converse(b"GET / HTTP/1.1\r\n\r\n")
        ended_ns = host_nanoseconds()
        noted = [each["monotonic_ns"] for each in origin.admin("GET", "/requests")["requests"]]
        origin.process.send_signal(signal.SIGTERM)
        assert origin.process.wait(15) == 0
    rows = rows_of(tmp_path)
    assert [row["started_ns"] for row in rows] == noted[1:]
    assert all(began_ns < row["started_ns"] < row["ended_ns"] < ended_ns for row in rows)
    assert {(row["node"], row["peer"]) for row in rows} == {("o1", "127.0.0.1")}
    names = ("request_id", "identity", "is_conditional", "range", "status", "body_bytes", "misbehaviour")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("id-1", "me", False, None, 200, len(page.body), None),
        (None, None, True, None, 304, 0, None),
        (None, None, False, "bytes=0-99", 206, 100, None),
        (None, None, False, None, 200, 1 << 20, None),
        (None, None, False, None, 404, rows[4]["body_bytes"], behavior),
        (None, None, False, None, 400, rows[5]["body_bytes"], None),
    ]
    assert rows[0]["path"] == "/pages/1.html" and rows[4]["path"] == "/bucket/none/a?x-id=1"
    stamp = stamp_of(page)
    assert (stamp.produced_ns, stamp.version, stamp.checksum) == tuple(
        rows[0][name] for name in ("started_ns", "version", "checksum")
    )
    assert rows[0]["checksum"] == rows[1]["checksum"] == zlib.crc32(page.body)
    assert rows[2]["version"] == rows[3]["version"] and rows[2]["checksum"] is None


def test_an_answer_that_waits_is_a_row_when_it_has_been_sent(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path) / "o1"
    with OriginProcess(_HOST, "--history", str(folder)) as origin:
        origin.admin("POST", "/history", {"run": "r", "lease_seconds": 60})
        with origin.connect() as client:
            client.sendall(b"GET /misbehave/gated?id=g HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n")
            wait_until(lambda: origin.admin("GET", "/gates/g")["waiting"] == 1, "the request to wait")
            opened_ns = host_nanoseconds()
            origin.admin("POST", "/gates/g")
            while client.recv(65_536):
                pass
        # Killed when the row has reached the kernel, which outlives it.
        rows = folder / "origin_requests.tsv"
        wait_until(lambda: rows.read_bytes().count(b"\n") == 2, "the row in the file")
        origin.process.kill()
        origin.process.wait(15)
    (row,) = rows_of(tmp_path)
    assert row["started_ns"] < opened_ns < row["ended_ns"]


def test_a_history_that_cannot_be_kept_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    origin = OriginProcess(_HOST, "--history", str(tmp_path / "file" / "x"))
    assert origin.process.wait(15) == 1
    origin.end()
    assert origin.lines == [f"cannot keep a history in {tmp_path / 'file' / 'x'}: not a directory\n"]
