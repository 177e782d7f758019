"""Behaviors that follow the RFCs: validation, updates by 304 and HEAD, conditional requests answered from the cache (RFC 9111 sections 3.2, 4.3, RFC 9110 section 13)."""

import pytest

from edge_node.model.errors import UpstreamErrorKind
from tests.conversations.dialogue import Node
from tests.conversations.tiers import Tiers, strict, strict_node

FRESH = ("cache-control", "max-age=60")
STRONG, WEAK = ("etag", '"1"'), ("etag", 'W/"1"')
MODIFIED = ("last-modified", "Fri, 15 Jan 2027 07:00:00 GMT")
LATER = ("last-modified", "Fri, 15 Jan 2027 07:30:00 GMT")
OLD = ("age", "60")


async def expired(*headers: tuple[str, str], body: bytes = b"hello") -> Node:
    """A node with /a, as old as its lifetime."""
    node = strict_node()
    await node.stores("/a", body, FRESH, OLD, *headers)
    return node


# -- asking


@pytest.mark.parametrize(
    ("validators", "conditions"),
    [
        ([STRONG], {"if-none-match": '"1"'}),
        ([WEAK], {"if-none-match": 'W/"1"'}),
        ([MODIFIED], {"if-modified-since": MODIFIED[1]}),
        ([STRONG, MODIFIED], {"if-none-match": '"1"', "if-modified-since": MODIFIED[1]}),
        ([], {}),
    ],
)
async def test_an_expired_response_is_validated_by_what_it_has(
    validators: list[tuple[str, str]], conditions: dict[str, str]
) -> None:
    node = await expired(*validators)
    viewer = node.viewer().asks("/a", ("if-none-match", '"viewer"'), ("range", "bytes=0-1")) if validators else None
    request = (await node.fetch(2)).request if viewer else {}
    assert {name: value for name, value in request.items() if name.startswith("if-")} == conditions
    assert "range" not in request


@pytest.mark.parametrize("validators", [[STRONG], [WEAK], [MODIFIED], [STRONG, MODIFIED]])
async def test_a_304_without_validators_confirms_what_was_named(validators: list[tuple[str, str]]) -> None:
    node = await expired(*validators)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, b"hello", "RefreshHit from cloudfront")
    node.now += 59
    assert (await node.viewer().asks("/a").answer()).fields["x-cache"] == "Hit from cloudfront"
    await node.asks_nothing_more(2)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ([STRONG], ("etag", '"2"')),
        ([WEAK], STRONG),
        ([STRONG], ("etag", 'W/"2"')),
        ([MODIFIED], LATER),
        ([MODIFIED], STRONG),
    ],
)
async def test_a_304_about_something_else_confirms_nothing(
    stored: list[tuple[str, str]], said: tuple[str, str]
) -> None:
    """Section 4.3.4: the request is sent again, this time for the whole."""
    node = await expired(*stored)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(FRESH, said)
    fetch = await node.fetch(3)
    assert not [name for name in fetch.request if name.startswith("if-")]
    fetch.answers(200, b"new", FRESH, said)
    assert (await viewer.answer()).body == b"new"
    assert (await node.viewer().asks("/a").answer()).body == b"new"
    await node.asks_nothing_more(3)


async def test_a_weak_tag_is_confirmed_by_its_weak_match() -> None:
    node = await expired(STRONG)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(FRESH, WEAK)
    assert (await viewer.answer()).fields["x-cache"] == "RefreshHit from cloudfront"


async def test_a_date_of_change_that_lies_ahead_is_no_condition() -> None:
    """Every later response would seem unchanged; across tiers, a new response under the name of the old one."""
    tiers = Tiers(strict())
    await tiers.stores("/a", b"old", FRESH, OLD, ("last-modified", "Fri, 15 Jan 2027 09:00:00 GMT"))
    viewer = tiers.viewer().asks("/a")
    fetch = await tiers.origin_fetch(2)
    assert "if-modified-since" not in fetch.request
    fetch.answers(200, b"new", FRESH)
    assert (await viewer.answer()).body == b"new"


# -- updating


