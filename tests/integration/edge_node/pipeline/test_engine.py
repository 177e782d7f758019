"""What the cache engine does for real clients over real sockets: parts, pages, failover, compression and odd bodies (reference 1.4, 1.5, 2.5 to 2.9).

The rules in full are in `tests/conversations`; here is shown that they hold on the wire, between processes.
"""

import asyncio
import gzip
import re
import socket
import time
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, origin_message, policy_message
from tests.peers.nodes import EdgeLab, Site, own_address
from tests.peers.origin import OriginExchange, Script, cacheable, in_turn, reply
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRESH = ("Cache-Control", "max-age=60")
ETAG = ("ETag", '"1"')
BODY = bytes(range(256)) * 40


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("engine")) as lab:
        await lab.start("edge-1", "regional-1@eu")
        yield lab


def ranges(body: bytes, *headers: tuple[str, str], seconds: int = 60) -> Script:
    """An object at an origin that knows ranges and If-Range."""

    async def script(exchange: OriginExchange) -> None:
        request = exchange.request
        fields = ((("Cache-Control", f"max-age={seconds}")), ETAG, *headers)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.get("range") or "")
        if match is None or request.get("if-range") not in (None, '"1"'):
            await exchange.answer(200, body, *fields)
            return
        first, last = int(match[1]), min(int(match[2] or len(body)), len(body) - 1)
        await exchange.answer(
            206, body[first : last + 1], *fields, ("Content-Range", f"bytes {first}-{last}/{len(body)}")
        )

    return script


