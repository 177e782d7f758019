"""The quick start's witnesses against a real origin process: the recorder, the object's probe, the router's probe."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lab.clients.async_http import ExchangeFailedError, exchange
from lab.history.recorder import Recorder, WatchedNode
from lab.history.witnesses import DnsProbe, ObjectProbe, version_body, wait_for_return
from proto.host_clock import HostClock
from tests.integration.loadtests.test_locust import free_port, running, wait_ready
from tests.integration.loadtests.test_viewer import (
    EDGE_1,
    EDGE_2,
    ScriptedEdge,
    ScriptedRouter,
    close_without_a_word,
    cut_short,
    ok,
)

HOST = "127.16.3.1"
CLOCK = HostClock()


@pytest.fixture(scope="module")
def origin() -> Iterator[tuple[str, str]]:
    """Content and admin address of an origin."""
    content, admin = f"{HOST}:{free_port(HOST)}", f"{HOST}:{free_port(HOST)}"
    with running("origin", "--node-id", "origin-1", "--listen", content, "--admin", admin):
        wait_ready(f"http://{admin}/readyz")
        yield content, admin


@asynccontextmanager
async def in_background(coroutine: Any) -> Any:
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Any, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # what is waited for happens in another process
            await asyncio.sleep(0.01)


async def test_the_recorder_writes_a_line_per_node_and_second_and_sees_the_dead(
    origin: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    nobody = f"{HOST}:{free_port(HOST)}"
    nodes = [WatchedNode("origin-1", "origin", "", origin[1]), WatchedNode("dead-1", "edge", "FRA56-P1", nobody)]
    recorder = Recorder(nodes, path, CLOCK)
    await exchange(origin[0], "/index.html")
    async with in_background(recorder.run()):
        await until(lambda: len(recorder.before) == 2)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(line["node"], line["up"]) for line in lines[:2]] == [("origin-1", True), ("dead-1", False)]
    assert lines[0]["requests"]["origin"] >= 1
    assert lines[0]["bytes_sent"] > 0
    assert set(lines[1]) == set(lines[0])
    assert lines[2]["time"] > lines[0]["time"]


async def test_the_recorder_costs_little(origin: tuple[str, str], tmp_path: Path) -> None:
    """Twelve nodes a second must take less than a tenth of a core."""
    nodes = [WatchedNode(f"n{number}", "origin", "", origin[1]) for number in range(12)]
    recorder = Recorder(nodes, tmp_path / "metrics.jsonl", CLOCK)
    with (tmp_path / "metrics.jsonl").open("w", encoding="utf-8") as file:
        await recorder.scrape_all(file)
        began, rounds = time.process_time(), 10
        for _ in range(rounds):
            await recorder.scrape_all(file)
        cost = (time.process_time() - began) / rounds
    assert all(line["up"] for line in recorder.latest.values())
    assert cost < 0.1


async def test_the_probe_sees_versions_as_they_change(origin: tuple[str, str], tmp_path: Path) -> None:
    content = origin[0]
    assert (await exchange(content, "/bucket/news", method="PUT")).status == 200
    await exchange(content, "/bucket/news/front.txt", method="PUT", body=version_body(1))
    nobody = f"{HOST}:{free_port(HOST)}"
    probe = ObjectProbe({"origin-1": content, "dead-1": nobody}, "d1.cdn.localhost", "/bucket/news/front.txt", CLOCK)
    async with in_background(probe.run()):
        await until(lambda: any(each.version == 1 for each in probe.sightings))
        await exchange(content, "/bucket/news/front.txt", method="PUT", body=version_body(2))
        changed_at = CLOCK.now()
        await until(lambda: any(each.version == 2 for each in probe.sightings))
    assert all(
        each.version == 2 for each in probe.sightings if each.began_at.is_after(changed_at) and each.node == "origin-1"
    )
    assert all(each.version is None for each in probe.sightings if each.node == "dead-1")
    probe.write(tmp_path / "probes.jsonl")
    assert len((tmp_path / "probes.jsonl").read_text(encoding="utf-8").splitlines()) == len(probe.sightings)


async def test_the_router_probe_asks_for_a_subnet_and_survives_silence() -> None:
    router = ScriptedRouter("127.16.0.7", "127.16.0.8", ttl=5)
    try:
        probe = DnsProbe(f"127.16.1.53:{router.port}", "d1.cdn.localhost", "10.2.0.0/16", CLOCK)
        assert await probe.ask() == ("127.16.0.7", "127.16.0.8")
        assert probe.ttl_seconds == 5
        assert router.questions == ["udp ECS 10.2.0.0/24 scope/0"]
        router.addresses = []
        assert await probe.ask() == ()
    finally:
        router.close()
    assert await probe.ask() == ()


async def test_a_return_is_the_first_answer_with_where_both_stand_in_the_log() -> None:
    router = ScriptedRouter("127.16.0.8")
    edge = ScriptedEdge(EDGE_1, 0, ok(b'{"applied_index": 7}'))
    control = ScriptedEdge(EDGE_2, 0, ok(b'{"head_index": 9}'))
    try:
        probe = DnsProbe(f"127.16.1.53:{router.port}", "d1.cdn.localhost", "10.2.0.0/16", CLOCK)
        admins = (f"{EDGE_1}:{edge.port}", f"{EDGE_2}:{control.port}")
        assert await wait_for_return(probe, "127.16.0.7", *admins, deadline_seconds=0.3) is None
        router.addresses.append("127.16.0.7")
        returned = await wait_for_return(probe, "127.16.0.7", *admins, deadline_seconds=5)
        assert returned is not None
        assert (returned.applied_index, returned.head_index) == (7, 9)
    finally:
        router.close()
        edge.close()
        control.close()


@pytest.mark.parametrize("script", [cut_short, close_without_a_word])
async def test_an_answer_that_is_not_whole_is_an_error(script: Any) -> None:
    edge = ScriptedEdge(EDGE_1, 0, script)
    try:
        with pytest.raises(ExchangeFailedError):
            await exchange(f"{EDGE_1}:{edge.port}", "/")
    finally:
        edge.close()


async def test_a_chunked_answer_is_put_together() -> None:
    def chunked(connection: Any) -> bool:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
        )
        return False

    edge = ScriptedEdge(EDGE_1, 0, chunked)
    try:
        assert (await exchange(f"{EDGE_1}:{edge.port}", "/")).body == b"abcdefg"
    finally:
        edge.close()
