"""The command line as people use it: real commands, real processes, and what they say when something is wrong."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.clients.http_client import ask
from lab.cluster.agent_record import AgentFolder
from lab.cluster.process_identity import ProcessIdentity, identify
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir
from lab.cluster.sweep import Mark, marked_processes, of_lab
from lab.command_line import EXIT_INTERRUPTED
from tests.integration.lab_harness import (
    SLOT_OF_A_MODULE,
    SLOT_OF_ONE_TEST,
    SMALL_NODES,
    CommandLine,
    api_address,
    default_topology_text,
    small,
    taken_down,
)

APPLICATION = "127.15.240.1"
EDGE = "edge-iad89-p1-1"


@pytest.fixture
def cdnlab(tmp_path: Path) -> Iterator[CommandLine]:
    with taken_down(CommandLine(tmp_path)) as command:
        yield command


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A small lab that is up, for commands that leave it up."""
    with taken_down(CommandLine(tmp_path_factory.mktemp("running"))) as command:
        done = command.run("up", command.topology(small(SLOT_OF_A_MODULE)), "--detach")
        assert done.status == 0, done.err
        yield command


@pytest.fixture
def application() -> Iterator[str]:
    """An application on this machine: says what it was asked, may be kept for a minute."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Cache-Control", "max-age=60")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Silent."""

    with http.server.ThreadingHTTPServer((APPLICATION, 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{APPLICATION}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def told_status(command: CommandLine) -> dict[str, Any]:
    """What `status --json` says."""
    done = command.run("status", "--json")
    assert done.status == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


def status_of(command: CommandLine) -> dict[str, Any]:
    """The same without a process for it, for tests of other commands."""
    return ProcessCluster.attach(command.state_dir).status().to_json()


def wait_until_up(command: CommandLine, process: "subprocess.Popen[str]", word: str) -> list[str]:
    """Lines of a command in the foreground up to the one with `word`."""
    assert process.stdout is not None
    lines = []
    while word not in (line := process.stdout.readline()):
        assert line, process.communicate()[1]
        lines.append(line)
    return [*lines, line]


def test_the_default_topology_within_its_time(cdnlab: CommandLine) -> None:
    """13 processes ready with a verified hit within 10 s, and down within 3 s, at one of three tries: other tests keep the processors busy.
    The goals, 4 and 1.5 s, are measured by `python -m benchmarks.lab_start`."""
    for _ in range(3):
        up_seconds, down_seconds = up_and_down(cdnlab)
        print(f"up {up_seconds:.2f} s, down {down_seconds:.2f} s")
        if up_seconds < 10 and down_seconds < 3:
            return
    pytest.fail(f"the last of three tries: up {up_seconds:.2f} s, down {down_seconds:.2f} s")


def up_and_down(cdnlab: CommandLine) -> tuple[float, float]:
    """How long each took, with the default topology."""
    topology = cdnlab.topology(default_topology_text())
    began = time.monotonic()
    done = cdnlab.run("up", topology, "--detach")
    up_seconds = time.monotonic() - began
    assert done.status == 0, done.err
    assert "13 nodes are live" in done.out
    assert "miss, then hit at edge-iad89-p1-1; edge-iad89-p1-2 got it from its regional cache" in done.out
    document = status_of(cdnlab)
    assert [node["state"] for node in document["nodes"]] == ["live"] * 13
    processes = [identify(node["pid"]) for node in document["nodes"]] + AgentFolder(cdnlab.state_dir).running()
    assert len(processes) > 13, "and an agent"
    began = time.monotonic()
    down = cdnlab.run("down")
    down_seconds = time.monotonic() - began
    assert down.out.startswith("13 processes ended in ") and down.out.endswith("nothing is left behind\n")
    assert not any(process.is_alive for process in processes)
    assert sorted(path.name for path in cdnlab.folder.iterdir()) == ["topology.yaml"]
    return up_seconds, down_seconds


def test_down_again_does_no_harm(cdnlab: CommandLine) -> None:
    done = cdnlab.run("down")
    here, *elsewhere = done.out.splitlines()  # other tests have labs meanwhile
    assert (done.status, here) == (0, f"no lab is running (nothing in {cdnlab.state_dir})")
    assert all(line.startswith("elsewhere: the lab ") for line in elsewhere)


def test_status_is_the_promised_json(running: CommandLine) -> None:
    document = told_status(running)
    assert set(document) == {"zone", "seed", "api", "nodes", "distributions", "viewers", "agent"}
    for each in document["distributions"]:
        assert each.pop("url").startswith(f"http://{each['domain_name']}:")
    assert document.pop("viewers")["opens_as_it_stands"] is False, "this lab is not at 127.0.0.1"
    assert document.pop("agent")["state"] == "running"
    assert document.pop("seed") == ProcessCluster.attach(running.state_dir).facts.seed is not None
    assert document == status_of(running)
    assert document["zone"] == "cdn.localhost"
    assert document["api"] == {
        "endpoint": f"http://{api_address(SLOT_OF_A_MODULE)}",
        "region": "us-east-1",
        "access_key_id": "cdnlab",
        "secret_access_key": "cdnlab-secret",
    }
    nodes = {node["id"]: node for node in document["nodes"]}
    assert set(nodes) == SMALL_NODES
    keys = {"id", "role", "region", "pop", "state", "applied_index", "pid", "http", "admin", "dns", "advertised"}
    assert all(set(node) == keys for node in nodes.values())
    assert nodes["dns-1"]["dns"] and nodes["dns-1"]["http"] is None
    assert nodes[EDGE]["pop"] == "IAD89-P1"
    [distribution] = document["distributions"]
    assert distribution["status"] == "Deployed" and distribution["domain_name"].endswith(".cdn.localhost")


def test_an_edge_serves_by_the_host_header(running: CommandLine) -> None:
    document = status_of(running)
    host = document["distributions"][0]["domain_name"]
    for node in document["nodes"]:
        if node["role"] == "edge":
            reply = ask(node["http"], "/images/1.svg", headers=[("Host", host)])
            assert (reply.status, reply.headers["x-cache"]) == (200, "Hit from cloudfront")


def test_status_for_people_has_a_line_for_each_node(running: CommandLine) -> None:
    lines = running.run("status").out.splitlines()
    assert lines[0].split()[:5] == ["NODE", "ROLE", "REGION", "POP", "STATE"]
    assert {line.split()[0] for line in lines[1:7]} == SMALL_NODES


def test_explain_goes_through_both_tiers(running: CommandLine) -> None:
    hit = running.run("explain", "/images/1.svg")
    assert hit.status == 0 and f"{EDGE} edge IAD89-P1  hit (fresh)" in hit.out
    assert "lifetime 86400 s - age" in hit.out
    miss = running.run("explain", "/images/2.svg", "--edge", "edge-iad89-p1-2")
    assert "edge-iad89-p1-2 edge IAD89-P1  miss" in miss.out
    assert "regional-us-east-1-1 regional IAD89-R1  miss" in miss.out
    assert "origin origin at http://127.15.200.1:" in miss.out
    assert "miss" in running.run("explain", "/images/2.svg").out, "it was not fetched by being explained"


def test_explain_of_an_unknown_host_says_so(running: CommandLine) -> None:
    done = running.run("explain", "http://nobody.cdn.localhost/")
    assert done.status == 1
    assert "no distribution answers to this host name" in done.out


def test_invalidate_prints_the_receipt_node_by_node(running: CommandLine) -> None:
    distribution = status_of(running)["distributions"][0]["id"]
    done = running.run("invalidate", distribution, "/images/*")
    assert done.status == 0, done.err
    assert "Completed" in done.out.splitlines()[0]
    acknowledged = {line.split()[0] for line in done.out.splitlines() if " acknowledged " in line}
    assert acknowledged >= {"edge-iad89-p1-1", "edge-iad89-p1-2", "regional-us-east-1-1"}
    assert "invalidated" in running.run("explain", "/images/1.svg").out


def test_logs_show_the_last_lines(running: CommandLine) -> None:
    done = running.run("logs", EDGE, "--lines", "1")
    assert done.status == 0 and done.out.count("\n") == 1
    assert "listening on 127.15.11.1" in running.run("logs", EDGE).out


def test_following_a_log_ends_with_ctrl_c(running: CommandLine) -> None:
    process = running.start("logs", "origin-1", "--follow")
    with process:
        wait_until_up(running, process, "listening")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "exit_status", "expected"),
    [
        (("logs", "edge-9"), 2, "no node 'edge-9': there are control-plane, dns-1"),
        (("explain", "/x", "--edge", "edge-9"), 2, "no cache node 'edge-9'"),
        (("explain", "not a url"), 2, "is not a URL"),
        (("explain", "/x", "-H", "nonsense"), 2, "give 'NAME: VALUE'"),
        (("invalidate", "ENOBODY", "/*"), 2, "no distribution 'ENOBODY': there are E"),
        (("load", "nonsense"), 2, "no profile 'nonsense': there are website"),
        (("load", "video", "--rate", "5"), 2, "profile video takes no rate"),
        (("load", "objects", "--options", "[]"), 2, "--options: not a JSON object"),
        (
            ("load", "objects", "--options", '{"size": 1}'),
            2,
            "options of profile objects: unknown: size (there are path",
        ),
        (("report", "nonsense"), 2, "no run 'nonsense'"),
        (("serve", "https://127.0.0.1"), 2, "edges speak plain HTTP to origins"),
        (("up",), 1, "a lab is running already: small (6 of 6 processes)"),
        (("backup", "nowhere/copy"), 1, "nowhere is no folder"),
        (("backup", "topology.yaml"), 1, "topology.yaml is there already"),
        (("restore", "nothing"), 1, "nothing is no file"),
        (("restore", "topology.yaml"), 1, "cannot be used as a database: file is not a database"),
    ],
)
def test_bad_input_is_one_message(
    running: CommandLine, arguments: tuple[str, ...], exit_status: int, expected: str
) -> None:
    done = running.run(*arguments)
    assert done.status == exit_status
    assert done.err.startswith("cdnlab: ") and expected in done.err
    assert "Traceback" not in done.err
    assert {node["state"] for node in status_of(running)["nodes"]} == {"live"}, "something was stopped"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("logs", EDGE),
        ("explain", "/x"),
        ("invalidate", "E1", "/*"),
        ("backup", "copy"),
        ("restore", "copy"),
    ],
)
def test_without_a_lab_they_say_how_to_get_one(cdnlab: CommandLine, arguments: tuple[str, ...]) -> None:
    done = cdnlab.run(*arguments)
    assert done.status == 1
    assert "no lab is running" in done.err and "cdnlab up" in done.err
    assert "Traceback" not in done.err


