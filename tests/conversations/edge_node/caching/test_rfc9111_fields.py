"""Behaviors that follow the RFCs: what is forwarded, what ends here, what is said on the way (RFC 9110 sections 7.6, 15.2, RFC 9111 sections 3.1, 5.1, RFC 9211)."""

import pytest

from tests.builders import policy_message
from tests.conversations.dialogue import Node, Viewer
from tests.conversations.tiers import Tiers, strict, strict_node

FRESH = ("cache-control", "max-age=60")


# -- toward the origin


async def test_every_end_to_end_field_of_a_viewer_reaches_the_origin() -> None:
    fields = {
        "accept": "text/html", "accept-language": "de", "cookie": "a=1; b=2", "user-agent": "Browser/1", "referer": "http://x/", "x-anything": "y",
        "authorization": "Basic Zm9v", "dnt": "1", "sec-fetch-mode": "navigate", "cache-control": "max-age=5", "x-forwarded-proto": "https",
    }  # fmt: skip
    tiers = Tiers(strict())
    tiers.viewer().asks("/a?b=c", *fields.items())
    request = (await tiers.origin_fetch()).request
    assert {name: request.get(name) for name in fields} == fields


async def test_fields_of_one_hop_end_here() -> None:
    node = strict_node()
    node.viewer().asks(
        "/a", ("connection", "close, X-Private, keep-alive"), ("x-private", "1"), ("te", "trailers"), ("upgrade", "h2c"), ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic Zm9v"), ("proxy-connection", "keep-alive"), ("trailer", "X-T"), ("x-edge-log-index", "x:1"), ("x-kept", "1"),
    )  # fmt: skip
    request = (await node.fetch()).request
    assert request["x-kept"] == "1" and request["connection"] == "keep-alive"
    gone = {
        "x-private",
        "te",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "trailer",
        "x-edge-log-index",
    }
    assert not gone & request.keys()


async def test_via_and_the_viewers_address_are_appended_to_what_was_there() -> None:
    tiers = Tiers(strict())
    tiers.viewer().asks("/a", ("via", "1.0 before"), ("x-forwarded-for", "198.51.100.1"))
    request = (await tiers.origin_fetch()).request
    own = "1.1 abc.cloudfront.net (CloudFront)"
    assert request["via"] == f"1.0 before, {own}, {own}"
    assert request["x-forwarded-for"] == "198.51.100.1, 192.0.2.7"


# -- toward the viewer, and into the store


async def test_hop_by_hop_fields_of_a_response_are_neither_passed_on_nor_stored() -> None:
    tiers = Tiers(strict())
    viewer = tiers.viewer().asks("/a")
    (await tiers.origin_fetch()).answers(
        200, b"hello", FRESH, ("connection", "X-Hop, keep-alive"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("proxy-authenticate", "Basic"),
        ("trailer", "X-T"), ("upgrade", "h2c"), ("x-edge-result", "hit;fresh"), ("x-kept", "1"),
    )  # fmt: skip
    gone = {"x-hop", "keep-alive", "proxy-authenticate", "trailer", "upgrade", "x-edge-result"}
    for answer in (await viewer.answer(), await tiers.viewer().asks("/a").answer()):
        assert not gone & answer.fields.keys()
        assert answer.fields["x-kept"] == "1" and answer.fields.get("connection", "keep-alive") == "keep-alive"


async def test_connection_names_in_a_304_update_nothing() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, ("age", "60"), ("etag", '"1"'), ("x-hop", "old"))
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(FRESH, ("connection", "x-hop"), ("x-hop", "new"))
    assert (await viewer.answer()).fields["x-hop"] == "old"


@pytest.mark.parametrize(
    "control",
    ['private="x-user", max-age=60', 'no-cache="X-User", max-age=60', 'max-age=60, private="x-user, Set-Cookie"'],
)
@pytest.mark.parametrize("field", ["cache-control", "cdn-cache-control"])
async def test_fields_that_are_for_one_viewer_reach_that_one_only(control: str, field: str) -> None:
    """RFC 9111 sections 5.2.2.4 and 5.2.2.7."""
    tiers = Tiers(strict())
    first, second = tiers.viewer().asks("/a"), tiers.viewer().asks("/a")
    (await tiers.origin_fetch()).answers(200, b"hello", (field, control), ("x-user", "first"), ("x-other", "all"))
    answer = await first.answer()
    assert (answer.fields["x-user"], answer.fields["x-other"]) == ("first", "all")
    for answer in (await second.answer(), await tiers.viewer().asks("/a").answer()):
        assert answer.body == b"hello" and answer.fields["x-other"] == "all" and "x-user" not in answer.fields
    await tiers.asks_origin_nothing_more(1)


# -- interim responses and 100


