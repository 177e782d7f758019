"""A run's files are read on one clock, whatever wall clocks said when they were written."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.history.run_files import read_run, traffic_by_region
from lab.report.writer import write_report
from loadtests.run_clocks import note_clock
from proto.moments import ClockAnchor

LAB = ClockAnchor("boot-1", wall_ns=1_795_000_000_000_000_000, monotonic_ns=700_000_000_000)
LOAD = ClockAnchor("boot-1", wall_ns=LAB.wall_ns - 10_800_000_000_000, monotonic_ns=701_000_000_000)
"""Started a second later, when somebody had set the wall clock back by three hours."""
ELSEWHERE = ClockAnchor("boot-2", wall_ns=LAB.wall_ns + 1_000_000_000, monotonic_ns=5_000_000_000)
NANOSECONDS = 1_000_000_000


def line(anchor: ClockAnchor, seconds: float, **facts: Any) -> dict[str, Any]:
    return {"time": anchor.wall_seconds(seconds), "monotonic_ns": round(seconds * NANOSECONDS)} | facts


def write_run(folder: Path, load: ClockAnchor, first_second: int) -> Path:
    seconds = range(first_second, first_second + 4)
    files = {
        "load.jsonl": [line(load, second, region="eu", requests=100 + second - first_second) for second in seconds],
        "failures.jsonl": [
            line(load, first_second + 1.5, error="closed early", address="127.0.0.3")
            | {"began_monotonic_ns": (first_second + 1) * NANOSECONDS}
        ],
        "events.jsonl": [line(LAB, 702.5, kind="kill", subject="edge-1", text="edge-1 killed")],
        "metrics.jsonl": [line(LAB, 702.0 + n, node="edge-1", up=True) for n in range(3)],
    }
    for name, lines in files.items():
        (folder / name).write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    note_clock(folder, "lab", LAB)
    note_clock(folder, "load", load)
    return folder


@pytest.mark.parametrize(("load", "first_second"), [(LOAD, 702), (ELSEWHERE, 6)])
def test_all_of_a_run_is_on_the_clock_of_the_lab(tmp_path: Path, load: ClockAnchor, first_second: int) -> None:
    """Also what was written in another machine, which for a picture is near enough."""
    run = read_run(write_run(tmp_path, load, first_second))
    assert [each["time"] for each in run.load] == [702.0, 703.0, 704.0, 705.0]
    assert [each["time"] for each in run.events] == [702.5]
    assert (run.first_time, run.last_time) == (702.0, 705.0)
    assert [point["second"] for point in traffic_by_region(run)] == [0, 1, 2, 3]
    assert run.began_at == 1_795_000_002.0
    assert "18 November 2026, 11:06:42 UTC" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_run_of_before_there_were_clocks_is_on_the_wall_clock(tmp_path: Path) -> None:
    write_run(tmp_path, LAB, 702)
    (tmp_path / "clocks.jsonl").unlink()
    run = read_run(tmp_path)
    assert run.first_time == run.began_at == 1_795_000_002.0
