"""Histories of the load under wall clocks that are set, and of workers on other machines."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from loadtests import histories
from loadtests.histories import LoadSession, LocalRecording, MasterRecording, RunFiles, WorkerRecording
from loadtests.plan import Address, LoadPlan
from loadtests.run_clocks import note_clock, read_clocks
from loadtests.workload import Population
from proto.host_clock import HostClock
from proto.moments import ClockAnchor

OWN = ClockAnchor("boot-1", wall_ns=1_800_000_000_500_000_000, monotonic_ns=5_000_000_000_000)
SAME_HOST = ClockAnchor("boot-1", wall_ns=OWN.wall_ns - 7_200_000_000_000, monotonic_ns=5_001_000_000_000)
OTHER_HOST = ClockAnchor("boot-2", wall_ns=OWN.wall_ns, monotonic_ns=90_000_000_000)


class SetClock:
    """The host's clock, as a test wants it; and a wall clock that is set by hours at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, anchor: ClockAnchor = OWN) -> None:
        self.seconds = anchor.monotonic_ns / 1e9
        walls = itertools.cycle([OWN.wall_ns, OWN.wall_ns + 10_800_000_000_000, OWN.wall_ns - 18_000_000_000_000])
        self.clock = HostClock(lambda: next(walls))
        self.clock.anchor = anchor
        monkeypatch.setattr(histories, "host_seconds", lambda: self.seconds)
        monkeypatch.setattr(histories, "host_nanoseconds", lambda: round(self.seconds * 1e9))


def plan(output: Path | None) -> LoadPlan:
    return LoadPlan(Address("127.0.0.1", 53), "d1.cdn.localhost", 80, (Population("eu", "10.2.0.0/16", 1),), output)


def request(milliseconds: float, failure: str = "") -> dict[str, Any]:
    context = {"region": "eu", "x_cache": "Hit from cloudfront", "url": "/a", "address": "127.0.0.3"}
    exception = RuntimeError(failure) if failure else None
    return {"context": context, "exception": exception, "response_time": milliseconds, "response_length": 10}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_seconds_are_whole_ones_of_the_hosts_clock_whatever_the_wall_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, output = SetClock(monkeypatch), tmp_path / "load.jsonl"
    session = LoadSession(plan(output), 0, clock.clock)
    local = LocalRecording(session, RunFiles(output, "api", OWN))
    for tenth in range(30):
        clock.seconds = 5_000.0 + tenth / 10
        session.on_request(**request(2.0))
        local.tick(clock.seconds)
    local.finish(clock.seconds)
    lines = lines_of(output)
    assert [(line["monotonic_ns"], line["requests"]) for line in lines] == [
        (5_000_000_000_000, 10),
        (5_001_000_000_000, 10),
        (5_002_000_000_000, 10),
    ]
    assert [line["time"] for line in lines] == [1_800_000_000.5, 1_800_000_001.5, 1_800_000_002.5]
    assert read_clocks(tmp_path) == {"load": OWN}


def test_a_failure_says_when_its_request_was_meant_to_be_sent_and_when_it_was_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, output = SetClock(monkeypatch), tmp_path / "load.jsonl"
    session = LoadSession(plan(output), 0, clock.clock)
    local = LocalRecording(session, RunFiles(output, "api", OWN))
    clock.seconds = 5_010.25
    session.on_request(**request(1_500.0, "closed early"))
    local.finish(clock.seconds)
    (failure,) = lines_of(tmp_path / "failures.jsonl")
    assert failure["monotonic_ns"] == 5_010_250_000_000
    assert failure["began_monotonic_ns"] == 5_008_750_000_000
    assert failure["time"] == 1_800_000_010.75


@pytest.mark.parametrize(("worker", "second"), [(OWN, 5_003), (SAME_HOST, 5_003), (OTHER_HOST, 93)])
def test_seconds_of_workers_are_seconds_of_the_master(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: ClockAnchor, second: int
) -> None:
    """On one host by its clock; on another by wall time, and then no failure is placed among the master's moments."""
    clock, output = SetClock(monkeypatch, worker), tmp_path / "load.jsonl"
    clock.seconds = second + 0.5
    session = LoadSession(plan(None), 0, clock.clock)
    session.on_request(**request(2.0, "closed early"))
    report: dict[str, Any] = {}
    clock.seconds = second + 1.5
    WorkerRecording(session).on_report_to_master("w", report)
    master = MasterRecording(RunFiles(output, "api", OWN), OWN)
    master.on_worker_report("w", json.loads(json.dumps(report)))
    master.finish(5_004.0)
    (line,) = lines_of(output)
    assert (line["monotonic_ns"], line["requests"]) == (5_003_000_000_000, 1)
    (failure,) = lines_of(tmp_path / "failures.jsonl")
    is_of_one_host = worker.boot_id == OWN.boot_id
    assert failure["monotonic_ns"] == (5_003_500_000_000 if is_of_one_host else None)
    assert (failure["began_monotonic_ns"] is None) is not is_of_one_host


def test_a_process_that_stands_still_says_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, output = SetClock(monkeypatch), tmp_path / "load.jsonl"
    session = LoadSession(plan(output), 0, clock.clock)
    local = LocalRecording(session, RunFiles(output, "api", OWN))
    for seconds in (1.0, 1.5, 12.5, 1.0):
        clock.seconds += seconds
        local.tick(clock.seconds)
    local.finish(clock.seconds)
    assert json.loads((tmp_path / "load_totals.json").read_text(encoding="utf-8"))["standstill_seconds"] == 12.5


def test_the_master_says_of_its_workers_who_stood_still_longest(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "load.jsonl", "api", OWN)
    master = MasterRecording(files, OWN)
    for seconds in (0.0, 4.5, 3.0):
        master.on_worker_report("w", {"cdn_standstill_seconds": seconds})
    master.finish(5_010.0)
    assert files.standstill_seconds == 4.5


def test_the_last_clock_of_a_process_counts_and_half_a_line_does_not(tmp_path: Path) -> None:
    assert read_clocks(tmp_path) == {}
    note_clock(tmp_path, "load", OTHER_HOST)
    note_clock(tmp_path, "load", OWN)
    note_clock(tmp_path, "lab", SAME_HOST)
    with (tmp_path / "clocks.jsonl").open("a") as file:
        file.write('{"process": "lab", "boot_id": "bo')
    assert read_clocks(tmp_path) == {"load": OWN, "lab": SAME_HOST}
