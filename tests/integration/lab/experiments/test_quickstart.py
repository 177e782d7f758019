"""The quick start as a person runs it, on a small lab with short leases: its verdict, its files, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from lab.history.reader import open_history
from loadtests.run_clocks import read_clocks
from proto.host_clock import host_seconds
from tests.integration.other_clocks import SMALLEST_STEP_SECONDS

# One after the other: their labs have the same addresses.
pytestmark = [pytest.mark.scenarios, pytest.mark.xdist_group("quickstart")]
EVENTS_OF_A_RUN = 9
STANDSTILL_SECONDS = 0.7

ROOT = Path(__file__).parents[4]
TOPOLOGY = """
name: small
loopback: 127.16.0.0/16
lease_seconds: 2
regions:
  - {name: us-east-1, airport: IAD}
  - {name: eu-central-1, airport: FRA}
pops:
  - {name: IAD89-P1, region: us-east-1, edges: 2, cache_mib: 16}
  - {name: FRA56-P1, region: eu-central-1, edges: 1, cache_mib: 16}
regional_caches:
  - {region: us-east-1, count: 1, cache_mib: 32}
routers: [{region: us-east-1}]
origins: [{name: origin-1, region: us-east-1}]
populations:
  - {region: us-east-1, client_subnet: 10.1.0.0/16, users: 4}
  - {region: eu-central-1, client_subnet: 10.2.0.0/16, users: 2}
"""

PROGRAM = ("-c", "from lab.cli import main; main()")
UNDER_OTHER_CLOCKS = (
    "-c",
    "from tests.integration.other_clocks import set_wall_clock_again_and_again; set_wall_clock_again_and_again(); "
    + PROGRAM[1],
)


class Lab:
    """The command line, with folders of its own."""

    def __init__(self, directory: Path) -> None:
        self.state, self.run, self.topology = directory / "state", directory / "run", directory / "small.yaml"
        self.topology.write_text(TOPOLOGY, encoding="utf-8")

    def start(self, *words: str, program: tuple[str, ...] = PROGRAM) -> subprocess.Popen[str]:
        command = [sys.executable, *program, *words, "--state", str(self.state)]
        alone = {
            **os.environ,
            "DOCKER_HOST": "unix:///nowhere",
        }  # a lab in containers that happens to be up is none of ours
        return subprocess.Popen(
            command, cwd=ROOT, env=alone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def call(self, *words: str, timeout: float = 60) -> tuple[int, str]:
        process = self.start(*words)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return process.returncode, output

    def marks(self) -> list[str]:
        """What has been written down so far, line by line."""
        path = self.run / "history" / "raw" / "lab" / "marks.tsv"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def pid(self, node_id: str) -> int:
        record = json.loads((self.state / "lab.json").read_text(encoding="utf-8"))
        return int(next(node["process"]["pid"] for node in record["nodes"] if node["id"] == node_id))

    def processes_left(self) -> list[str]:
        """Command lines that name one of our folders: nodes and Locust alike."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode() if entry.name.isdigit() else ""
            except OSError:
                continue
            if str(self.state.parent) in line and int(entry.name) != os.getpid():
                found.append(line)
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    try:
        yield lab
    finally:
        lab.call("down")


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_ends_with_a_valid_verdict_a_report_and_nothing_left(lab: Lab) -> None:
    status, output = lab.call("quickstart", str(lab.topology), "--duration", "20", "--run", str(lab.run), timeout=90)
    assert status == 0, output
    assert "Verdict: valid" in output
    summary = json.loads((lab.run / "summary.json").read_text(encoding="utf-8"))
    outcomes = {check["name"]: check["outcome"] for check in summary["verdict"]["checks"]}
    assert set(outcomes.values()) == {"valid"}
    assert {"steps", "freshness_after_receipts", "errors", "departure", "return", "tiers_serve"} <= set(outcomes)
    history = open_history(lab.run)
    try:
        assert history.rows(
            "SELECT state, count(*) FROM acknowledgements GROUP BY state HAVING state = 'left_out'"
        ) == [("left_out", 1)]
        without = history.rows("SELECT left_out FROM invalidations ORDER BY issued_ns")
        died = history.records("SELECT * FROM faults")
    finally:
        history.close()
    assert without == [("",), ("edge-iad89-p1-1",)] or without == [(None,), ("edge-iad89-p1-1",)]
    assert [(each["fault"], each["place"]) for each in died] == [("kill", "edge-iad89-p1-1")]
    assert died[0]["injected_ns"] < died[0]["healed_ns"]
    assert (lab.run / "logs" / "control-plane.log").read_text(encoding="utf-8")
    assert lab.processes_left() == []
    assert not lab.state.exists()


def has_gone_on(lab: Lab, process: subprocess.Popen[str], seen: int) -> bool:
    """More has happened than was seen, or nothing will any more."""
    return len(lab.marks()) > seen or process.poll() is not None


@pytest.mark.nightly
def test_a_lab_that_stands_still_under_a_clock_that_is_set_comes_to_the_same_verdict(lab: Lab) -> None:
    """The lab is its own witness: it is stopped after each of its steps, between a look at the clock and what comes of it for instance. So is the control plane."""
    words = ("quickstart", str(lab.topology), "--duration", "20", "--run", str(lab.run))
    with running(lab.start(*words, program=UNDER_OTHER_CLOCKS)) as process:
        wait_until(lambda: bool(lab.marks()), process)
        seen = 0
        while process.poll() is None and seen < EVENTS_OF_A_RUN:
            wait_until(partial(has_gone_on, lab, process, seen), process)
            seen = len(lab.marks())
            for pid in (process.pid, lab.pid("control-plane")):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(STANDSTILL_SECONDS)  # what is tested is that time passes
                os.kill(pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Verdict: valid" in output
    anchor = read_clocks(lab.run)["lab"]
    assert abs(anchor.wall_seconds(host_seconds()) - time.time()) > SMALLEST_STEP_SECONDS / 2, "which is not the time"


@pytest.mark.slow
def test_load_on_a_lab_that_is_up_needs_no_preparation(lab: Lab) -> None:
    status, output = lab.call("up", str(lab.topology), "--detach")
    assert status == 0, output
    status, output = lab.call("load", "mixed", "--duration", "3", "--users", "12", "--run", str(lab.run))
    assert status == 0, output
    assert (lab.run / "failures.jsonl").read_text(encoding="utf-8") == ""
    assert (lab.run / "report.html").exists()


def test_load_without_a_lab_says_so(lab: Lab) -> None:
    status, output = lab.call("load", "website", "--run", str(lab.run))
    assert status != 0
    assert "no lab is running" in output
    assert "Traceback" not in output