def test_a_topology_with_mistakes_starts_nothing(cdnlab: CommandLine) -> None:
    topology = cdnlab.topology(small().replace("region: us-east-1, edges: 2", "region: us-est-1, edges: 2"))
    done = cdnlab.run("up", topology)
    assert done.status == 2
    assert done.err == f"cdnlab: {topology}:12: unknown region 'us-est-1': there are us-east-1\n"
    assert not cdnlab.state_dir.exists()


def test_who_stands_elsewhere_is_told_where_the_lab_is(running: CommandLine, cdnlab: CommandLine) -> None:
    """`down`, `status` and `up` in a folder without a lab, while one runs that another folder has started."""
    there = running.state_dir
    elsewhere = f"elsewhere: the lab small in {there} (6 processes); `cdnlab down --state {there}` ends it"
    down = cdnlab.run("down")
    assert down.status == 0 and elsewhere in down.out.splitlines()
    status = cdnlab.run("status")
    assert status.status == 1 and elsewhere in status.err.splitlines()
    up = cdnlab.run("up", cdnlab.topology(small(SLOT_OF_A_MODULE)))
    assert up.status == 1 and up.err.splitlines() == [
        f"cdnlab: the lab small in {running.state_dir} (6 processes) has the addresses of this one: "
        f"`cdnlab down --state {running.state_dir}` ends it",
        "nothing was started; --loopback 127.1.0.0/16 gives this lab addresses of its own",
    ]
    assert not cdnlab.state_dir.exists()
    assert {node["state"] for node in status_of(running)["nodes"]} == {"live"}


