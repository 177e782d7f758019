"""Behaviors that follow the RFCs: variants of one URL, who shares a fetch with whom (RFC 9111 sections 4 and 4.1, RFC 9110 section 12.5)."""

import pytest

from edge_node.model.errors import UpstreamErrorKind
from tests.builders import policy_message
from tests.conversations.dialogue import Node, flush
from tests.conversations.tiers import strict, strict_node

FRESH = ("cache-control", "max-age=60")
ENGLISH, GERMAN = ("accept-language", "en"), ("accept-language", "de")
BY_LANGUAGE = ("vary", "Accept-Language")


async def two_languages(node: Node, *more: tuple[str, str]) -> None:
    """An English and a German variant of /a, stored."""
    await node.stores("/a", b"hello", FRESH, BY_LANGUAGE, ("etag", '"en"'), *more, ask=[ENGLISH])
    await node.stores("/a", b"hallo", FRESH, BY_LANGUAGE, ("etag", '"de"'), *more, ask=[GERMAN])


async def test_each_viewer_gets_the_variant_that_its_request_selects() -> None:
    node = strict_node()
    await two_languages(node)
    for language, body in ((ENGLISH, b"hello"), (GERMAN, b"hallo"), (ENGLISH, b"hello")):
        answer = await node.viewer().asks("/a", language).answer()
        assert (answer.body, answer.fields["x-cache"]) == (body, "Hit from cloudfront")
    await node.asks_nothing_more(2)


async def test_a_request_without_the_field_selects_neither_variant() -> None:
    node = strict_node()
    await two_languages(node)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(3)
    assert "accept-language" not in fetch.request and "if-none-match" not in fetch.request
    fetch.answers(200, b"default", FRESH, BY_LANGUAGE)
    assert (await viewer.answer()).body == b"default"
    assert (await node.viewer().asks("/a").answer()).body == b"default"


@pytest.mark.parametrize(
    ("name", "one", "same"),
    [
        ("accept-language", "en, de;q=0.5", "DE;q=0.50,en;q=1.0"),
        ("accept-language", "en", " EN "),
        ("accept", "text/html,text/*;q=0.3", "text/*; q=0.3 , text/html"),
        ("x-list", "a,b", "a , b"),
    ],
)
async def test_another_spelling_of_the_same_selects_the_same(name: str, one: str, same: str) -> None:
    node = strict_node()
    await node.stores("/a", b"one", FRESH, ("vary", name.title()), ask=[(name, one)])
    assert (await node.viewer().asks("/a", (name, same)).answer()).body == b"one"
    await node.asks_nothing_more(1)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("accept-language", "en, de", "en, de;q=0.5"),
        ("x-list", "a,b", "b,a"),
        ("x-list", "a", "A"),
        ("user-agent", "a, b", "a,b"),
        ("cookie", "a=1", "a=2"),
    ],
)
async def test_what_means_something_else_selects_something_else(name: str, one: str, other: str) -> None:
    node = strict_node()
    await node.stores("/a", b"one", FRESH, ("vary", name), ask=[(name, one)])
    viewer = node.viewer().asks("/a", (name, other))
    (await node.fetch(2)).answers(200, b"other", FRESH, ("vary", name))
    assert (await viewer.answer()).body == b"other"
    assert (await node.viewer().asks("/a", (name, one)).answer()).body == b"one"


async def test_several_fields_select_together_in_whatever_order_and_lines_they_are_named() -> None:
    node = strict_node()
    await node.stores("/a", b"one", FRESH, ("vary", "X-B"), ("vary", "x-a"), ask=[("x-a", "1"), ("x-b", "2")])
    assert (await node.viewer().asks("/a", ("x-b", "2"), ("x-a", "1")).answer()).body == b"one"
    viewer = node.viewer().asks("/a", ("x-a", "1"), ("x-b", "3"))
    (await node.fetch(2)).answers(200, b"two", FRESH, ("vary", "X-A, X-B"))
    assert (await viewer.answer()).body == b"two"
    assert (await node.viewer().asks("/a", ("x-a", "1"), ("x-b", "2")).answer()).body == b"one"


