"""Tunnels byte by byte, over real sockets and both tiers: heads judged by the strict reader, ends of every kind, and origins that switch as they should not."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message
from tests.fuzz.strict_http import read_responses
from tests.peers.nodes import EdgeLab, Site
from tests.peers.origin import OriginExchange, Script
from tests.peers.viewer import Viewer, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = (
    ("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13"),
)  # fmt: skip
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    b"X-Own: kept\r\nKeep-Alive: timeout=5\r\n\r\n"
)
PATIENCE_SECONDS = 10


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("tunnels")) as lab:
        await lab.start("edge-1", "regional-1")
        yield lab


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(lab: EdgeLab) -> Site:
    return await lab.site(connection_attempts=1)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def strict_site(lab: EdgeLab) -> Site:
    return await lab.site(behavior_message(semantics=configuration_pb2.SEMANTICS_RFC9111), connection_attempts=1)


def switching(*pieces: bytes, then: Callable[[OriginExchange], Awaitable[None]] | None = None) -> Script:
    """An origin that answers with these bytes, each in a write of its own, and goes on as the test says."""

    async def script(exchange: OriginExchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            await asyncio.sleep(0)
        if then is not None:
            await then(exchange)
        else:
            await exchange.reader.read()
        exchange.is_over = True

    return script


async def finish(exchange: OriginExchange) -> None:
    """Close when all has left: a process that ends in good order loses nothing of what it wrote."""
    exchange.close()
    await exchange.writer.wait_closed()


async def echo(exchange: OriginExchange) -> None:
    while data := await exchange.reader.read(65_536):
        await exchange.send(data)
    await finish(exchange)


async def opened(viewer: Viewer, site: Site, path: str, behind: bytes = b"") -> bytes:
    """Asks for a tunnel; the head of the answer."""
    await viewer.send(request_bytes(site.host, path, *HANDSHAKE) + behind)
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await viewer.reader.readuntil(b"\r\n\r\n")


async def read_exactly(viewer: Viewer, count: int) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await viewer.reader.readexactly(count)


async def read_rest(viewer: Viewer) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await viewer.reader.read()


@pytest.mark.parametrize("cut", [*range(1, len(SWITCH) + 5, 7), len(SWITCH), len(SWITCH) + 5])
async def test_the_head_is_one_of_http_and_what_follows_is_none(lab: EdgeLab, site: Site, cut: int) -> None:
    data = SWITCH + b"\x00\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    site.script("/split", switching(data[:cut], data[cut:]))
    async with Viewer(lab.edge.http) as viewer:
        head = await opened(viewer, site, "/split")
        answers, _ = read_responses(head, [b"GET"], is_closed=False)
        (answer,) = answers
        assert (answer.status, answer.values(b"upgrade"), answer.values(b"connection")) == (
            101,
            [b"websocket"],
            [b"Upgrade"],
        )
        assert answer.values(b"sec-websocket-accept") == [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
        assert answer.values(b"x-own") == [b"kept"] and answer.values(b"x-cache") == [b"Miss from cloudfront"]
        for gone in (b"content-length", b"transfer-encoding", b"keep-alive", b"x-edge-result"):
            assert not answer.values(gone)
        assert await read_exactly(viewer, len(data) - len(SWITCH)) == data[len(SWITCH) :]


async def test_interim_responses_come_before_it_where_the_rfcs_rule(
    lab: EdgeLab, site: Site, strict_site: Site
) -> None:
    for each, statuses in ((strict_site, [103, 101]), (site, [101])):
        each.script("/hints", switching(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + SWITCH, then=echo))
        async with Viewer(lab.edge.http) as viewer:
            heads = await opened(viewer, each, "/hints")
            while b" 101 " not in heads:
                heads += await viewer.reader.readuntil(b"\r\n\r\n")
            answers, _ = read_responses(heads, [b"GET"], is_closed=False)
            assert [answer.status for answer in answers] == statuses
            await viewer.send(b"bytes")
            assert await read_exactly(viewer, 5) == b"bytes"


@pytest.mark.parametrize("is_early", [True, False])
async def test_bytes_behind_either_head_are_the_first_of_the_tunnel(lab: EdgeLab, site: Site, is_early: bool) -> None:
    """Whatever they look like: a request behind a handshake is no request."""
    behind = request_bytes(site.host, "/never")
    gate = asyncio.Event()

    async def script(exchange: OriginExchange) -> None:
        await gate.wait()
        await switching(SWITCH + b"first", then=echo)(exchange)

    site.script("/behind", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/behind", *HANDSHAKE) + (behind if is_early else b""))
        await site.wait_asked("/behind")
        if not is_early:
            await viewer.send(behind)
        await viewer.send(b"more")
        gate.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await viewer.reader.readuntil(b"\r\n\r\n")
        assert await read_exactly(viewer, 5 + len(behind) + 4) == b"first" + behind + b"more"
    assert site.asked("/never") == []
    site.lab.origin.requests.clear()


async def test_a_half_close_of_the_viewer_leaves_it_its_answer(lab: EdgeLab, site: Site) -> None:
    block = random.Random(3).randbytes(3_000_000)

    async def answer_at_the_end(exchange: OriginExchange) -> None:
        said = await exchange.reader.read()
        await exchange.send(said[::-1])
        await finish(exchange)

    site.script("/half", switching(SWITCH, then=answer_at_the_end))
    async with Viewer(lab.edge.http) as viewer:
        await opened(viewer, site, "/half")
        await viewer.send(block)
        viewer.writer.write_eof()
        assert await read_rest(viewer) == block[::-1]


async def test_a_half_close_right_behind_the_handshake_is_passed_on(lab: EdgeLab, site: Site) -> None:
    site.script("/at-once", switching(SWITCH, then=echo))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/at-once", *HANDSHAKE) + b"all of it")
        viewer.writer.write_eof()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await viewer.reader.readuntil(b"\r\n\r\n")
        assert await read_rest(viewer) == b"all of it"


async def test_a_half_close_of_the_origin_leaves_the_other_direction(lab: EdgeLab, site: Site) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    block = random.Random(4).randbytes(3_000_000)

    async def say_and_listen(exchange: OriginExchange) -> None:
        await exchange.send(block)
        exchange.writer.write_eof()
        heard.set_result(await exchange.reader.read())

    site.script("/other-half", switching(SWITCH, then=say_and_listen))
    async with Viewer(lab.edge.http) as viewer:
        await opened(viewer, site, "/other-half")
        assert await read_rest(viewer) == block
        await viewer.send(b"still here")
        viewer.writer.write_eof()
        assert await asyncio.wait_for(heard, PATIENCE_SECONDS) == b"still here"


async def test_an_end_loses_no_bytes_of_a_viewer_that_is_behind(lab: EdgeLab, site: Site) -> None:
    """The origin sends 8 MB, closes and is gone; the viewer begins to read after that."""
    block = random.Random(5).randbytes(8_000_000)
    is_gone = asyncio.Event()

    async def send_all(exchange: OriginExchange) -> None:
        await exchange.send(block)
        await finish(exchange)
        is_gone.set()

    site.script("/late", switching(SWITCH, then=send_all))
    async with Viewer(lab.edge.http, receive_buffer=4_096) as viewer:
        await opened(viewer, site, "/late")
        viewer.writer.write_eof()
        assert await read_rest(viewer) == block
        assert is_gone.is_set()


async def test_a_reset_of_the_origin_is_one_for_the_viewer(lab: EdgeLab, site: Site) -> None:
    async def reset(exchange: OriginExchange) -> None:
        await exchange.reader.readexactly(2)
        abort_hard(exchange.writer)

    site.script("/reset", switching(SWITCH, then=reset))
    async with Viewer(lab.edge.http) as viewer:
        await opened(viewer, site, "/reset")
        await viewer.send(b"abcdefgh" * 1_000)
        with pytest.raises(ConnectionResetError):
            await read_rest(viewer)


async def test_a_viewer_that_reads_nothing_holds_the_origin_up(lab: EdgeLab, site: Site) -> None:
    block = random.Random(6).randbytes(1_000_000)
    sent = 0
    before = [node.memory("RssAnon") for node in lab.nodes]  # pages of the program come and go (resident_memory.py)

    async def flood(exchange: OriginExchange) -> None:
        nonlocal sent
        for _ in range(64):
            await exchange.send(block)
            sent += 1
        await finish(exchange)

    site.script("/flood", switching(SWITCH, then=flood))
    async with Viewer(lab.edge.http, receive_buffer=4_096) as viewer:
        await opened(viewer, site, "/flood")
        was = -1
        while was != sent:  # until nothing moves any more
            was = sent
            await asyncio.sleep(0.3)
        assert sent < 64
        for node, bytes_before in zip(lab.nodes, before, strict=True):
            assert node.memory("RssAnon") < bytes_before + 8 * 1024 * 1024
        viewer.writer.write_eof()
        received = await read_rest(viewer)
    assert received == block * 64


def abort_hard(writer: asyncio.StreamWriter) -> None:
    """A reset, as of a process whose machine is gone."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_a_reset_of_the_viewer_is_one_for_the_origin(lab: EdgeLab, site: Site) -> None:
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def listen(exchange: OriginExchange) -> None:
        try:
            await exchange.reader.read()
            ended.set_result(None)
        except OSError as error:
            ended.set_result(error)

    site.script("/reset-by-viewer", switching(SWITCH, then=listen))
    async with Viewer(lab.edge.http) as viewer:
        await opened(viewer, site, "/reset-by-viewer")
        abort_hard(viewer.writer)
        assert isinstance(await asyncio.wait_for(ended, PATIENCE_SECONDS), ConnectionResetError)


