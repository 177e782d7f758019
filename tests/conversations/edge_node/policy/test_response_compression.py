"""Bodies that edges compress on their way (reference 2.7): when, what of the response changes, and that nothing half-done is ever kept or looks whole."""

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import brotli  # type: ignore[import-untyped]  # ships neither stubs nor py.typed
import pytest

from edge_node.model.configuration import Role
from edge_node.model.errors import UpstreamErrorKind
from tests.builders import behavior_message, caching_disabled, policy_message, read_distribution
from tests.conversations.dialogue import Answer, Fetch, Node, TextHeader, Viewer, flush
from tests.conversations.tiers import Tiers
from tests.edge_state import put_distribution

FRESH = ("cache-control", "max-age=60")
TEXT = ("content-type", "text/css")
BOTH = ("accept-encoding", "gzip, deflate, br")
GZIP = ("accept-encoding", "gzip")
BODY = b"".join(b".class-%d { color: #%06x }\n" % (number, number * 7_919) for number in range(400))
DECODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "br": brotli.decompress}


def compressing(*, with_gzip: bool = True, with_brotli: bool = True, **changes: Any) -> Any:
    policy = policy_message(accept_encoding_gzip=with_gzip, accept_encoding_brotli=with_brotli)
    values: dict[str, Any] = {"policy": policy, "compress": True}
    return behavior_message(**(values | changes))


def edge(**changes: Any) -> Node:
    return Node(compressing(**changes))


async def gets(
    node: Node,
    *ask: TextHeader,
    body: bytes = BODY,
    headers: tuple[TextHeader, ...] = (FRESH, TEXT),
    target: str = "/a",
) -> Answer:
    """A miss, answered with a body of known length."""
    number = len(node.fetcher.fetches) + 1
    viewer = node.viewer().asks(target, *ask)
    (await node.fetch(number)).answers(200, body, *headers)
    return await viewer.answer()


def is_coded(answer: Answer, coding: str, body: bytes = BODY) -> bool:
    return answer.fields.get("content-encoding") == coding and DECODE[coding](answer.body) == body


# -- when


@pytest.mark.parametrize(
    ("with_gzip", "with_brotli", "accepted", "coding"),
    [
        (True, True, "gzip, deflate, br", "br"),
        (True, True, "gzip", "gzip"),
        (True, True, "br", "br"),
        (True, True, "deflate", None),
        (True, True, None, None),
        (True, False, "gzip, br", "gzip"),
        (True, False, "br", None),
        (False, True, "gzip, br", "br"),
        (False, True, "gzip", None),
        (False, False, "gzip, br", None),
    ],
)
async def test_by_flags_and_by_what_the_viewer_takes(
    with_gzip: bool, with_brotli: bool, accepted: str | None, coding: str | None
) -> None:
    node = edge(with_gzip=with_gzip, with_brotli=with_brotli)
    ask = [("accept-encoding", accepted)] if accepted else []
    answer = await gets(node, *ask)
    if coding is None:
        assert answer.body == BODY and "content-encoding" not in answer.fields
    else:
        assert is_coded(answer, coding) and len(answer.body) < len(BODY) / 2
    again = await node.viewer().asks("/a", *ask).answer()
    assert (again.body, again.fields.get("content-encoding")) == (answer.body, coding)
    assert again.fields["x-cache"] == "Hit from cloudfront" and again.fields["content-length"] == str(len(answer.body))


async def test_the_origin_is_asked_in_the_normal_form() -> None:
    node = edge()
    viewer = node.viewer().asks("/a", ("accept-encoding", "GZIP;q=0.3 , br , zstd"))
    fetch = await node.fetch()
    assert fetch.request["accept-encoding"] == "br,gzip"
    fetch.answers(200, BODY, FRESH, TEXT)
    assert is_coded(await viewer.answer(), "br")


