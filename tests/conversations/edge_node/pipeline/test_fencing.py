"""What viewers get of a node that holds no lease and may have missed an invalidation (DESIGN section 4, rule 10)."""

import pytest

from edge_node.caching.lookup import Reason, Result
from edge_node.model.configuration import Role
from edge_node.upstream.endpoints import Tier
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, caching_disabled
from tests.conversations.dialogue import Node

FRESH = ("cache-control", "max-age=600")
ETAG = ("etag", '"1"')
EDGE = (("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))
SEMANTICS = [configuration_pb2.SEMANTICS_CLOUDFRONT, configuration_pb2.SEMANTICS_RFC9111]


async def fenced(semantics: "configuration_pb2.Semantics.ValueType" = SEMANTICS[0]) -> Node:
    """An edge that has something stored, and has been fenced since."""
    node = Node(behavior_message(semantics=semantics))
    node.knows_regionals("regional-1")
    await node.stores("/a", b"old", FRESH, ETAG)
    node.state.fence.lease_lost()
    return node


@pytest.mark.parametrize("semantics", SEMANTICS)
async def test_nothing_stored_is_served_before_somebody_was_asked_who_cannot_have_missed_anything(
    semantics: "configuration_pb2.Semantics.ValueType",
) -> None:
    node = await fenced(semantics)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert fetch.tiers == [Tier.REGIONAL, Tier.ORIGIN] and fetch.request["x-edge-confirm"] == "1"
    fetch.answers(200, b"new", FRESH)
    answer = await viewer.answer()
    assert (answer.body, answer.fields["x-cache"]) == (b"new", "Miss from cloudfront")
    assert (node.records.all[-1].result, node.records.all[-1].reason) == (Result.MISS, Reason.UNCONFIRMED)


async def test_it_is_not_asked_by_validators_that_the_old_and_the_new_may_share() -> None:
    node = await fenced()
    node.viewer().asks("/a")
    request = (await node.fetch(2)).request
    assert "if-none-match" not in request and "if-modified-since" not in request


async def test_what_was_fetched_is_not_served_to_the_next_one_either() -> None:
    node = await fenced()
    first = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    await first.answer()
    second = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"newer", FRESH)
    assert (await second.answer()).body == b"newer"


async def test_nobody_joins_a_fetch_that_may_have_begun_before_the_invalidation() -> None:
    node = await fenced()
    for target in ("/a", "/missing"):
        count = len(node.fetcher.fetches)
        first, second = node.viewer().asks(target), node.viewer().asks(target)
        (await node.fetch(count + 2)).answers(200, b"two", FRESH)
        (await node.fetch(count + 1)).answers(200, b"one", FRESH)
        assert ((await first.answer()).body, (await second.answer()).body) == (b"one", b"two")


async def test_a_fetch_from_before_the_fence_is_not_joined() -> None:
    node = Node()
    first = node.viewer().asks("/a")
    early = await node.fetch()
    node.state.fence.lease_lost()
    second = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await second.answer()).body == b"new"
    early.answers(200, b"old", FRESH)
    assert (await first.answer()).body == b"old", "it asked before"


@pytest.mark.parametrize("field", ["stale-if-error=600", "stale-while-revalidate=600", "max-age=600"])
async def test_if_nobody_can_be_asked_the_viewer_is_told_and_nothing_old_is_served(field: str) -> None:
    node = Node()
    await node.stores("/a", b"old", ("cache-control", f"max-age=1, {field}"), ETAG)
    node.now += 2
    node.state.fence.lease_lost()
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).fails()
    answer = await viewer.answer()
    assert (answer.status, node.records.all[-1].reason) == (503, Reason.UNCONFIRMED)
    assert b"old" not in answer.body


async def test_an_error_of_the_origin_is_passed_on() -> None:
    node = await fenced()
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(500, b"broken")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (500, b"broken")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_with_a_lease_again_what_is_stored_is_served(method: str) -> None:
    node = await fenced()
    node.state.fence.leased(node.now + 5.0)
    viewer = node.viewer().asks("/a", method=method)
    assert (await viewer.answer()).fields["x-cache"] == "Hit from cloudfront"
    await node.asks_nothing_more(1)


async def test_what_is_not_cached_goes_on_as_always() -> None:
    node = Node(behavior_message(policy=caching_disabled()))
    node.state.fence.lease_lost()
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"passed")
    assert (await viewer.answer()).body == b"passed"


async def test_the_end_of_a_lease_counts_by_the_clock() -> None:
    """Also for requests that are taken on the fast path, and though nobody has noticed it yet."""
    node = Node()
    await node.stores("/a", b"old", FRESH)
    node.state.fence.leased(node.now + 5.0)
    viewer = node.viewer().asks("/a")
    for _ in range(3):
        await viewer.answer()
        viewer.asks_again()
    assert (await viewer.answer()).body == b"old"
    node.now = node.state.fence.trusted_until
    viewer.asks_again()
    (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


@pytest.mark.parametrize(("is_strict", "body"), [(False, b"old"), (True, b"new")])
async def test_a_distribution_may_want_nothing_to_be_served_without_a_lease(is_strict: bool, body: bytes) -> None:
    node = Node(strict_invalidation=is_strict)
    await node.stores("/a", b"old", FRESH)
    node.state.fence.leased(node.now + 5.0)
    viewer = node.viewer().asks("/a")
    for _ in range(3):
        assert (await viewer.answer()).body == b"old"
        viewer.asks_again()
    await viewer.answer()
    node.now += 5.0
    viewer.asks_again()
    if is_strict:
        (await node.fetch(2)).answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == body


# -- the other tier


@pytest.mark.parametrize(("confirm", "body"), [((), b"stored"), ((("x-edge-confirm", "1"),), b"new")])
async def test_a_regional_cache_without_a_lease_confirms_nothing_from_what_it_has_stored(
    confirm: tuple[tuple[str, str], ...], body: bytes
) -> None:
    node = Node(role=Role.REGIONAL)
    await node.stores("/a", b"stored", FRESH, ask=EDGE)
    node.state.fence.leased(node.now + 5.0)
    node.now += 5.5
    viewer = node.viewer().asks("/a", *EDGE, *confirm)
    if confirm:
        fetch = await node.fetch(2)
        assert fetch.tiers == [Tier.ORIGIN]
        fetch.answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == body


async def test_a_regional_cache_with_a_lease_does() -> None:
    node = Node(role=Role.REGIONAL)
    await node.stores("/a", b"stored", FRESH, ask=EDGE)
    viewer = node.viewer().asks("/a", *EDGE, ("x-edge-confirm", "1"))
    assert (await viewer.answer()).body == b"stored"
    await node.asks_nothing_more(1)


async def test_a_viewer_cannot_ask_for_confirmation() -> None:
    node = Node()
    await node.stores("/a", b"stored", FRESH)
    viewer = node.viewer().asks("/a", ("x-edge-confirm", "1"))
    assert (await viewer.answer()).body == b"stored"
    node.viewer().asks("/b", ("x-edge-confirm", "1"))
    assert "x-edge-confirm" not in (await node.fetch(2)).request
