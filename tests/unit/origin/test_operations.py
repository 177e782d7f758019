"""What operators see: the log of requests, gates, the admin calls, the log file, metrics."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from origin import admin
from origin.errors import StalledError, StartError
from origin.gates import MAX_GATES, Gates
from origin.log_file import LogFile
from origin.messages import Response
from origin.node import AdminService, Clocks, OriginNode
from origin.request_log import MAX_RECORDED_BYTES, MAX_RECORDS, MAX_UNWRITTEN_LINES, RequestLog
from proto.admin_access import AdminAccess
from proto.moments import ClockAnchor
from tests.origin_builders import a_get, a_request

_NOW = 1_000_000.0
_NOW_NS = 7_000_000_000
ANCHOR = ClockAnchor("boot-1", wall_ns=1_000_000_000_000_000, monotonic_ns=50_000_000_000)


def a_node() -> OriginNode:
    return OriginNode("origin-1", Clocks(lambda: _NOW, lambda: _NOW))


def ask(node: OriginNode, method: str, target: str, document: object = None) -> Response:
    body = b"" if document is None else json.dumps(document).encode()
    return admin.respond(node, a_request(method, target, body=body), _NOW)


def json_of(response: Response) -> Any:
    return json.loads(bytes(response.body))  # type: ignore[arg-type]  # the admin port generates nothing


# The log


def test_requests_are_counted_by_path_and_remembered_newest_last() -> None:
    log = RequestLog()
    for target in ("/a?1", "/a?2", "/b"):
        log.record(a_get(target, ("X", "y")), 200, "site", _NOW, _NOW_NS)
    assert (log.count("/a"), log.count("/b"), log.count("/c"), log.count_under("/")) == (2, 1, 0, 3)
    described: Any = log.describe("/a", 10)
    assert described["total"] == 2 and described["counts"] == {"/a": 2}
    assert [record["target"] for record in described["requests"]] == ["/a?1", "/a?2"]
    assert described["requests"][0]["headers"] == [["X", "y"]]


def test_a_limit_shows_the_newest() -> None:
    log = RequestLog()
    for number in range(5):
        log.record(a_get(f"/{number}"), 200, "site", _NOW, _NOW_NS)
    described: Any = log.describe("/", 2)
    assert [record["target"] for record in described["requests"]] == ["/3", "/4"] and described["total"] == 5


def test_the_ring_is_bounded_in_number_and_in_bytes() -> None:
    log = RequestLog()
    for _ in range(MAX_RECORDS + 10):
        log.record(a_get("/a"), 200, "site", _NOW, _NOW_NS)
    described: Any = log.describe("/", 2 * MAX_RECORDS)
    assert len(described["requests"]) == MAX_RECORDS and described["total"] == MAX_RECORDS + 10
    big = ("X", "y" * 60_000)
    for _ in range(MAX_RECORDED_BYTES // 60_000 + 10):
        log.record(a_get("/a", big), 200, "site", _NOW, _NOW_NS)
    described = log.describe("/", 2 * MAX_RECORDS)
    assert len(described["requests"]) <= MAX_RECORDED_BYTES // 60_000


def test_resetting_forgets_everything() -> None:
    log = RequestLog()
    log.record(a_get("/a"), 200, "site", _NOW, _NOW_NS)
    log.reset()
    assert log.count("/a") == log.total == 0 and log.describe("/", 10)["requests"] == []


def test_lines_for_the_file_are_taken_once_and_bounded() -> None:
    log = RequestLog(is_written=True)
    for _ in range(MAX_UNWRITTEN_LINES + 5):
        log.record(a_get("/a"), 200, "site", _NOW, _NOW_NS)
    lines = list(log.take_lines())
    assert len(lines) == MAX_UNWRITTEN_LINES and log.dropped_lines == 5
    assert json.loads(lines[0])["target"] == "/a" and list(log.take_lines()) == []


def test_the_file_moves_aside_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    file = LogFile(path, max_bytes=10)
    for line in ("first line\n", "second line\n", "third\n"):
        file.write([line])
    file.close()
    assert (tmp_path / "requests.jsonl.1").read_text() == "second line\n" and path.read_text() == "third\n"


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such file or directory"):
        LogFile(tmp_path / "missing" / "requests.jsonl")


# Gates


async def test_a_gate_holds_until_it_is_opened_and_then_stays_open() -> None:
    gates = Gates()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(gates.wait_open("g")) for _ in range(3)]
        await asyncio.sleep(0)
        assert gates.state("g") == {"id": "g", "waiting": 3, "open": False}
        assert not any(task.done() for task in waiting)
        gates.open("g")
    await gates.wait_open("g")
    assert gates.state("g") == {"id": "g", "waiting": 0, "open": True}


async def test_a_gate_is_closed_again_by_removing_it() -> None:
    gates = Gates()
    gates.open("g")
    assert gates.remove("g") and not gates.remove("g")
    assert gates.state("g") == {"id": "g", "waiting": 0, "open": False}


async def test_waiting_is_bounded() -> None:
    gates = Gates(max_wait_seconds=0.0)
    with pytest.raises(StalledError, match="not opened within"):
        await gates.wait_open("g")
    assert gates.state("g")["waiting"] == 0


async def test_who_goes_away_waits_no_longer() -> None:
    gates = Gates()
    task = asyncio.ensure_future(gates.wait_open("g"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gates.state("g")["waiting"] == 0


def test_gates_are_bounded_and_the_oldest_idle_one_goes() -> None:
    gates = Gates()
    for number in range(MAX_GATES + 1):
        gates.open(str(number))
    assert len(gates.states()) == MAX_GATES and gates.state("0")["open"] is False


# The admin calls


def test_behaviors_are_set_listed_and_removed() -> None:
    node = a_node()
    created = ask(node, "POST", "/behaviors", {"path_prefix": "/x", "status": 503})
    behavior_id = json_of(created)["id"]
    assert created.status == 201
    (listed,) = json_of(ask(node, "GET", "/behaviors"))["behaviors"]
    assert listed["id"] == behavior_id and listed["status"] == 503 and listed["lease_remaining_seconds"] == 60.0
    assert node.decide(a_get("/x")).response.status == 503
    assert ask(node, "DELETE", f"/behaviors/{behavior_id}").status == 200
    assert ask(node, "DELETE", f"/behaviors/{behavior_id}").status == 404
    assert node.decide(a_get("/pages/1.html")).response.status == 200


def test_wrong_behaviors_are_400_with_every_problem() -> None:
    response = ask(a_node(), "POST", "/behaviors", {"path_prefix": "x", "status": 1})
    assert response.status == 400 and len(json_of(response)["problems"]) == 2
    assert admin.respond(a_node(), a_request("POST", "/behaviors", body=b"{"), _NOW).status == 400


def test_requests_and_counts() -> None:
    node = a_node()
    node.decide(a_get("/echo/a?x=1"))
    node.decide(a_get("/echo/b"))
    assert json_of(ask(node, "GET", "/count?path=/echo/a")) == {"count": 1}
    assert json_of(ask(node, "GET", "/count?path_prefix=/echo")) == {"count": 2}
    assert [item["target"] for item in json_of(ask(node, "GET", "/requests?path_prefix=/echo/a"))["requests"]] == [
        "/echo/a?x=1"
    ]
    assert ask(node, "DELETE", "/requests").status == 204
    assert json_of(ask(node, "GET", "/count?path=/echo/a")) == {"count": 0}
    assert ask(node, "GET", "/count").status == 400


async def test_gates_by_call() -> None:
    node = a_node()
    assert json_of(ask(node, "GET", "/gates/g")) == {"id": "g", "waiting": 0, "open": False}
    assert json_of(ask(node, "POST", "/gates/g"))["open"] is True
    assert json_of(ask(node, "GET", "/gates"))["gates"] == [{"id": "g", "waiting": 0, "open": True}]
    assert json_of(ask(node, "DELETE", "/gates/g")) == {"removed": 1}


def test_health_and_readiness_and_status() -> None:
    node = a_node()
    assert ask(node, "GET", "/healthz").body == b"ok"
    assert ask(node, "GET", "/readyz").status == 503  # nobody listens yet
    status = json_of(ask(node, "GET", "/status"))
    assert (status["id"], status["role"], status["lease"]) == ("origin-1", "origin", "none")


def test_metrics_count_requests_and_bytes_by_kind() -> None:
    node = a_node()
    node.decide(a_get("/api/time"))
    node.decide(a_get("/api/none"))
    node.count_sent_bytes("api", 70)
    text = node.metrics_text().decode()
    assert 'cdn_origin_requests_total{kind="api",status="2xx"} 1.0' in text
    assert 'cdn_origin_requests_total{kind="api",status="4xx"} 1.0' in text
    assert 'cdn_origin_response_bytes_total{kind="api"} 70.0' in text
    assert 'cdn_node_info{node="origin-1",pop="",region="",role="origin"' in text


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/x", 404), ("PUT", "/behaviors", 405), ("POST", "/requests", 405), ("GET", "/requests?limit=x", 400)],
)
def test_what_is_not_there(method: str, target: str, status: int) -> None:
    assert ask(a_node(), method, target).status == status


class SetClocks:
    """A wall clock that somebody sets, and time that passes."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0
        self.node = OriginNode("origin-1", Clocks(lambda: self.wall, lambda: self.steady, ANCHOR))
        self.operators = AdminService(self.node, AdminAccess([]))

    def misbehave(self, lease_seconds: float) -> None:
        document = {"path_prefix": "/echo/", "status": 503, "lease_seconds": lease_seconds}
        fields = (("Content-Type", "application/json"),)
        request = a_request("POST", "/behaviors", *fields, body=json.dumps(document).encode())
        assert self.operators.decide(request).response.status == 201

    def is_misbehaving(self) -> bool:
        listed = json_of(self.operators.decide(a_get("/behaviors")).response)["behaviors"]
        status = self.node.decide(a_get("/echo/x")).response.status
        assert (status == 503) is bool(listed), "what is listed is what happens"
        return status == 503


