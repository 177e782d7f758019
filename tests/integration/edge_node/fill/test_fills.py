"""Fills over real sockets, where peers do what they like: answers in one piece, at a byte a time and late; viewers that leave while others wait for the same.

Every byte that a viewer gets is read by the strict reader of `tests/fuzz/strict_http.py`, and so is the next hit: what is stored must be a message too.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, origin_message
from tests.fuzz.strict_http import End, Response, read_responses
from tests.peers.nodes import EdgeLab, Node, Site
from tests.peers.origin import OriginExchange, Script, cacheable, in_turn
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")

COLLAPSED = "cdn_collapsed_requests_total"
STRICT = configuration_pb2.SEMANTICS_RFC9111


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("fills")) as lab:
        await lab.start("edge-1")
        yield lab


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tiers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("tiers")) as lab:
        await lab.start("edge-1", "regional-1")
        yield lab


async def read_strictly(site: Site, path: str, *headers: tuple[str, str], method: str = "GET") -> Response:
    """All that the node says until it closes is one whole response, and no byte more."""
    async with Viewer(site.lab.edge.http) as viewer:
        await viewer.ask(site.host, path, *headers, ("Connection", "close"), method=method)
        return judged(await viewer.read_rest(), method)


def judged(data: bytes, method: str = "GET") -> Response:
    responses, end = read_responses(data, [method.encode()], is_closed=True)
    assert end is End.CLEAN and responses[-1].is_whole, (end, data[:300])
    return responses[-1]


# -- failover by status


def writes(head_and_body: bytes, way: str) -> Script:
    """The same response in one write, a byte at a time, or with its body later."""

    async def script(exchange: OriginExchange) -> None:
        head, end, body = head_and_body.partition(b"\r\n\r\n")
        match way:
            case "one piece":
                await exchange.send(head_and_body)
            case "bytes":
                for position in range(len(head_and_body)):
                    await exchange.send(head_and_body[position : position + 1])
                    await asyncio.sleep(0)
            case _:
                await exchange.send(head + end)
                await asyncio.sleep(0)
                await exchange.send(body)

    return script


async def group_site(lab: EdgeLab, **changes: Any) -> Site:
    site = lab.make_site(behavior_message(origin_group_id="group", **changes))
    site.message.origins.append(
        origin_message(lab.origin.host, lab.origin.port, id="second", path_prefix=f"/{site.id}/second")
    )
    site.message.origin_groups.add(
        id="group", primary_origin_id="origin", secondary_origin_id="second", failover_statuses=[404, 503]
    )
    await lab.put(site)
    return site


FAILED = {
    "length": b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nprimary!\n",
    "chunked": b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nprimary!\n\r\n0\r\n\r\n",
    "empty": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "of the page": b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nCache-Control: max-age=60\r\n\r\nprimary!\n",
}


@pytest.mark.parametrize("semantics", [configuration_pb2.SEMANTICS_CLOUDFRONT, STRICT])
@pytest.mark.parametrize("way", ["one piece", "bytes", "body later"])
@pytest.mark.parametrize("failed", FAILED)
async def test_nothing_of_a_response_that_fails_over_reaches_viewer_or_store(
    lab: EdgeLab, failed: str, way: str, semantics: configuration_pb2.Semantics.ValueType
) -> None:
    site = await group_site(lab, semantics=semantics)
    site.script("/a", writes(FAILED[failed], way))
    site.script("/second/a", cacheable(b"secondary\n"))
    for result in ("Miss", "Hit"):
        response = await read_strictly(site, "/a")
        assert (response.status, response.body) == (200, b"secondary\n")
        assert response.values(b"x-cache") == [f"{result} from cloudfront".encode()]
        assert response.values(b"content-length") == [b"10"]
    assert (len(site.asked("/a")), len(site.asked("/second/a"))) == (1, 1)


async def test_through_both_tiers_nothing_of_a_response_that_fails_over_is_seen(tiers: EdgeLab) -> None:
    site = await group_site(tiers)
    site.script("/a", writes(FAILED["length"], "one piece"))
    site.script("/second/a", cacheable(b"secondary\n"))
    for _ in range(2):
        assert (await read_strictly(site, "/a")).body == b"secondary\n"
    assert len(site.asked("/second/a")) == 1


async def test_everybody_who_waits_and_a_range_get_the_secondarys_bytes_alone(lab: EdgeLab) -> None:
    site = await group_site(lab)
    gate = asyncio.Event()

    async def script(exchange: OriginExchange) -> None:
        await gate.wait()
        await exchange.send(FAILED["length"])

    site.script("/a", script)
    site.script("/second/a", cacheable(b"secondary\n", 3600, ("ETag", '"1"')))
    before = await lab.edge.metric(COLLAPSED)
    waiting = [asyncio.create_task(read_strictly(site, "/a")) for _ in range(3)]
    await collapsed(lab.edge, before + 2)
    gate.set()
    assert [(await task).body for task in waiting] == [b"secondary\n"] * 3
    part = await read_strictly(site, "/a", ("Range", "bytes=0-3"))
    assert (part.status, part.body) == (206, b"seco")


# -- the leader leaves


async def collapsed(node: Node, count: float) -> None:
    """Until so many have joined others."""
    async with asyncio.timeout(10):
        while await node.metric(COLLAPSED) < count:
            await asyncio.sleep(0.005)


def resets(viewer: Viewer) -> None:
    """Leave for good: a mere close looks like a viewer that has said all and still reads."""
    viewer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    viewer.writer.transport.abort()


async def left(node: Node, target: str) -> None:
    """Until the node has seen that the viewer of this request has gone."""
    async with asyncio.timeout(10):
        while not any(target in fields and "ClientCommError" in fields for fields in node.access_log()):
            await asyncio.sleep(0.005)


def says_who_asks(gate: asyncio.Event, field: str, status: int, *headers: tuple[str, str]) -> Script:
    """The first answer waits for the gate; each has in it who asked, as its own cookie and body."""

    async def script(exchange: OriginExchange) -> None:
        who = exchange.request.get(field) or "nobody"
        await gate.wait()
        await exchange.answer(status, f"for {who}".encode(), *headers, ("Set-Cookie", f"session={who}"))

    return script


PRIVATE = ("Cache-Control", "private")


@pytest.mark.parametrize(
    ("semantics", "field", "status", "headers"),
    [
        (STRICT, "Cookie", 200, (PRIVATE,)),
        (STRICT, "Cookie", 404, (PRIVATE,)),
        (STRICT, "Cookie", 200, (("Cache-Control", "max-age=60"), ("Vary", "Cookie"))),
        (STRICT, "Cookie", 200, (("Cache-Control", "no-store"),)),
        (STRICT, "Cookie", 200, (("Cache-Control", 'max-age=60, no-cache="Set-Cookie"'), ("Vary", "Cookie"))),
        (configuration_pb2.SEMANTICS_CLOUDFRONT, "From", 200, (PRIVATE,)),
        (configuration_pb2.SEMANTICS_CLOUDFRONT, "Origin", 200, (PRIVATE,)),
        (configuration_pb2.SEMANTICS_CLOUDFRONT, "From", 200, (("Cache-Control", "max-age=0"),)),
    ],
)
async def test_when_who_began_has_left_nobody_gets_the_answer_that_was_for_them_alone(
    lab: EdgeLab,
    semantics: configuration_pb2.Semantics.ValueType,
    field: str,
    status: int,
    headers: tuple[tuple[str, str], ...],
) -> None:
    site = await lab.site(behavior_message(semantics=semantics))
    gate = asyncio.Event()
    site.script("/a", says_who_asks(gate, field, status, *headers))
    before = await lab.edge.metric(COLLAPSED)
    async with Viewer(lab.edge.http) as leader, Viewer(lab.edge.http) as second, Viewer(lab.edge.http) as third:
        target = f"/a?{site.id}"
        await leader.ask(site.host, target, (field, "a"))
        await site.wait_asked("/a")
        for viewer, who in ((second, "b"), (third, "c")):
            await viewer.ask(site.host, target, (field, who), ("Connection", "close"))
        await collapsed(lab.edge, before + 2)
        resets(leader)
        await left(lab.edge, site.host)
        gate.set()
        for viewer, who in ((second, "b"), (third, "c")):
            response = judged(await viewer.read_rest())
            assert response.body == f"for {who}".encode()
            if semantics == STRICT:  # elsewhere no cookie passes a behavior that forwards none
                assert response.values(b"set-cookie") == [f"session={who}".encode()]
    assert [request.get(field) for request in site.asked("/a")] == ["a", "b", "c"]


async def test_a_304_for_who_has_left_confirms_nothing_for_the_others(lab: EdgeLab) -> None:
    site = await lab.site(behavior_message(semantics=STRICT))
    gate = asyncio.Event()
    stored = cacheable(b"shared", 60, ("Age", "60"), ("ETag", '"1"'))

    async def confirms(exchange: OriginExchange) -> None:
        await gate.wait()
        await exchange.send_head(304, PRIVATE, ("ETag", '"1"'), ("X-For", exchange.request["cookie"]))

    site.script("/a", in_turn(stored, confirms, says_who_asks(gate, "cookie", 200, PRIVATE)))
    await site.get("/a")
    before = await lab.edge.metric(COLLAPSED)
    async with Viewer(lab.edge.http) as leader, Viewer(lab.edge.http) as second:
        await leader.ask(site.host, "/a", ("Cookie", "a"))
        await site.wait_asked("/a", 2)
        await second.ask(site.host, "/a", ("Cookie", "b"), ("Connection", "close"))
        await collapsed(lab.edge, before + 1)
        resets(leader)
        await left(lab.edge, site.host)
        gate.set()
        response = judged(await second.read_rest())
        assert (response.body, response.values(b"x-for")) == (b"for b", [])


# -- a 304 for what is on disk


async def test_a_confirmed_body_on_disk_is_sent_whole_and_in_part_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab:
        await lab.start("edge-1", cache_bytes=4 << 20, disk_bytes=64 << 20)
        site = await lab.site()
        body = bytes(range(256)) * 8_192  # 2 MiB: more than an eighth of memory
        stored = cacheable(body, 60, ("Age", "60"), ("ETag", '"1"'))

        async def confirms(exchange: OriginExchange) -> None:
            await exchange.send_head(304, ("Cache-Control", "max-age=60"), ("ETag", '"1"'), ("X-New", "1"))

        site.script("/a", in_turn(stored, confirms))
        for result in ("Miss", "RefreshHit", "Hit", "Hit"):
            response = await read_strictly(site, "/a")
            is_same = response.body == body
            assert is_same and response.values(b"x-cache") == [f"{result} from cloudfront".encode()]
            assert response.values(b"x-new") == ([] if result == "Miss" else [b"1"])
        part = await read_strictly(site, "/a", ("Range", "bytes=1048576-1048579"))
        assert (part.status, part.body) == (206, bytes(range(4)))
        assert len(site.asked("/a")) == 2


# -- an early error, a page for it, and a request that is still on its way


async def test_an_early_error_without_its_page_flows_at_the_viewers_pace_to_its_end(lab: EdgeLab) -> None:
    """The page cannot be had while the request's body is still to come; then what origin said has to arrive, however slowly the viewer takes it."""
    site = lab.make_site(behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]))
    site.message.error_responses.add(
        error_status=503, minimum_ttl_seconds=10, page_path="/sorry.html", response_status=503
    )
    await lab.put(site)
    body = bytes(range(256)) * 65_536  # 16 MiB: more than all buffers on the way

    async def script(exchange: OriginExchange) -> None:
        await exchange.send_head(503, length=len(body))
        await exchange.send(body)

    site.script("/a", script)
    async with Viewer(lab.edge.http, receive_buffer=4_096) as viewer:
        await viewer.send(
            f"POST /a HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf".encode()
        )
        head = await viewer.read_head()
        assert head.status == 503
        async with asyncio.timeout(20):
            received = await viewer.reader.readexactly(len(body))
        is_same = received == body
        assert is_same  # not compared in the assertion, which would print 16 MiB