async def test_a_304_replaces_the_fields_that_it_has_and_keeps_the_others() -> None:
    """Section 3.2."""
    node = await expired(
        STRONG, ("x-kept", "1"), ("x-changed", "1"), ("x-changed", "2"), ("content-type", "text/plain")
    )
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(
        ("cache-control", "max-age=5"), ("x-changed", "3"), ("x-new", "4"), ("content-length", "0"), ("content-encoding", "br"),
        ("content-range", "bytes 0-0/1"), ("content-type", "text/html"), ("connection", "keep-alive"), ("transfer-encoding", "chunked"),
    )  # fmt: skip
    await viewer.answer()
    answer = await node.viewer().asks("/a").answer()
    told = {
        name: answer.fields.get(name)
        for name in ("cache-control", "x-kept", "x-changed", "x-new", "content-type", "content-length")
    }
    assert told == {
        "cache-control": "max-age=5",
        "x-kept": "1",
        "x-changed": "3",
        "x-new": "4",
        "content-type": "text/html",
        "content-length": "5",
    }
    assert not {"content-encoding", "content-range", "transfer-encoding"} & answer.fields.keys()
    node.now += 5
    node.viewer().asks("/a")
    await node.fetch(3)


@pytest.mark.parametrize("control", ["no-store", "private"])
async def test_a_304_that_forbids_to_store_answers_once(control: str) -> None:
    node = await expired(STRONG)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(("cache-control", control))
    assert (await viewer.answer()).body == b"hello"
    node.viewer().asks("/a")
    assert "if-none-match" not in (await node.fetch(3)).request


async def test_the_age_of_a_304_is_the_age_of_what_it_confirms() -> None:
    node = await expired(STRONG)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).confirms(FRESH, ("age", "20"))
    assert (await viewer.answer()).fields["age"] == "20"
    node.now += 40
    node.viewer().asks("/a")
    await node.fetch(3)


async def test_a_full_answer_to_a_validation_replaces_what_was_stored() -> None:
    node = await expired(STRONG, ("x-old", "1"))
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"new", FRESH, ("etag", '"2"'))
    assert (await viewer.answer()).body == b"new"
    answer = await node.viewer().asks("/a").answer()
    assert (answer.body, answer.fields["etag"]) == (b"new", '"2"') and "x-old" not in answer.fields


# -- HEAD: section 4.3.5


async def head(node: Node, *headers: tuple[str, str], number: int = 2, status: int = 200) -> None:
    viewer = node.viewer().asks("/a", ("cache-control", "no-cache"), method="HEAD")
    fetch = await node.fetch(number)
    assert fetch.method == b"HEAD"
    fetch.begins(status, *headers).ends()
    assert (await viewer.answer()).body == b""


async def test_a_head_that_agrees_updates_the_stored_get() -> None:
    node = await expired(STRONG, ("x-generation", "one"))
    await head(node, ("cache-control", "max-age=600"), STRONG, ("content-length", "5"), ("x-generation", "two"))
    answer = await node.viewer().asks("/a").answer()
    assert (answer.body, answer.fields["x-generation"], answer.fields["x-cache"]) == (
        b"hello",
        "two",
        "Hit from cloudfront",
    )


@pytest.mark.parametrize("other", [("etag", '"2"'), ("content-length", "6"), LATER])
async def test_a_head_that_disagrees_outdates_the_stored_get(other: tuple[str, str]) -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, STRONG, MODIFIED)
    await head(node, FRESH, *{**dict([STRONG, MODIFIED]), **dict([other])}.items())
    viewer = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"newer!", FRESH)
    assert (await viewer.answer()).body == b"newer!"


@pytest.mark.parametrize("status", [404, 503])
async def test_a_head_that_fails_says_nothing_about_the_stored_get(status: int) -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, STRONG)
    await head(node, status=status)
    assert (await node.viewer().asks("/a").answer()).body == b"hello"


async def test_a_head_whose_viewer_says_no_store_changes_nothing_that_is_stored() -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, STRONG, ("x-generation", "one"))
    viewer = node.viewer().asks("/a", ("cache-control", "no-cache, no-store"), method="HEAD")
    (await node.fetch(2)).begins(200, FRESH, STRONG, ("x-generation", "two")).ends()
    await viewer.answer()
    assert (await node.viewer().asks("/a").answer()).fields["x-generation"] == "one"