async def test_an_interim_response_is_passed_on_through_both_tiers_and_stays_apart() -> None:
    tiers = Tiers(strict())
    viewer = tiers.viewer().asks("/a")
    fetch = await tiers.origin_fetch()
    fetch.informs(103, ("link", "</style.css>; rel=preload"), ("x-early", "1"), ("connection", "x-early"))
    fetch.answers(200, b"hello", FRESH)
    await viewer_is_done(viewer)
    final = viewer.so_far()
    assert final.interims == [(103, ((b"link", b"</style.css>; rel=preload"),))]
    assert final.status == 200 and not {"link", "x-early"} & final.fields.keys()
    answer = await tiers.viewer().asks("/a").answer()
    assert (answer.status, answer.body) == (200, b"hello") and "link" not in answer.fields


async def test_all_who_wait_are_told_and_nobody_who_comes_later() -> None:
    node = strict_node()
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    fetch = await node.fetch()
    fetch.informs(103, ("link", "</a>"))
    viewers.append(node.viewer().asks("/a"))
    fetch.answers(200, b"hello", FRESH)
    for viewer in viewers:
        await viewer_is_done(viewer)
    assert [[status for status, _ in viewer.so_far().interims] for viewer in viewers] == [[103], [103], []]


async def test_100_continue_is_for_nobody_however_often_it_comes() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch()
    for _ in range(3):
        fetch.informs(100)
    fetch.answers(200, b"hello", FRESH)
    assert (await viewer.answer()).status == 200


async def test_a_viewer_of_http_1_0_is_told_nothing_in_between() -> None:
    node = strict_node()
    viewer = node.viewer()
    viewer.asks("/a", ("x-a", "1"), minor_version=0)
    fetch = await node.fetch()
    fetch.informs(103, ("link", "</a>"))
    fetch.answers(200, b"hello", FRESH)
    assert (await viewer.answer()).status == 200


async def test_cloudfront_passes_no_interim_response_on() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch()
    fetch.informs(103, ("link", "</a>"))
    fetch.answers(200, b"hello", FRESH)
    assert (await viewer.answer()).status == 200


async def viewer_is_done(viewer: Viewer) -> None:
    await viewer.answer()


# -- Age


@pytest.mark.parametrize(("said", "told"), [("5", "5"), ("5, 200", "5"), ("99999999999999999999", None)])
async def test_the_age_of_a_response_is_passed_on_and_counted_at_both_tiers(said: str, told: str | None) -> None:
    tiers = Tiers(strict())
    viewer = tiers.viewer().asks("/a")
    (await tiers.origin_fetch()).answers(200, b"hello", FRESH, ("age", said))
    answer = await viewer.answer()
    assert answer.fields["age"] == told if told else int(answer.fields["age"]) > 60
    tiers.passes(50)
    viewer = tiers.viewer().asks("/a")
    if told:
        assert (await viewer.answer()).fields["age"] == "55"
    tiers.passes(5)
    tiers.viewer().asks("/a")
    await tiers.origin_fetch(2)


async def test_the_time_that_a_request_took_counts_as_age() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch()
    node.now += 20
    fetch.answers(200, b"hello", FRESH)
    await viewer.answer()
    assert (await node.viewer().asks("/a").answer()).fields["age"] == "20"


@pytest.mark.parametrize(
    ("date", "age"),
    [("Fri, 15 Jan 2027 07:59:30 GMT", "30"), ("Fri, 15 Jan 2027 09:00:00 GMT", "0"), ("nonsense", "0")],
)
async def test_a_date_in_the_past_is_age_and_one_in_the_future_is_none(date: str, age: str) -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, ("date", date))
    assert (await node.viewer().asks("/a").answer()).fields["age"] == age


async def test_a_response_without_date_gets_the_time_of_receipt() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH)
    node.now += 7
    answer = await node.viewer().asks("/a").answer()
    assert (answer.fields["date"], answer.fields["age"]) == ("Fri, 15 Jan 2027 08:00:00 GMT", "7")


# -- Cache-Status


def statuses(viewer: Viewer) -> list[str]:
    return viewer.so_far().values("cache-status")


async def test_each_tier_says_what_it_did() -> None:
    tiers = Tiers(strict())
    viewer = tiers.viewer().asks("/a")
    (await tiers.origin_fetch()).answers(200, b"hello", FRESH, ("etag", '"1"'))
    await viewer.answer()
    miss = "FRA56-P1; fwd=uri-miss; stored"
    assert statuses(viewer) == [miss, miss]
    tiers.passes(10)
    viewer = tiers.viewer().asks("/a")
    await viewer.answer()
    assert statuses(viewer) == [miss, "FRA56-P1; hit; ttl=50"]
    tiers.passes(50)
    viewer = tiers.viewer().asks("/a")
    (await tiers.origin_fetch(2)).confirms(FRESH)
    await viewer.answer()
    assert statuses(viewer)[-1] == "FRA56-P1; fwd=stale; fwd-status=304; stored; ttl=60"


