"""Odd bodies, odd targets and attacks through a whole node, from the bytes of a viewer to the bytes of an origin and back, under both sets of rules.

One row of `ATTACKS` in tests/unit/edge_node/listeners/test_smuggling.py is refused there by the reader; here nothing of it may reach an origin, the store or
another viewer.
"""

from collections.abc import Sequence

import pytest

from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message
from tests.conversations.dialogue import Node
from tests.conversations.tiers import ALL_METHODS, Tiers, strict
from tests.fuzz.origin_side import World
from tests.fuzz.strict_http import End, read_requests, read_responses
from tests.unit.edge_node.listeners.test_smuggling import ATTACKS, BEFORE, BROKEN_BODIES, CHUNKED, SMUGGLED, post

BOTH = pytest.mark.parametrize("semantics", ["cloudfront", "rfc9111"])
HOST = b"Host: d1.cdn.localhost\r\n"
FRESH = ("cache-control", "max-age=60")


def behavior(semantics: str) -> configuration_pb2.Behavior:
    return (
        strict()
        if semantics == "rfc9111"
        else behavior_message(allowed_methods=[m for m in ALL_METHODS if m != "M-SEARCH"])
    )


def get(target: bytes = b"/a", fields: bytes = HOST, version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version, fields)


def says(body: bytes, fields: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nCache-Control: max-age=60\r\n%b\r\n%b" % (status, fields, body)


async def exchange(world: World, *data: bytes) -> bytes:
    """What the first viewer has been sent once it has said this."""
    for piece in data:
        await world.hears(piece)
        await world.settles()
    return bytes(world.transport.written)


def lines_upstream(world: World) -> list[bytes]:
    """The request line of each request that an origin got."""
    return [bytes(transport.written).partition(b"\r\n")[0] for transport in world.origin.transports]


def says_no_more(world: World) -> bool:
    """The first viewer is told that nothing follows."""
    return world.transport.is_closing() or world.transport.has_written_eof


# -- targets

RAW_TARGETS = [
    b"/a%2Fb", b"/a%2fb", b"/%41", b"/A", b"/%E2%82%AC", b"/%e2%82%ac", b"/a%20b+c", b"/a//b", b"/a/./b/../c", b"/a;b=c", b"/a?x=%2F&x=%2f", b"/a?", b"/a?b=c&&d",
    b"/a?q=a+b%20c", b"/~%7E", b"/%", b"/%zz", b"/a%00", b"/[x]", b"/a|b^c`", b"/a%0d%0aX:y", b"/a%3Fb?c%3Fd", b"/a%23b",
]  # fmt: skip


@BOTH
async def test_a_target_reaches_the_origin_byte_for_byte(semantics: str) -> None:
    for target in RAW_TARGETS:
        world = World([([says(b"hello", b"Content-Length: 5\r\n")], True)], behavior(semantics))
        assert b"hello" in await exchange(world, get(target))
        asked = target[:-1] if target.endswith(b"?") else target  # an empty query is none
        assert lines_upstream(world) == [b"GET %b HTTP/1.1" % asked]
        assert b"Hit from cloudfront" in await world.another_viewer(get(target))
        await world.close()


@BOTH
async def test_a_target_passes_two_tiers_byte_for_byte(semantics: str) -> None:
    for target in RAW_TARGETS:
        tiers = Tiers(behavior(semantics))
        tiers.viewer().asks(target.decode())
        asked = target[:-1] if target.endswith(b"?") else target
        assert (await tiers.origin_fetch()).targets[0].request.startswith(b"GET %b HTTP/1.1\r\n" % asked)


@BOTH
@pytest.mark.parametrize(
    ("one", "other"), [("/a%2Fb", "/a%2fb"), ("/A", "/%41"), ("/a/b", "/a//b"), ("/a?x=1", "/a?x=%31")]
)
async def test_two_spellings_are_two_objects(one: str, other: str, semantics: str) -> None:
    node = Node(behavior(semantics))
    await node.stores(one, b"one", FRESH)
    await node.stores(other, b"other", FRESH)
    assert (await node.viewer().asks(one).answer()).body == b"one"


@BOTH
async def test_an_absolute_target_is_the_same_object_and_goes_on_as_a_path(semantics: str) -> None:
    world = World([([says(b"hello", b"Content-Length: 5\r\n")], True)], behavior(semantics))
    assert b"hello" in await exchange(world, get(b"http://D1.cdn.localhost:80/a?b=%2F"))
    assert lines_upstream(world) == [b"GET /a?b=%2F HTTP/1.1"]
    for same in (
        get(b"/a?b=%2F"),
        get(b"HTTP://d1.cdn.localhost/a?b=%2F"),
        get(b"http://d1.cdn.localhost/a?b=%2F", b"", b"1.0"),
    ):
        assert b"Hit from cloudfront" in await world.another_viewer(same)
    await world.close()


@BOTH
@pytest.mark.parametrize(
    "target", [b"http://d2.cdn.localhost/a", b"http://d1.cdn.localhost:8080/a", b"https://d1.cdn.localhost/a", b"http://x@d1.cdn.localhost/a", b"http:///a"]
)  # fmt: skip
async def test_an_absolute_target_that_disagrees_with_host_is_refused(target: bytes, semantics: str) -> None:
    world = World([], behavior(semantics))
    assert (await exchange(world, get(target))).startswith(b"HTTP/1.1 400 ")
    assert not world.origin.transports and says_no_more(world)
    await world.close()


@BOTH
@pytest.mark.parametrize("tiers", [1, 2])
async def test_the_root_object_stands_for_the_root_alone(tiers: int, semantics: str) -> None:
    if tiers == 1:
        last = edge = Node(behavior(semantics), default_root_object="index.html")
    else:
        both = Tiers(behavior(semantics))
        for node in (both.edge, both.regional):
            node.message.default_root_object = "index.html"
            node.learns("log-1", 2)
        edge, last = both.edge, both.regional
    for number, (target, asked) in enumerate([("/", "/index.html"), ("/a/", "/a/"), ("//", "//")], 1):
        viewer = edge.viewer().asks(target)
        fetch = await last.fetch(number)
        assert fetch.targets[0].request.startswith(b"GET %b HTTP/1.1\r\n" % asked.encode())
        fetch.answers(200, b"hello", FRESH)
        await viewer.answer()
    assert (await edge.viewer().asks("/index.html").answer()).fields["x-cache"] == "Hit from cloudfront"
    viewer = edge.viewer().asks("/?x=1")
    assert (await last.fetch(4)).targets[0].request.startswith(b"GET /index.html?x=1 HTTP/1.1\r\n")
    viewer.leaves()


# -- bodies

WHOLE = [
    ("a length", b"hello", b"Content-Length: 5\r\n", b"hello"),
    ("0 bytes by length", b"", b"Content-Length: 0\r\n", b""),
    ("0 bytes by chunks", b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b""),
    ("0 bytes to the end of the connection", b"", b"", b""),
    ("chunks", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"hello"),
    ("chunks and a trailer", b"5\r\nhello\r\n0\r\nX-T: 1\r\nETag: \"t\"\r\n\r\n", b"Trailer: X-T\r\nTransfer-Encoding: chunked\r\n", b"hello"),
    ("to the end of the connection", b"hello", b"", b"hello"),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("sent", "fields", "body"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_whole_body_is_passed_on_and_stored_however_it_was_framed(
    version: bytes, sent: bytes, fields: bytes, body: bytes, semantics: str
) -> None:
    world = World([([says(sent, fields)], True)], behavior(semantics))
    written = await exchange(world, get(version=version))
    first = read_responses(written, [b"GET"], is_closed=world.transport.is_closing())[0][0]
    second = read_responses(await world.another_viewer(get()), [b"GET"], is_closed=False)[0][0]
    part = await world.another_viewer(get(fields=HOST + b"Range: bytes=0-0\r\n"))
    await world.close()
    assert (first.status, first.body, second.status, second.body) == (200, body, 200, body)
    names = {name.lower(): value for name, value in second.fields}
    assert names[b"content-length"] == b"%d" % len(body)
    for answer in (first, second):
        assert not {b"x-t", b"trailer", b"etag"} & {name.lower() for name, _ in answer.fields}
    if version == b"1.0":
        assert b"chunked" not in written
    assert part.startswith(b"HTTP/1.1 206 " if body else b"HTTP/1.1 416 ")


BROKEN = [
    ("shorter than its length", b"hel", b"Content-Length: 5\r\n", True),
    ("no byte of it", b"", b"Content-Length: 5\r\n", True),
    ("no last chunk", b"5\r\nhello\r\n", b"Transfer-Encoding: chunked\r\n", True),
    ("in a chunk", b"5\r\nhel", b"Transfer-Encoding: chunked\r\n", True),
    ("in the trailer section", b"5\r\nhello\r\n0\r\nX-T: 1\r\n", b"Transfer-Encoding: chunked\r\n", True),
    ("a chunk that is none", b"5\r\nhello\r\nx\r\n\r\n", b"Transfer-Encoding: chunked\r\n", True),
    ("a reset instead of an end", b"hello", b"", False),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("sent", "fields", "is_orderly"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_a_body_that_breaks_off_is_never_reused_as_whole(
    sent: bytes, fields: bytes, is_orderly: bool, semantics: str
) -> None:
    world = World([([says(sent, fields)], is_orderly)], behavior(semantics))
    written = await exchange(world, get())
    assert world.transport.is_lost, "only the end of the connection can tell the viewer"
    assert not written.endswith(b"0\r\n\r\n")
    again = await world.another_viewer(get())
    await world.close()
    assert again.startswith(b"HTTP/1.1 502 "), "no origin is left, so it could only come from the store"


@BOTH
async def test_requests_in_one_read_are_answered_in_their_order(semantics: str) -> None:
    scripts: list[tuple[Sequence[bytes], bool]] = [
        ([says(b"1", b"Content-Length: 1\r\n")], True),
        ([says(b"2", b"Content-Length: 1\r\n")], True),
    ]
    world = World(scripts, behavior(semantics))
    written = await exchange(world, get(b"/1") + get(b"/2") + get(b"/1") + get(b"/2", method=b"HEAD") + get(b"/1"))
    answers, _ = read_responses(written, [b"GET", b"GET", b"GET", b"HEAD", b"GET"], is_closed=False)
    await world.close()
    assert [answer.body for answer in answers] == [b"1", b"2", b"1", b"", b"1"]


@BOTH
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_who_expects_100_continue_is_told_by_this_node_and_the_origin_is_not_asked_for_it(
    framing: bytes, semantics: str
) -> None:
    slow = [b"HTTP/1.1 102 Processing\r\n\r\n"] * 10  # it takes its time, so that the body reaches it before its answer
    world = World([([*slow, says(b"done", b"Content-Length: 4\r\n")], True)], behavior(semantics))
    await world.hears(get(fields=HOST + b"Expect: 100-continue\r\n" + framing, method=b"POST"))
    assert bytes(world.transport.written) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sent = b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" if b"chunked" in framing else b"hello"
    written = await exchange(world, sent)
    upstream = bytes(world.origin.transports[0].written)
    await world.close()
    assert written.count(b"100 Continue") == 1 and written.endswith(b"done")
    (asked,), end = read_requests(upstream)
    assert end is End.CLEAN and not asked.values(b"expect") and asked.body == b"hello"
    assert b"x-t" not in upstream.lower(), "a trailer section ends here"


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_second_100_from_an_origin_is_an_error_in_cloudfronts_semantics_only(count: int) -> None:
    """Reference 2.6; by RFC 9110 section 15.2.1 there may be any number."""
    for semantics in ("cloudfront", "rfc9111"):
        script = b"HTTP/1.1 100 Continue\r\n\r\n" * count + says(b"hello", b"Content-Length: 5\r\n")
        world = World([([script], True)] * 3, behavior(semantics))
        written = await exchange(world, get())
        await world.close()
        is_error = semantics == "cloudfront" and count > 1
        assert written.startswith(b"HTTP/1.1 502 " if is_error else b"HTTP/1.1 200 ")


# -- attacks


@BOTH
@pytest.mark.parametrize(("attack", "status"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
async def test_nothing_of_an_ambiguous_request_reaches_an_origin(attack: bytes, status: int, semantics: str) -> None:
    """RFC 9112 sections 2.2, 3, 5, 6: the request before it is answered, it is refused, what stands behind it is nobody's."""
    world = World([([says(b"hello", b"Content-Length: 5\r\n")], True)] * 3, behavior(semantics))
    written = await exchange(world, *(data.replace(b"Host: h\r\n", HOST) for data in (BEFORE, attack + SMUGGLED)))
    answers, _ = read_responses(written, [b"GET", b"POST"], is_closed=True)
    asked = lines_upstream(world)
    is_open = not says_no_more(world)
    await world.close()
    assert asked == [b"GET /before HTTP/1.1"]
    assert [answer.status for answer in answers] == [200, status] and not is_open


@BOTH
@pytest.mark.parametrize("body", [row[1] for row in BROKEN_BODIES], ids=[row[0] for row in BROKEN_BODIES])
async def test_a_broken_body_is_not_passed_on_as_whole(body: bytes, semantics: str) -> None:
    world = World([([], True)] * 3, behavior(semantics))
    await exchange(world, (post(CHUNKED, body) + SMUGGLED).replace(b"Host: h\r\n", HOST))
    heard = [bytes(transport.written) for transport in world.origin.transports]
    is_open = not says_no_more(world)
    await world.close()
    assert not any(b"smuggled" in data or data.endswith(b"0\r\n\r\n") for data in heard) and not is_open


@BOTH
@pytest.mark.parametrize("tiers", [1, 2])
async def test_what_an_edge_alone_may_say_is_not_taken_from_a_viewer_or_an_origin(tiers: int, semantics: str) -> None:
    said = [
        ("x-edge-log-index", "log-9:99"),
        ("x-edge-distribution", "E9"),
        ("x-edge-request-id", "mine"),
        ("x-edge-anything", "1"),
    ]
    if tiers == 1:
        last = edge = Node(behavior(semantics))
    else:
        both = Tiers(behavior(semantics))
        edge, last = both.edge, both.regional
    viewer = edge.viewer().asks("/a", *said)
    fetch = await last.fetch()
    assert not [name for name in fetch.request if name.startswith("x-edge-")]
    fetch.answers(200, b"hello", FRESH, ("x-edge-result", "hit;fresh"), ("x-edge-anything", "1"))
    for answer in (await viewer.answer(), await edge.viewer().asks("/a").answer()):
        assert not [name for name in answer.fields if name.startswith("x-edge-")]
