"""Rows of requests that real Locust processes leave, judged by what a real origin has noted of the same requests."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lab.experiments.load import LoadRun
from lab.history.archive import archive_history
from lab.history.raw_files import raw_folder
from lab.history.reader import open_history
from lab.history.schema import LATENESS, LIVES, Table
from loadtests.plan import LoadPlan
from loadtests.request_block import NoBlockError, read_block, rows_of
from proto.history_file import FLUSH_SECONDS
from proto.host_clock import host_nanoseconds, read_clock_id
from tests.integration.loadtests.load_peers import ROOT, SITE, free_port, plan_of, running, wait_ready
from tests.integration.loadtests.test_viewer import ScriptedRouter

STANDSTILL_SECONDS = 0.8
KILLS = 4
"""A busy machine may be late with a flush; not each time."""


class Origin:
    """A real one, and what it has noted."""

    def __init__(self, port: int, admin: int) -> None:
        self.port = port
        self._admin = f"http://{SITE}:{admin}"

    def requests(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self._admin}/requests?limit=10000", timeout=5) as answer:
            noted: list[dict[str, Any]] = json.load(answer)["requests"]
        return noted

    def forget(self) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self._admin}/requests", method="DELETE"), timeout=5):
            pass


@pytest.fixture(scope="module")
def real_origin() -> Iterator[Origin]:
    port, admin = free_port(SITE), free_port(SITE)
    with running("origin", "--node-id", "o", "--listen", f"{SITE}:{port}", "--admin", f"{SITE}:{admin}"):
        wait_ready(f"http://{SITE}:{admin}/readyz")
        yield Origin(port, admin)


@pytest.fixture
def origin(real_origin: Origin) -> Origin:
    real_origin.forget()
    return real_origin


def recorded_plan(port: int, router: ScriptedRouter, folder: Path, pace: float = 3.0) -> LoadPlan:
    """With a history."""
    return plan_of(port, router, folder / "load.jsonl", pace, folder / "history")


def read(path: Path, table: Table) -> list[dict[str, Any]]:
    """As whoever collects a history reads raw files: by their columns and types, and nothing else."""
    columns = {column.name: column.type.value for column in table.columns}
    answer = duckdb.connect().execute(
        "SELECT * FROM read_csv(?, delim='\t', quote='', escape='', header=true, nullstr='\\N', columns=?)",
        [str(path), columns],
    )
    names = [column[0] for column in answer.description or ()]
    assert names == list(columns)
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def read_requests(folder: Path) -> list[dict[str, Any]]:
    """As whoever collects a history reads what Locust has written, also while it goes on."""
    rows = []
    with (folder / "requests.blocks").open("rb") as file, suppress(NoBlockError):
        while block := read_block(file):
            rows += [row._asdict() for row in rows_of(block)]
    return rows


@pytest.mark.slow
def test_every_request_is_a_row_with_what_the_origin_says_of_it(
    origin: Origin, router: ScriptedRouter, tmp_path: Path
) -> None:
    with LoadRun("mixed", recorded_plan(origin.port, router, tmp_path), 4, 10, tmp_path) as run:
        assert run.wait() == 0, run.log_path.read_text(encoding="utf-8")
    rows = read_requests(tmp_path / "history")
    totals = json.loads((tmp_path / "load_totals.json").read_text(encoding="utf-8"))["regions"]
    assert len(rows) == sum(region["requests"] for region in totals.values()) > 100
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["profile"] for row in rows} == {"website", "api", "video", "download"}
    noted = origin.requests()
    asked = Counter((each["method"], each["target"]) for each in noted)
    # What was under way when the users were stopped has reached the origin, and no viewer.
    assert not Counter((row["method"], row["path"]) for row in rows) - asked
    decided = {each["monotonic_ns"] for each in noted}
    for row in rows:
        assert row["intended_ns"] <= row["started_ns"] < row["first_byte_ns"] <= row["ended_ns"]
        assert row["dns_asked_ns"] < row["started_ns"] and row["dns_answer"] == row["address"] == SITE
        assert row["started_ns"] < row["stamp_produced_ns"] < row["first_byte_ns"]
        assert (row["stamp_origin"], row["error"], row["attempts"] >= 1) == ("o", None, True)
        assert row["stamp_produced_ns"] in decided
        if row["status"] == 200:
            assert row["body_checksum"] == row["stamp_checksum"] or row["stamp_checksum"] is None
            assert row["received_bytes"] == row["content_length"]
    checked = [row for row in rows if row["status"] == 200 and row["stamp_checksum"] is not None]
    assert len(checked) > 50
    private = [row for row in rows if row["path"] == "/api/me"]
    assert private and all(row["identity"] == row["stamp_identity"] is not None for row in private)


@pytest.mark.slow
def test_what_failed_has_a_row(router: ScriptedRouter, tmp_path: Path) -> None:
    file, deadline = tmp_path / "history" / "requests.blocks", time.monotonic() + 30
    with LoadRun("api", recorded_plan(free_port(SITE), router, tmp_path), 60, 3, tmp_path) as run:
        while not file.exists() or len(read_requests(file.parent)) < 3:
            assert time.monotonic() < deadline and run.is_running
            time.sleep(0.02)
    rows = read_requests(file.parent)
    assert rows
    for row in rows:
        assert (row["status"], row["body_checksum"], row["address"], row["attempts"]) == (None, None, SITE, 2)
        assert "Connection refused" in row["error"]


@pytest.mark.slow
def test_a_generator_that_stands_still_says_how_late_it_was(
    origin: Origin, router: ScriptedRouter, tmp_path: Path
) -> None:
    """Whatever keeps it from running: here it is stopped for a moment."""
    plan, file = tmp_path / "plan.json", tmp_path / "history" / "lateness.tsv"
    plan.write_text(recorded_plan(origin.port, router, tmp_path).to_json(), encoding="utf-8")
    command = ["locust", "--locustfile", "loadtests/api.py", "--load-plan", str(plan), "--headless"]
    with running(*command, "--users", "2", "--spawn-rate", "2", "--run-time", "6s") as process:
        deadline = time.monotonic() + 30
        while not origin.requests():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGSTOP)
        time.sleep(STANDSTILL_SECONDS)  # what is measured, not what is waited for
        process.send_signal(signal.SIGCONT)
        assert process.wait(40) == 0
    late = [row["late_ns"] / 1e9 for row in read(file, LATENESS)]
    assert len(late) >= 3 and max(late) > STANDSTILL_SECONDS - FLUSH_SECONDS


@pytest.mark.slow
def test_workers_write_files_of_their_own(origin: Origin, router: ScriptedRouter, tmp_path: Path) -> None:
    plan, folder = tmp_path / "plan.json", raw_folder(tmp_path) / "load"
    wanted = replace(recorded_plan(origin.port, router, tmp_path), history=folder)
    plan.write_text(wanted.to_json(), encoding="utf-8")
    port = str(free_port(SITE))
    command = ["locust", "--locustfile", "loadtests/api.py", "--load-plan", str(plan), "--headless", "--processes", "2"]
    users = ["--users", "6", "--spawn-rate", "6", "--run-time", "3s", "--master-bind-port", port, "--master-port", port]
    with running(*command, *users) as process:
        assert process.wait(40) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "lateness-1.tsv",
        "lateness-2.tsv",
        "lives-1.tsv",
        "lives-2.tsv",
        "requests-1.blocks",
        "requests-2.blocks",
    ]
    noted = origin.requests()
    archived = archive_history(tmp_path)
    assert archived.left_out_lines == 0
    history = open_history(tmp_path)
    rows = history.records("SELECT * FROM requests")
    assert len({row["id"] for row in rows}) == len(rows) > 10
    assert {row["id"].split("-")[1] for row in rows} == {"1", "2"}
    assert not Counter(row["path"] for row in rows) - Counter(each["target"] for each in noted)
    lives = history.rows("SELECT node, boot_id, is_ended, dropped_rows FROM lives ORDER BY node")
    assert lives == [(f"load-{worker}", read_clock_id(), True, 0) for worker in (1, 2)]
    history.close()


def killed_while_it_asks(origin: Origin, plan: Path, folder: Path) -> int:
    """Locust is killed when it has been asking for a while; the nanosecond before."""
    command = [sys.executable, "-m", "locust", "-f", "loadtests/api.py", "--load-plan", str(plan), "--headless"]
    deadline = time.monotonic() + 30
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [*command, "--users", "20", "--spawn-rate", "20"], cwd=ROOT, stdout=log, stderr=log
        ) as process,
    ):
        try:
            while len(origin.requests()) < 500:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
            now_ns = host_nanoseconds()
        finally:
            process.send_signal(signal.SIGKILL)
    return now_ns


@pytest.mark.slow
def test_kill_9_loses_at_most_the_last_tenth_of_a_second(
    origin: Origin, router: ScriptedRouter, tmp_path: Path
) -> None:
    lost_ns = []
    for number in range(KILLS):
        origin.forget()
        folder = tmp_path / str(number)
        folder.mkdir()
        plan = folder / "plan.json"
        plan.write_text(recorded_plan(origin.port, router, folder, pace=50.0).to_json(), encoding="utf-8")
        killed_ns = killed_while_it_asks(origin, plan, folder)
        rows = read_requests(folder / "history")
        noted = origin.requests()
        known = {row["stamp_produced_ns"] for row in rows}
        assert known and known <= {each["monotonic_ns"] for each in noted}
        (*_, life) = read(folder / "history" / "lives.tsv", LIVES)
        assert not life["is_ended"] and life["last_ns"] < killed_ns
        lost_ns.append(killed_ns - min(over_and_lost(noted, known), default=killed_ns))
        if lost_ns[-1] <= FLUSH_SECONDS * 1e9:
            return
    raise AssertionError(f"lost before each kill: {[each / 1e9 for each in lost_ns]} s")


def over_and_lost(noted: list[dict[str, Any]], known: set[int]) -> Iterator[int]:
    """Of requests without a row, when they were over at the latest: on a connection the next one is sent when that is so.

    Of the last one on each nobody knows that it was.
    """
    by_connection: dict[int, list[int]] = {}
    for each in noted:
        by_connection.setdefault(each["connection"], []).append(each["monotonic_ns"])
    for decided in by_connection.values():
        yield from (later for earlier, later in pairwise(decided) if earlier not in known)