async def test_an_edge_that_finds_it_at_the_regional_cache_says_so() -> None:
    tiers = Tiers(strict(), edges=2)
    await tiers.stores("/a", b"hello", FRESH)
    tiers.passes(20)
    viewer = tiers.edges[1].viewer().asks("/a")
    answer = await viewer.answer()
    assert statuses(viewer) == ["FRA56-P1; hit; ttl=40", "FRA56-P1; fwd=uri-miss; stored"]
    assert (answer.fields["age"], answer.fields["x-cache"]) == ("20", "Hit from cloudfront")


async def test_sharing_passing_and_demanding_are_told_apart() -> None:
    node = strict_node()
    first, second = node.viewer().asks("/a"), node.viewer().asks("/a")
    (await node.fetch(1)).answers(200, b"hello", FRESH)
    for viewer in (first, second):
        await viewer.answer()
    assert (statuses(first), statuses(second)) == (
        ["FRA56-P1; fwd=uri-miss; stored"],
        ["FRA56-P1; fwd=miss; stored; collapsed"],
    )
    write = node.viewer().asks("/b", method="POST")
    (await node.fetch(2)).answers(200, b"done")
    await write.answer()
    assert statuses(write) == ["FRA56-P1; fwd=method"]
    demand = node.viewer().asks("/a", ("cache-control", "no-cache"))
    (await node.fetch(3)).answers(200, b"new", ("cache-control", "no-store"))
    await demand.answer()
    assert statuses(demand) == ["FRA56-P1; fwd=request"]


async def test_caching_that_is_off_is_a_bypass() -> None:
    node = Node(strict(policy=policy_message(default_ttl_seconds=0, maximum_ttl_seconds=0)))
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"hello", FRESH)
    await viewer.answer()
    assert statuses(viewer) == ["FRA56-P1; fwd=bypass"]


async def test_cloudfront_says_nothing_of_the_kind() -> None:
    node = Node()
    viewer = node.viewer().asks("/a")
    (await node.fetch()).answers(200, b"hello", FRESH)
    assert "cache-status" not in (await viewer.answer()).fields
    assert "cache-status" not in (await node.viewer().asks("/a").answer()).fields


async def stores_german(node: Node) -> None:
    viewer = node.viewer().asks("/a", ("accept-language", "de"))
    (await node.fetch()).answers(200, b"hallo", FRESH, ("vary", "Accept-Language"))
    await viewer.answer()


async def asks_in_french(node: Node) -> list[str]:
    viewer = node.viewer().asks("/a", ("accept-language", "fr"))
    (await node.fetch(2)).answers(200, b"bonjour", FRESH, ("vary", "Accept-Language"))
    await viewer.answer()
    return statuses(viewer)


async def test_what_is_stored_for_others_is_told_from_nothing() -> None:
    node = strict_node()
    await stores_german(node)
    assert await asks_in_french(node) == ["FRA56-P1; fwd=vary-miss; stored"]


async def test_a_variant_that_was_evicted_is_stored_for_nobody() -> None:
    node = strict_node()
    await stores_german(node)
    node.store.clear()
    assert await asks_in_french(node) == ["FRA56-P1; fwd=uri-miss; stored"]


async def test_a_variant_that_was_invalidated_is_stored_for_nobody() -> None:
    node = strict_node()
    await stores_german(node)
    invalidations = node.state.invalidations
    invalidations.append(invalidations.applied_index + 1, "E1", ["/*"])
    assert await asks_in_french(node) == ["FRA56-P1; fwd=uri-miss; stored"]
    assert node.store.statistics.entries == 1, "what nobody can find takes no room"


async def test_what_must_always_be_confirmed_went_on_for_its_own_sake() -> None:
    node = strict_node()
    unsure = ("cache-control", "no-cache")
    await node.stores("/a", b"hello", unsure, ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(unsure)
    await viewer.answer()
    assert statuses(viewer) == ["FRA56-P1; fwd=stale; fwd-status=304; stored; ttl=0"]
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new", unsure, ("etag", '"2"'))
    await viewer.answer()
    assert statuses(viewer) == ["FRA56-P1; fwd=stale; stored"]


async def test_an_error_status_does_not_hide_why_a_request_went_on() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a")
    (await node.fetch(1)).answers(404, b"", FRESH)
    await viewer.answer()
    assert statuses(viewer) == ["FRA56-P1; fwd=uri-miss; stored"]
    await node.stores("/b", b"hello", FRESH, ("etag", '"1"'))
    viewer = node.viewer().asks("/b", ("if-match", '"2"'))
    (await node.fetch(3)).answers(412, b"")
    await viewer.answer()
    assert statuses(viewer) == ["FRA56-P1; fwd=request"]