async def no_tunnel(lab: EdgeLab, site: Site, path: str, *fields: tuple[str, str]) -> int:
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, path, *fields)
        async with asyncio.timeout(PATIENCE_SECONDS):
            data = await viewer.reader.read()
    answers, _ = read_responses(data, [b"GET"], is_closed=True)
    (answer,) = answers
    return answer.status


@pytest.mark.parametrize(
    "switch",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: "
        + b"a" * 40_000
        + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade",
        b"",
    ],
    ids=lambda switch: repr(switch[34:80]),
)
async def test_a_switch_that_is_none_is_502(lab: EdgeLab, site: Site, switch: bytes) -> None:
    async def close(exchange: OriginExchange) -> None:
        exchange.close()

    site.script("/wrong", switching(switch, then=close))
    assert await no_tunnel(lab, site, "/wrong", *HANDSHAKE) == 502
    assert len(site.asked("/wrong")) == 1, "what has been sent is not sent again"
    site.lab.origin.requests.clear()


@pytest.mark.parametrize("is_strict", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        (("Connection", "close"),),
        (*HANDSHAKE[:2], HANDSHAKE[3]),
        HANDSHAKE[:3],
        (("Connection", "Upgrade"), ("Upgrade", "h2c"), *HANDSHAKE[2:]),
        (HANDSHAKE[1], HANDSHAKE[2], HANDSHAKE[3], ("Connection", "close")),
    ],
    ids=["plain", "no key", "no version", "another protocol", "not in Connection"],
)
async def test_nobody_is_switched_without_having_asked(
    lab: EdgeLab, site: Site, strict_site: Site, fields: tuple[tuple[str, str], ...], is_strict: bool
) -> None:
    """With and without the two fields in the answer: a 101 is never passed on as an interim response."""
    site = strict_site if is_strict else site
    asked = [*fields, ("Connection", "close")] if ("Connection", "close") not in fields else fields
    for number, switch in enumerate((SWITCH, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")):
        path = f"/unasked-{hash((fields, number))}"
        site.script(path, switching(switch + b"\x81\x05hello"))
        assert await no_tunnel(lab, site, path, *asked) == 502
        assert {request.get("upgrade") for request in site.asked(path)} == {None}


async def test_the_connection_of_a_refused_handshake_is_used_again_for_plain_requests_only(
    lab: EdgeLab, site: Site
) -> None:
    """What a handshake was allowed must not be allowed to the next request on its connection."""
    connections: list[int] = []

    async def refuse(exchange: OriginExchange) -> None:
        connections.append(exchange.connection)
        await exchange.answer(426, b"no")

    async def switch_unasked(exchange: OriginExchange) -> None:
        connections.append(exchange.connection)
        await exchange.send(SWITCH)
        exchange.close()

    site.script("/refuse", refuse)
    site.script("/then", switch_unasked)
    assert await no_tunnel(lab, site, "/refuse", *HANDSHAKE) == 426
    assert await no_tunnel(lab, site, "/then", ("Connection", "close")) == 502
    assert connections[0] == connections[1]
    assert await no_tunnel(lab, site, "/refuse", *HANDSHAKE) == 426
    assert connections[2] not in connections[:2], "a handshake gets a connection of its own"


async def test_a_viewer_that_left_during_the_handshake_leaves_no_tunnel(lab: EdgeLab, site: Site) -> None:
    gate, ended = asyncio.Event(), asyncio.Event()

    async def switch_late(exchange: OriginExchange) -> None:
        await gate.wait()
        with contextlib.suppress(OSError):  # reset before or after it has answered
            await exchange.send(SWITCH)
            await exchange.reader.read()
        ended.set()
        exchange.is_over = True

    site.script("/patient", switch_late)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/patient", *HANDSHAKE)
        await site.wait_asked("/patient")
        abort_hard(viewer.writer)
    gate.set()
    await asyncio.wait_for(ended.wait(), PATIENCE_SECONDS)


async def test_http_1_0_has_no_handshakes(lab: EdgeLab, site: Site) -> None:
    async with Viewer(lab.edge.http) as viewer:
        head = request_bytes(site.host, "/old", *HANDSHAKE).replace(b" HTTP/1.1", b" HTTP/1.0")
        await viewer.send(head)
        answer = await viewer.read()
    (request,) = site.asked("/old")
    assert answer.status == 404 and request.get("upgrade") is None