def test_a_taken_port_starts_nothing(cdnlab: CommandLine) -> None:
    api = api_address(SLOT_OF_ONE_TEST)
    host, _, port = api.rpartition(":")
    with socket.create_server((host, int(port))):
        done = cdnlab.run("up", cdnlab.topology())
    assert done.status == 1
    assert done.err.startswith(f"cdnlab: control-plane cannot listen on {api}: the port is taken\n")
    assert not cdnlab.state_dir.exists()


def test_the_foreground_tells_changes_and_ctrl_c_takes_all_down(cdnlab: CommandLine) -> None:
    process = cdnlab.start("up", cdnlab.topology())
    with process:
        assert process.stdout is not None
        wait_until_up(cdnlab, process, "Ctrl-C takes it down")
        nodes = {node["id"]: node for node in status_of(cdnlab)["nodes"]}
        processes = [identify(node["pid"]) for node in nodes.values()]
        identify(nodes[EDGE]["pid"]).send(signal.SIGKILL)
        assert f"{EDGE}: live -> down" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().startswith("5 processes ended")
        assert process.wait(10) == 0
    assert not any(each.is_alive for each in processes)
    assert not cdnlab.state_dir.exists()


def test_the_foreground_ends_when_another_command_takes_the_lab_down(cdnlab: CommandLine) -> None:
    process = cdnlab.start("up", cdnlab.topology(), "--no-demo")
    with process:
        wait_until_up(cdnlab, process, "Ctrl-C takes it down")
        assert status_of(cdnlab)["distributions"] == []
        assert cdnlab.run("down").status == 0
        assert process.wait(10) == 0