async def test_a_viewer_that_leaves_an_early_error_frees_the_origin(lab: EdgeLab) -> None:
    site = lab.make_site(behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]))
    site.message.error_responses.add(
        error_status=503, minimum_ttl_seconds=10, page_path="/sorry.html", response_status=503
    )
    await lab.put(site)
    is_closed = asyncio.Event()

    async def script(exchange: OriginExchange) -> None:
        await exchange.send_head(503, length=1 << 30)
        await exchange.send(b"x" * 1_000)
        with suppress(ConnectionResetError):
            while await exchange.reader.read(65_536):
                pass
        is_closed.set()
        exchange.close()

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(f"POST /a HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: 100\r\n\r\nhalf".encode())
        await viewer.read_head()
        resets(viewer)
        async with asyncio.timeout(5):
            await is_closed.wait()


HANDSHAKE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


@pytest.mark.parametrize("has_begun", [False, True], ids=["before the head", "in the body"])
@pytest.mark.parametrize("fields", [(), HANDSHAKE], ids=["get", "websocket"])
async def test_a_viewer_that_leaves_frees_both_tiers_and_the_origin(
    tiers: EdgeLab, fields: tuple[tuple[str, str], ...], has_begun: bool
) -> None:
    """An orderly end of the edge's connection would be that of a viewer who waits for the answer: the regional cache went on, attempt after attempt."""
    site = await tiers.site()
    is_reset = asyncio.Event()

    async def script(exchange: OriginExchange) -> None:
        if has_begun:
            await exchange.send_head(200, ("Cache-Control", "no-store"), length=100)
            await exchange.send(b"half")
        try:
            await exchange.reader.read(1)
        except ConnectionResetError:
            is_reset.set()
        exchange.close()

    site.script("/a", script)
    async with Viewer(tiers.edge.http) as viewer:
        await viewer.ask(site.host, "/a", *fields)
        await site.wait_asked("/a")
        if has_begun:
            await viewer.read_head()
        resets(viewer)
        async with asyncio.timeout(5):
            await is_reset.wait()
    assert len(site.asked("/a")) == 1


async def test_none_of_it_was_an_error_of_this_program(lab: EdgeLab, tiers: EdgeLab) -> None:
    for node in (lab.edge, tiers.edge, tiers.regional):
        assert await node.metric("cdn_internal_errors_total") == 0
        assert "Traceback" not in node.log()
