"""A lab of another version of the lab: `up` leaves it alone while it runs, `down` ends it by its marks and takes its files away."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab.agent.sleeping_lab import SleepingLab
from tests.integration.lab.left_behind import processes_of
from tests.integration.lab_harness import CommandLine

Change = Callable[[dict[str, Any]], object]


def older(document: dict[str, Any]) -> object:
    """No token, processes elsewhere."""
    return {"version": 1, "programs": {node["id"]: node["process"] for node in document["nodes"]}}


def newer(document: dict[str, Any]) -> object:
    return {**document, "version": 99, "relays": []}


def broken(_document: dict[str, Any]) -> object:
    """Nothing but the marks is left."""
    return "what a full disk has left of it"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SleepingLab]:
    running = SleepingLab.up(tmp_path)
    before = running.state.file.read_text()
    try:
        yield running
    finally:
        if running.state.path.exists():
            running.state.file.write_text(before)
        running.take_down()


@pytest.mark.parametrize("change", [older, newer, broken])
def test_down_ends_it_and_up_refuses_it_before(lab: SleepingLab, tmp_path: Path, change: Change) -> None:
    lab.start_agent()
    lab.state.file.write_text(json.dumps(change(json.loads(lab.state.file.read_text()))))
    cdnlab = CommandLine(tmp_path)
    refused = cdnlab.run("up", cdnlab.topology(), "--detach")
    assert refused.status == 1 and f"`cdnlab down --state {lab.state.path}` ends what runs of that lab" in refused.err
    assert len(processes_of(lab.state.path)) == 8
    down = cdnlab.run("down")
    assert down.status == 0, down.err
    assert down.out.startswith("a lab of another version: 6 processes ended in "), down.out
    assert processes_of(lab.state.path) == [] and not lab.state.path.exists()


def test_files_that_only_the_other_version_knows_stay_and_are_named(lab: SleepingLab, tmp_path: Path) -> None:
    lab.state.file.write_text('{"version": 99}')
    (lab.state.path / "measurements").touch()
    down = CommandLine(tmp_path).run("down")
    assert down.out.rstrip().endswith(f"{lab.state.path} has files that this version does not know: they stay")
    assert [path.name for path in lab.state.path.iterdir()] == ["measurements"]
    (lab.state.path / "measurements").unlink()