async def test_each_set_of_codings_has_its_own_copy() -> None:
    node = edge()
    by_field = {}
    for field in ("gzip", "br", "gzip, br", "identity"):
        by_field[field] = (await gets(node, ("accept-encoding", field))).fields.get("content-encoding")
    assert by_field == {"gzip": "gzip", "br": "br", "gzip, br": "br", "identity": None}
    for field, coding in by_field.items():
        answer = await node.viewer().asks("/a", ("accept-encoding", field)).answer()
        assert answer.fields.get("content-encoding") == coding
    await node.asks_nothing_more(4)


async def not_coded(node: Node, *headers: TextHeader, body: bytes = BODY, ask: TextHeader = BOTH) -> Answer:
    answer = await gets(node, ask, body=body, headers=headers)
    assert answer.body == body
    return answer


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((FRESH, TEXT), BODY[:999]),
        ((FRESH, TEXT), bytes(10_000_001)),
        ((FRESH, TEXT), b""),
        ((FRESH, ("content-type", "image/png")), BODY),
        ((FRESH, ("content-type", "font/woff2")), BODY),
        ((FRESH,), BODY),
        ((FRESH, TEXT, ("content-encoding", "gzip")), BODY),
        ((FRESH, TEXT, ("content-encoding", "identity")), BODY),
        ((("cache-control", "max-age=60, no-transform"), TEXT), BODY),
    ],
    ids=["small", "large", "empty", "image", "woff2", "untyped", "gzip", "identity", "no-transform"],
)
async def test_what_is_left_as_it_is(headers: tuple[TextHeader, ...], body: bytes) -> None:
    await not_coded(edge(), *headers, body=body)


@pytest.mark.parametrize("length", [1_000, 10_000_000])
async def test_the_bounds_belong_to_what_is_compressed(length: int) -> None:
    body = bytes(length)
    assert is_coded(await gets(edge(), GZIP, body=body), "gzip", body)


async def test_a_body_of_unknown_length_is_left_as_it_is() -> None:
    node = edge()
    viewer = node.viewer().asks("/a", BOTH)
    (await node.fetch()).begins(200, FRESH, TEXT).sends(BODY).ends()
    answer = await viewer.answer()
    assert answer.body == BODY and "content-encoding" not in answer.fields


async def test_a_behavior_that_does_not_compress_does_not() -> None:
    await not_coded(edge(compress=False), FRESH, TEXT)


@pytest.mark.parametrize(
    ("status", "coding"), [(200, "br"), (403, "br"), (404, "br"), (203, None), (410, None), (500, None)]
)
async def test_by_status(status: int, coding: str | None) -> None:
    node = edge()
    viewer = node.viewer().asks("/a", BOTH)
    (await node.fetch()).answers(status, BODY, FRESH, TEXT)
    answer = await viewer.answer()
    assert answer.fields.get("content-encoding") == coding
    assert (DECODE["br"](answer.body) if coding else answer.body) == BODY


async def test_http_1_0_gets_the_body_as_it_is_and_takes_nothing_from_the_others() -> None:
    node = edge()
    await gets(node, BOTH)
    viewer = node.viewer().asks("/a", BOTH, minor_version=0)
    fetch = await node.fetch(2)
    assert "accept-encoding" not in fetch.request
    fetch.answers(200, BODY, FRESH, TEXT)
    assert (await viewer.answer()).body == BODY


async def test_a_range_that_is_not_there_is_not_compressed() -> None:
    node = edge()
    viewer = node.viewer().asks("/a", BOTH, ("range", "bytes=0-1999"))
    part = BODY[:2000]
    (await node.fetch()).answers(
        206, part, FRESH, TEXT, ("content-range", f"bytes 0-1999/{len(BODY)}"), ("etag", '"1"')
    )
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (206, part) and "content-encoding" not in answer.fields