async def test_the_origin_is_told_what_is_stored_as_having_selected_its_answer_in_http_1_0_too() -> None:
    """Without a normal form in the key: else the answer to no Accept-Encoding was stored as that to gzip."""
    node = strict_node()
    gzip, by_coding = ("accept-encoding", "gzip"), ("vary", "Accept-Encoding")
    viewer = node.viewer().asks("/a", gzip, minor_version=0)
    fetch = await node.fetch(1)
    assert fetch.request.get("accept-encoding") == "gzip"
    fetch.answers(200, b"coded", FRESH, by_coding, ("content-encoding", "gzip"))
    assert (await viewer.answer()).body == b"coded"
    assert (await node.viewer().asks("/a", gzip).answer()).body == b"coded"
    await node.asks_nothing_more(1)


@pytest.mark.parametrize("vary", ["*", "X-A, *", "x-a,*", "not a name"])
async def test_vary_any_is_validated_at_each_use(vary: str) -> None:
    node = strict_node()
    await node.stores("/a", b"one", FRESH, ("vary", vary), ("etag", '"1"'))
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == '"1"'
    fetch.confirms(FRESH)
    assert (await viewer.answer()).body == b"one"
    node.viewer().asks("/a")
    assert (await node.fetch(3)).request["if-none-match"] == '"1"'


async def test_of_several_matching_responses_the_newest_by_its_date_is_used() -> None:
    node = strict_node()
    newer, older = ("date", "Fri, 15 Jan 2027 07:59:59 GMT"), ("date", "Fri, 15 Jan 2027 07:59:50 GMT")
    await node.stores("/a", b"by language", newer, FRESH, BY_LANGUAGE, ask=[ENGLISH, ("x-a", "1")])
    await node.stores("/a", b"by x-a", older, FRESH, ("vary", "X-A"), ask=[GERMAN, ("x-a", "2")])
    viewer = node.viewer().asks("/a", ENGLISH, ("x-a", "2"))  # both would do
    assert (await viewer.answer()).body == b"by language"


async def test_a_response_without_vary_gives_way_to_one_that_has_it() -> None:
    """Section 4.1: some resources forget Vary on their default response."""
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, BY_LANGUAGE, ask=[ENGLISH])
    await node.stores("/a", b"default", FRESH)
    assert (await node.viewer().asks("/a", ENGLISH).answer()).body == b"hello"
    assert (await node.viewer().asks("/a", GERMAN).answer()).body == b"default"


async def test_a_new_response_without_vary_takes_the_place_of_the_variant_that_it_replaces() -> None:
    """Otherwise the outdated variant would be chosen, and validated in vain, for ever."""
    node = strict_node()
    await node.stores("/a", b"old", FRESH, BY_LANGUAGE, ("age", "60"), ("etag", '"1"'), ask=[ENGLISH])
    viewer = node.viewer().asks("/a", ENGLISH)
    (await node.fetch(2)).answers(200, b"new", FRESH, ("etag", '"2"'))
    assert (await viewer.answer()).body == b"new"
    answer = await node.viewer().asks("/a", ENGLISH).answer()
    assert (answer.body, answer.fields["x-cache"]) == (b"new", "Hit from cloudfront")


async def test_the_variant_of_another_viewer_is_never_shared_while_it_arrives() -> None:
    node = strict_node()
    english, german, british = (node.viewer().asks("/a", x) for x in (ENGLISH, GERMAN, ("accept-language", "EN")))
    first = (await node.fetch(1)).begins(200, FRESH, BY_LANGUAGE, ("content-length", "5"))
    late = node.viewer().asks("/a", GERMAN)
    first.sends(b"hello").ends()
    for number in (2, 3):
        (await node.fetch(number)).answers(200, b"hallo", FRESH, BY_LANGUAGE)
    bodies = [(await viewer.answer()).body for viewer in (english, british, german, late)]
    assert bodies == [b"hello", b"hello", b"hallo", b"hallo"]


