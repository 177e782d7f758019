"""Bytes of real viewers against a real node: several requests and their bodies in one write, bodies beside a wish to upgrade, and what is wrong behind what is right.

Each test reads all that the viewer gets with the strict reader of tests/fuzz, which knows nothing of the node.
"""

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from edge_node.listeners.socket_writer import UNSENT_BYTES
from tests.builders import behavior_message, caching_disabled
from tests.fuzz.strict_http import End, Response, read_responses
from tests.peers.nodes import EdgeLab, Site
from tests.peers.origin import OriginExchange, cacheable, gated, reply
from tests.peers.viewer import PATIENCE_SECONDS, Viewer, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("viewer-bytes")) as lab:
        await lab.start("edge-1")
        yield lab


async def echo(exchange: OriginExchange) -> None:
    """Answers with the body that arrived, which cannot be mistaken for another."""
    await exchange.answer(200, b"heard " + await exchange.read_body())


@pytest_asyncio.fixture(loop_scope="module")
async def site(lab: EdgeLab) -> Site:
    site = await lab.site(behavior_message(policy=caching_disabled(), allowed_methods=ALL_METHODS))
    site.script("/echo", echo)
    site.script("/a", reply(200, b"a"))
    return site


async def read_answers(viewer: Viewer, methods: list[bytes], *, is_closed: bool = False) -> list[Response]:
    """The answers to these requests, as soon as they are there: whole, in order and nothing behind them. `is_closed`: then the node closes."""
    data, end, answers = b"", End.INCOMPLETE, list[Response]()
    while is_closed or end is not End.CLEAN or sum(one.status >= 200 for one in answers) < len(methods):
        async with asyncio.timeout(PATIENCE_SECONDS):  # for each piece
            piece = await viewer.reader.read(65_536)
        data += piece
        if piece and data.count(b"HTTP/1.1 ") < len(methods):
            continue
        answers, end = read_responses(data, methods, is_closed=not piece)
        assert end is not End.INVALID, data[:2_000]
        if not piece:
            break
    assert end is End.CLEAN and sum(one.status >= 200 for one in answers) == len(methods), data[:2_000]
    return answers


def meanings(answers: list[Response]) -> list[tuple[int, bytes]]:
    return [(answer.status, answer.body) for answer in answers]


# -- several requests in one write


@pytest.mark.parametrize("expect", [False, True], ids=["at once", "100-continue"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
async def test_a_body_follows_when_the_request_before_it_is_answered(
    lab: EdgeLab, site: Site, expect: bool, is_chunked: bool
) -> None:
    gate = asyncio.Event()
    site.script("/slow", gated(gate, reply(200, b"slow")))
    framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", "11")
    fields = [framing, *([("Expect", "100-continue")] if expect else [])]
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/slow") + request_bytes(site.host, "/echo", *fields, method="POST"))
        await site.wait_asked("/slow")
        if not expect:
            await viewer.send(b"5\r\nhello\r\n" if is_chunked else b"hello")
        gate.set()
        first = await viewer.read()
        if expect:
            assert (await viewer.read()).status == 100
            await viewer.send(b"5\r\nhello\r\n" if is_chunked else b"hello")
        await viewer.send(b"6\r\n world\r\n0\r\n\r\n" if is_chunked else b" world")
        assert first.body == b"slow"
        assert meanings(await read_answers(viewer, [b"POST"])) == [(200, b"heard hello world")]
        assert (await viewer.get(site.host, "/a")).body == b"a"


@pytest.mark.parametrize("count", [200, 1_000])
async def test_all_of_many_requests_in_one_write_are_answered_in_order(lab: EdgeLab, site: Site, count: int) -> None:
    host = site.host
    for number in range(count):
        site.script(f"/missing/{number}", reply(404, b"no %d" % number))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(b"".join(request_bytes(host, f"/missing/{number}") for number in range(count)))
        answers = await read_answers(viewer, [b"GET"] * count)
        assert meanings(answers) == [(404, b"no %d" % number) for number in range(count)]
        assert (await viewer.get(host, "/a")).body == b"a"


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 40_000 + b"\r\n\r\n", 494),
    ],
    ids=["no request", "no host", "long line", "large head"],
)
async def test_what_is_wrong_is_told_after_what_is_right_is_answered(
    lab: EdgeLab, site: Site, rest: bytes, status: int
) -> None:
    gate = asyncio.Event()
    site.script("/slow", gated(gate, reply(200, b"slow")))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/slow") + request_bytes(site.host, "/a") + rest)
        await site.wait_asked("/slow")
        gate.set()
        answers = await read_answers(viewer, [b"GET"] * 3, is_closed=True)
        assert meanings(answers)[:2] == [(200, b"slow"), (200, b"a")]
        assert answers[2].status == status