async def test_the_whole_instead_of_a_range_is_not_compressed() -> None:
    node = edge()
    answer = await gets(node, BOTH, ("range", "bytes=0-9"))
    assert answer.body == BODY and "content-encoding" not in answer.fields
    answer = await node.viewer().asks("/a", BOTH).answer()  # the first copy serves all who share the key
    assert answer.body == BODY and answer.fields["x-cache"] == "Hit from cloudfront"


async def test_ranges_of_a_compressed_copy_count_its_compressed_bytes() -> None:
    node = edge()
    coded = (await gets(node, BOTH)).body
    answer = await node.viewer().asks("/a", BOTH, ("range", "bytes=10-19")).answer()
    assert (answer.status, answer.body) == (206, coded[10:20])
    assert (answer.fields["content-range"], answer.fields["content-encoding"]) == (f"bytes 10-19/{len(coded)}", "br")


async def test_a_response_that_is_not_stored_is_compressed_too() -> None:
    for node in (edge(), edge(policy=policy_message(accept_encoding_gzip=True, accept_encoding_brotli=True))):
        answer = await gets(node, BOTH, headers=(("cache-control", "private"), TEXT))
        assert is_coded(answer, "br")
    disabled = Node(behavior_message(policy=caching_disabled(), compress=True))
    assert (await gets(disabled, BOTH)).body == BODY  # without the flags nothing is


async def test_too_many_at_once_pass_as_they_are() -> None:
    """Best effort: memory has a bound, and viewers do not wait for it."""
    node = edge()
    for number in range(1, 20):
        length = 100_000 if number < 19 else len(BODY)  # one small stream more fits beside 18 large ones
        node.viewer().asks(f"/{number}", BOTH)
        (await node.fetch(number)).begins(200, FRESH, TEXT, ("content-length", str(length)))
    await not_coded(node, FRESH, TEXT)
    node.fetcher.fetches[0].fails(UpstreamErrorKind.RESET)
    await flush(node.fetcher.fetches[0].is_over.__bool__)
    assert is_coded(await gets(node, BOTH, target="/b"), "br")


# -- what changes


@pytest.mark.parametrize(
    ("before", "after"), [('"x"', 'W/"x"'), ('W/"x"', 'W/"x"'), ("x", None), ("'x'", None), (None, None)]
)
async def test_the_tag_is_weakened(before: str | None, after: str | None) -> None:
    node = edge()
    tag = (("etag", before),) if before is not None else ()
    answer = await gets(node, BOTH, headers=(FRESH, TEXT, *tag))
    assert answer.fields.get("etag") == after
    assert (await node.viewer().asks("/a", BOTH).answer()).fields.get("etag") == after


async def test_the_first_answer_is_chunked_and_says_by_what_it_varies() -> None:
    digest = ("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ==")
    answer = await gets(edge(), BOTH, headers=(FRESH, TEXT, digest))
    assert "content-length" not in answer.fields
    assert answer.fields["vary"] == "Accept-Encoding" and "content-md5" not in answer.fields


async def test_a_head_request_gets_the_fields_of_the_compressed_form() -> None:
    node = edge()
    viewer = node.viewer().asks("/a", BOTH, method="HEAD")
    (await node.fetch()).begins(200, FRESH, TEXT, ("etag", '"x"'), ("content-length", str(len(BODY)))).ends()
    answer = await viewer.answer()
    assert (answer.body, answer.fields["content-encoding"], answer.fields["etag"]) == (b"", "br", 'W/"x"')
    assert "content-length" not in answer.fields
    coded = await gets(node, BOTH)
    answer = await node.viewer().asks("/a", BOTH, method="HEAD").answer()
    assert answer.fields["content-length"] == str(len(coded.body))