async def test_where_it_is_known_what_tells_variants_apart_each_is_fetched_once() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, BY_LANGUAGE, ask=[ENGLISH])
    french = ("accept-language", "fr")
    viewers = [node.viewer().asks("/a", language) for language in (GERMAN, french, GERMAN, french)]
    (await node.fetch(2)).answers(200, b"hallo", FRESH, BY_LANGUAGE)
    (await node.fetch(3)).answers(200, b"salut", FRESH, BY_LANGUAGE)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"hallo", b"salut", b"hallo", b"salut"]
    await node.asks_nothing_more(3)


async def test_a_refresh_of_one_variant_answers_nobody_who_asks_for_another() -> None:
    node = strict_node()
    await two_languages(node, ("age", "60"))
    english, german = node.viewer().asks("/a", ENGLISH), node.viewer().asks("/a", GERMAN)
    first, second = await node.fetch(3), await node.fetch(4)
    assert (first.request["if-none-match"], second.request["if-none-match"]) == ('"en"', '"de"')
    first.confirms(FRESH)
    second.confirms(FRESH)
    assert ((await english.answer()).body, (await german.answer()).body) == (b"hello", b"hallo")


async def test_a_stale_variant_is_served_stale_for_nobody_who_asks_for_another() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, BY_LANGUAGE, ("age", "60"), ("etag", '"en"'), ask=[ENGLISH])
    english, german = node.viewer().asks("/a", ENGLISH), node.viewer().asks("/a", GERMAN)
    first, second = await node.fetch(2), await node.fetch(3)
    first.fails(UpstreamErrorKind.REFUSED)
    second.answers(200, b"hallo", FRESH, BY_LANGUAGE)
    assert ((await english.answer()).body, (await german.answer()).body) == (b"hello", b"hallo")


async def test_a_stale_variant_without_validator_is_served_stale_for_its_own_viewers_only() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, BY_LANGUAGE, ("age", "60"), ask=[ENGLISH])
    english, german = node.viewer().asks("/a", ENGLISH), node.viewer().asks("/a", GERMAN)
    (await node.fetch(2)).answers(503, b"broken")
    (await node.fetch(3)).answers(200, b"hallo", FRESH, BY_LANGUAGE)
    assert ((await english.answer()).body, (await german.answer()).body) == (b"hello", b"hallo")


async def test_a_304_that_brings_vary_selects_by_it_from_then_on() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, ("age", "60"), ("etag", '"1"'), ask=[ENGLISH])
    english, german = node.viewer().asks("/a", ENGLISH), node.viewer().asks("/a", GERMAN)
    (await node.fetch(2)).confirms(FRESH, BY_LANGUAGE)
    (await node.fetch(3)).answers(200, b"hallo", FRESH, BY_LANGUAGE, ("etag", '"2"'))
    assert ((await english.answer()).body, (await german.answer()).body) == (b"hello", b"hallo")
    for language, body in ((ENGLISH, b"hello"), (GERMAN, b"hallo")):
        assert (await node.viewer().asks("/a", language).answer()).body == body
    await node.asks_nothing_more(3)


async def test_a_refresh_in_the_background_is_of_the_variant_that_was_used() -> None:
    node = strict_node()
    await two_languages(node, ("cache-control", "stale-while-revalidate=100"), ("age", "60"))
    assert (await node.viewer().asks("/a", GERMAN).answer()).body == b"hallo"
    fetch = await node.fetch(3)
    assert (fetch.request["if-none-match"], fetch.request["accept-language"]) == ('"de"', "de")
    fetch.answers(200, b"neu", FRESH, BY_LANGUAGE)
    await flush(lambda: not node.tasks)
    assert (await node.viewer().asks("/a", GERMAN).answer()).body == b"neu"


# -- Accept-Encoding


def compressing() -> Node:
    policy = policy_message(accept_encoding_gzip=True, accept_encoding_brotli=True)
    return Node(strict(policy=policy, compress=True))


