"""The profiles as Locust runs them: single process and distributed, against a real origin process in place of an edge."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.experiments.load import EXIT_FAILURES, LoadError, LoadFollower, LoadRun
from loadtests.plan import Address, LoadPlan
from tests.integration.loadtests.load_peers import (
    POPULATIONS,
    ROOT,
    SITE,
    free_port,
    lines_of,
    plan_of,
    running,
    wait_ready,
)
from tests.integration.loadtests.test_viewer import ScriptedRouter


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    """The port of a real origin that serves what the profiles ask for."""
    port, admin = free_port(SITE), free_port(SITE)
    with running("origin", "--node-id", "o", "--listen", f"{SITE}:{port}", "--admin", f"{SITE}:{admin}"):
        wait_ready(f"http://{SITE}:{admin}/readyz")
        yield port


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["website", "api", "video", "download", "mixed"])
def test_a_profile_runs_without_a_failure(site: int, router: ScriptedRouter, tmp_path: Path, profile: str) -> None:
    run = LoadRun(profile, plan_of(site, router, tmp_path / "load.jsonl"), 3, 10, tmp_path)
    with run:
        status = run.wait()
    assert lines_of(tmp_path / "failures.jsonl") == []
    assert status == 0, run.log_path.read_text(encoding="utf-8")
    lines = lines_of(tmp_path / "load.jsonl")
    assert {line["region"] for line in lines} == {"eu", "us"}
    assert {line["profile"] for line in lines} == {profile}
    assert sum(line["requests"] for line in lines) >= 10
    assert sum(line["bytes"] for line in lines) > 1_000
    totals = json.loads((tmp_path / "load_totals.json").read_text(encoding="utf-8"))
    assert totals["regions"]["eu"]["requests"] == sum(line["requests"] for line in lines if line["region"] == "eu")
    # 10 users of populations 2:1 are seated 7:3 or, in the mixed profile, as near as each kind of user comes to it.
    assert max(line["users"] for line in lines if line["region"] == "eu") in (6, 7, 8)


@pytest.mark.slow
def test_viewers_of_each_region_ask_the_router_with_their_subnet(
    site: int, router: ScriptedRouter, tmp_path: Path
) -> None:
    with LoadRun("api", plan_of(site, router, tmp_path / "load.jsonl"), 2, 6, tmp_path) as run:
        run.wait()
    subnets = {question.split()[2].rsplit(".", 2)[0] for question in router.questions}
    assert {subnet.split(".")[0] + "." + subnet.split(".")[1] for subnet in subnets} == {"10.1", "10.2"}


@pytest.mark.slow
def test_failures_are_listed_with_where_they_happened(router: ScriptedRouter, tmp_path: Path) -> None:
    nobody_listens = free_port(SITE)
    with LoadRun("api", plan_of(nobody_listens, router, tmp_path / "load.jsonl"), 2, 3, tmp_path) as run:
        assert run.wait() == EXIT_FAILURES
    failure = lines_of(tmp_path / "failures.jsonl")[0]
    assert failure["address"] == SITE
    assert "Connection refused" in failure["error"]
    assert failure["url"].startswith("/api/")
    lines = lines_of(tmp_path / "load.jsonl")
    assert sum(line["failures"] for line in lines) == sum(line["requests"] for line in lines) > 0


@pytest.mark.slow
def test_a_master_adds_up_what_its_workers_saw(site: int, router: ScriptedRouter, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(plan_of(site, router, tmp_path / "load.jsonl").to_json(), encoding="utf-8")
    port = str(free_port(SITE))
    common = ["locust", "--locustfile", "loadtests/website.py", "--load-plan", str(plan)]
    worker = [*common, "--worker", "--master-host", SITE, "--master-port", port]
    headless = ["--headless", "--expect-workers", "2", "--users", "6", "--spawn-rate", "6", "--run-time", "5s"]
    master = [*common, "--master", "--master-bind-host", SITE, "--master-bind-port", port, *headless]
    with running(*master) as process, running(*worker), running(*worker):
        assert process.wait(40) == 0
    lines = lines_of(tmp_path / "load.jsonl")
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert len({(line["time"], line["region"]) for line in lines}) == len(lines)  # one line, however many workers
    assert max(line["users"] for line in lines if line["region"] == "eu") == 4
    assert max(line["users"] for line in lines if line["region"] == "us") == 2
    assert sum(line["requests"] for line in lines) > 30


def test_a_plan_with_mistakes_ends_locust_with_one_clear_message(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"dns": "nowhere"}', encoding="utf-8")
    command = [sys.executable, "-m", "locust", "-f", "loadtests/website.py", "--headless", "--load-plan", str(plan)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert b"dns: not host:port: 'nowhere'" in ended.stderr
    assert b"populations is missing" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_load_that_dies_says_why(router: ScriptedRouter, tmp_path: Path) -> None:
    plan = plan_of(1, router, Path("/proc/nowhere/load.jsonl"))
    with LoadRun("website", plan, 5, 3, tmp_path) as run, pytest.raises(LoadError, match="status"):
        run.wait()


def test_no_locust_is_left_when_the_block_is_left(site: int, router: ScriptedRouter, tmp_path: Path) -> None:
    run = LoadRun("api", plan_of(site, router, tmp_path / "load.jsonl"), 60, 3, tmp_path)
    follower = LoadFollower(tmp_path / "load.jsonl")
    deadline = time.monotonic() + 20
    with run:
        while not follower.new_lines():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert run.is_running
    assert not run.is_running


@pytest.mark.parametrize(("profile", "users", "seconds"), [("nothing", 1, 1.0), ("api", 0, 1.0), ("api", 1, 0.0)])
def test_a_load_that_makes_no_sense_is_refused(tmp_path: Path, profile: str, users: int, seconds: float) -> None:
    plan = LoadPlan(Address("127.0.0.1", 53), "d", 80, POPULATIONS)
    with pytest.raises(LoadError):
        LoadRun(profile, plan, seconds, users, tmp_path)
