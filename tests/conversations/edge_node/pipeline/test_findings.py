"""Rules that were broken once: fields that Connection names, only-if-cached, no-transform for CDNs, and what a 304 tells the next cache."""

import pytest

from tests.builders import behavior_message, listed, policy_message
from tests.conversations.dialogue import Node
from tests.conversations.tiers import Tiers, strict, strict_node

FRESH = ("cache-control", "max-age=60")


async def test_a_field_that_connection_names_selects_no_variant() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", ("connection", "accept-language"), ("accept-language", "de"))
    fetch = await node.fetch()
    assert "accept-language" not in fetch.request
    fetch.answers(200, b"default", FRESH, ("vary", "Accept-Language"))
    await viewer.answer()
    german = node.viewer().asks("/a", ("accept-language", "de"))
    (await node.fetch(2)).answers(200, b"hallo", FRESH, ("vary", "Accept-Language"))
    assert (await german.answer()).body == b"hallo"


async def test_a_field_that_connection_names_is_not_in_the_key() -> None:
    node = Node(strict(policy=policy_message(headers=listed("x-a"))))
    viewer = node.viewer().asks("/a", ("connection", "x-a"), ("x-a", "1"))
    fetch = await node.fetch()
    assert "x-a" not in fetch.request
    fetch.answers(200, b"default", FRESH)
    await viewer.answer()
    other = node.viewer().asks("/a", ("x-a", "1"))
    (await node.fetch(2)).answers(200, b"one", FRESH)
    assert (await other.answer()).body == b"one"


async def test_a_field_that_connection_names_ends_here_in_both_semantics() -> None:
    node = Node(behavior_message(policy=policy_message(headers=listed("x-a"))))
    node.viewer().asks("/a", ("connection", "x-a"), ("x-a", "1"))
    assert "x-a" not in (await node.fetch()).request


@pytest.mark.parametrize("ask", [[], [("range", "bytes=0-3")], [("range", "bytes=0-1"), ("if-match", '"1"')]])
async def test_only_if_cached_and_an_entry_that_is_there_in_part(ask: list[tuple[str, str]]) -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", ("range", "bytes=0-1"))
    (await node.fetch(1)).answers(206, b"he", FRESH, ("etag", '"1"'), ("content-range", "bytes 0-1/5"))
    await viewer.answer()
    viewer = node.viewer().asks("/a", ("cache-control", "only-if-cached"), *ask)
    await node.asks_nothing_more(1)
    assert (await viewer.answer()).status == 504


async def test_only_if_cached_and_a_condition_for_the_origin() -> None:
    node = strict_node()
    await node.stores("/a", b"x", FRESH, ("etag", '"1"'))
    viewer = node.viewer().asks("/a", ("cache-control", "only-if-cached"), ("if-match", '"1"'))
    await node.asks_nothing_more(1)
    assert (await viewer.answer()).status == 504


async def test_only_if_cached_where_caching_is_disabled() -> None:
    node = Node(strict(policy=policy_message(default_ttl_seconds=0, maximum_ttl_seconds=0)))
    viewer = node.viewer().asks("/a", ("cache-control", "only-if-cached"))
    await node.asks_nothing_more(0)
    assert (await viewer.answer()).status == 504


async def test_a_targeted_no_transform_is_obeyed() -> None:
    node = Node(strict(policy=policy_message(accept_encoding_gzip=True), compress=True))
    viewer = node.viewer().asks("/a", ("accept-encoding", "gzip"))
    (await node.fetch()).answers(
        200, b"x" * 2_000, ("cdn-cache-control", "max-age=60, no-transform"), ("content-type", "text/plain")
    )
    assert "content-encoding" not in (await viewer.answer()).fields


async def test_a_304_through_the_regional_cache_updates_the_copy_of_the_edge() -> None:
    tiers = Tiers(strict())
    await tiers.stores("/a", b"hello", FRESH, ("etag", '"1"'), ("content-security-policy", "old"))
    tiers.passes(60)
    viewer = tiers.viewer().asks("/a")
    (await tiers.origin_fetch(2)).confirms(FRESH, ("etag", '"1"'), ("content-security-policy", "new"))
    assert (await viewer.answer()).fields["content-security-policy"] == "new"


async def test_why_a_request_went_on_is_said() -> None:
    node = strict_node()
    await node.stores("/a", b"x", FRESH, ("etag", '"1"'), ("vary", "x-a"))
    viewer = node.viewer().asks("/a", ("cache-control", "no-cache"))
    (await node.fetch(2)).confirms(FRESH)
    assert "fwd=request; fwd-status=304" in (await viewer.answer()).fields["cache-status"]
    viewer.asks("/a", ("x-a", "1"))
    (await node.fetch(3)).answers(200, b"y", FRESH, ("vary", "x-a"))
    assert "fwd=vary-miss" in (await viewer.answer()).fields["cache-status"]
    viewer.asks("/b")
    (await node.fetch(4)).answers(200, b"y", FRESH)
    assert "fwd=uri-miss" in (await viewer.answer()).fields["cache-status"]
    node.now += 61
    viewer.asks("/a")
    (await node.fetch(5)).confirms(FRESH)
    assert "fwd=stale; fwd-status=304" in (await viewer.answer()).fields["cache-status"]
