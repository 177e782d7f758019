"""Rules that meet: parts and Authorization, targeted fields and windows, repeated lines, demands and stale copies (RFC 9111 under `rfc9111`, some under both)."""

import pytest

from tests.conversations.dialogue import Node, flush
from tests.conversations.edge_node.caching.test_claims_freshness import (
    BOTH,
    ONE_OR_TWO,
    RFC9111,
    TAG,
    Way,
    behavior,
    way,
)

FRESH = ("cache-control", "max-age=60")
LOGIN = ("authorization", "Basic Zm9v")


async def with_a_part(tiers: int) -> Way:
    """The first two of five bytes are stored."""
    there = way(tiers, behavior(RFC9111))
    viewer = there.asks(("range", "bytes=0-1"))
    (await there.origin(1)).answers(206, b"he", FRESH, TAG, ("content-range", "bytes 0-1/5"))
    assert (await viewer.answer()).body == b"he"
    return there


@ONE_OR_TWO
@pytest.mark.parametrize("ask", [LOGIN, ("cache-control", "no-store")])
async def test_a_part_for_one_is_not_kept(ask: tuple[str, str], tiers: int) -> None:
    there = way(tiers, behavior(RFC9111))
    viewer = there.asks(ask, ("range", "bytes=0-1"))
    (await there.origin(1)).answers(206, b"he", FRESH, TAG, ("content-range", "bytes 0-1/5"))
    assert (await viewer.answer()).body == b"he"
    there.asks(("range", "bytes=0-1"))
    await there.origin(2)


async def test_what_completes_a_part_for_one_makes_it_whole_for_nobody_else() -> None:
    there = await with_a_part(1)
    mine, theirs = there.asks(LOGIN), there.asks()
    (await there.origin(2)).answers(206, b"llo", FRESH, TAG, ("content-range", "bytes 2-4/5"))
    assert (await mine.answer()).body == b"hello"
    await flush(lambda: there.asked == 3)
    assert "range" not in (await there.origin(3)).request
    (await there.origin(3)).answers(200, b"hello", FRESH, TAG)
    assert (await theirs.answer()).body == b"hello"


@ONE_OR_TWO
@BOTH
async def test_an_unsatisfiable_range_says_nothing_of_the_whole(semantics: str, tiers: int) -> None:
    there = way(tiers, behavior(semantics))
    viewer = there.asks(("range", "bytes=9-"))
    (await there.origin(1)).answers(416, b"", ("content-range", "bytes */5"), FRESH)
    assert (await viewer.answer()).status == 416
    viewer = there.asks()
    (await there.origin(2)).answers(200, b"hello", FRESH)
    assert (await viewer.answer()).body == b"hello"


@pytest.mark.parametrize(
    ("lines", "lifetime"),
    [
        ([("cdn-cache-control", "max-age=60"), ("cdn-cache-control", "no-store")], 0),
        ([("cdn-cache-control", "max-age=60"), ("cdn-cache-control", "max-age=10")], 10),  # a dictionary: the last one
        ([("cdn-cache-control", "max-age=60"), ("cdn-cache-control", "&")], 0),  # no dictionary, so there is no field
        ([("expires", "Fri, 15 Jan 2027 08:01:00 GMT")] * 2, 0),
        ([FRESH, ("age", "20"), ("age", "50")], 40),
        ([FRESH, ("pragma", "no-cache")], 60),  # it means nothing in a response
    ],
)
async def test_lines_that_are_repeated(lines: list[tuple[str, str]], lifetime: int) -> None:
    there = way(1, behavior(RFC9111))
    await there.stores(*lines, TAG)
    if lifetime:
        there.passes(lifetime - 0.5)
        assert await there.is_hit()
        there.passes(0.5)
    assert not await there.is_hit()


async def test_the_window_of_a_targeted_field_holds_whatever_cache_control_forbids() -> None:
    there = way(1, behavior(RFC9111))
    targeted = ("cdn-cache-control", "max-age=60, stale-while-revalidate=60")
    await there.stores(targeted, ("cache-control", "must-revalidate, max-age=1"), TAG)
    there.passes(70)
    assert await there.is_hit()


async def test_only_if_cached_takes_what_is_stale_where_the_request_allows_it() -> None:
    there = way(1, behavior(RFC9111))
    await there.stores(FRESH)
    there.passes(70)
    assert (await there.asks(("cache-control", "only-if-cached, max-stale=10")).answer()).status == 200
    assert (await there.asks(("cache-control", "only-if-cached, max-stale=9")).answer()).status == 504


async def test_a_304_that_brings_vary_any_ends_reuse() -> None:
    there = way(1, behavior(RFC9111))
    await there.stores(FRESH, TAG)
    there.passes(60)
    viewer = there.asks()
    (await there.origin(2)).confirms(FRESH, ("vary", "*"))
    assert (await viewer.answer()).body == b"hello"
    assert not await there.is_hit()


# -- the budget of a cache, seen from outside


@pytest.mark.parametrize("policy", ["lru", "fifo", "sieve", "s3fifo", "wtinylfu"])
async def test_entries_cost_more_than_their_bodies(policy: str) -> None:
    """What an entry takes beside its bytes counts: a cache of 64 KiB holds no thousand empty objects, and not only a handful."""
    node = Node(capacity=65_536, policy=policy)
    for number in range(300):
        await node.stores(f"/{number}", b"", FRESH)
        statistics = node.store.statistics
        assert statistics.entries * 400 <= 65_536
    assert node.store.statistics.entries > 80


@pytest.mark.parametrize("policy", ["lru", "fifo", "sieve", "s3fifo", "wtinylfu"])
@pytest.mark.parametrize(("length", "is_kept"), [(7_000, True), (8_193, False)])
async def test_a_body_larger_than_an_eighth_of_the_budget_pushes_nothing_out(
    length: int, is_kept: bool, policy: str
) -> None:
    node = Node(capacity=65_536, policy=policy)
    await node.stores("/small", b"small", FRESH)
    await node.stores("/large", bytes(length), FRESH)
    assert node.viewer().asks("/small").is_done
    assert node.viewer().asks("/large").is_done is is_kept
    await node.asks_nothing_more(2 if is_kept else 3)