async def test_a_head_is_answered_from_a_stored_get_and_never_stored_itself() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", method="HEAD")
    (await node.fetch(1)).begins(200, FRESH, ("content-length", "5")).ends()
    await viewer.answer()
    await node.stores("/a", b"hello", FRESH)
    answer = await node.viewer().asks("/a", method="HEAD").answer()
    assert (answer.body, answer.fields["content-length"], answer.fields["x-cache"]) == (b"", "5", "Hit from cloudfront")


# -- conditions of viewers, answered from the cache: section 4.3.2


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ([("if-none-match", '"1"')], 304),
        ([("if-none-match", 'W/"1"')], 304),
        ([("if-none-match", '"0", "1"')], 304),
        ([("if-none-match", "*")], 304),
        ([("if-none-match", '"2"')], 200),
        ([("if-modified-since", MODIFIED[1])], 304),
        ([("if-modified-since", LATER[1])], 304),
        ([("if-modified-since", "Fri, 15 Jan 2027 06:00:00 GMT")], 200),
        ([("if-modified-since", "nonsense")], 200),
        ([("if-none-match", '"2"'), ("if-modified-since", LATER[1])], 200),
        ([("if-none-match", '"1"'), ("if-modified-since", "Fri, 15 Jan 2027 06:00:00 GMT")], 304),
        ([("if-none-match", '"1"'), ("range", "bytes=0-1")], 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_condition_is_evaluated_against_the_stored_response(
    asked: list[tuple[str, str]], status: int, method: str
) -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, STRONG, MODIFIED, ("content-type", "text/plain"))
    answer = await node.viewer().asks("/a", *asked, method=method).answer()
    assert answer.status == status
    assert ("content-type" in answer.fields) is (status == 200)
    assert answer.fields["etag"] == '"1"' and "date" in answer.fields and answer.fields["age"] == "0"
    await node.asks_nothing_more(1)


async def test_a_condition_of_a_viewer_is_evaluated_after_the_validation_that_it_leads_to() -> None:
    node = await expired(STRONG)
    same, other = (node.viewer().asks("/a", ("if-none-match", tag)) for tag in ('"1"', '"2"'))
    (await node.fetch(2)).confirms(FRESH)
    assert ((await same.answer()).status, (await other.answer()).status) == (304, 200)


async def test_a_targeted_field_that_changes_reaches_an_edge_through_the_304_of_the_regional_cache() -> None:
    tiers = Tiers(strict(), edges=2)
    long, short = ("cdn-cache-control", "max-age=600"), ("cdn-cache-control", "max-age=5")
    await tiers.stores("/a", b"hello", long, OLD, STRONG)
    viewer = tiers.viewer().asks("/a", ("cache-control", "no-cache"))
    (await tiers.origin_fetch(2)).confirms(short)
    assert (await viewer.answer()).fields["cdn-cache-control"] == "max-age=5"
    tiers.passes(5)
    tiers.viewer().asks("/a")
    await tiers.origin_fetch(3)


# -- parts: sections 3.3 and 3.4


async def test_a_part_is_stored_serves_what_it_has_and_is_completed() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", ("range", "bytes=0-1"))
    (await node.fetch(1)).answers(206, b"he", FRESH, STRONG, ("content-range", "bytes 0-1/5"))
    assert (await viewer.answer()).status == 206
    answer = await node.viewer().asks("/a", ("range", "bytes=1-1")).answer()
    assert (answer.status, answer.body, answer.fields["content-range"]) == (206, b"e", "bytes 1-1/5")
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert (fetch.request["range"], fetch.request["if-range"]) == ("bytes=2-4", '"1"')
    fetch.answers(206, b"llo", FRESH, STRONG, ("content-range", "bytes 2-4/5"))
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["content-length"]) == (200, b"hello", "5")
    assert (await node.viewer().asks("/a").answer()).fields["x-cache"] == "Hit from cloudfront"


