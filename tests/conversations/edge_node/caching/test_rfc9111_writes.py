"""Behaviors that follow the RFCs: what a write makes invalid (RFC 9111 section 4.4), at both tiers."""

import pytest

from tests.builders import policy_message
from tests.conversations.dialogue import Node
from tests.conversations.tiers import Tiers, strict, strict_node

FRESH = ("cache-control", "max-age=60")
HERE = "http://d1.cdn.localhost"


async def writes(node: Node, method: str, status: int, *headers: tuple[str, str], target: str = "/a") -> None:
    count = len(node.fetcher.fetches)
    viewer = node.viewer().asks(target, method=method)
    (await node.fetch(count + 1)).answers(status, b"done", *headers)
    assert (await viewer.answer()).status == status


async def is_stored(node: Node, target: str, *ask: tuple[str, str]) -> bool:
    viewer = node.viewer().asks(target, *ask)
    if viewer.is_done:
        assert (await viewer.answer()).fields["x-cache"] == "Hit from cloudfront"
        return True
    viewer.leaves()
    return False


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH"])
@pytest.mark.parametrize("status", [200, 204, 303, 399])
async def test_a_write_that_succeeds_makes_what_is_stored_for_its_target_invalid(method: str, status: int) -> None:
    node = strict_node()
    await node.stores("/a", b"old", FRESH, ("etag", '"1"'))
    await node.stores("/b", b"other", FRESH)
    await writes(node, method, status)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(4)
    assert "if-none-match" not in fetch.request
    fetch.answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"
    assert await is_stored(node, "/b")


@pytest.mark.parametrize(
    ("method", "status"), [("POST", 404), ("POST", 500), ("DELETE", 412), ("OPTIONS", 200), ("HEAD", 200)]
)
async def test_a_write_that_fails_and_a_safe_method_make_nothing_invalid(method: str, status: int) -> None:
    node = strict_node()
    await node.stores("/a", b"old", FRESH)
    if method == "HEAD":
        assert (await node.viewer().asks("/a", method=method).answer()).status == 200
    else:
        await writes(node, method, status)
    assert await is_stored(node, "/a")


async def test_an_invalid_variant_does_not_come_back_in_another_language() -> None:
    node = strict_node()
    for language in ("en", "de"):
        await node.stores(
            "/a", language.encode(), FRESH, ("vary", "Accept-Language"), ask=[("accept-language", language)]
        )
    await writes(node, "PUT", 200)
    for language in ("en", "de"):
        assert not await is_stored(node, "/a", ("accept-language", language))


async def test_all_codings_of_a_target_are_invalid() -> None:
    node = Node(strict(policy=policy_message(accept_encoding_gzip=True)))
    for coding in ("gzip", "identity"):
        await node.stores("/a", coding.encode(), FRESH, ask=[("accept-encoding", coding)])
    await writes(node, "PUT", 200)
    for coding in ("gzip", "identity"):
        assert not await is_stored(node, "/a", ("accept-encoding", coding))


@pytest.mark.parametrize("name", ["location", "content-location"])
@pytest.mark.parametrize(
    ("value", "is_invalid"),
    [
        ("/b?x=1", True),
        ("b?x=1", True),
        (f"{HERE}/b?x=1", True),
        (f"{HERE}:80/b?x=1", True),
        ("//d1.cdn.localhost/b?x=1", True),
        ("https://d1.cdn.localhost/b?x=1", False),
        (f"{HERE}:8080/b?x=1", False),
        ("http://elsewhere.example/b?x=1", False),
        ("//elsewhere.example/b?x=1", False),
        ("/b?x=2", False),
        ("http://[/b?x=1", False),
    ],
)
async def test_location_and_content_location_count_in_the_same_origin_only(
    name: str, value: str, is_invalid: bool
) -> None:
    node = strict_node()
    await node.stores("/a", b"collection", FRESH)
    await node.stores("/b?x=1", b"member", FRESH)
    await writes(node, "POST", 201, (name, value))
    assert await is_stored(node, "/b?x=1") is not is_invalid
    assert not await is_stored(node, "/a")


