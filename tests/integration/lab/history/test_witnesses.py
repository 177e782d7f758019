"""The lab's own witnesses against a real origin process: the recorder, who asks for an object, who asks a router."""

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
from lab.history.witnesses import Question, Watched, ask_router, watch_object
from proto.host_clock import HostClock, host_nanoseconds
from tests.integration.loadtests.load_peers import free_port, running, wait_ready
from tests.integration.loadtests.test_viewer import (
    EDGE_1,
    ScriptedEdge,
    ScriptedRouter,
    close_without_a_word,
    cut_short,
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


async def test_the_witness_of_an_object_writes_a_row_of_each_answer_and_of_each_failure(
    origin: tuple[str, str],
) -> None:
    content, path = origin[0], "/bucket/news/front.txt"
    assert (await exchange(content, "/bucket/news", method="PUT")).status == 200
    await exchange(content, path, method="PUT", body=b"first")
    nobody = f"{HOST}:{free_port(HOST)}"
    rows: list[dict[str, Any]] = []
    watched = Watched("d1.cdn.localhost:80", path, 0.02)
    async with in_background(
        watch_object({"origin-1": content, "dead-1": nobody}, watched, lambda row: rows.append(dict(row)))
    ):
        await until(lambda: any(each.get("received_bytes") == 5 for each in rows))
        await exchange(content, path, method="PUT", body=b"the second")
        changed_ns = host_nanoseconds()
        await until(lambda: any(each["started_ns"] > changed_ns and each.get("status") == 200 for each in rows))
    later = [each for each in rows if each["started_ns"] > changed_ns and each["viewer"] == "probe/origin-1"]
    assert {each["received_bytes"] for each in later} == {10}
    assert {(each["host"], each["path"], each["status"]) for each in later} == {("d1.cdn.localhost", path, 200)}
    dead = [each for each in rows if each["viewer"] == "probe/dead-1"]
    assert dead and all(
        each["error"] and "status" not in each and each["ended_ns"] >= each["started_ns"] for each in dead
    )
    assert len({each["id"] for each in rows}) == len(rows)


async def test_a_router_is_asked_for_a_subnet_and_its_silence_is_a_row() -> None:
    router = ScriptedRouter("127.16.0.7", "127.16.0.8", ttl=5)
    question = Question("dns-1", f"127.16.1.53:{router.port}", "d1.cdn.localhost", "eu", "10.2.0.0/16")
    try:
        row = await ask_router(question)
        assert (row["addresses"], row["ttl_seconds"], row["region"]) == ("127.16.0.7,127.16.0.8", 5, "eu")
        assert row["asked_ns"] <= row["answered_ns"]
        assert router.questions == ["udp ECS 10.2.0.0/16 scope/0"]
        router.addresses = []
        assert (await ask_router(question))["addresses"] == ""
    finally:
        router.close()
    assert (await ask_router(question))["addresses"] is None


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
