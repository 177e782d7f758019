"""What reaches the origin and what reaches the viewer, through both tiers: key selections, fields of reference 2.11 and 2.12, request bodies."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.builders import ALL, NONE, all_except, behavior_message, caching_disabled, listed, policy_message
from tests.peers.nodes import EdgeLab, Site
from tests.peers.origin import OriginExchange, cacheable, reply
from tests.peers.viewer import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("forwarding")) as lab:
        await lab.start("edge-1", "regional-1")
        yield lab


async def site_with(lab: EdgeLab, **policy: object) -> Site:
    return await lab.site(behavior_message(policy=policy_message(**policy)))


@pytest.mark.parametrize(
    ("selection", "queries", "forwarded"),
    [
        (NONE, ["?a=1&b=2", "", "?c=3"], [""]),
        (ALL, ["?a=1&b=2", "?b=2&a=1", "?A=1&b=2", ""], ["?a=1&b=2", "?b=2&a=1", "?A=1&b=2", ""]),
        (listed("a"), ["?a=1&b=2", "?b=3&a=1", "?a=2"], ["?a=1", "?a=2"]),
        (all_except("b"), ["?a=1&b=2", "?b=3&a=1", "?a=1&c"], ["?a=1", "?a=1&c"]),
        (listed("a"), ["?a=1&a=2", "?a=1;b=2", "?a", "?a="], ["?a=1&a=2", "?a=1;b=2", "?a", "?a="]),
    ],
)
async def test_the_query_string_in_the_key_is_what_the_origin_gets(
    lab: EdgeLab, selection: configuration_pb2.Selection, queries: list[str], forwarded: list[str]
) -> None:
    site = await site_with(lab, query_strings=selection)
    site.script("/a", cacheable())
    for query in queries:
        assert (await site.get(f"/a{query}")).status == 200
    assert [request.target.removeprefix(f"/{site.id}/a") for request in site.asked("/a")] == forwarded


@pytest.mark.parametrize(
    ("selection", "cookies", "forwarded"),
    [
        (NONE, ["a=1", "b=2"], [None]),
        (ALL, ["b=2; a=1", "a=1; b=2", "$Version=1; a=1"], ["a=1; b=2", "a=1"]),
        (listed("a"), ["a=1; b=2", "b=3; a=1", "A=1", "b=2"], ["a=1", None]),
        (all_except("b"), ["a=1; b=2", "b=3; a=1"], ["a=1"]),
    ],
)
async def test_the_cookies_in_the_key_are_what_the_origin_gets(
    lab: EdgeLab, selection: configuration_pb2.Selection, cookies: list[str], forwarded: list[str | None]
) -> None:
    site = await site_with(lab, cookies=selection)
    site.script("/a", cacheable())
    for cookie in cookies:
        assert (await site.get("/a", ("Cookie", cookie))).status == 200
    assert [request.get("cookie") for request in site.asked("/a")] == forwarded


async def test_the_headers_in_the_key_are_what_the_origin_gets(lab: EdgeLab) -> None:
    site = await site_with(lab, headers=listed("X-Kind", "Accept-Language"))
    site.script("/a", cacheable())
    for headers in (
        (("x-kind", "1"), ("x-other", "1")),
        (("X-KIND", "1"), ("x-other", "2")),
        (("x-kind", "One"),),
        (("x-kind", "one"),),
        (),
    ):
        assert (await site.get("/a", *headers)).status == 200
    assert [request.get("x-kind") for request in site.asked("/a")] == ["1", "One", "one", None]
    assert all(request.get("x-other") is None for request in site.asked("/a"))


@pytest.mark.parametrize(
    ("gzip", "brotli", "sent", "forwarded"),
    [
        (True, True, "gzip, deflate, br", "br,gzip"),
        (True, True, "gzip;q=1.0", "gzip"),
        (True, True, "br;q=0, gzip", "gzip"),
        (True, True, "zstd", "identity"),
        (True, False, "gzip, br", "gzip"),
        (False, True, "gzip, br", "br"),
        (True, True, None, None),
        (False, False, "gzip", None),
    ],
)
async def test_accept_encoding_is_normalised_through_both_tiers(
    lab: EdgeLab, gzip: bool, brotli: bool, sent: str | None, forwarded: str | None
) -> None:
    site = await site_with(lab, accept_encoding_gzip=gzip, accept_encoding_brotli=brotli)
    site.script("/a", cacheable())
    await site.get("/a", *([("Accept-Encoding", sent)] if sent else []))
    assert [request.get("accept-encoding") for request in site.asked("/a")] == [forwarded]


async def test_the_origin_gets_the_fields_of_the_table_and_no_others(lab: EdgeLab) -> None:
    site = await lab.site()
    site.message.origins[0].custom_headers.add(name="X-Secret", value="s3cret")
    await lab.put(site)
    site.script("/a", cacheable())
    removed = [
        *(
            "Accept",
            "Accept-Charset",
            "Accept-Language",
            "Referer",
            "X-HTTP-Method-Override",
            "Authorization",
            "Proxy-Authenticate",
        ),
        *(
            "Proxy-Authorization",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "X-Forwarded-Proto",
            "X-Real-IP",
            "X-Edge-Log-Index",
            "X-Edge-Anything",
            "Anything",
        ),
    ]
    kept = ["Cache-Control", "Pragma", "From", "Origin", "Warning", "Max-Forwards"]
    headers = [(name, "given") for name in removed + kept]
    await site.get(
        "/a",
        *headers,
        ("User-Agent", "me"),
        ("X-Forwarded-For", "198.51.100.1"),
        ("Via", "1.0 fred"),
        ("X-Secret", "guess"),
    )
    (request,) = site.asked("/a")
    assert [name for name in removed if request.get(name) is not None] == []
    assert [request.get(name) for name in kept] == ["given"] * len(kept)
    assert request["host"] == f"{lab.origin.host}:{lab.origin.port}"
    assert request["user-agent"] == "Amazon CloudFront"
    assert request["x-secret"] == "s3cret"
    assert request["x-forwarded-for"] == f"198.51.100.1, {lab.edge.http.rpartition(':')[0]}" or request[
        "x-forwarded-for"
    ].startswith("198.51.100.1, 127.")
    assert len(request["x-amz-cf-id"]) == 56
    assert request["connection"].lower() == "keep-alive"
    hops = request["via"].split(", ")
    assert hops[0] == "1.0 fred" and len(hops) == 3  # the viewer's own, and one of each tier
    assert all(hop.startswith("1.1 ") and hop.endswith(".cloudfront.net (CloudFront)") for hop in hops[1:])


async def test_the_viewers_host_reaches_the_origin_when_it_is_in_the_key(lab: EdgeLab) -> None:
    site = await site_with(lab, headers=listed("Host"))
    site.script("/a", cacheable())
    await site.get("/a")
    assert site.asked("/a")[0]["host"] == site.host


async def test_a_field_in_the_key_cannot_change_how_the_request_is_framed(lab: EdgeLab) -> None:
    names = [
        "content-length",
        "transfer-encoding",
        "expect",
        "trailer",
        "via",
        "x-forwarded-for",
        "x-amz-cf-id",
        "keep-alive",
    ]
    site = await site_with(lab, headers=listed(*names))
    site.script("/a", cacheable())
    sent = (
        ("Content-Length", "0"),
        ("X-Amz-Cf-Id", "mine"),
        ("Expect", "x"),
        ("Keep-Alive", "x"),
        ("Trailer", "x"),
        ("X-Forwarded-For", "x"),
    )
    answer = await site.get("/a", *sent)
    assert answer.status == 200
    (request,) = site.asked("/a")
    assert len(request["x-amz-cf-id"]) == 56
    assert request["x-forwarded-for"].startswith("x, 127.") and request["x-forwarded-for"].count("x") == 1
    assert [
        request.get(name) for name in ("content-length", "transfer-encoding", "expect", "trailer", "keep-alive")
    ] == [None] * 5


async def test_the_path_reaches_the_origin_as_it_was_written(lab: EdgeLab) -> None:
    site = await lab.site(
        behavior_message("/b*", policy_message(id="never", default_ttl_seconds=0)), behavior_message()
    )
    raw = "/a/../b//c/%2e%2E/%C3%A9?q=%20"
    site.script(raw, cacheable(b"raw"))
    assert (await site.get(raw)).body == b"raw"
    explained = await lab.edge.ask_admin("/explain", "POST", f'{{"url": "http://{site.host}{raw}"}}'.encode())
    assert b'"path_pattern": "/b*"' in explained.body  # but the behavior was chosen by its normalised form


async def test_the_root_object_stands_for_the_root_only(lab: EdgeLab) -> None:
    site = lab.make_site()
    site.message.default_root_object = "index.html"
    await lab.put(site)
    site.script("/index.html", cacheable(b"root"))
    site.script("/dir/", cacheable(b"directory"))
    assert (await site.get("/")).body == b"root"
    assert (await site.get("/?x=1")).body == b"root"
    assert (await site.get("/dir/")).body == b"directory"


# -- toward the viewer: reference 2.12


async def test_the_viewer_gets_the_fields_of_the_table_and_no_others(lab: EdgeLab) -> None:
    site = await lab.site()
    fields = (
        *(
            ("Cache-Control", "max-age=60"),
            ("Content-Type", "text/plain"),
            ("ETag", '"1"'),
            ("Server", "mine"),
            ("Date", "Sat, 21 Nov 2026 00:00:00 GMT"),
        ),
        *(
            ("X-Mine", "1"),
            ("X-Mine", "2"),
            ("Set-Cookie", "a=1"),
            ("Keep-Alive", "timeout=5"),
            ("Trailer", "x"),
            ("Proxy-Connection", "y"),
        ),
        *(
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
            ("X-Cache", "Lie"),
            ("X-Amz-Cf-Id", "lie"),
            ("X-Amz-Cf-Pop", "lie"),
            ("Via", "1.1 origin"),
        ),
        *(("X-Edge-Result", "hit;fresh"), ("Vary", "Accept-Encoding, X-Not-Forwarded, Cookie")),
    )
    site.script("/a", reply(200, b"hello", *fields))
    for result in ("Miss", "Hit"):
        answer = await site.get("/a")
        assert answer.result == result
        assert (answer["content-type"], answer["etag"], answer["server"], answer["x-mine"]) == (
            "text/plain",
            '"1"',
            "mine",
            "1, 2",
        )
        assert answer["date"] == "Sat, 21 Nov 2026 00:00:00 GMT" and answer["cache-control"] == "max-age=60"
        gone = ("set-cookie", "keep-alive", "trailer", "proxy-connection", "x-hop", "x-edge-result")
        assert [name for name in gone if answer.get(name) is not None] == []
        assert answer["vary"] == "Accept-Encoding, Cookie"
        assert answer["x-amz-cf-pop"] == "FRA56-P1" and len(answer["x-amz-cf-id"]) == 56
        assert answer["via"].startswith("1.1 ") and "," not in answer["via"]
        assert answer["connection"] == "keep-alive"


async def test_cookies_are_set_again_on_hits_when_cookies_are_forwarded(lab: EdgeLab) -> None:
    site = await site_with(lab, cookies=ALL)
    site.script("/a", cacheable(b"x", 60, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")))
    for result in ("Miss", "Hit"):
        answer = await site.get("/a", ("Cookie", "s=1"))
        assert (answer.result, answer["set-cookie"]) == (result, "a=1, b=2")
        assert [value for name, value in answer.headers if name.lower() == "set-cookie"] == ["a=1", "b=2"]


async def test_fields_named_by_no_cache_are_not_kept(lab: EdgeLab) -> None:
    site = await site_with(lab, cookies=ALL)
    site.script("/a", reply(200, b"x", ("Cache-Control", 'no-cache="Set-Cookie", max-age=60'), ("Set-Cookie", "a=1")))
    await site.get("/a", ("Cookie", "s=1"))
    hit = await site.get("/a", ("Cookie", "s=1"))
    assert (hit.result, hit.get("set-cookie")) == ("Hit", None)


# -- requests with bodies


async def posting_site(lab: EdgeLab) -> Site:
    return await lab.site(behavior_message(policy=caching_disabled(), allowed_methods=ALL_METHODS))


async def test_a_body_with_a_length_arrives_whole(lab: EdgeLab) -> None:
    site = await posting_site(lab)
    site.script("/a", reply(201, b"made"))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await site.get(
            "/a", ("Content-Type", "text/plain"), ("Authorization", "me"), method=method, body=b"hello" * 1000
        )
        assert (answer.status, answer.body, answer.result) == (201, b"made", "Miss")
    for request in site.asked("/a"):
        assert request.body == b"hello" * 1000
        assert (request["content-length"], request["content-type"], request["authorization"]) == (
            "5000",
            "text/plain",
            "me",
        )
    assert await lab.regional.metric('cdn_requests_total{reason="method",result="pass"}') == 0  # it never saw them


async def test_a_body_of_unknown_length_arrives_whole(lab: EdgeLab) -> None:
    site = await posting_site(lab)
    site.script("/a", reply(200, b"done"))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(
            b"PUT /a HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" % site.host.encode()
        )
        await site.wait_asked("/a")  # it goes on before it is whole
        await viewer.send(b"6;x=y\r\n world\r\n0\r\nA: b\r\n\r\n")
        assert (await viewer.read()).body == b"done"
        assert (await viewer.get(site.host, "/a", method="DELETE")).body == b"done"
    assert [request.body for request in site.asked("/a")] == [b"hello world", b""]


@pytest.mark.slow
async def test_a_large_body_is_held_up_by_an_origin_that_does_not_read(lab: EdgeLab) -> None:
    site = await posting_site(lab)
    gate, size = asyncio.Event(), 64 * 1024 * 1024
    received = 0

    async def script(exchange: OriginExchange) -> None:
        nonlocal received
        await gate.wait()
        while received < size:
            received += len(await exchange.reader.read(1 << 20))
        await exchange.answer(200, b"all")

    site.script("/a", script)
    before = lab.edge.memory("VmRSS")
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(b"POST /a HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n" % (site.host.encode(), size))
        sending = asyncio.ensure_future(viewer.send(bytes(size)))
        await site.wait_asked("/a")
        last = 0
        while (now := lab.edge.memory("VmRSS")) != last:  # until it takes no more
            last = now
            await asyncio.sleep(0.1)
        assert not sending.done()
        assert lab.edge.memory("VmRSS") - before < 8 * 1024 * 1024
        gate.set()
        await sending
        assert (await viewer.read()).body == b"all"
    assert received == size
    assert lab.edge.memory() < 150 * 1024 * 1024


async def test_an_answer_before_the_body_is_whole_reaches_the_viewer(lab: EdgeLab) -> None:
    site = await posting_site(lab)

    async def script(exchange: OriginExchange) -> None:
        await exchange.answer(413, b"too much")  # and the connection stays open, with the body on it unread

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(
            b"POST /a HTTP/1.1\r\nHost: %b\r\nContent-Length: 100000000\r\n\r\n" % site.host.encode() + bytes(100_000)
        )
        answer = await viewer.read()
        assert (answer.status, answer.body, answer["connection"]) == (413, b"too much", "close")
        await viewer.send(bytes(100_000))  # a viewer that has not looked yet is not reset in the face
        assert await viewer.read_rest() == b""


async def test_an_origin_that_fails_while_the_viewer_pauses_in_its_body_is_noticed(lab: EdgeLab) -> None:
    site = await posting_site(lab)

    async def script(exchange: OriginExchange) -> None:
        exchange.abort()

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(b"POST /a HTTP/1.1\r\nHost: %b\r\nContent-Length: 10\r\n\r\nhe" % site.host.encode())
        answer = await viewer.read()  # and the other eight bytes never come
        assert (answer.status, answer["connection"]) == (502, "close")


async def test_a_refused_upload_gets_its_answer(lab: EdgeLab) -> None:
    site = await lab.site()
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(
            b"POST /a HTTP/1.1\r\nHost: %b\r\nContent-Length: 1000000\r\n\r\n" % site.host.encode() + bytes(1_000_000)
        )
        answer = await viewer.read()
        assert (answer.status, answer["connection"]) == (403, "close")
        assert b"cachable" in answer.body
        assert await viewer.read_rest() == b""


async def test_a_viewer_that_leaves_in_the_middle_of_its_body_ends_the_request_at_the_origin(lab: EdgeLab) -> None:
    site = await posting_site(lab)
    ended = asyncio.Event()

    async def script(exchange: OriginExchange) -> None:
        try:
            await exchange.read_body()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            ended.set()
            raise

    site.script("/a", script)
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(b"POST /a HTTP/1.1\r\nHost: %b\r\nContent-Length: 10\r\n\r\nhalf" % site.host.encode())
        await site.wait_asked("/a")
        viewer.writer.write_eof()
        async with asyncio.timeout(10):
            await ended.wait()
        assert await viewer.read_rest() == b""
    assert len(site.asked("/a")) == 1


async def test_a_viewer_that_waits_for_100_gets_it_and_the_origin_is_not_asked_to(lab: EdgeLab) -> None:
    site = await posting_site(lab)
    site.script("/a", reply(200, b"done"))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(
            b"POST /a HTTP/1.1\r\nHost: %b\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n" % site.host.encode()
        )
        assert (await viewer.read()).status == 100
        await viewer.send(b"hello")
        assert (await viewer.read()).body == b"done"
    (request,) = site.asked("/a")
    assert (request.body, request.get("expect")) == (b"hello", None)


async def test_other_methods_are_never_sent_twice(lab: EdgeLab) -> None:
    site = await posting_site(lab)

    async def script(exchange: OriginExchange) -> None:
        await exchange.read_body()
        exchange.abort()

    site.script("/a", reply(200, b"warm"))
    assert (await site.get("/a")).status == 200  # leaves an idle connection
    site.script("/a", script)
    for method, body in (("POST", b"x"), ("POST", None), ("DELETE", None), ("PUT", b"")):
        assert (await site.get("/a", method=method, body=body)).status == 502
    assert len(site.asked("/a")) == 5


@pytest.mark.parametrize(
    ("method", "body", "status", "reason"),
    [
        ("POST", b"", 403, "InvalidRequestMethod"),
        ("OPTIONS", None, 403, "InvalidRequestMethod"),
        ("GET", b"x", 403, "InvalidRequest"),
        ("PURGE", None, 403, "InvalidRequestMethod"),
    ],
)
async def test_a_method_that_is_not_allowed_is_refused_and_logged(
    lab: EdgeLab, method: str, body: bytes | None, status: int, reason: str
) -> None:
    site = await lab.site()
    path = f"/{method}-{site.id}"
    answer = await site.get(path, method=method, body=body)
    assert (answer.status, answer.result) == (status, "Error")
    assert site.asked(path) == []
    record = await lab.edge.logged(path)
    assert (record[5], record[8], record[13], record[28]) == (method, str(status), "Error", reason)


async def test_head_and_options_are_passed_as_they_are(lab: EdgeLab) -> None:
    site = await lab.site(behavior_message(allowed_methods=["GET", "HEAD", "OPTIONS"]))
    site.script("/a", cacheable(b"hello"))
    head = await site.get("/a", method="HEAD")
    assert (head.status, head["content-length"], head.body) == (200, "5", b"")
    await site.get("/a", method="OPTIONS")
    assert (await site.get("/a")).result == "Miss"  # neither filled the cache
    assert (await site.get("/a", method="HEAD")).result == "Hit"
    assert [request.method for request in site.asked("/a")] == ["HEAD", "OPTIONS", "GET"]


async def test_everything_ends(lab: EdgeLab) -> None:
    """After all of the above no request is left over: whatever connections of viewers there were, they are gone."""

    async with asyncio.timeout(10):
        while await lab.edge.metric("cdn_open_connections") > 0:
            await asyncio.sleep(0.05)
    assert await lab.edge.metric("cdn_internal_errors_total") == 0
    assert "Traceback" not in lab.edge.log() + lab.regional.log()
