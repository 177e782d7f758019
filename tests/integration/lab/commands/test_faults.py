"""The commands that break and heal, on a lab of real programs: what they say, what viewers of an origin see, and that it is over."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.agent.client import connect
from lab.clients.http_client import split_address
from lab.cluster.processes import ProcessCluster
from lab.cluster.sweep import marked_processes, of_lab
from tests import warm_start
from tests.integration.lab_harness import SLOT_OF_A_MODULE, CommandLine, small_topology

EDGE, ORIGIN = "edge-iad89-p1-1", "origin-1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    folder = tmp_path_factory.mktemp("lab")
    with ProcessCluster.up(small_topology(SLOT_OF_A_MODULE), folder / ".cdnlab", launch=warm_start.launch) as running:
        yield running
    assert of_lab(marked_processes(), running.state.path, "") == [], "the agent and its watchdog have ended, too"


@pytest.fixture
def cdnlab(lab: ProcessCluster) -> CommandLine:
    return CommandLine(lab.state.path.parent)


class Seen:
    """What a client of the origin sees."""

    def __init__(self, lab: ProcessCluster, path: str = "/download/5000.bin") -> None:
        connection = http.client.HTTPConnection(*split_address(lab.addresses(ORIGIN).http), timeout=10)
        began = time.monotonic()
        self.status, self.body, self.is_whole = 0, b"", False
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            self.status, self.head_seconds = response.status, time.monotonic() - began
            self.body = response.read()
            self.is_whole = True
        except http.client.IncompleteRead as error:
            self.body = error.partial
        except (ConnectionError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        self.seconds = time.monotonic() - began


def test_a_killed_node_is_shown_and_started_early(lab: ProcessCluster, cdnlab: CommandLine) -> None:
    done = cdnlab.run("kill", EDGE, "--for", "10m")
    (lease,) = connect(lab.state.path).faults()
    assert done.out == f"kill: {EDGE}; heals in 10m, or now with `cdnlab faults clear {lease['id']}`\n"
    found = lab.status().find(EDGE)
    assert found is not None and found.state == "down"
    shown = cdnlab.run("faults", "show").out.splitlines()
    assert shown[0].split() == ["ID", "FAULT", "WHERE", "HEALS", "PARAMETERS"]
    assert shown[1].split()[:4] == [lease["id"], "kill", EDGE, "in"]
    assert cdnlab.run("start", EDGE).out == f"healed: {lease['id']}, kill at {EDGE}\n"
    assert lab.wait_until_live(EDGE).node.pid
    assert connect(lab.state.path).faults() == []


def test_an_origin_is_slow_until_it_is_cleared(lab: ProcessCluster, cdnlab: CommandLine) -> None:
    done = cdnlab.run("slow", ORIGIN, "--by", "300ms", "--json")
    lease = json.loads(done.out)
    assert (lease["fault"], lease["nodes"], lease["parameters"]["by"]) == ("http-delay", [ORIGIN], 0.3)
    assert Seen(lab).head_seconds >= 0.3
    cleared = json.loads(cdnlab.run("faults", "clear", "--all", "--json").out)
    assert [(each["id"], each["state"]) for each in cleared["faults"]] == [(lease["id"], "healed")]
    seen = Seen(lab)
    assert seen.is_whole and seen.head_seconds < 0.3


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("http-status", {"status": 500}),
        ("http-truncate", {"after": 100}),
        ("http-reset", {"after": 100}),
        ("http-corrupt", {"at": 7}),
        ("http-drop", {}),
        ("http-trickle", {"rate": 20_000}),
        ("http-stall", {"by": 0.2}),
    ],
)
def test_faults_of_answers_are_seen_while_they_last(
    lab: ProcessCluster, fault: str, parameters: dict[str, int]
) -> None:
    whole, client = Seen(lab), connect(lab.state.path)
    assert whole.is_whole and len(whole.body) == 5000
    lease = client.inject(fault, ORIGIN, None, parameters)
    broken = Seen(lab)
    client.clear(lease["id"])
    match fault:
        case "http-status":
            assert broken.status == 500
        case "http-truncate" | "http-reset":
            assert not broken.is_whole and len(broken.body) <= 100
        case "http-corrupt":
            assert [at for at in range(5000) if broken.body[at] != whole.body[at]] == [7]
        case "http-drop":
            assert broken.status == 0
        case _:
            assert broken.body == whole.body and broken.seconds >= 0.2
    assert Seen(lab).body == whole.body


def test_without_a_lab(tmp_path: Path) -> None:
    elsewhere = CommandLine(tmp_path)
    done = elsewhere.run("faults", "show")
    assert done.status == 1 and "no lab is running" in done.err and not elsewhere.state_dir.exists()