@pytest.mark.parametrize(("number", "started"), [(signal.SIGINT, 1), (signal.SIGTERM, 3), (signal.SIGKILL, 2)])
def test_whenever_a_start_is_interrupted_nothing_is_left(
    cdnlab: CommandLine, number: signal.Signals, started: int
) -> None:
    """At a moment in which there is one more process than before: what is just being started is not recorded yet."""
    process = cdnlab.start("up", cdnlab.topology(), "--no-demo", "--detach")
    with process:
        deadline = time.monotonic() + 20
        while len(carried(cdnlab.state_dir)) < started:
            assert process.poll() is None and time.monotonic() < deadline
        process.send_signal(number)
        process.communicate(timeout=20)
    if number is not signal.SIGKILL:
        assert process.returncode == EXIT_INTERRUPTED and carried(cdnlab.state_dir) == []
    down = cdnlab.run("down")
    assert (down.status, down.err) == (0, "")
    assert carried(cdnlab.state_dir) == [] and not cdnlab.state_dir.exists()


def carried(state_dir: Path) -> list[ProcessIdentity]:
    """Processes that carry the mark of the lab in this folder, recorded or not."""
    found = of_lab(marked_processes(), state_dir.resolve(), "")
    return [each.process for each in found if each.process.is_alive]