@pytest.mark.parametrize("set_by_seconds", [-86_400.0, 86_400.0])
def test_a_lease_lasts_as_long_as_it_says_whoever_sets_the_clock(set_by_seconds: float) -> None:
    clocks = SetClocks()
    clocks.misbehave(30.0)
    clocks.wall += set_by_seconds
    clocks.steady += 29.0
    assert clocks.is_misbehaving()
    clocks.steady += 2.0
    assert not clocks.is_misbehaving()


def test_what_it_was_asked_and_what_is_wrong_with_it_have_moments_of_one_clock() -> None:
    clocks = SetClocks()
    clocks.misbehave(30.0)
    for wall in (1_000_000.0, 5.0):
        clocks.wall = wall
        clocks.steady += 1.5
        clocks.node.decide(a_get("/site/x"))
    described = json_of(clocks.operators.decide(a_get("/requests")).response)["requests"]
    assert [record["monotonic_ns"] for record in described] == [51_500_000_000, 53_000_000_000]
    (behavior,) = json_of(clocks.operators.decide(a_get("/behaviors")).response)["behaviors"]
    assert behavior["expires_monotonic_ns"] == 80_000_000_000
    assert clocks.node.status()["clock"] == ANCHOR.to_json()


def test_the_time_since_the_start_does_not_follow_a_clock_that_is_set() -> None:
    clocks = SetClocks()
    clocks.wall -= 86_400
    clocks.steady += 5
    assert clocks.node.status()["uptime_seconds"] == 5.0


