"""Origins that refuse, hang, break off and talk nonsense: the status that the viewer gets (reference 2.5), what is stored, how often the origin is asked."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.builders import behavior_message, caching_disabled
from tests.peers.nodes import EdgeLab, Site, own_address
from tests.peers.origin import OriginExchange, Script, cacheable, in_turn, reply
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    """Without a regional cache: one tier makes counts plain."""
    async with EdgeLab(tmp_path_factory.mktemp("errors")) as lab:
        await lab.start("edge-1")
        yield lab


async def is_healthy(site: Site) -> None:
    """The node answers a normal request, from its cache the second time."""
    site.script("/normal", cacheable(b"well"))
    assert [(await site.get("/normal")).body for _ in range(2)] == [b"well", b"well"]
    assert len(site.asked("/normal")) == 1


def sends(data: bytes) -> Script:
    async def script(exchange: OriginExchange) -> None:
        await exchange.read_body()
        await exchange.send(data)
        exchange.close()

    return script


async def hangs(exchange: OriginExchange) -> None:
    await asyncio.Event().wait()


async def aborts(exchange: OriginExchange) -> None:
    exchange.abort()


async def test_a_refused_connection_is_502(lab: EdgeLab) -> None:
    site = await lab.site(port=1)
    answer = await site.get("/a")
    assert (answer.status, answer.result, answer["server"]) == (502, "Error", "CloudFront")
    assert b"502 ERROR" in answer.body and answer["x-amz-cf-id"].encode() in answer.body
    assert (await site.get("/a", method="HEAD")).status == 502


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 300, "a" * 64 + ".test"])
async def test_a_name_that_is_none_is_502(lab: EdgeLab, host: str) -> None:
    site = await lab.site(host=host, connection_attempts=1)
    assert (await site.get("/a")).status == 502
    assert (await lab.edge.metric('cdn_upstream_errors_total{kind="name",tier="origin"}')) >= 1
    assert await lab.edge.metric("cdn_internal_errors_total") == 0


async def test_a_connect_timeout_is_504(lab: EdgeLab) -> None:
    """A listener whose backlog is full drops what comes: the connection is neither made nor refused."""
    with socket.socket() as listener:
        listener.bind((own_address(), 0))
        listener.listen(0)
        host, port = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((host, port))
            site = await lab.site(host=host, port=port, connection_attempts=2, connection_timeout_milliseconds=200)
            assert (await site.get("/a")).status == 504
            assert await lab.edge.metric('cdn_upstream_errors_total{kind="connect_timeout",tier="origin"}') == 2
        finally:
            for filler in fillers:
                filler.close()


async def test_a_read_timeout_is_504_after_all_attempts(lab: EdgeLab) -> None:
    site = await lab.site(read_timeout_milliseconds=200, connection_attempts=2)
    site.script("/a", hangs)
    assert (await site.get("/a")).status == 504
    assert len(site.asked("/a")) == 2
    await is_healthy(site)


async def test_a_read_timeout_is_not_repeated_for_other_methods(lab: EdgeLab) -> None:
    site = await lab.site(
        behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]),
        read_timeout_milliseconds=200,
    )
    site.script("/a", hangs)
    assert (await site.get("/a", method="POST", body=b"once")).status == 504
    assert len(site.asked("/a")) == 1


async def test_a_second_attempt_may_succeed(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", in_turn(aborts, aborts, cacheable(b"third")))
    assert (await site.get("/a")).body == b"third"
    resets = 'cdn_upstream_errors_total{kind="reset",tier="origin"}'
    before = await lab.edge.metric(resets)
    site.script("/b", aborts)
    assert (await site.get("/b")).status == 502
    assert (
        await lab.edge.metric(resets) == before + 3
    )  # attempts; idle connections that turned out to be closed do not count


@pytest.mark.parametrize(
    "response",
    [
        b"SMTP ready\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 40_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=lambda response: repr(response[:40]),
)
async def test_nonsense_is_502(lab: EdgeLab, response: bytes) -> None:
    site = await lab.site(connection_attempts=1)
    site.script("/a", sends(response))
    assert (await site.get("/a")).status == 502
    await is_healthy(site)


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ],
)
async def test_a_body_that_breaks_off_is_cut_and_never_stored(lab: EdgeLab, broken: bytes) -> None:
    site = await lab.site()
    site.script("/a", in_turn(sends(broken), cacheable(b"whole")))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/a")
        head = await viewer.read_head()
        rest = await viewer.read_rest()
        assert head.status == 200 and b"half" in rest
        assert not rest.endswith(b"0\r\n\r\n") and len(rest) != int(head.get("content-length") or -1)
    assert (await site.get("/a")).body == b"whole"
    assert (await site.get("/a")).result == "Hit"


async def test_a_body_that_ends_with_the_connection_is_whole(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", sends(b"HTTP/1.0 200 OK\r\nCache-Control: max-age=60\r\n\r\nhello"))
    assert [(await site.get("/a")).body for _ in range(2)] == [b"hello", b"hello"]
    assert len(site.asked("/a")) == 1


async def test_a_stalled_body_runs_into_the_read_timeout(lab: EdgeLab) -> None:
    site = await lab.site(read_timeout_milliseconds=200)

    async def script(exchange: OriginExchange) -> None:
        await exchange.send_head(200, ("Cache-Control", "max-age=60"), length=10)
        await exchange.send(b"half")
        await asyncio.Event().wait()

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/a")
        await viewer.read_head()
        assert await viewer.read_rest() == b"half"


async def test_an_idle_connection_that_the_origin_closed_costs_no_error(lab: EdgeLab) -> None:
    """The origin closes just as the next request is on its way: it is asked again on a fresh connection, with one attempt allowed."""
    site = await lab.site(connection_attempts=1)
    site.script("/a", cacheable(b"first"))
    site.script("/b", cacheable(b"second"))

    async def closes_when_asked_again(exchange: OriginExchange) -> None:
        await exchange.answer(200, b"first", ("Cache-Control", "max-age=60"))
        await exchange.reader.read(1)  # the first byte of the next request on this connection
        exchange.abort()

    site.script("/a", closes_when_asked_again)
    assert (await site.get("/a")).body == b"first"
    assert (await site.get("/b")).body == b"second"


async def test_connections_to_the_origin_are_used_again_within_their_keep_alive_timeout(lab: EdgeLab) -> None:
    site = await lab.site(behavior_message(policy=caching_disabled()))
    numbers: list[int] = []

    async def script(exchange: OriginExchange) -> None:
        numbers.append(exchange.connection)
        await exchange.answer(200, b"x")

    site.script("/a", script)
    for method in ("GET", "GET", "HEAD", "GET"):
        await site.get("/a", method=method)
    assert len(set(numbers)) == 1
    site.message.origins[0].keepalive_timeout_milliseconds = 0
    await lab.put(site)
    await site.get("/a")
    await site.get("/a")
    assert len(set(numbers)) == 2  # the one that was idle, and was not kept after its last use


async def test_an_origin_that_says_more_than_it_was_asked_cannot_poison_the_next_answer(lab: EdgeLab) -> None:
    site = await lab.site()

    async def script(exchange: OriginExchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nev"
        )

    site.script("/a", script)
    site.script("/b", cacheable(b"second"))
    assert (await site.get("/a")).body == b"first"
    assert (await site.get("/b")).body == b"second"
    assert (await site.get("/b")).body == b"second"


async def test_an_error_on_refresh_is_answered_stale_and_the_origin_left_alone(lab: EdgeLab) -> None:
    site = await lab.site()
    stale = reply(200, b"old", ("Cache-Control", "max-age=60"), ("Age", "60"), ("ETag", '"1"'))
    site.script("/a", in_turn(stale, reply(503, b"x" * 300_000)))
    assert (await site.get("/a")).body == b"old"
    for _ in range(5):
        answer = await site.get("/a")
        assert (answer.status, answer.body, answer.result) == (200, b"old", "Hit")
    assert len(site.asked("/a")) == 2
    assert site.asked("/a")[1]["if-none-match"] == '"1"'


async def test_a_refresh_that_is_confirmed_is_a_refresh_hit(lab: EdgeLab) -> None:
    site = await lab.site()
    expired = reply(
        200, b"old", ("Cache-Control", "max-age=60"), ("Age", "60"), ("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
    )
    site.script("/a", in_turn(expired, reply(304, b"", ("Cache-Control", "max-age=60"))))
    results = [(await site.get("/a")).result for _ in range(3)]
    assert results == ["Miss", "RefreshHit", "Hit"]
    assert site.asked("/a")[1]["if-modified-since"] == "Sat, 21 Nov 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "control", "asked"),
    [
        (404, None, 1),
        (404, "no-store", 2),
        (500, "no-store", 1),
        (403, None, 2),
        (403, "max-age=60", 1),
        (416, "max-age=60", 2),
        (429, None, 2),
        (503, None, 1),
    ],
)
async def test_errors_are_kept_as_the_table_says(lab: EdgeLab, status: int, control: str | None, asked: int) -> None:
    site = await lab.site()
    site.script("/a", reply(status, b"error", *([("Cache-Control", control)] if control else [])))
    for _ in range(2):
        answer = await site.get("/a")
        assert (answer.status, answer.body, answer.result) == (status, b"error", "Error")
    assert len(site.asked("/a")) == asked


async def test_no_fault_of_an_origin_was_an_error_of_this_program(lab: EdgeLab) -> None:
    assert await lab.edge.metric("cdn_internal_errors_total") == 0
    assert "Traceback" not in lab.edge.log()
