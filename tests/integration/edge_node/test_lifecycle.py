"""A node's start, its end in which no request is cut, what it tells operators, and what it writes of each request."""

import asyncio
import json
import re
import signal
import socket
import struct
from pathlib import Path

import pytest

from edge_node import IS_COMPILED
from loadtests.traces.reader import read_trace
from loadtests.traces.trace_reading import TraceProgress
from tests.builders import IDLE_NODE_MIB, behavior_message
from tests.peers.nodes import EdgeLab, Node, free_address, own_address, until
from tests.peers.origin import OriginExchange, cacheable, gated, reply
from tests.peers.viewer import Viewer, get

IDLE_EDGE_MIB = IDLE_NODE_MIB - 5
"""An edge gives back the pages that only its start needed (edge_node/observability/resident_memory.py), also those of compiled modules."""


async def test_sigterm_cuts_no_request_in_flight(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", "regional-1")
        site = await lab.site(
            behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"])
        )
        gate = asyncio.Event()

        async def in_two_parts(exchange: OriginExchange) -> None:
            await exchange.send_head(200, ("Cache-Control", "no-store"), length=6)
            await exchange.send(b"abc")
            await gate.wait()
            await exchange.send(b"def")

        site.script("/body", in_two_parts)
        site.script("/head", gated(gate, cacheable(b"later")))
        site.script("/post", gated(gate, reply(200, b"posted")))
        async with (
            Viewer(lab.edge.http) as idle,
            Viewer(lab.edge.http) as body,
            Viewer(lab.edge.http) as head,
            Viewer(lab.edge.http) as post,
        ):
            await body.ask(site.host, "/body")
            assert (await body.read_head())["connection"] == "keep-alive"
            await head.ask(site.host, "/head")
            await post.ask(site.host, "/post", method="POST", body=b"x")
            for path in ("/head", "/post"):
                await site.wait_asked(path)
            for node in lab.nodes:
                node.signal(signal.SIGTERM)
            assert await idle.read_rest() == b""  # an idle connection is closed at once
            host, _, port = lab.edge.http.rpartition(":")

            async def is_refused() -> bool:
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except ConnectionRefusedError:
                    return True
                writer.transport.abort()
                return False

            async with asyncio.timeout(10):
                while not await is_refused():
                    await asyncio.sleep(0.01)
            gate.set()
            assert await body.read_rest() == b"abcdef"
            answer = await head.read()
            assert (answer.status, answer.body, answer["connection"]) == (200, b"later", "close")
            assert await head.read_rest() == b""
            answer = await post.read()
            assert (answer.status, answer.body, answer["connection"]) == (200, b"posted", "close")
        assert [await node.ended() for node in lab.nodes] == [0, 0]
        assert "Traceback" not in lab.edge.log() + lab.regional.log()
        assert {record[7] for record in lab.edge.access_log()} == {"/body", "/head", "/post"}  # the log is whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_node_ends_at_once_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1")
        edge.signal(number)
        assert await edge.ended(timeout=3) == 0


async def test_a_fill_that_nobody_waits_for_does_not_keep_a_node_alive(tmp_path: Path) -> None:
    """The viewer was satisfied with 304 and the body is still on its way to the store."""
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1")
        site = await lab.site()

        async def script(exchange: OriginExchange) -> None:
            await exchange.send_head(200, ("Cache-Control", "max-age=60"), ("ETag", '"1"'), length=10)
            await asyncio.Event().wait()

        site.script("/a", script)
        assert (await site.get("/a", ("If-None-Match", '"1"'))).status == 304
        edge.signal(signal.SIGTERM)
        assert await edge.ended(timeout=5) == 0


async def test_an_address_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    host = own_address()
    with socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen()
        node = Node(
            "edge-1", "edge", tmp_path, "127.0.0.1:1", http=f"{host}:{taken.getsockname()[1]}", admin=free_address(host)
        )
        with pytest.raises(AssertionError):
            await node.start()
        assert await node.ended() == 1
        assert node.log().splitlines()[-1] == f"cannot listen on {node.http}: address already in use"


async def test_a_state_folder_that_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    node = Node("edge-1", "edge", tmp_path, "127.0.0.1:1")
    with pytest.raises(AssertionError):
        await node.start()
    assert await node.ended() == 1
    last = node.log().splitlines()[-1]
    assert (
        last == f"the state folder {tmp_path / 'state'} cannot be used: file exists; give another one with --state-dir"
    )


async def test_a_node_says_what_it_is_and_when_it_is_ready(tmp_path: Path) -> None:
    node = Node("edge-1", "edge", tmp_path, "127.17.0.1:1")
    try:
        await node.start()
        assert (await node.ask_admin("/healthz")).body == b"ok\n"
        not_ready = await node.ask_admin("/readyz")
        assert not_ready.status == 503 and b"no configuration yet" in not_ready.body
        refused = await get(node.http, "d1.cdn.localhost", "/")
        assert (refused.status, refused.result) == (503, "Error")
        status = await node.status()
        assert (status["id"], status["role"], status["pop"], status["lease"], status["log_id"]) == (
            "edge-1",
            "edge",
            "FRA56-P1",
            "none",
            "",
        )
    finally:
        await node.stop()


async def test_an_idle_edge_is_small(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1")
        async with asyncio.timeout(20):
            while edge.memory("VmRSS") > IDLE_EDGE_MIB * (1 << 20):
                await asyncio.sleep(0.05)
        print(f"idle edge: {edge.memory('VmRSS') / (1 << 20):.1f} MiB resident")


async def test_the_admin_port_answers_operators_and_survives_nonsense(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1")
        site = await lab.site()
        site.script("/a", cacheable())
        await site.get("/a")
        await site.get("/a")
        assert (await edge.ask_admin("/readyz")).status == 200
        assert b"\ncdn_edge_compiled %.1f\n" % IS_COMPILED in (await edge.ask_admin("/metrics")).body
        async with asyncio.timeout(10):
            while (await edge.status())["lease"] != "held":
                await asyncio.sleep(0.05)
        status = await edge.status()
        assert (
            status["applied_index"] == site.index
            and status["store"]["entries"] == 1
            and status["distributions"] == [site.id]
        )
        assert await edge.metric('cdn_requests_total{reason="fresh",result="hit"}') == 1
        assert await edge.metric('cdn_responses_total{status="2xx"}') == 2
        assert await edge.metric("cdn_lease_held") == 1

        def explain(**document: object) -> bytes:
            return json.dumps({"method": "GET", "url": f"http://{site.host}/a"} | document).encode()

        explained = json.loads((await edge.ask_admin("/explain", "POST", explain())).body)
        assert (explained["decision"], explained["reason"], explained["freshness"]["rule"]) == (
            "hit",
            "fresh",
            "max-age",
        )
        assert explained["next"] is None and explained["key"]["path"] == "/a"
        explained = json.loads((await edge.ask_admin("/explain", "POST", explain(url=f"http://{site.host}/b"))).body)
        assert (explained["decision"], explained["next"]["kind"], explained["next"]["path"]) == (
            "miss",
            "origin",
            f"/{site.id}/b",
        )
        explained = json.loads((await edge.ask_admin("/explain", "POST", explain(method="POST"))).body)
        assert (explained["decision"], explained["reason"]) == ("error", "method_not_allowed")
        explained = json.loads((await edge.ask_admin("/explain", "POST", explain(url="http://nowhere/"))).body)
        assert (explained["decision"], explained["reason"]) == ("error", "unknown_host")

        for path, method, body, expected in (
            ("/nothing", "GET", None, 404),
            ("/healthz", "POST", b"x", 405),
            ("/explain", "GET", None, 405),
            ("/explain", "POST", b"", 400),
            ("/explain", "POST", b"\xff", 400),
            ("/explain", "POST", b"[]", 400),
            ("/explain", "POST", b"[" * 50_000, 400),
            ("/explain", "POST", explain(headers=[["a"]]), 400),
            ("/explain", "POST", explain(url=5), 400),
            ("/explain", "POST", b"x" * 70_000, 413),
        ):
            answer = await edge.ask_admin(path, method, body)
            assert answer.status == expected, (path, method, body)
        for host, fields, method, expected in (
            ("edge-1:9100", (), "GET", 200),
            ("evil.example", (), "GET", 403),
            ("localhost", (("Origin", "http://evil.example"),), "GET", 403),
            ("localhost", (("Sec-Fetch-Site", "cross-site"),), "GET", 403),
            ("localhost", (("Content-Type", "text/plain"),), "POST", 415),
        ):
            path, body = ("/explain", explain()) if method == "POST" else ("/status", None)
            answer = await get(edge.admin, host, path, *fields, method=method, body=body)
            assert answer.status == expected, (host, fields)
        for raw in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
            b"x" * 40_000,
        ):
            async with Viewer(edge.admin) as operator:
                operator.writer.write(raw)
                operator.writer.write_eof()
                await operator.read_rest()
        assert (await edge.ask_admin("/healthz")).status == 200
        assert len(site.asked("/a")) == 1 and len(site.asked("/b")) == 0  # explaining asks nobody
        assert "Traceback" not in edge.log() and "ERROR" not in edge.log()


async def test_every_request_leaves_one_line_of_33_fields(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1")
        site = await lab.site()
        site.script("/a", reply(200, b"hello", ("Cache-Control", "max-age=60"), ("Content-Type", "text/plain")))
        site.script("/gone", reply(404, b"none"))
        agent = ("User-Agent", 'A "quoted"\tagent %41')
        miss = await site.get("/a?x=1&y=%20", agent, ("Referer", "http://r/"))
        hit = await site.get("/a?x=1&y=%20")
        part = await site.get("/a?x=1&y=%20", ("Range", "bytes=1-2"))
        await site.get("/gone")
        async with Viewer(edge.http) as viewer:
            await viewer.send(b"nonsense\r\n\r\n")
            await viewer.read()
        await until(lambda: len(edge.access_log()) == 5, "five records")
        records = edge.access_log()
        fields = next(
            line for line in (edge.directory / "access.log").read_text().splitlines() if line.startswith("#Fields:")
        ).split()[1:]
        assert len(fields) == 33 and {len(record) for record in records} == {33}
        progress = TraceProgress()
        replayed = list(read_trace(edge.directory / "access.log", progress=progress))
        targets = [(each.target, each.size_bytes) for each in replayed]
        assert sorted(targets) == [("/a?x=1&y=%20", 3), ("/a?x=1&y=%20", 5), ("/a?x=1&y=%20", 5), ("/gone", 4)]
        assert {each.region for each in replayed} == {"FRA56-P1"} and progress.left_out.total() == 1
        first, second, third, fourth, fifth = (dict(zip(fields, record, strict=True)) for record in records)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", first["date"]) and re.fullmatch(r"\d\d:\d\d:\d\d", first["time"])
        assert (first["x-edge-location"], first["cs-method"], first["cs(Host)"], first["cs-uri-stem"]) == (
            "FRA56-P1",
            "GET",
            site.host,
            "/a",
        )
        assert first["cs-uri-query"] == "x=1&y=%2520"  # "%" is itself encoded, reference 8.1
        assert first["cs(User-Agent)"] == "A%20%22quoted%22%09agent%20%2541"
        assert (first["cs(Referer)"], first["cs(Cookie)"], first["ssl-protocol"], first["cs-protocol"]) == (
            "http://r/",
            "-",
            "-",
            "http",
        )
        assert (first["x-edge-result-type"], first["x-edge-request-id"], first["sc-status"]) == (
            "Miss",
            miss["x-amz-cf-id"],
            "200",
        )
        assert (second["x-edge-result-type"], second["x-edge-request-id"], second["cs(User-Agent)"]) == (
            "Hit",
            hit["x-amz-cf-id"],
            "-",
        )
        assert (
            first["sc-content-type"],
            first["sc-content-len"],
            first["sc-range-start"],
            first["cs-protocol-version"],
        ) == ("text/plain", "5", "-", "HTTP/1.1")
        assert int(second["sc-bytes"]) > len(hit.body) + 100 and int(first["cs-bytes"]) > 60
        assert re.fullmatch(r"\d+\.\d{3}", first["time-taken"]) and re.fullmatch(
            r"\d+\.\d{3}", first["time-to-first-byte"]
        )
        assert (third["sc-status"], third["sc-range-start"], third["sc-range-end"], third["sc-content-len"]) == (
            "206",
            "1",
            "2",
            str(len(part.body)),
        )
        assert (fourth["sc-status"], fourth["x-edge-result-type"], fourth["x-edge-detailed-result-type"]) == (
            "404",
            "Error",
            "OriginError",
        )
        assert (fifth["sc-status"], fifth["cs-method"], fifth["cs(Host)"], fifth["x-edge-detailed-result-type"]) == (
            "400",
            "-",
            "-",
            "InvalidRequest",
        )


async def test_a_viewer_that_leaves_before_its_answer_is_logged_with_000(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        (edge,) = await lab.start("edge-1")
        site = await lab.site()
        never = asyncio.Event()
        site.script("/a", gated(never, cacheable()))
        async with Viewer(edge.http) as viewer:
            await viewer.ask(site.host, "/a")
            await site.wait_asked("/a")
            # A reset: a mere end of what it sends would still leave it waiting for its answer.
            viewer.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        record = await edge.logged("/a")
        assert (record[8], record[13], record[28]) == ("000", "Error", "ClientCommError")
        assert (await edge.ask_admin("/metrics")).status == 200