def test_what_was_started_and_never_recorded_is_in_nobody_s_way(cdnlab: CommandLine) -> None:
    """As after SIGKILL between the start of a process and its record: it holds the address of the next lab's control plane."""
    host, _, port = api_address(SLOT_OF_ONE_TEST).rpartition(":")
    program = f"import socket, time; s = socket.create_server(({host!r}, {port})); print(1, flush=True); time.sleep(60)"
    mark = Mark(str(cdnlab.state_dir.resolve()), "of-a-lab-without-a-record").environment()
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env={**os.environ, **mark}, stdout=subprocess.PIPE) as stray:
        assert stray.stdout is not None and stray.stdout.readline()
        up = cdnlab.run("up", cdnlab.topology(), "--no-demo", "--detach")
        assert up.status == 0 and "ended 1 process that an earlier lab had left" in up.out
        assert stray.wait(10) == -signal.SIGTERM


def test_what_a_reboot_left_is_cleared_away(cdnlab: CommandLine) -> None:
    assert cdnlab.run("up", cdnlab.topology(), "--detach", "--no-demo").status == 0
    record = StateDir(cdnlab.state_dir).read_processes()
    assert record is not None
    for node in record.nodes:
        assert node.process is not None and node.process.send(signal.SIGKILL)
    while record.running:
        time.sleep(0.01)
    done = cdnlab.run("status")
    assert done.status == 1 and "not running any more" in done.err
    assert cdnlab.run("up", cdnlab.topology(), "--detach", "--no-demo").status == 0
    assert {node["state"] for node in status_of(cdnlab)["nodes"]} == {"live"}


def test_serve_brings_a_cdn_up_in_front_of_an_application(cdnlab: CommandLine, application: str) -> None:
    """The shipped topology's ports, on addresses that no other test uses with them."""
    done = cdnlab.run("serve", f"{application}/app", "--detach", "--loopback", "127.15.0.0/16")
    assert done.status == 0, done.err
    host = done.out.split("http://", 2)[2].split("/")[0]
    edge = next(node["http"] for node in status_of(cdnlab)["nodes"] if node["role"] == "edge")
    replies = [ask(edge, "/hello?a=b", headers=[("Host", host)]) for _ in range(2)]
    assert [reply.body for reply in replies] == [b"/app/hello?a=b"] * 2
    assert [reply.headers["x-cache"].split()[0] for reply in replies] == ["Miss", "Hit"]
    assert cdnlab.run("down").out.startswith("4 processes ended")


def test_serve_on_a_lab_that_is_up_leaves_it_up(running: CommandLine, application: str) -> None:
    before = status_of(running)["distributions"]
    process = running.start("serve", application)
    with process:
        assert process.stdout is not None
        wait_until_up(running, process, "Ctrl-C ends it")
        during = status_of(running)["distributions"]
        assert len(during) == len(before) + 1
        process.send_signal(signal.SIGTERM)
        assert "removed; the lab stays up" in process.stdout.read()
        assert process.wait(10) == 0
    assert status_of(running)["distributions"] == before


def test_a_backup_is_taken_and_restored_and_both_say_what_they_did(running: CommandLine) -> None:
    taken = running.run("backup", "copy")
    assert (taken.status, taken.err) == (0, "")
    assert re.fullmatch(r"copy: 1 distribution, log [0-9a-f]{32} up to index \d+\n", taken.out)
    before = status_of(running)
    restored = running.run("restore", "copy")
    assert (restored.status, restored.err) == (0, "")
    assert "restored copy: 1 distribution" in restored.out
    assert "it goes on as another log: 3 caches have started over" in restored.out
    after = status_of(running)
    assert {node["id"]: node["state"] for node in after["nodes"]} == dict.fromkeys(SMALL_NODES, "live")
    assert after["distributions"] == before["distributions"]
    pids = {node["id"] for old, node in zip(before["nodes"], after["nodes"], strict=True) if old["pid"] != node["pid"]}
    assert pids == {"control-plane"}, "nodes were restarted"
