"""What commands answer to scripts (`--json`), the URL that they print, what `status` says of the agent, and Locust run by hand as docs/load.md says."""

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir
from tests.integration.lab_harness import (
    SLOT_OF_A_MODULE,
    SMALL_NODES,
    CommandLine,
    environment,
    small,
    taken_down,
)

ROOT = Path(__file__).parents[4]
SECONDS = 60
EDGE = "edge-iad89-p1-1"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A small lab that is up."""
    with taken_down(CommandLine(tmp_path_factory.mktemp("running"))) as command:
        done = command.run("up", command.topology(small(SLOT_OF_A_MODULE)), "--detach")
        assert done.status == 0, done.err
        (command.folder / "told").write_text(done.out)
        yield command


def answer(command: CommandLine, *arguments: str, status: int = 0) -> dict[str, Any]:
    """What a command prints with `--json`, and nothing else."""
    done = command.run(*arguments, "--json")
    assert done.status == status, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


def test_explain_answers_with_each_tier(running: CommandLine) -> None:
    told = answer(running, "explain", "/images/7.svg")
    assert told["request"]["url"].endswith(".cdn.localhost/images/7.svg")
    assert [tier["role"] for tier in told["tiers"]] == ["edge", "regional"]
    assert {tier["decision"] for tier in told["tiers"]} == {"miss"}
    refused = answer(running, "explain", "http://nobody.cdn.localhost/", status=1)
    assert refused["tiers"][0]["reason"] == "unknown_host"


def test_explain_names_the_urls_that_would_work(running: CommandLine) -> None:
    [distribution] = ProcessCluster.attach(running.state_dir).status().distributions
    done = running.run("explain", "http://localhost:8080/")
    assert done.status == 1 and f"http://{distribution.domain_name}:" in done.out
    https = running.run("explain", f"https://{distribution.domain_name}/images/1.svg")
    assert https.status == 0 and "note: edges of this lab listen for plain HTTP only" in https.out


def test_invalidate_answers_with_the_receipt(running: CommandLine) -> None:
    [distribution] = ProcessCluster.attach(running.state_dir).status().distributions
    receipt = answer(running, "invalidate", distribution.id, "/images/*")
    assert (receipt["status"], receipt["paths"]) == ("Completed", ["/images/*"])
    assert {EDGE, "regional-us-east-1-1"} <= {node["id"] for node in receipt["nodes"]}


def test_what_a_shell_makes_of_a_star_is_not_invalidated(running: CommandLine) -> None:
    """A real shell, and the real top of this machine."""
    [distribution] = ProcessCluster.attach(running.state_dir).status().distributions
    line = f"exec {shlex.quote(sys.executable)} -m lab.cli invalidate {distribution.id} /*"
    done = subprocess.run(
        ["bash", "-c", line], cwd=running.folder, env=environment(), capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 2 and f"Quote it: cdnlab invalidate {distribution.id} '/*'" in done.stderr.decode()
    insisted = running.run("invalidate", distribution.id, "/bin", "/etc", "--literal")
    assert insisted.status == 0, insisted.err


def test_a_backup_is_described(running: CommandLine) -> None:
    told = answer(running, "backup", "copy")
    assert (told["file"], told["distributions"]) == ("copy", 1)
    assert re.fullmatch("[0-9a-f]{32}", told["log_id"]) and told["head_index"] > 0


def test_down_without_a_lab_names_those_elsewhere(running: CommandLine, tmp_path: Path) -> None:
    told = answer(CommandLine(tmp_path), "down")
    assert told["stopped"] == 0
    there = next(each for each in told["elsewhere"] if str(running.state_dir) in each["where"])
    assert there["end_it"] == f"cdnlab down --state {running.state_dir}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_what_up_prints_for_a_lab_elsewhere_asks_that_lab(running: CommandLine) -> None:
    """Names under .localhost lead to 127.0.0.1, where this lab is not."""
    told = (running.folder / "told").read_text()
    command = next(line for line in told.splitlines() if "curl --resolve" in line)
    words = shlex.split(command[command.index("curl") :].partition("   (")[0])
    done = subprocess.run([*words, "--silent", "--include"], capture_output=True, timeout=SECONDS, check=True)
    assert done.stdout.startswith(b"HTTP/1.1 200") and b"cloudfront" in done.stdout
    assert " ".join(words) in running.run("status").out


def test_status_says_what_is_broken(running: CommandLine) -> None:
    assert agent_line(running).endswith("nothing is broken")
    assert running.run("pause", "origin-1", "--for", "50s").status == 0
    assert re.search(r"pause of origin-1 \(heals in \d+s\): `cdnlab faults show`$", agent_line(running))
    [fault] = answer(running, "status")["agent"]["faults"]
    assert (fault["fault"], fault["nodes"]) == ("pause", ["origin-1"])
    assert running.run("faults", "clear", "--all").status == 0
    assert agent_line(running).endswith("nothing is broken")


def agent_line(command: CommandLine) -> str:
    return next(line for line in command.run("status").out.splitlines() if line.startswith("agent "))


@pytest.mark.slow
def test_locust_by_hand_with_the_plan_of_the_lab(running: CommandLine) -> None:
    """As docs/load.md says: no viewer sees an error, and Locust's page is for this machine only."""
    plan = running.run("load-plan")
    assert plan.status == 0, plan.err
    (running.folder / "plan.json").write_text(plan.out)
    port = free_port()
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/api.py"), "--load-plan", "plan.json"]
    automatic = ["--autostart", "--users", "4", "--run-time", "3s", "--autoquit", "0", "--web-port", str(port)]
    with subprocess.Popen(
        [*command, *automatic], cwd=running.folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as locust:
        hosts = listeners(port, locust)
        _, told = locust.communicate(timeout=SECONDS)
    assert hosts == {"127.0.0.1"}
    assert locust.returncode == 0, told


@pytest.mark.slow
def test_load_answers_with_what_each_region_saw(running: CommandLine) -> None:
    told = answer(running, "load", "api", "--duration", "2", "--users", "2", "--run", "results")
    assert (told["profile"], told["users"], told["run"]) == ("api", 2, "results")
    assert told["regions"]["us-east-1"]["requests"] > 0 and told["regions"]["us-east-1"]["failures"] == 0
    assert (running.folder / told["report"]).is_file()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listeners(port: int, process: "subprocess.Popen[str]") -> set[str]:
    """Where somebody listens on this port, as the kernel has it: proc_net_tcp(5)."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
        rows = [line.split() for lines in tables for line in lines]
        found = {
            row[1].partition(":")[0] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port
        }
        if found:
            return {
                ".".join(str(each) for each in reversed(bytes.fromhex(host))) if len(host) == 8 else host
                for host in found
            }
        time.sleep(0.05)
    raise AssertionError("Locust's page does not come")


def test_serve_says_what_it_serves_and_down_what_has_ended(tmp_path: Path) -> None:
    with taken_down(CommandLine(tmp_path)) as command:
        assert command.run("up", command.topology(), "--detach", "--no-demo").status == 0
        served = answer(command, "serve", "http://127.15.240.9:9009", "--detach")["distribution"]
        [distribution] = answer(command, "status")["distributions"]
        assert {name: served[name] for name in ("id", "domain_name", "url")} == {
            name: distribution[name] for name in ("id", "domain_name", "url")
        }
        told = answer(command, "down")
        assert (told["stopped"], told["what"], told["elsewhere"]) == (len(SMALL_NODES), "processes", [])
        assert StateDir(command.state_dir).read() is None
