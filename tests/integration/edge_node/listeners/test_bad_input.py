"""Viewers that talk nonsense, too much, too slowly or in several requests at once: the right status or a close, and the node well afterwards."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.peers.nodes import EdgeLab, Site
from tests.peers.origin import OriginExchange, cacheable, gated
from tests.peers.viewer import Viewer, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("bad-input")) as lab:
        await lab.start("edge-1")
        yield lab


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(lab: EdgeLab) -> Site:
    site = await lab.site()
    for path in "/a", "/b", "/c":
        site.script(path, cacheable(path.encode()))
        await site.get(path)
    return site


async def is_well(lab: EdgeLab, site: Site) -> None:
    """Answers a normal request, keeps no connection, stored nothing."""
    assert (await site.get("/a")).result == "Hit"
    async with asyncio.timeout(10):
        while await lab.edge.metric("cdn_open_connections") > 0:
            await asyncio.sleep(0.01)
    assert await lab.edge.metric("cdn_store_entries") == 3
    assert await lab.edge.metric("cdn_internal_errors_total") == 0


BAD = [
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /a HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\nHost: other\r\n\r\n", 400),
    (b"GET /a HTTP/1.1\r\n\r\n", 400),
    (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n", 414),
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\nA: " + b"a" * 1_000_000 + b"\r\n\r\n", 494),
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\n folded: x\r\n\r\n", 400),
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\nA : b\r\n\r\n", 400),
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\nA: b\0\r\n\r\n", 400),
    (b"GET /a HTTP/1.1\r\nHost: HOST\r\nA: b\rc\r\n\r\n", 400),
    (b"GET /a HTTP/1.1\nHost: HOST\n\n", 400),
    (b"CONNECT HOST:80 HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET https://HOST/a HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
    (b"GET /a HTTP/2.0\r\nHost: HOST\r\n\r\n", 505),
    (b"GET /a HTTP/1.1\r\nHost: unknown.example\r\n\r\n", 403),
    (bytes(range(256)) * 100, 400),
]


@pytest.mark.parametrize(("data", "status"), BAD, ids=[f"{data[:40]!r}-{status}" for data, status in BAD])
async def test_bad_requests_get_their_status_and_nothing_else(
    lab: EdgeLab, site: Site, data: bytes, status: int
) -> None:
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(data.replace(b"HOST", site.host.encode()))
        answer = await viewer.read()
        assert (answer.status, answer.result, answer["content-type"]) == (status, "Error", "text/html")
        if status != 403:  # a proper request for an unknown name may be followed by another
            assert answer["connection"] == "close"
            assert await viewer.read_rest() == b""
    await is_well(lab, site)


async def test_a_tls_client_gets_an_answer_that_is_no_tls_and_a_close(lab: EdgeLab, site: Site) -> None:
    host, _, port = lab.edge.http.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(host, int(port), ssl=context)
    await is_well(lab, site)


async def test_garbage_of_every_kind_is_survived(lab: EdgeLab, site: Site) -> None:
    rng = random.Random(20261121)
    good = (
        request_bytes(site.host, "/a")
        + request_bytes(site.host, "/b", ("Range", "bytes=0-0"))
        + request_bytes(site.host, "/c", method="POST", body=b"hello")
    )

    async def converse(data: bytes) -> None:
        async with Viewer(lab.edge.http) as viewer:
            viewer.writer.write(data)
            viewer.writer.write_eof()
            await viewer.read_rest()  # which ends: no conversation hangs

    spoiled = []
    for _ in range(200):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = bytes(
                rng.choice(b"\r\n\0 :;,\t\xffA0") for _ in range(rng.randint(0, 3))
            )
        spoiled.append(bytes(data))
    for start in range(0, len(spoiled), 20):
        await asyncio.gather(*(converse(data) for data in spoiled[start : start + 20]))
    await is_well(lab, site)


async def test_pipelined_hits_and_misses_are_answered_in_order(lab: EdgeLab, site: Site) -> None:
    slow = await lab.site()
    gate = asyncio.Event()
    slow.script("/miss", gated(gate, cacheable(b"/miss", 0)))
    async with Viewer(lab.edge.http) as viewer:
        hits = [request_bytes(site.host, path) for path in ("/a", "/b", "/c")]
        await viewer.send(b"".join([*hits, request_bytes(slow.host, "/miss"), *hits, *hits]))
        assert [(await viewer.read()).body for _ in range(3)] == [b"/a", b"/b", b"/c"]
        await slow.wait_asked("/miss")
        gate.set()
        assert [(await viewer.read()).body for _ in range(7)] == [b"/miss", *[b"/a", b"/b", b"/c"] * 2]
        assert (await viewer.get(site.host, "/a")).body == b"/a"


async def test_a_viewer_that_half_closes_still_gets_all_its_answers(lab: EdgeLab, site: Site) -> None:
    slow = await lab.site()
    gate = asyncio.Event()
    slow.script("/miss", gated(gate, cacheable(b"/miss", 0)))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(
            request_bytes(slow.host, "/miss") + request_bytes(site.host, "/a") + request_bytes(site.host, "/b")
        )
        viewer.writer.write_eof()
        await slow.wait_asked("/miss")
        gate.set()
        assert [(await viewer.read()).body for _ in range(3)] == [b"/miss", b"/a", b"/b"]
        assert await viewer.read_rest() == b""
    await is_well_except_entries(lab, site)


async def is_well_except_entries(lab: EdgeLab, site: Site) -> None:
    assert (await site.get("/a")).result == "Hit"
    async with asyncio.timeout(10):
        while await lab.edge.metric("cdn_open_connections") > 0:
            await asyncio.sleep(0.01)


async def test_http_1_0_gets_no_chunks(lab: EdgeLab) -> None:
    site = await lab.site()

    async def script(exchange: OriginExchange) -> None:
        await exchange.send_head(200, ("Transfer-Encoding", "chunked"))
        await exchange.send_chunk(b"hello")
        await exchange.send(b"0\r\n\r\n")

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(b"GET /a HTTP/1.0\r\nHost: %b\r\nConnection: keep-alive\r\n\r\n" % site.host.encode())
        answer = await viewer.read()
        assert (answer.status, answer.body, answer["connection"]) == (200, b"hello", "close")
        assert answer.get("transfer-encoding") is None


async def test_absolute_form_is_the_same_request(lab: EdgeLab, site: Site) -> None:
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(f"GET http://{site.host}/a HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
        assert (await viewer.read()).result == "Hit"


async def test_a_request_to_upgrade_is_answered_and_closed(lab: EdgeLab, site: Site) -> None:
    async with Viewer(lab.edge.http) as viewer:
        answer = await viewer.get(site.host, "/a", ("Connection", "Upgrade"), ("Upgrade", "websocket"))
        assert (answer.status, answer.result, answer["connection"]) == (200, "Hit", "close")
        assert await viewer.read_rest() == b""


async def test_hundreds_of_half_open_connections_do_no_harm(lab: EdgeLab, site: Site) -> None:
    viewers = [Viewer(lab.edge.http) for _ in range(300)]
    for start in range(0, len(viewers), 50):
        await asyncio.gather(*(viewer.__aenter__() for viewer in viewers[start : start + 50]))
    for number, viewer in enumerate(viewers):
        await viewer.send(request_bytes(site.host, "/a")[: number % 40])
    assert (await site.get("/a")).result == "Hit"
    for viewer in viewers:
        viewer.writer.transport.abort()
    await is_well_except_entries(lab, site)


async def test_nothing_of_this_was_an_error_of_this_program(lab: EdgeLab) -> None:
    assert "Traceback" not in lab.edge.log()
    assert "ERROR" not in lab.edge.log()