@pytest.mark.parametrize(
    ("said", "upstream"),
    [
        ("zstd, gzip;q=0.5", "zstd,gzip;q=0.5"),
        ("gzip, br, zstd", "br,zstd,gzip"),
        ("deflate", "identity"),
        ("*", "br,zstd,gzip"),
        ("x-gzip", "gzip"),
    ],
)
async def test_accept_encoding_goes_upstream_in_its_normal_form(said: str, upstream: str) -> None:
    node = compressing()
    node.viewer().asks("/a", ("accept-encoding", said))
    assert (await node.fetch()).request["accept-encoding"] == upstream


async def test_one_variant_serves_all_spellings_of_one_preference() -> None:
    node = compressing()
    coded = (("content-encoding", "br"), ("vary", "Accept-Encoding"), FRESH)
    await node.stores("/a", b"brotli", *coded, ask=[("accept-encoding", "gzip, br")])
    assert (await node.viewer().asks("/a", ("accept-encoding", "br,gzip;q=1")).answer()).body == b"brotli"
    await node.asks_nothing_more(1)


async def test_who_accepts_no_coding_gets_nothing_that_was_made_for_who_said_nothing() -> None:
    """Without Accept-Encoding any coding is acceptable (RFC 9110 section 12.5.3); `identity` is another request (RFC 9111 section 4.1)."""
    node = compressing()
    await node.stores("/a", b"packed", FRESH, ("content-encoding", "gzip"), ("vary", "Accept-Encoding"))
    viewer = node.viewer().asks("/a", ("accept-encoding", "identity"))
    fetch = await node.fetch(2)
    assert fetch.request["accept-encoding"] == "identity"
    fetch.answers(200, b"plain", FRESH, ("vary", "Accept-Encoding"))
    assert (await viewer.answer()).body == b"plain"
    assert (await node.viewer().asks("/a").answer()).body == b"packed"
    assert (await node.viewer().asks("/a", ("accept-encoding", "compress")).answer()).body == b"plain"


async def test_an_edge_codes_with_zstd_for_who_likes_it_best() -> None:
    node = compressing()
    viewer = node.viewer().asks("/a", ("accept-encoding", "zstd"))
    (await node.fetch()).answers(200, b"x" * 2_000, FRESH, ("content-type", "text/plain"), ("etag", '"1"'))
    answer = await viewer.answer()
    assert (answer.fields["content-encoding"], answer.fields["etag"]) == ("zstd", 'W/"1"')
    assert answer.fields["vary"] == "Accept-Encoding" and answer.body[:4] == b"\x28\xb5\x2f\xfd"
    again = await node.viewer().asks("/a", ("accept-encoding", "zstd;q=1")).answer()
    assert again.body == answer.body and again.fields["x-cache"] == "Hit from cloudfront"


async def test_what_an_edge_has_coded_is_confirmed_by_the_tag_that_the_origin_knows() -> None:
    """The origin's strong tag is ours, weakened: a 304 that repeats it means what is stored, whose own tag stays weak."""
    node = compressing()
    said = (("content-type", "text/plain"), ("etag", '"1"'))
    zstd = ("accept-encoding", "zstd")
    viewer = node.viewer().asks("/a", zstd)
    (await node.fetch()).answers(200, b"x" * 2_000, FRESH, ("age", "60"), *said)
    packed = (await viewer.answer()).body
    viewer = node.viewer().asks("/a", zstd)
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == 'W/"1"'
    fetch.confirms(FRESH, ("etag", '"1"'), ("vary", "Origin"))
    answer = await viewer.answer()
    assert (answer.body, answer.fields["etag"], answer.fields["x-cache"]) == (
        packed,
        'W/"1"',
        "RefreshHit from cloudfront",
    )
    assert answer.fields["vary"] == "Origin, Accept-Encoding"
    again = await node.viewer().asks("/a", zstd).answer()
    assert (again.body, again.fields["etag"], again.fields["x-cache"]) == (packed, 'W/"1"', "Hit from cloudfront")