async def test_a_fetch_under_way_is_not_stored_when_a_write_succeeds_meanwhile() -> None:
    node = strict_node()
    before = node.viewer().asks("/a")
    fetch = await node.fetch(1)
    viewer = node.viewer().asks("/a", method="POST")
    (await node.fetch(2)).answers(200, b"done")
    assert (await viewer.answer()).status == 200
    after = node.viewer().asks("/a")
    later = await node.fetch(3)  # it does not wait for an answer that was perhaps made before the write
    fetch.answers(200, b"old", FRESH)
    later.answers(200, b"new", FRESH)
    assert ((await before.answer()).body, (await after.answer()).body) == (b"old", b"new")
    assert (await node.viewer().asks("/a").answer()).body == b"new"
    await node.asks_nothing_more(3)


async def test_a_write_says_nothing_of_what_is_fetched_for_another_target() -> None:
    node = strict_node()
    before = node.viewer().asks("/b")
    fetch = await node.fetch(1)
    await writes(node, "POST", 200)
    after = node.viewer().asks("/b")
    fetch.answers(200, b"other", FRESH)
    assert [(await viewer.answer()).body for viewer in (before, after)] == [b"other"] * 2
    assert await is_stored(node, "/b")


@pytest.mark.parametrize("ask", [("range", "bytes=0-1"), ("if-none-match", '"0"')])
async def test_a_fetch_that_nobody_can_join_is_not_stored_either(ask: tuple[str, str]) -> None:
    node = strict_node()
    before = node.viewer().asks("/a", ask)
    fetch = (await node.fetch(1)).begins(200, FRESH, ("content-length", "3"))
    await writes(node, "DELETE", 204)
    fetch.sends(b"old").ends()
    assert (await before.answer()).body == b"old"
    assert not await is_stored(node, "/a")


async def test_a_refresh_under_way_does_not_bring_back_what_a_write_made_invalid() -> None:
    node = strict_node()
    await node.stores("/a", b"old", FRESH, ("age", "60"), ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    await writes(node, "PUT", 200)
    fetch.confirms(FRESH)
    assert (await viewer.answer()).body == b"old"
    assert not await is_stored(node, "/a")


async def test_a_response_to_a_write_is_not_stored() -> None:
    node = strict_node()
    await writes(node, "POST", 200, FRESH, ("content-location", "/a"))
    assert not await is_stored(node, "/a")


# -- through both tiers


async def test_a_write_passes_the_regional_cache_and_both_drop_their_copies() -> None:
    tiers = Tiers(strict())
    await tiers.stores("/a", b"old", FRESH)
    await tiers.stores("/b", b"member", FRESH)
    viewer = tiers.viewer().asks("/a", method="POST")
    fetch = await tiers.origin_fetch(3)
    assert fetch.method == b"POST"
    fetch.answers(201, b"done", ("location", "/b"))
    assert (await viewer.answer()).status == 201
    for number, target in ((4, "/a"), (5, "/b")):
        viewer = tiers.viewer().asks(target)
        (await tiers.origin_fetch(number)).answers(200, b"new", FRESH)
        assert (await viewer.answer()).body == b"new"


async def test_a_write_at_one_edge_is_seen_at_another_as_soon_as_that_asks_again() -> None:
    tiers = Tiers(strict(), edges=2)
    await tiers.stores("/a", b"old", FRESH)
    writer, reader = tiers.edges
    viewer = writer.viewer().asks("/a", method="PUT")
    (await tiers.origin_fetch(2)).answers(204, b"")
    assert (await viewer.answer()).status == 204
    viewer = reader.viewer().asks("/a")
    (await tiers.origin_fetch(3)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


async def test_a_write_that_the_origin_refuses_leaves_both_copies() -> None:
    tiers = Tiers(strict())
    await tiers.stores("/a", b"old", FRESH)
    viewer = tiers.viewer().asks("/a", method="PUT")
    (await tiers.origin_fetch(2)).answers(403, b"no")
    assert (await viewer.answer()).status == 403
    assert (await tiers.viewer().asks("/a").answer()).body == b"old"
    await tiers.asks_origin_nothing_more(2)


async def test_in_cloudfronts_semantics_a_write_makes_nothing_invalid() -> None:
    """Reference 2.6."""
    node = Node(strict(semantics=0))
    node.message.default_behavior.allowed_methods[:] = ["GET", "HEAD", "POST"]
    node.learns("log-1", 2)
    await node.stores("/a", b"old", FRESH)
    await writes(node, "POST", 200)
    assert await is_stored(node, "/a")