async def test_a_viewers_condition_is_answered_with_the_weak_tag() -> None:
    node = edge()
    await gets(node, BOTH, headers=(FRESH, TEXT, ("etag", '"x"')))
    for tag in ('W/"x"', '"x"'):
        assert (await node.viewer().asks("/a", BOTH, ("if-none-match", tag)).answer()).status == 304
    answer = await node.viewer().asks("/a", BOTH, ("range", "bytes=0-9"), ("if-range", 'W/"x"')).answer()
    assert answer.status == 200  # a weak tag is no condition for a range


# -- on the way


async def test_bytes_flow_before_the_end_and_decode_to_the_original() -> None:
    node = edge()
    viewer = node.viewer().asks("/a", GZIP)
    fetch = (await node.fetch()).begins(200, FRESH, TEXT, ("content-length", str(len(BODY))))
    decoder = zlib.decompressobj(31)
    fetch.sends(BODY[:3_000])
    assert decoder.decompress(viewer.so_far().body) == BODY[:3_000]
    for start in range(3_000, len(BODY), 700):
        fetch.sends(BODY[start : start + 700])
    fetch.ends()
    assert is_coded(await viewer.answer(), "gzip")


async def test_those_who_join_get_the_same_compressed_bytes() -> None:
    node = edge()
    viewers = [node.viewer().asks("/a", BOTH) for _ in range(2)]
    fetch = (await node.fetch()).begins(200, FRESH, TEXT, ("content-length", str(len(BODY)))).sends(BODY[:5_000])
    viewers.append(node.viewer().asks("/a", BOTH))
    fetch.sends(BODY[5_000:]).ends()
    bodies = {(await viewer.answer()).body for viewer in viewers}
    assert len(bodies) == 1 and DECODE["br"](bodies.pop()) == BODY
    await node.asks_nothing_more(1)


async def breaks_off(node: Node) -> tuple[Viewer, Fetch]:
    viewer = node.viewer().asks("/a", GZIP)
    fetch = (await node.fetch()).begins(200, FRESH, TEXT, ("etag", '"1"'), ("content-length", str(len(BODY))))
    fetch.sends(BODY[:5_000])
    return viewer, fetch


async def test_a_body_that_breaks_off_never_looks_whole_and_is_not_stored() -> None:
    node = edge()
    viewer, fetch = await breaks_off(node)
    assert fetch.sink.resume_point() is None  # compressed bytes do not say where the origin's broke off
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert not viewer.so_far().is_whole
    decoder = zlib.decompressobj(31)
    assert BODY.startswith(decoder.decompress(viewer.so_far().body)) and not decoder.eof
    assert (node.store.statistics.entries, node.store.statistics.used_bytes) == (0, 0)
    assert is_coded(await gets(node, GZIP), "gzip")


@pytest.mark.parametrize("way", ["viewer leaves", "origin fails", "done"])
async def test_the_memory_of_an_encoder_is_given_back(way: str) -> None:
    node = edge()
    compressors = node.pipeline._cache.compressors
    free = compressors._free_bytes
    viewer, fetch = await breaks_off(node)
    assert compressors._free_bytes < free
    if way == "viewer leaves":
        viewer.leaves()
    elif way == "origin fails":
        fetch.fails(UpstreamErrorKind.TRUNCATED)
    else:
        fetch.sends(BODY[5_000:]).ends()
    await node.asks_nothing_more(1)
    assert compressors._free_bytes == free and not node.tasks


# -- copies that are there already


async def test_an_uncompressed_copy_keeps_being_served_and_a_304_does_not_compress_it() -> None:
    """Reference 2.7: only an invalidation brings the compressed one."""
    node = edge(compress=False)
    etag = ("etag", '"1"')
    await gets(node, BOTH, headers=(FRESH, TEXT, etag))
    node.message.default_behavior.compress = True
    put_distribution(node.state, node.state.applied_index, read_distribution(node.message))
    answer = await node.viewer().asks("/a", BOTH).answer()
    assert (answer.body, answer.fields["x-cache"]) == (BODY, "Hit from cloudfront")
    node.now += 60
    viewer = node.viewer().asks("/a", BOTH)
    (await node.fetch(2)).confirms(FRESH, etag)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["etag"]) == (BODY, '"1"') and "content-encoding" not in answer.fields
    node.invalidates("/a")
    assert is_coded(await gets(node, BOTH, headers=(FRESH, TEXT, etag)), "br")