@pytest.mark.parametrize("rest", [b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", b"nonsense\r\n\r\n", b"\0" * 70_000])
async def test_bytes_behind_the_last_request_take_nothing_from_those_before_it(
    lab: EdgeLab, site: Site, rest: bytes
) -> None:
    gate = asyncio.Event()
    site.script("/slow", gated(gate, reply(200, b"slow")))
    last = request_bytes(site.host, "/a", ("Connection", "close"))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/slow") + request_bytes(site.host, "/a") + last + rest)
        await site.wait_asked("/slow")
        gate.set()
        answers = await read_answers(viewer, [b"GET"] * 3, is_closed=True)
        assert meanings(answers) == [(200, b"slow"), (200, b"a"), (200, b"a")]


async def test_a_body_that_is_no_chunked_one_is_told_so(lab: EdgeLab, site: Site) -> None:
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/echo", ("Transfer-Encoding", "chunked"), method="POST")
        await site.wait_asked("/echo")
        await viewer.send(b"5\r\nhello\r\nnonsense\r\n")
        assert [one.status for one in await read_answers(viewer, [b"POST"], is_closed=True)] == [400]


@pytest.mark.parametrize("line", [b"GET / RTSP/1.0", b"GET / ICE/1.0", b"GET / http/1.1"])
async def test_another_protocol_in_the_request_line_is_none(lab: EdgeLab, site: Site, line: bytes) -> None:
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(line + b"\r\nHost: %b\r\n\r\n" % site.host.encode())
        assert (await read_answers(viewer, [b"GET"], is_closed=True))[0].status in (400, 505)


# -- a wish to upgrade is let be (RFC 9110 section 7.8)

UPGRADES = [
    [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
    [("Connection", "upgrade"), ("Upgrade", "websocket")],
    [("Upgrade", "foo/2"), ("Connection", "keep-alive, Upgrade")],
]


@pytest.mark.parametrize("upgrade", UPGRADES, ids=["h2c", "websocket", "foo"])
@pytest.mark.parametrize("pieces", ["one", "head and body", "bytes"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (("Content-Length", "5"), b"hello"),
        (("Transfer-Encoding", "chunked"), b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n"),
    ],
    ids=["length", "chunked"],
)
async def test_a_body_beside_a_wish_to_upgrade_arrives(
    lab: EdgeLab, site: Site, upgrade: list[tuple[str, str]], pieces: str, framing: tuple[str, str], body: bytes
) -> None:
    head = request_bytes(site.host, "/echo", *upgrade, framing, method="POST")
    more = request_bytes(site.host, "/a")
    cuts = {"one": [head + body + more], "head and body": [head, body + more]}
    async with Viewer(lab.edge.http) as viewer:
        for piece in cuts.get(pieces, [bytes([byte]) for byte in head + body + more]):
            await viewer.send(piece)
            await asyncio.sleep(0)
        answers = await read_answers(viewer, [b"POST", b"GET"])
        assert meanings(answers) == [(200, b"heard hello"), (200, b"a")]
        assert not answers[0].values(b"upgrade")


async def test_a_get_that_may_be_upgraded_is_answered_and_the_connection_stays(lab: EdgeLab, site: Site) -> None:
    async with Viewer(lab.edge.http) as viewer:
        for _ in range(3):
            await viewer.ask(site.host, "/a", *UPGRADES[0])
            assert meanings(await read_answers(viewer, [b"GET"])) == [(200, b"a")]


async def test_a_websocket_is_answered_as_any_request_and_is_the_last(lab: EdgeLab, site: Site) -> None:
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/a", *UPGRADES[1]) + b"\x81\x05hello")
        assert meanings(await read_answers(viewer, [b"GET"], is_closed=True)) == [(200, b"a")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("fields", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]])
async def test_curl_that_offers_http_2_posts_what_it_has(lab: EdgeLab, site: Site, fields: list[str]) -> None:
    arguments = ["-sS", "--http2", "--max-time", "8", "-H", f"Host: {site.host}", *fields, "-d", "hello"]
    url = f"http://{lab.edge.http}/echo"
    process = await asyncio.create_subprocess_exec(
        "curl", *arguments, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"heard hello", b"")


async def test_a_stored_answer_is_given_to_who_offers_http_2(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", cacheable(b"stored"))
    async with Viewer(lab.edge.http) as viewer:
        results = []
        for _ in range(3):
            await viewer.ask(site.host, "/a", *UPGRADES[0])
            (answer,) = await read_answers(viewer, [b"GET"])
            results.append((answer.body, answer.values(b"x-cache")))
    assert results == [(b"stored", [word]) for word in (b"Miss from cloudfront", *[b"Hit from cloudfront"] * 2)]


# -- what a viewer does not take


def queued_bytes(address: str) -> int:
    """What the kernel holds for the viewers of this listener, as its table of sockets says."""
    host, _, port = address.rpartition(":")
    local = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{int(port):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[0], 16) for row in rows if row[1] == local)


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system knows no bound for unsent bytes")
@pytest.mark.parametrize("is_stored", [True, False], ids=["hit", "miss"])
async def test_the_kernel_holds_little_for_a_viewer_that_reads_nothing(lab: EdgeLab, is_stored: bool) -> None:
    site = await lab.site()
    body = bytes(range(256)) * 32_768
    site.script("/large", cacheable(body, 3600 if is_stored else 0))
    await site.get("/large")
    host, _, port = lab.edge.http.rpartition(":")
    loop = asyncio.get_running_loop()
    with socket.socket() as viewer:
        viewer.setblocking(False)
        await loop.sock_connect(viewer, (host, int(port)))
        await loop.sock_sendall(viewer, request_bytes(site.host, "/large", ("Connection", "close")))
        seen: list[int] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(seen) < 20 or seen[-1] == 0 or len(set(seen[-20:])) > 1:  # until it grows no more
                seen.append(queued_bytes(lab.edge.http))
                await asyncio.sleep(0.01)
        assert 0 < seen[-1] <= 2 * UNSENT_BYTES  # one write may go beyond it
        data = bytearray()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while piece := await loop.sock_recv(viewer, 1 << 20):
                data += piece
    (answer,), end = read_responses(bytes(data), [b"GET"], is_closed=True)
    assert end is End.CLEAN and answer.body == body


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "broken off"])
async def test_the_end_of_a_response_that_broke_off_is_not_taken_for_that_of_a_whole_one(
    lab: EdgeLab, version: bytes, is_whole: bool
) -> None:
    """HTTP/1.0 without a length: an orderly close says that this was all (RFC 9112 section 8), so a cut must be a reset."""
    site, gate = await lab.site(), asyncio.Event()

    async def script(exchange: OriginExchange) -> None:
        await exchange.send_head(200, ("Transfer-Encoding", "chunked"))
        await exchange.send_chunk(b"half")
        await gate.wait()
        await exchange.send(b"0\r\n\r\n") if is_whole else exchange.abort()

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer, asyncio.timeout(PATIENCE_SECONDS):
        await viewer.send(b"GET /a HTTP/%b\r\nHost: %b\r\nConnection: close\r\n\r\n" % (version, site.host.encode()))
        data = await viewer.reader.readuntil(b"half")
        gate.set()
        is_reset = False
        try:
            data += await viewer.reader.read()
        except ConnectionResetError:
            is_reset = True
    _, end = read_responses(data, [b"GET"], is_closed=True)
    assert is_reset is (version == b"1.0" and not is_whole)
    assert (end is End.CLEAN and not is_reset) is is_whole


async def test_nothing_of_this_was_an_error_of_this_program(lab: EdgeLab) -> None:
    assert "Traceback" not in lab.edge.log()
    assert "ERROR" not in lab.edge.log()