# The lab's clock


def test_an_origin_is_told_how_far_the_lab_s_clock_is_ahead() -> None:
    clocks = SetClocks()
    assert json_of(ask(clocks.node, "GET", "/clock")) == {"ahead_seconds": 0.0}
    before = clocks.node.wall()
    assert json_of(ask(clocks.node, "POST", "/clock", {"ahead_seconds": 86_400})) == {"ahead_seconds": 86_400.0}
    assert clocks.node.wall() == before + 86_400
    clocks.node.decide(a_get("/site/x"))
    (record,) = json_of(ask(clocks.node, "GET", "/requests"))["requests"]
    assert record["time"] == before + 86_400 and clocks.node.status()["clock_ahead_seconds"] == 86_400


def test_leases_at_an_origin_do_not_travel() -> None:
    clocks = SetClocks()
    clocks.misbehave(30.0)
    ask(clocks.node, "POST", "/clock", {"ahead_seconds": 86_400})
    assert clocks.is_misbehaving()


@pytest.mark.parametrize(
    "document", [None, [], {}, {"ahead_seconds": -1}, {"ahead_seconds": "1"}, {"ahead_seconds": 1, "x": 2}]
)
def test_what_is_no_clock_is_refused(document: object) -> None:
    node = a_node()
    response = ask(node, "POST", "/clock", document)
    assert response.status == 400 and json_of(response)["problems"] and node.wall() == _NOW
    assert ask(node, "DELETE", "/clock").status == 405


def test_a_page_cannot_move_the_clock() -> None:
    operators = AdminService(a_node(), AdminAccess([]))
    body = json.dumps({"ahead_seconds": 1}).encode()
    assert operators.decide(a_request("POST", "/clock", body=body)).response.status == 415