async def curl(lab: EdgeLab, site: Site, path: str, *options: str) -> tuple[str, bytes]:
    """Head and body, as curl takes them."""
    process = await asyncio.create_subprocess_exec(
        *(
            "curl",
            "-sS",
            "-i",
            "--max-time",
            "10",
            "-H",
            f"Host: {site.host}",
            *options,
            f"http://{lab.edge.http}{path}",
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    head, _, body = output.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


# -- parts


async def test_several_ranges_for_curl(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", cacheable(BODY, 60, ("Content-Type", "text/plain")))
    await site.get("/a")
    head, body = await curl(lab, site, "/a", "-r", "0-9,500-599,10000-")
    assert head.startswith("HTTP/1.1 206 ")
    content_type = next(line for line in head.split("\r\n") if line.lower().startswith("content-type:"))
    message = message_from_bytes(content_type.encode() + b"\r\n\r\n" + body, policy=HTTP)
    assert isinstance(message, EmailMessage)
    parts = [(str(part["content-range"]), part.get_payload(decode=True)) for part in message.iter_parts()]
    assert parts == [
        ("bytes 0-9/10240", BODY[:10]),
        ("bytes 500-599/10240", BODY[500:600]),
        ("bytes 10000-10239/10240", BODY[10000:]),
    ]
    assert len(site.asked("/a")) == 1


async def test_parts_are_kept_at_both_tiers_put_together_and_completed(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/a", ranges(BODY))
    for first, last in (0, 999), (5_000, 5_999):
        answer = await site.get("/a", ("Range", f"bytes={first}-{last}"))
        assert (answer.status, answer.body, answer.result) == (206, BODY[first : last + 1], "Miss")
    head, body = await curl(lab, site, "/a", "-r", "5100-5199")
    assert "X-Cache: Hit from cloudfront" in head and body == BODY[5100:5200]
    direct = await site.get("/a", ("Range", "bytes=10-19"), node=lab.regional)
    assert (direct.status, direct.body, direct.result) == (206, BODY[10:20], "Hit")
    assert len(site.asked("/a")) == 2
    whole = await site.get("/a")
    assert (whole.status, whole.body) == (200, BODY)
    assert [request.get("range") for request in site.asked("/a")][2:] == ["bytes=1000-10239"]
    again = await site.get("/a")
    assert (again.result, again.body) == ("Hit", BODY)


async def test_a_download_that_was_interrupted_is_resumed_by_curl(lab: EdgeLab, tmp_path: Path) -> None:
    site = await lab.site()
    site.script("/a", ranges(BODY))
    target = tmp_path / "file"
    target.write_bytes(BODY[:4_000])
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--max-time", "10", "-C", "-", "-o", str(target), "-H", f"Host: {site.host}"),
        f"http://{lab.edge.http}/a",
    )
    assert await process.wait() == 0
    assert target.read_bytes() == BODY


# -- pages


def with_page(lab: EdgeLab, status: int, shown: int, minimum_ttl: int = 10) -> Site:
    site = lab.make_site()
    site.message.error_responses.add(
        error_status=status, minimum_ttl_seconds=minimum_ttl, page_path="/errors/sorry.html", response_status=shown
    )
    site.script("/errors/sorry.html", cacheable(b"<p>sorry</p>", 60, ("Content-Type", "text/html")))
    return site


async def test_an_error_page_over_a_connection_that_stays(lab: EdgeLab) -> None:
    site = with_page(lab, 404, 404)
    await lab.put(site)
    site.script("/missing", reply(404, b"raw"))
    async with Viewer(lab.edge.http) as viewer:
        for _ in range(2):  # fetched, then from the store
            answer = await viewer.get(site.host, "/missing")
            assert (answer.status, answer.body, answer["connection"]) == (404, b"<p>sorry</p>", "keep-alive")
            assert (answer.result, answer["content-type"]) == ("Error", "text/html")
    assert (len(site.asked("/missing")), len(site.asked("/errors/sorry.html"))) == (1, 1)
    record = await lab.edge.logged(f"{site.host}")
    assert "/missing" in record and "404" in record and "Error" in record


async def test_a_connection_ends_after_the_page_of_a_500(lab: EdgeLab) -> None:
    site = with_page(lab, 500, 500)
    await lab.put(site)
    site.script("/broken", reply(500, b"raw"))
    async with Viewer(lab.edge.http) as viewer:
        answer = await viewer.get(site.host, "/broken")
        assert (answer.status, answer.body, answer["connection"]) == (500, b"<p>sorry</p>", "close")
        assert await viewer.read_rest() == b""


async def test_a_page_for_an_origin_that_is_gone_comes_from_the_store(lab: EdgeLab) -> None:
    site = with_page(lab, 502, 200)
    await lab.put(site)
    assert (await site.get("/errors/sorry.html")).status == 200
    site.message.origins[0].port = 1
    await lab.put(site)
    answer = await site.get("/a")
    assert (answer.status, answer.body, answer.result) == (200, b"<p>sorry</p>", "Error")


# -- failover


async def grouped(lab: EdgeLab, statuses: list[int], **primary: Any) -> Site:
    """A site whose primary is at a path, or address, of its own, and whose secondary is the scripted origin."""
    site = lab.make_site(behavior_message(origin_group_id="group"))
    del site.message.origins[:]
    values: dict[str, Any] = {"host": lab.origin.host, "port": lab.origin.port, "path_prefix": f"/{site.id}-primary"}
    site.message.origins.extend([
        origin_message(**(values | {"connection_attempts": 1} | primary)),
        origin_message(lab.origin.host, lab.origin.port, id="second", path_prefix=f"/{site.id}"),
    ])  # fmt: skip
    site.message.origin_groups.append(
        configuration_pb2.OriginGroup(
            id="group", primary_origin_id="origin", secondary_origin_id="second", failover_statuses=statuses
        )
    )
    await lab.put(site)
    return site


async def test_a_dead_primary_is_replaced_where_503_is_listed(lab: EdgeLab) -> None:
    site = await grouped(lab, [503], host=own_address(), port=1, connection_attempts=2)
    site.script("/a", cacheable(b"from the second"))
    assert (await site.get("/a")).body == b"from the second"
    other = await grouped(lab, [500, 502, 504], host=own_address(), port=1)
    other.script("/a", cacheable(b"from the second"))
    assert (await other.get("/a")).status == 502


async def test_a_primary_that_hangs_is_replaced_where_504_is_listed(lab: EdgeLab) -> None:
    with socket.socket() as listener:  # takes connections, and never says a word
        listener.bind((own_address(), 0))
        listener.listen()
        host, port = listener.getsockname()
        site = await grouped(lab, [504], host=host, port=port, read_timeout_milliseconds=100)
        site.script("/a", cacheable(b"from the second"))
        assert (await site.get("/a")).body == b"from the second"


async def test_a_primary_that_says_503_keeps_its_connection_out_of_the_way(lab: EdgeLab) -> None:
    """The body of the answer that sent the request on reaches nobody."""
    site = await grouped(lab, [503])
    primary = f"/{site.id}-primary/a"

    async def overloaded(exchange: OriginExchange) -> None:
        await exchange.send_head(503, length=1_000_000)
        await exchange.send(b"overloaded" * 1_000)

    lab.origin.scripts[primary] = overloaded
    site.script("/a", reply(200, b"from the second"))
    site.script("/b", reply(200, b"another"))
    lab.origin.scripts[f"/{site.id}-primary/b"] = reply(503, b"")
    assert [(await site.get(path)).body for path in ("/a", "/b", "/a")] == [
        b"from the second",
        b"another",
        b"from the second",
    ]
    assert len(lab.origin.asked(primary)) == 1 and len(site.asked("/a")) == 1


# -- time


async def test_a_body_that_drips_ends_with_the_completion_timeout(lab: EdgeLab) -> None:
    """Each byte is in time; all of them together are not. What came is cut and never stored."""
    site = await lab.site(completion_timeout_milliseconds=400, read_timeout_milliseconds=5_000, connection_attempts=3)

    async def drips(exchange: OriginExchange) -> None:
        await exchange.send_head(200, FRESH, length=100_000)
        while True:
            await exchange.send(b"x")
            await asyncio.sleep(0.02)

    site.script("/a", in_turn(drips, cacheable(b"whole")))
    started = time.monotonic()
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/a")
        await viewer.read_head()
        rest = await viewer.read_rest()
    assert 0 < len(rest) < 1_000 and 0.3 < time.monotonic() - started < 5
    assert (await site.get("/a")).body == b"whole"


async def test_a_head_that_never_comes_is_504_after_the_completion_timeout_of_all_attempts(lab: EdgeLab) -> None:
    site = await lab.site(completion_timeout_milliseconds=300, read_timeout_milliseconds=200, connection_attempts=3)

    async def hangs(exchange: OriginExchange) -> None:
        await asyncio.Event().wait()

    site.script("/a", hangs)
    assert (await site.get("/a")).status == 504
    assert len(site.asked("/a")) == 2  # a third attempt would have begun at 400 ms
    assert (await site.get("/a")).status == 504  # remembered
    assert len(site.asked("/a")) == 2


async def test_viewers_that_send_byte_after_byte_are_shut_out_in_time_and_take_nothing_from_others(
    lab: EdgeLab,
) -> None:
    """A head that is not whole after ten seconds is answered by a close, however busily it comes."""
    site = await lab.site()
    site.script("/a", cacheable(b"quick"))
    slow = [Viewer(lab.edge.http) for _ in range(20)]
    for viewer in slow:
        await viewer.__aenter__()
        await viewer.send(b"GET /a HTTP/1.1\r\nHost: ")
    ended = asyncio.gather(*(_rest(viewer) for viewer in slow))
    started = time.monotonic()
    while not ended.done():
        assert time.monotonic() - started < 15, "a slow viewer keeps its connection"
        for viewer in slow:
            if not viewer.writer.is_closing():
                viewer.writer.write(b"x")
        assert (await site.get("/a")).body == b"quick"
        await asyncio.sleep(0.25)
    assert time.monotonic() - started > 8
    for viewer in slow:
        viewer.writer.transport.abort()
    answers = await ended
    assert all(answer == b"" or answer.startswith(b"HTTP/1.1 4") for answer in answers)


async def _rest(viewer: Viewer) -> bytes:
    """Until the node closes; a reset counts as a close."""
    data = bytearray()
    try:
        while piece := await viewer.reader.read(65_536):
            data += piece
    except ConnectionError:
        pass
    return bytes(data)


# -- odd messages


async def test_interim_responses_reach_nobody_and_spoil_nothing(lab: EdgeLab) -> None:
    site = await lab.site()

    async def script(exchange: OriginExchange) -> None:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.send(
            b'HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nETag: "early"\r\nCache-Control: no-store\r\n\r\n'
        )
        await exchange.answer(200, b"hello", FRESH)

    site.script("/a", script)
    for result in ("Miss", "Hit"):
        async with Viewer(lab.edge.http) as viewer:
            answer = await viewer.get(site.host, "/a")
            assert (answer.status, answer.body, answer.result) == (200, b"hello", result)
            assert answer.get("link") is None and answer.get("etag") is None
    assert len(site.asked("/a")) == 1


async def test_interim_responses_pass_both_tiers_where_the_rfcs_rule(lab: EdgeLab) -> None:
    site = await lab.site(behavior_message(semantics=configuration_pb2.SEMANTICS_RFC9111))

    async def script(exchange: OriginExchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        await exchange.answer(200, b"hello", FRESH)

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/a")
        early = await viewer.read_head()
        assert (early.status, early["link"]) == (103, "</a.css>")
        assert ((await viewer.read()).body, (await viewer.get(site.host, "/a")).result) == (b"hello", "Hit")


async def test_a_second_100_is_an_error(lab: EdgeLab) -> None:
    """Reference 2.6."""
    site = await lab.site(connection_attempts=1)

    async def script(exchange: OriginExchange) -> None:
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
        await exchange.answer(200, b"hello", FRESH)

    site.script("/a", script)
    assert (await site.get("/a")).status == 502


async def test_a_body_of_no_bytes_is_stored_in_every_framing(lab: EdgeLab) -> None:
    site = await lab.site()

    async def chunked(exchange: OriginExchange) -> None:
        await exchange.send_head(200, FRESH, ("Transfer-Encoding", "chunked"))
        await exchange.send(b"0\r\n\r\n")

    async def closed(exchange: OriginExchange) -> None:
        await exchange.send_head(200, FRESH, ("Connection", "close"))
        exchange.close()

    for path, script in ("/length", cacheable(b"")), ("/chunked", chunked), ("/closed", closed):
        site.script(path, script)
        answers = [await site.get(path) for _ in range(2)]
        assert [(answer.status, answer.body, answer.result) for answer in answers] == [
            (200, b"", "Miss"),
            (200, b"", "Hit"),
        ]
        assert answers[1]["content-length"] == "0"
        assert len(site.asked(path)) == 1


async def test_a_chunked_body_that_breaks_off_is_never_used_again(lab: EdgeLab) -> None:
    site = await lab.site(connection_attempts=1)

    async def broken(exchange: OriginExchange) -> None:
        await exchange.send_head(200, FRESH, ETAG, ("Transfer-Encoding", "chunked"))
        await exchange.send_chunk(b"half")
        exchange.close()

    site.script("/a", in_turn(broken, cacheable(b"whole")))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.ask(site.host, "/a")
        await viewer.read_head()
        assert not (await viewer.read_rest()).endswith(b"0\r\n\r\n")
    assert [(await site.get("/a")).body for _ in range(2)] == [b"whole", b"whole"]


async def test_http_1_0_viewers_get_hits_and_ranges_and_no_coding(lab: EdgeLab) -> None:
    policy = policy_message(accept_encoding_gzip=True, accept_encoding_brotli=True)
    site = await lab.site(behavior_message(policy=policy, compress=True))
    site.script("/a", cacheable(BODY, 60, ("Content-Type", "text/css")))
    for headers, status, body in (b"", 200, BODY), (b"Range: bytes=1-2\r\n", 206, BODY[1:3]), (b"", 200, BODY):
        async with Viewer(lab.edge.http) as viewer:
            await viewer.send(
                b"GET /a HTTP/1.0\r\nHost: %b\r\nAccept-Encoding: gzip, br\r\n%b\r\n" % (site.host.encode(), headers)
            )
            answer = await viewer.read()
            assert (answer.status, answer.body, answer.get("content-encoding")) == (status, body, None)
            assert await viewer.read_rest() == b""
    assert len(site.asked("/a")) == 1 and site.asked("/a")[0].get("accept-encoding") is None


async def test_curl_decodes_what_the_edge_compressed(lab: EdgeLab) -> None:
    policy = policy_message(accept_encoding_gzip=True)
    site = await lab.site(behavior_message(policy=policy, compress=True))
    site.script("/a", cacheable(BODY, 60, ("Content-Type", "text/css"), ETAG))
    for _ in range(2):
        head, body = await curl(lab, site, "/a", "--compressed")
        assert body == BODY and "Content-Encoding: gzip" in head and 'ETag: W/"1"' in head
    raw = await site.get("/a", ("Accept-Encoding", "gzip"))
    assert gzip.decompress(raw.body) == BODY and len(raw.body) < len(BODY)
    regional = await site.get("/a", ("Accept-Encoding", "gzip"), node=lab.regional)
    assert (regional.body, regional.get("content-encoding")) == (BODY, None)


@pytest.mark.parametrize(
    "target",
    [
        "/%41bc",
        "/%c3%a9%C3%A9",
        "/a%2Fb%2fc",
        "/a//b/./c/../d",
        "/;p=1,2/$&'()*+!:@=~",
        "/q?a=%20+&b=%2B&&c",
        "/q?a=/../?b",
        "/%00%0D%0A",
        "/%",
        "/%zz",
        "/[x]|{y}^`",
    ],
)
async def test_every_octet_of_a_target_reaches_the_origin_as_it_was_sent(lab: EdgeLab, target: str) -> None:
    site = await lab.site()
    site.script(target, cacheable(b"found"))
    assert (await site.get(target)).body == b"found"
    asked = [request.target for request in lab.origin.requests if request.target.startswith(f"/{site.id}/")]
    assert asked == [site.at_origin(target)]


async def test_pipelined_requests_of_every_kind_are_answered_in_order(lab: EdgeLab) -> None:
    """A page, a part, a 304, a compressed body and a HEAD, each over the other's heels."""
    site = with_page(lab, 404, 404)
    await lab.put(site)
    site.script("/a", ranges(BODY))
    site.script("/missing", reply(404, b"raw"))
    host = f"Host: {site.host}\r\n"
    requests = [
        f"GET /a HTTP/1.1\r\n{host}Range: bytes=0-9\r\n\r\n",
        f"GET /missing HTTP/1.1\r\n{host}\r\n",
        f"GET /a HTTP/1.1\r\n{host}\r\n",
        f"HEAD /a HTTP/1.1\r\n{host}\r\n",
        f'GET /a HTTP/1.1\r\n{host}If-None-Match: "1"\r\n\r\n',
        f"GET /a HTTP/1.1\r\n{host}Range: bytes=20-29,40-49\r\n\r\n",
    ]
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send("".join(requests).encode())
        answers = [await viewer.read(request.partition(" ")[0]) for request in requests]
    assert [answer.status for answer in answers] == [206, 404, 200, 200, 304, 206]
    assert [answer.body for answer in answers[:5]] == [BODY[:10], b"<p>sorry</p>", BODY, b"", b""]
    assert BODY[20:30] in answers[5].body and BODY[40:50] in answers[5].body


async def test_stale_while_revalidate_over_the_wire(lab: EdgeLab) -> None:
    site = await lab.site()
    control = ("Cache-Control", "max-age=1, stale-while-revalidate=60")
    gate = asyncio.Event()

    async def second(exchange: OriginExchange) -> None:
        await gate.wait()
        await exchange.answer(200, b"two", FRESH)

    site.script("/a", in_turn(reply(200, b"one", control), second))
    await site.get("/a")

    async def is_refreshing() -> bool:
        answer = await site.get("/a")  # while the origin hangs: at once
        assert answer.body == b"one"
        return len(site.asked("/a")) == 2

    deadline = time.monotonic() + 10
    while not await is_refreshing():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    gate.set()

    async def body() -> bytes:
        return (await site.get("/a")).body

    while await body() != b"two":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert len(site.asked("/a")) == 2


async def test_nothing_of_this_was_an_error_of_this_program(lab: EdgeLab) -> None:
    for node in lab.nodes:
        assert "Traceback" not in node.log()
        assert await node.metric("cdn_internal_errors_total") == 0