async def test_parts_with_different_validators_are_never_put_together() -> None:
    node = strict_node()
    for part, tag in ((b"he", '"1"'), (b"LL", '"2"')):
        first = 0 if tag == '"1"' else 2
        number = len(node.fetcher.fetches) + 1
        viewer = node.viewer().asks("/a", ("range", f"bytes={first}-{first + 1}"))
        fetch = await node.fetch(number)
        fetch.answers(206, part, FRESH, ("etag", tag), ("content-range", f"bytes {first}-{first + 1}/4"))
        assert (await viewer.answer()).body == part
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(3)
    assert (fetch.request["range"], fetch.request["if-range"]) == ("bytes=0-1", '"2"')
    fetch.answers(200, b"HELL", FRESH, ("etag", '"3"'))
    assert (await viewer.answer()).body == b"HELL"


async def test_a_part_of_one_variant_is_not_completed_for_another() -> None:
    node = strict_node()
    by_language = ("vary", "Accept-Language")
    viewer = node.viewer().asks("/a", ("accept-language", "en"), ("range", "bytes=0-1"))
    (await node.fetch(1)).answers(206, b"he", FRESH, STRONG, by_language, ("content-range", "bytes 0-1/5"))
    await viewer.answer()
    english, german = (node.viewer().asks("/a", ("accept-language", language)) for language in ("en", "de"))
    (await node.fetch(2)).answers(206, b"llo", FRESH, STRONG, by_language, ("content-range", "bytes 2-4/5"))
    fetch = await node.fetch(3)
    assert "range" not in fetch.request
    fetch.answers(200, b"hallo", FRESH, by_language)
    assert ((await english.answer()).body, (await german.answer()).body) == (b"hello", b"hallo")


async def test_a_part_without_strong_validator_is_not_completed_but_replaced() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", ("range", "bytes=0-1"))
    (await node.fetch(1)).answers(206, b"he", FRESH, WEAK, ("content-range", "bytes 0-1/5"))
    await viewer.answer()
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert not {"range", "if-range"} & fetch.request.keys()
    fetch.answers(200, b"hello", FRESH)
    assert (await viewer.answer()).body == b"hello"


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ([("range", "bytes=0-1")], 206, b"he"), ([("range", "bytes=-2")], 206, b"lo"), ([("range", "bytes=5-")], 416, b""),
        ([("range", "bytes=0-1"), ("if-range", '"1"')], 206, b"he"), ([("range", "bytes=0-1"), ("if-range", '"2"')], 200, b"hello"),
        ([("range", "bytes=0-1"), ("if-range", 'W/"1"')], 200, b"hello"), ([("range", "bytes=0-1"), ("if-range", MODIFIED[1])], 206, b"he"),
        ([("range", "bytes=0-1"), ("if-range", LATER[1])], 200, b"hello"), ([("range", "lines=0-1")], 200, b"hello"),
    ],
)  # fmt: skip
async def test_ranges_are_cut_from_the_whole(asked: list[tuple[str, str]], status: int, body: bytes) -> None:
    node = strict_node()
    await node.stores("/a", b"hello", FRESH, STRONG, MODIFIED)
    answer = await node.viewer().asks("/a", *asked).answer()
    assert (answer.status, answer.body) == (status, body)
    await node.asks_nothing_more(1)


async def test_several_ranges_come_as_one_multipart_body() -> None:
    node = strict_node()
    await node.stores("/a", b"h" + bytes(1_000) + b"o", FRESH, ("content-type", "text/plain"))
    answer = await node.viewer().asks("/a", ("range", "bytes=0-0,1001-")).answer()
    assert answer.status == 206 and answer.fields["content-type"].startswith("multipart/byteranges; boundary=")
    assert (
        answer.body.count(b"Content-Type: text/plain") == 2
        and b"bytes 0-0/1002" in answer.body
        and b"bytes 1001-1001/1002" in answer.body
    )
    assert int(answer.fields["content-length"]) == len(answer.body)


async def test_a_truncated_completion_leaves_the_part_that_was_there() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a", ("range", "bytes=0-1"))
    (await node.fetch(1)).answers(206, b"he", FRESH, STRONG, ("content-range", "bytes 0-1/5"))
    await viewer.answer()
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    fetch.begins(206, FRESH, STRONG, ("content-range", "bytes 2-4/5"), ("content-length", "3")).sends(b"l")
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    answer = await node.viewer().asks("/a", ("range", "bytes=0-1")).answer()
    assert (answer.status, answer.body) == (206, b"he")