async def test_a_compressed_copy_is_confirmed_by_the_origins_own_tag() -> None:
    node = edge()
    etag = ("etag", '"1"')
    coded = await gets(node, BOTH, headers=(FRESH, TEXT, etag))
    node.now += 60
    viewer = node.viewer().asks("/a", BOTH)
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == 'W/"1"'
    fetch.confirms(FRESH, etag)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["etag"], answer.fields["content-encoding"]) == (coded.body, 'W/"1"', "br")
    assert (answer.fields["vary"], answer.fields["x-cache"]) == ("Accept-Encoding", "RefreshHit from cloudfront")


async def test_a_compressed_copy_is_served_on_an_error() -> None:
    node = edge()
    coded = await gets(node, BOTH)
    node.now += 60
    viewer = node.viewer().asks("/a", BOTH)
    (await node.fetch(2)).fails()
    answer = await viewer.answer()
    assert (answer.body, answer.fields["content-encoding"]) == (coded.body, "br")


async def test_an_object_that_was_put_together_from_parts_stays_as_it_is() -> None:
    node = edge()
    etag = ("etag", '"1"')
    viewer = node.viewer().asks("/a", BOTH, ("range", "bytes=0-1999"))
    whole = len(BODY)
    (await node.fetch()).answers(206, BODY[:2000], FRESH, TEXT, etag, ("content-range", f"bytes 0-1999/{whole}"))
    await viewer.answer()
    viewer = node.viewer().asks("/a", BOTH)
    rest = ("content-range", f"bytes 2000-{whole - 1}/{whole}")
    (await node.fetch(2)).answers(206, BODY[2000:], FRESH, TEXT, etag, rest)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (200, BODY) and "content-encoding" not in answer.fields


# -- two tiers


async def test_a_regional_cache_passes_on_what_the_origin_sent() -> None:
    node = Node(compressing(), role=Role.REGIONAL)
    ask = (("x-edge-log-index", "log-1:1"), ("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))
    answer = await gets(node, BOTH, *ask)
    assert answer.body == BODY and "content-encoding" not in answer.fields


async def test_the_edge_compresses_what_comes_through_the_regional_tier() -> None:
    tiers = Tiers(compressing())
    viewer = tiers.viewer().asks("/a", BOTH)
    (await tiers.origin_fetch()).answers(200, BODY, FRESH, TEXT, ("etag", '"1"'))
    answer = await viewer.answer()
    assert is_coded(answer, "br") and answer.fields["etag"] == 'W/"1"'
    tiers.edge.store.clear()
    again = await tiers.viewer().asks("/a", BOTH).answer()  # from the regional cache
    assert is_coded(again, "br") and again.fields["x-cache"] == "Hit from cloudfront"
    await tiers.asks_origin_nothing_more(1)


@pytest.mark.parametrize("control", ["max-age=60", "max-age=60, stale-while-revalidate=30"])
async def test_a_refresh_that_a_range_began_is_compressed_as_any_other(control: str) -> None:
    """The node asks for the whole then; the copy is for all who share the key."""
    node = edge()
    await gets(node, BOTH, headers=(("cache-control", control), TEXT, ("etag", '"1"')))
    node.now += 60
    node.viewer().asks("/a", BOTH, ("range", "bytes=0-9"), ("if-range", '"1"'))
    fetch = await node.fetch(2)
    assert "range" not in fetch.request
    new = BODY + BODY
    fetch.answers(200, new, FRESH, TEXT)
    await node.asks_nothing_more(2)
    assert is_coded(await node.viewer().asks("/a", BOTH).answer(), "br", new)
