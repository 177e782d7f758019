"""The commands' own words: URLs, headers, explanations, tables, runs, and help that is instant."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli import app
from lab.clients.http_client import site_host
from lab.clients.management_api import ALL_METHODS, OriginAddress, SiteConfig
from lab.cluster import finding
from lab.cluster.interface import LabFacts, Stopped
from lab.cluster.status import DistributionStatus, LabStatus, NodeStatus, RunningNode
from lab.commands import explain, faults_clear, faults_show, serve, status, viewer_urls
from lab.commands.what_ended import describe_stop
from lab.errors import LabError, UsageError
from lab.fault_commands import faults, short_forms
from lab.history.run_folders import find_run, new_run_directory
from lab.scenarios.shipped import shipped_scenarios
from lab.topology.layout import Role

COMMANDS = [
    command.name or command.callback.__name__
    for each in (app, short_forms)
    for command in each.registered_commands
    if command.callback
]
COMMANDS += [f"faults {command.name}" for command in faults.registered_commands]


def lab_of(*edges: tuple[str, str], domains: tuple[str, ...] = ("d1.cdn.localhost",)) -> LabStatus:
    nodes = tuple(
        NodeStatus(
            RunningNode(name, Role.EDGE, "r", "P", f"127.0.1.{n}:8080", f"127.0.1.{n}:9100", "", True, pid=n), state, 1
        )
        for n, (name, state) in enumerate(edges, start=1)
    )
    distributions = tuple(DistributionStatus(f"E{n}", domain, "Deployed") for n, domain in enumerate(domains))
    return LabStatus("cdn.localhost", "http://127.0.0.1:4566", nodes, distributions)


def facts_of(shared_http: str = "127.0.0.1:8080", zone: str = "cdn.localhost", port: int = 8080) -> LabFacts:
    return LabFacts("small", zone, "http://127.0.0.1:4566", shared_http, port, 2.0, ())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"cdnlab {command}" in result.output


def test_the_version_is_printed_and_nothing_else_is_done() -> None:
    result = CliRunner().invoke(app, ["--version", "down"])
    assert (result.exit_code, result.output) == (0, f"cdnlab {version('cdnlab')}\n")


def test_help_loads_nothing_heavy() -> None:
    """It has to be instant; what takes time is loaded by the command that needs it."""
    program = "import sys, lab.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert not {"boto3", "botocore", "docker", "yaml", "grpc", "locust", "duckdb", "airportsdata"} & set(
        done.stdout.split()
    )


def test_a_path_alone_belongs_to_the_only_distribution() -> None:
    assert explain.whole_url("/a?b=c", lab_of()) == "http://d1.cdn.localhost/a?b=c"
    with pytest.raises(UsageError, match=r"which distribution\? http://a/x, http://b/x"):
        explain.whole_url("/x", lab_of(domains=("a", "b")))
    with pytest.raises(UsageError, match="there is none"):
        explain.whole_url("/x", lab_of(domains=()))


def test_a_distribution_is_found_by_its_id() -> None:
    found = lab_of(domains=("a", "b")).find_distribution("E1")
    assert found.domain_name == "b"
    with pytest.raises(UsageError, match=r"no distribution 'E7': there are E0, E1$"):
        lab_of(domains=("a", "b")).find_distribution("E7")


def test_a_control_plane_that_is_down_is_not_taken_for_one_without_distributions() -> None:
    control_plane = RunningNode("control-plane", Role.CONTROL_PLANE, "r", "", "h:1", "h:2", "", False)
    empty = lab_of(domains=())
    down = replace(empty, nodes=(NodeStatus(control_plane, "down", None),))
    with pytest.raises(LabError, match=r"the control plane does not answer, .* see `cdnlab logs control-plane`$"):
        down.find_distribution("E0")
    unknown = ["distributions are not known: the control plane does not answer"]
    assert list(status.distribution_lines(down, facts_of())) == unknown
    assert list(status.distribution_lines(empty, facts_of())) == ["no distributions"]


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("http://d1.cdn.localhost/x", "http://d1.cdn.localhost/x"),
        ("https://d1.cdn.localhost/x", "https://d1.cdn.localhost/x"),
        ("d1.cdn.localhost/x?y", "http://d1.cdn.localhost/x?y"),
        ("D1.CDN.localhost:8080", "http://D1.CDN.localhost:8080"),
        ("127.0.1.1:8080/x", "http://127.0.1.1:8080/x"),
        ("/a b/\u00e4?\u20ac#there", "http://d1.cdn.localhost/a%20b/%C3%A4?%E2%82%AC"),
        ("/\udcff", "http://d1.cdn.localhost/%FF"),
        ("/x?to=http://elsewhere/", "http://d1.cdn.localhost/x?to=http://elsewhere/"),
    ],
)
def test_a_url_is_what_a_viewer_would_send(given: str, whole: str) -> None:
    assert explain.whole_url(given, lab_of(("one", "live"))) == whole


@pytest.mark.parametrize(
    "url", ["index.html", "elsewhere.org/x", "ftp://d1.cdn.localhost/", "http:///x", "http://[::1", ""]
)
def test_what_is_no_url_is_refused_with_one_that_is(url: str) -> None:
    with pytest.raises(
        UsageError, match=r"is not a URL such as http://d1\.cdn\.localhost/, nor a path such as /index.html"
    ):
        explain.whole_url(url, lab_of())


def test_without_a_control_plane_a_path_needs_its_host() -> None:
    control_plane = RunningNode("control-plane", Role.CONTROL_PLANE, "r", "", "h:1", "h:2", "", True)
    silent = replace(lab_of(domains=()), nodes=(NodeStatus(control_plane, "silent", None),))
    with pytest.raises(LabError, match="the control plane does not answer; give the whole URL") as raised:
        explain.whole_url("/x", silent)
    assert not isinstance(raised.value, UsageError)
    assert explain.whole_url("d7.cdn.localhost/x", silent) == "http://d7.cdn.localhost/x"


@pytest.mark.parametrize(
    ("facts", "opens"),
    [
        (facts_of(), True),
        (facts_of("0.0.0.0:8080"), True),
        (facts_of("127.1.0.1:8080"), False),
        (facts_of(zone="cdn.test"), False),
    ],
)
def test_a_url_is_said_to_open_only_where_its_name_leads_to_the_lab(facts: LabFacts, opens: bool) -> None:
    told = list(status.distribution_lines(lab_of(), facts))
    assert told[0] == "E0  Deployed    http://d1.cdn.localhost:8080/"
    assert viewer_urls.opens_as_it_stands(facts) is opens
    assert (len(told) == 1) is opens


def test_where_a_name_leads_elsewhere_curl_is_told_the_address() -> None:
    facts = facts_of("127.1.0.1:8080")
    assert list(status.distribution_lines(lab_of(), facts))[1:] == [
        "names under .localhost lead to 127.0.0.1, and this lab is at 127.1.0.1: a browser would ask somebody else; this asks the lab:",
        "  curl --resolve d1.cdn.localhost:8080:127.1.0.1 http://d1.cdn.localhost:8080/",
    ]


def test_headers_are_name_colon_value() -> None:
    assert explain.parse_header("Accept-Encoding: gzip, br") == ("Accept-Encoding", "gzip, br")
    assert explain.parse_header("X-Time: 12:30") == ("X-Time", "12:30")
    with pytest.raises(UsageError):
        explain.parse_header("gzip")


def test_which_edge_is_asked() -> None:
    lab = lab_of(("one", "expired"), ("two", "live"), ("three", "live"))
    assert explain.choose_edge(lab, None, "http://d1.cdn.localhost/").node.id == "two"
    assert explain.choose_edge(lab, "one", "http://d1.cdn.localhost/").node.id == "one"
    assert explain.choose_edge(lab, None, "http://127.0.1.3:8080/x").node.id == "three"
    with pytest.raises(UsageError, match="no cache node 'four': there are one, two, three"):
        explain.choose_edge(lab, "four", "http://d1.cdn.localhost/")
    with pytest.raises(LabError, match="no edge is running"):
        explain.choose_edge(lab_of(("one", "down")), None, "http://d1.cdn.localhost/")


def test_a_tier_is_told_in_the_order_of_its_decision() -> None:
    answer = {
        "distribution": {"id": "E1", "domain_name": "d1"},
        "behavior": {"path_pattern": "/a/*", "origin_id": "o", "cache_policy_id": "p"},
        "key": {
            "method": "GET",
            "path": "/a/b",
            "query": "c=d",
            "headers": [["accept", None]],
            "cookies": [["s", "1"]],
        },
        "decision": "refresh",
        "freshness": {"rule": "max_age", "ttl_seconds": 10, "age_seconds": 12, "remaining_seconds": -2, "stamp": 4},
        "steps": ["first", "second"],
        "hint": "a longer lifetime",
        "next": {"kind": "origin", "origin_id": "o", "host": "127.0.0.1", "port": 80, "path": "/a/b"},
        "something_new": 1,
    }
    assert list(explain.tier_lines(answer)) == [
        ("distribution", "E1  d1"),
        ("behavior", "/a/*  origin o  cache policy p"),
        ("key", "GET /a/b?c=d; accept: (absent); cookie s=1"),
        ("freshness", "lifetime 10 s - age 12 s = -2 s; max age; stamp 4"),
        ("step 1", "first"),
        ("step 2", "second"),
        ("to be a hit", "a longer lifetime"),
        ("next", "origin o at http://127.0.0.1:80/a/b"),
    ]


def test_what_a_node_does_not_say_is_left_out() -> None:
    assert list(explain.tier_lines({"decision": "hit", "hint": "It is a hit."})) == [("result", "It is a hit.")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:3000", OriginAddress("127.0.0.1", 3000, "")),
        ("http://localhost", OriginAddress("localhost", 80, "")),
        ("http://127.0.0.1:3000/app/", OriginAddress("127.0.0.1", 3000, "/app")),
    ],
)
def test_an_application_s_address(url: str, expected: OriginAddress) -> None:
    assert serve.parse_application(url) == expected


@pytest.mark.parametrize(
    "url", ["3000", "localhost:3000", "https://127.0.0.1", "http://127.0.0.1:99999", "http://a/?b"]
)
def test_what_cannot_be_served_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        serve.parse_application(url)


def test_a_served_application_may_be_written_to() -> None:
    site = SiteConfig("c", OriginAddress("127.0.0.1", 3000, "/app"), "policy", ALL_METHODS).to_api("ref")
    methods = site["DefaultCacheBehavior"]["AllowedMethods"]
    assert methods["Quantity"] == 7 and "POST" in methods["Items"]
    assert methods["CachedMethods"] == {"Quantity": 2, "Items": ["GET", "HEAD"]}
    assert site["Origins"]["Items"][0]["OriginPath"] == "/app"


def test_the_port_is_part_of_the_host_unless_it_is_the_default() -> None:
    assert site_host("d1", 8080) == "d1:8080"
    assert site_host("d1", 80) == "d1"


def test_columns_are_aligned_and_lines_never_folded() -> None:
    assert status.align([("A", "B"), ("long", "x"), ("s", "")]) == ["A     B", "long  x", "s"]


def test_runs_are_found_by_folder_by_name_and_as_the_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="none in runs/"):
        find_run("latest")
    for name in ("20260101-000000-a", "20260102-000000-b"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert find_run("latest") == Path("runs/20260102-000000-b")
    assert find_run("20260101-000000-a") == Path("runs/20260101-000000-a")
    assert find_run(str(tmp_path / "runs" / "20260101-000000-a")).is_dir()
    with pytest.raises(UsageError, match="no run 'c': there are 20260101-000000-a, 20260102-000000-b"):
        find_run("c")


def test_a_new_run_never_takes_an_old_one_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = new_run_directory("x")
    first.mkdir(parents=True)
    assert new_run_directory("x") != first


def test_what_a_stop_came_to() -> None:
    assert describe_stop(Stopped(0, 0, 0.0)) == "nothing was running"
    assert describe_stop(Stopped(12, 1, 1.52)) == (
        "12 processes ended in 1.5 s, 1 of them killed after the grace period; nothing is left behind"
    )


def test_what_is_for_processes_only_says_so_of_a_lab_in_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Containers:
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    containers = Containers()
    monkeypatch.setattr(finding, "find_lab", lambda _state_dir: containers)
    with pytest.raises(LabError, match="one of containers; this is for the processes of `cdnlab up`"):
        finding.find_lab_of_processes(tmp_path)
    assert containers.is_closed


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("faults inject burn edge-1", "no fault 'burn': there are kill, stop, "),
        ("kill edge-1 --for 30", "'30' is no duration: write it as 500ms, 30s, 1m30s or 1d"),
        ("kill edge-1 --for 2h", "kill can last up to 1h, not 2h"),
        ("slow origin-1 --by soon", "'soon' is no duration"),
        (
            "faults inject http-status origin-1 status=99 x=1",
            "no parameter 'x': there are status, path, probability; status must be from 200 to 599",
        ),
        ("faults inject limit-cpu origin-1", "cpus has to be given: how many"),
        ("faults inject http-status origin-1 500", "'500' is no parameter: write NAME=VALUE"),
        ("faults inject http-status origin-1 status=500 status=501", "status is given twice"),
        ("faults inject link-cut link:a--b direction=up", "direction is one of both, forward, backward, not 'up'"),
        ("cut edge-1 --direction up", "direction is one of both, in, out, not 'up'"),
        ("cut edge-1 --from a,,b", "from must be names with commas between them"),
        ("faults clear", "say which fault, by its ID in `cdnlab faults show`, or --all"),
        ("faults clear f-1 --all", "say which fault, by its ID in `cdnlab faults show`, or --all"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_before_any_lab_is_asked(line: str, problem: str) -> None:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 2 and problem in result.output


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("run nonsense", "no file nonsense, and no scenario of that name ships: there are "),
        ("run nothing.yaml", "nothing.yaml: No such file or directory"),
        ("run", "Missing argument 'SCENARIO'"),
        ("run quickstart --duration 0", "'--duration'"),
        ("run quickstart --duration nan", "'--duration'"),
        ("run quickstart --duration inf", "'--duration'"),
        ("run quickstart --seed -1", "'--seed'"),
        ("run quickstart --seed 1000000000000000000000", "a whole number from 0 to "),
        ("run quickstart --runner podman", "'podman' is not one of 'processes', 'docker'"),
        ("run quickstart --topology nothing.yaml", "nothing.yaml: No such file or directory"),
        ("run edge-loss --topology tiny", "step 'an edge dies': no node has the pop 'FRA56-P1'"),
        ("run edge-loss --loopback 10.0.0.0/8", "loopback 10.0.0.0/8: not a part of 127.0.0.0/8"),
        ("run quickstart --fast", "No such option: --fast"),
        ("scenarios quickstart", "unexpected extra argument"),
        ("shrink nothing", "no run 'nothing'"),
    ],
)
def test_an_experiment_that_makes_no_sense_leaves_nothing(
    line: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 2 and problem in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_plan_does_nothing_and_scenarios_are_listed_for_people_and_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = json.loads(CliRunner().invoke(app, ["scenarios", "--json"]).output)["scenarios"]
    assert [each["name"] for each in listed] == list(shipped_scenarios())
    lines = CliRunner().invoke(app, ["scenarios"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_scenarios())
    for each, line in zip(listed, lines, strict=True):
        assert line.endswith(each["title"])
    plan = CliRunner().invoke(app, ["run", "quickstart", "--plan", "--duration", "60"])
    assert plan.exit_code == 0 and "60 s of viewers" in plan.output
    assert list(tmp_path.iterdir()) == []


def test_the_catalogue_needs_no_lab() -> None:
    told = CliRunner().invoke(app, ["faults", "list"]).output.splitlines()
    assert told[0].split() == ["FAULT", "AT", "WHAT", "IT", "DOES", "PARAMETERS"] and len(told) > 10


def test_what_does_not_heal_is_said_and_fails() -> None:
    fault = {
        "id": "f-1",
        "fault": "pause",
        "nodes": ["edge-1"],
        "links": [],
        "parameters": {},
        "state": "healing",
        "remaining_seconds": 2.04,
    }
    told = {**fault, "trouble": "edge-1 refuses", "failed_attempts": 3}
    assert faults_show.table([told]).splitlines()[1:] == [
        "f-1  pause  edge-1  tried again in 2s",
        "f-1 does not heal: edge-1 refuses (3 attempts)",
    ]
    given_up = faults_show.table([{**told, "state": "given_up", "remaining_seconds": None}])
    assert "given up, `cdnlab faults clear f-1` tries again" in given_up
    assert faults_clear.describe([told]) == "not healed, and tried again: f-1, pause at edge-1: edge-1 refuses"
