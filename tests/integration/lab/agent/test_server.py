"""The agent over HTTP: who may ask, what is refused and how, and what listeners are told."""

import http.client
import json
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from lab.agent.client import connect
from lab.api_server import REQUEST_SECONDS
from lab.clients.http_client import Reply, ask, split_address
from tests.integration.lab.agent.sleeping_lab import EDGE, OTHER_EDGE, SleepingLab, until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SleepingLab]:
    running = SleepingLab.up(tmp_path_factory.mktemp("lab"))
    try:
        running.start_agent()
        assert connect(running.state.path).answers()
        yield running
    finally:
        running.take_down()
    assert running.carried() == []


def send(lab: SleepingLab, method: str, path: str, document: object = None, **headers: str) -> Reply:
    fields = {
        "authorization": f"Bearer {lab.folder.token()}",
        "content-type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    body = None if document is None else json.dumps(document).encode()
    return ask(lab.folder.read().address, path, method=method, headers=fields.items(), body=body)


def said(reply: Reply) -> tuple[int, Any]:
    return reply.status, json.loads(reply.body)


def test_it_listens_on_loopback_and_its_token_is_its_owner_s(lab: SleepingLab) -> None:
    assert split_address(lab.folder.read().address)[0] == "127.0.0.1"
    assert stat.S_IMODE((lab.folder.path / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.folder.path.stat().st_mode) == 0o700
    assert lab.folder.token() not in lab.log()


@pytest.mark.parametrize("credential", ["", "Bearer ", "Bearer wrong", "Basic wrong", "Bearer wr\xf6ng"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/status"), ("DELETE", "/faults"), ("GET", "/events"), ("GET", "/x")]
)
def test_nobody_asks_without_the_token(lab: SleepingLab, method: str, path: str, credential: str) -> None:
    status, told = said(send(lab, method, path, authorization=credential))
    assert status == 401 and "Authorization: Bearer TOKEN" in told["error"]


def test_no_web_page_asks_even_with_it(lab: SleepingLab) -> None:
    assert send(lab, "GET", "/status", host="lab.example.com").status == 403
    assert send(lab, "GET", "/status", origin="http://example.com").status == 403
    assert send(lab, "GET", "/status", sec_fetch_site="cross-site").status == 403
    order = {"fault": "kill", "target": EDGE}
    assert send(lab, "POST", "/faults", order, content_type="text/plain").status == 415
    assert lab.works(EDGE)


PAGES = {
    "of another origin": {"origin": "http://example.com"},
    "of another port of this machine": {"origin": "http://localhost:3000", "host": "localhost:4000"},
    "in a sandbox": {"origin": "null"},
    "by a name that leads here": {"host": "rebound.example.com"},
    "by a name that looks like an address": {"host": "127.0.0.1.example.com"},
    "from another site": {"sec_fetch_site": "cross-site"},
    "with a second host": {"host": "localhost, example.com"},
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/events"), ("POST", "/faults"), ("DELETE", "/faults"), ("OPTIONS", "/faults")]
)
def test_a_web_page_is_refused_whatever_it_asks(lab: SleepingLab, page: str, method: str, path: str) -> None:
    """Even one that has learnt the token; and no answer gives it leave to read (Fetch, section 3.3)."""
    reply = send(lab, method, path, {} if method == "POST" else None, **PAGES[page])
    assert reply.status == 403
    assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_a_page_of_the_same_site_has_no_token_and_gets_no_leave_to_send_one(lab: SleepingLab) -> None:
    """What a page at another port of localhost can do without asking first: a plain read, whose answer is kept from it; and a preflight."""
    assert send(lab, "GET", "/events", authorization="", sec_fetch_site="same-site").status == 401
    preflight = send(
        lab,
        "OPTIONS",
        "/faults",
        authorization="",
        access_control_request_method="POST",
        access_control_request_headers="authorization",
    )
    assert preflight.status == 401
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ([], "a fault is ordered with a JSON object"),
        ({"target": EDGE, "lease": 1}, "unknown member 'lease'; fault has to be given, as text"),
        ({"fault": "kill", "target": EDGE, "parameters": []}, "parameters must be an object"),
        ({"fault": "kill", "target": EDGE, "parameters": {"x": 1}}, "no parameter 'x': there are none"),
        ({"fault": "kill", "target": EDGE, "lease_seconds": 3601}, "lease_seconds must be from 1ms to 1h"),
        ({"fault": "kill", "target": "edge-9"}, "no node 'edge-9': there are control-plane, dns-1, "),
        ({"fault": "http-drop", "target": EDGE}, f"http-drop is for origin, and {EDGE} is edge; there are origin-1"),
        ({"fault": "restart", "target": EDGE, "lease_seconds": 3}, "restart is over as soon as it is done"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_what_is_wrong(
    lab: SleepingLab, order: object, problem: str
) -> None:
    status, told = said(send(lab, "POST", "/faults", order))
    assert status == 400 and problem in told["error"]
    assert lab.is_whole and lab.leases_on_disk == []


def test_what_cannot_be_done_is_refused_and_nothing_of_it_is_left(lab: SleepingLab) -> None:
    client = connect(lab.state.path)
    status, told = said(send(lab, "POST", "/faults", {"fault": "limit-cpu", "target": EDGE, "parameters": {"cpus": 1}}))
    assert status == 409 and "processes have no limit of processors" in told["error"]
    lease = client.inject("kill", EDGE, None, {})
    status, told = said(send(lab, "POST", "/faults", {"fault": "pause", "target": f"{OTHER_EDGE},{EDGE}"}))
    assert status == 409 and f"{EDGE} has kill already ({lease['id']})" in told["error"]
    assert lab.works(OTHER_EDGE)
    assert [each["id"] for each in client.faults()] == [lease["id"]]
    assert client.clear(lease["id"])["state"] == "healed"
    assert said(send(lab, "DELETE", f"/faults/{lease['id']}"))[0] == 404
    assert lab.is_whole and lab.leases_on_disk == []


def test_a_node_that_is_started_leaves_a_fault_of_several_to_the_others(lab: SleepingLab) -> None:
    client = connect(lab.state.path)
    lease = client.inject("stop", "role:edge", None, {})
    assert lease["nodes"] == [EDGE, OTHER_EDGE]
    assert [each["nodes"] for each in client.start(EDGE)] == [[EDGE]]
    assert lab.works(EDGE) and not lab.works(OTHER_EDGE)
    assert [each["nodes"] for each in client.faults()] == [[OTHER_EDGE]]
    assert [each["nodes"] for each in client.clear_all()] == [[OTHER_EDGE]]
    assert lab.is_whole


def test_the_memory_of_a_node_is_limited_and_given_back(lab: SleepingLab) -> None:
    client = connect(lab.state.path)
    lease = client.inject("limit-memory", EDGE, None, {"mib": 64})
    assert lab.cluster.limits(EDGE).memory_mib == 64
    client.clear(lease["id"])
    assert lab.cluster.limits(EDGE).memory_mib == 0


def test_listeners_are_told_what_happens(lab: SleepingLab) -> None:
    connection = http.client.HTTPConnection(*split_address(lab.folder.read().address), timeout=20)
    connection.request("GET", "/events", headers={"authorization": f"Bearer {lab.folder.token()}"})
    stream = connection.getresponse()
    assert stream.getheader("content-type", "").startswith("text/event-stream")
    assert stream.readline() == b": listening\n"
    client = connect(lab.state.path)
    lease = client.inject("pause", EDGE, None, {})
    client.clear(lease["id"])
    events = [next_event(stream) for _ in range(2)]
    client.inject("kill", EDGE, 2.5, {})
    while (event := next_event(stream))[0] != "node":
        assert event[1]["fault"] == "kill"
    assert event[1]["id"] == EDGE and "down" in (event[1]["before"], event[1]["state"])
    until(lambda: client.faults() == [], lab.log())
    assert [(name, data["id"], data["state"]) for name, data in events] == [
        ("injected", lease["id"], "injected"),
        ("healed", lease["id"], "healed"),
    ]
    connection.close()


def next_event(stream: http.client.HTTPResponse) -> tuple[str, Any]:
    name = ""
    while True:
        field, _, value = stream.readline().decode().rstrip("\n").partition(": ")
        match field:
            case "event":
                name = value
            case "data":
                return name, json.loads(value)


def test_who_does_not_say_what_he_wants_is_cut_off(lab: SleepingLab) -> None:
    half = b"POST /faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    with ExitStack() as opened:
        for begun in (b"", half, half + b"\r\n{"):
            connection = socket.create_connection(split_address(lab.folder.read().address), 3 * REQUEST_SECONDS)
            opened.enter_context(connection).sendall(begun)
            opened.callback(read_to_the_end, connection)
    assert connect(lab.state.path).answers()


def read_to_the_end(connection: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while connection.recv(4096):
            pass


def test_the_catalogue_and_the_status(lab: SleepingLab) -> None:
    names = [each["name"] for each in said(send(lab, "GET", "/catalogue"))[1]["faults"]]
    assert "kill" in names and "http-delay" in names
    status = said(send(lab, "GET", "/status"))[1]
    assert (status["id"], status["pid"], status["topology"]) == ("agent", lab.agent.pid, "small")
    assert set(status["clock"]) == {"boot_id", "wall_ns", "monotonic_ns"}
