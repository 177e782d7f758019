"""Parts of objects: stored, served, put together and completed (reference 2.8, RFC 9111 sections 3.3 and 3.4)."""

import re

import pytest

from edge_node.model.configuration import Role
from edge_node.model.errors import UpstreamErrorKind
from tests.builders import behavior_message, caching_disabled, listed, policy_message
from tests.conversations.dialogue import Answer, Fetch, Node, TextHeader, Viewer

FRESH = ("cache-control", "max-age=60")
PRIVATE = ("cache-control", "private")
ETAG = ("etag", '"1"')
BODY = bytes(range(100))
LENGTH = len(BODY)


def range_of(first: int, last: int) -> TextHeader:
    return ("range", f"bytes={first}-{last}")


def gives(fetch: Fetch, first: int, last: int, *headers: TextHeader, body: bytes = BODY) -> None:
    """The origin's answer to a request for this range."""
    fetch.answers(206, body[first : last + 1], ("content-range", f"bytes {first}-{last}/{len(body)}"), *headers)


async def stores_part(node: Node, first: int, last: int, *headers: TextHeader, body: bytes = BODY) -> Answer:
    """A viewer asks for a range that is not there, and the origin gives it."""
    number = len(node.fetcher.fetches) + 1
    viewer = node.viewer().asks("/a", range_of(first, last))
    fetch = await node.fetch(number)
    assert fetch.request["range"] == f"bytes={first}-{last}"
    gives(fetch, first, last, *(headers or (FRESH, ETAG)), body=body)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (206, body[first : last + 1])
    return answer


async def hits(node: Node, asked: str, body: bytes) -> Answer:
    """Answered from the store alone."""
    count = len(node.fetcher.fetches)
    answer = await node.viewer().asks("/a", ("range", asked)).answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (206, body, "Hit from cloudfront")
    await node.asks_nothing_more(count)
    return answer


# -- a part that is there


async def test_the_part_that_came_is_kept_and_answers_what_lies_in_it() -> None:
    node = Node()
    first = await stores_part(node, 10, 29)
    assert (first.fields["x-cache"], first.fields["content-range"]) == ("Miss from cloudfront", "bytes 10-29/100")
    node.now += 7
    same = await hits(node, "bytes=10-29", BODY[10:30])
    assert (same.fields["content-range"], same.fields["content-length"], same.fields["age"]) == (
        "bytes 10-29/100",
        "20",
        "7",
    )
    inner = await hits(node, "bytes=15-15", BODY[15:16])
    assert inner.fields["content-range"] == "bytes 15-15/100"
    assert inner.fields["etag"] == '"1"'


async def test_a_suffix_and_an_open_range_are_found_in_the_last_part() -> None:
    node = Node()
    await stores_part(node, 80, 99)
    await hits(node, "bytes=-5", BODY[-5:])
    await hits(node, "bytes=90-", BODY[90:])
    await hits(node, "bytes=95-1000", BODY[95:])


@pytest.mark.parametrize(
    "asked", ["bytes=0-9", "bytes=9-12", "bytes=25-35", "bytes=-1", "bytes=10-", "bytes=10-12,40-42"]
)
async def test_what_is_not_all_there_is_asked_for_as_the_viewer_did(asked: str) -> None:
    node = Node()
    await stores_part(node, 10, 29)
    node.viewer().asks("/a", ("range", asked))
    fetch = await node.fetch(2)
    assert fetch.request["range"] == asked and "if-range" not in fetch.request


async def test_the_status_of_the_whole_is_found_out_with_head() -> None:
    node = Node()
    await stores_part(node, 10, 29)
    answer = await node.viewer().asks("/a", method="HEAD").answer()
    assert (answer.status, answer.fields["content-length"]) == (200, "100") and "content-range" not in answer.fields
    await node.asks_nothing_more(1)


async def test_a_condition_is_answered_from_a_part() -> None:
    node = Node()
    await stores_part(node, 10, 29)
    answer = await node.viewer().asks("/a", range_of(10, 12), ("if-none-match", '"1"')).answer()
    assert answer.status == 304
    await node.asks_nothing_more(1)


async def test_several_ranges_in_one_part_come_as_multipart() -> None:
    node = Node()
    await stores_part(node, 10, 29, FRESH, ETAG, ("content-type", "text/plain"))
    answer = await node.viewer().asks("/a", ("range", "bytes=11-12,20-22")).answer()
    assert_multipart(answer, [(11, 12), (20, 22)], "text/plain")
    await node.asks_nothing_more(1)


def assert_multipart(answer: Answer, ranges: list[tuple[int, int]], content_type: str | None) -> None:
    """Byte for byte as RFC 9110 section 14.6 and RFC 2046 section 5.1 lay it out."""
    match = re.fullmatch(r"multipart/byteranges; boundary=(\S{16,70})", answer.fields["content-type"])
    assert match is not None and "content-range" not in answer.fields
    boundary = match[1].encode()
    type_line = f"Content-Type: {content_type}\r\n".encode() if content_type else b""
    parts = [
        b"--%b\r\n%bContent-Range: bytes %d-%d/%d\r\n\r\n%b"
        % (boundary, type_line, first, last, LENGTH, BODY[first : last + 1])
        for first, last in ranges
    ]
    assert answer.body == b"\r\n".join(parts) + b"\r\n--%b--\r\n" % boundary
    assert answer.status == 206 and answer.fields["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("asked", "ranges"),
    [
        ("bytes=0-0,99-99", [(0, 0), (99, 99)]),
        ("bytes=0-4,5-9,-1", [(0, 4), (5, 9), (99, 99)]),
        ("bytes=0-9,90-200", [(0, 9), (90, 99)]),
    ],
)
@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", None])
async def test_several_ranges_of_a_whole_object(
    asked: str, ranges: list[tuple[int, int]], content_type: str | None
) -> None:
    node = Node()
    typed = (("content-type", content_type),) if content_type else ()
    await node.stores("/a", BODY, FRESH, *typed)
    answers = [await node.viewer().asks("/a", ("range", asked)).answer() for _ in range(2)]
    for answer in answers:
        assert_multipart(answer, ranges, content_type)
    assert answers[0].fields["content-type"] != answers[1].fields["content-type"]  # nobody can know the boundary before


@pytest.mark.parametrize("asked", ["bytes=5-9,0-4", "bytes=0-5,3-9", "bytes=0-4,4-9", "bytes=-5,0-4", "bytes=9-5"])
async def test_ranges_that_do_not_ascend_or_overlap_are_answered_with_the_whole(asked: str) -> None:
    node = Node()
    await node.stores("/a", BODY, FRESH)
    answer = await node.viewer().asks("/a", ("range", asked)).answer()
    assert (answer.status, answer.body) == (200, BODY)


async def test_a_multipart_answer_of_the_origin_passes_and_is_not_kept() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", ("range", "bytes=0-1,5-6"))
    multipart = ("content-type", "multipart/byteranges; boundary=THE_END")
    (await node.fetch()).answers(206, b"--THE_END--", FRESH, ETAG, multipart)
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["content-type"]) == (206, b"--THE_END--", multipart[1])
    assert node.store.statistics.entries == 0


# -- what may be kept


@pytest.mark.parametrize(
    "headers",
    [
        (PRIVATE, ETAG),
        (("cache-control", "no-store"), ETAG),
    ],
)
async def test_a_part_that_is_not_for_all_is_not_kept(headers: tuple[TextHeader, ...]) -> None:
    node = Node()
    for _ in range(2):
        await stores_part(node, 0, 9, *headers)
    assert node.store.statistics.entries == 0


async def test_with_caching_disabled_no_part_is_kept() -> None:
    node = Node(behavior_message(policy=caching_disabled()))
    for _ in range(2):
        await stores_part(node, 0, 9)


@pytest.mark.parametrize(
    "content_range", ["bytes 0-9/*", "bytes 9-0/100", "bytes 0-9/5", "bytes 0-9", "lines 0-9/100", "bytes 0-8/100", ""]
)
async def test_a_part_whose_place_is_not_known_passes_and_is_not_kept(content_range: str) -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(0, 9))
    fields = (("content-range", content_range),) if content_range else ()
    (await node.fetch()).answers(206, BODY[:10], FRESH, ETAG, *fields)
    assert (await viewer.answer()).body == BODY[:10]
    assert node.store.statistics.entries == 0


async def test_a_part_without_a_length_of_its_own_is_kept_as_far_as_it_came() -> None:
    """Chunked, or ended by the close of the connection: what came is the beginning of what was said."""
    node = Node()
    viewer = node.viewer().asks("/a", range_of(10, 29))
    fetch = (await node.fetch()).begins(206, FRESH, ETAG, ("content-range", "bytes 10-29/100"))
    fetch.sends(BODY[10:15]).sends(BODY[15:20]).ends()
    assert (await viewer.answer()).body == BODY[10:20]
    await hits(node, "bytes=10-19", BODY[10:20])
    node.viewer().asks("/a", range_of(10, 20))
    await node.fetch(2)


async def test_a_part_that_is_longer_than_it_says_is_not_kept() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(10, 14))
    fetch = (await node.fetch()).begins(206, FRESH, ETAG, ("content-range", "bytes 10-14/100"))
    fetch.sends(BODY[10:20]).ends()
    await viewer.answer()
    assert node.store.statistics.entries == 0


async def test_a_part_that_breaks_off_is_not_kept() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(10, 29))
    fetch = (await node.fetch()).begins(
        206, FRESH, ETAG, ("content-range", "bytes 10-29/100"), ("content-length", "20")
    )
    fetch.sends(BODY[10:15]).fails(UpstreamErrorKind.TRUNCATED)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert (node.store.statistics.entries, node.store.statistics.used_bytes) == (0, 0)


async def test_nobody_waits_for_a_part() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a", range_of(0, 9)) for _ in range(2)] + [node.viewer().asks("/a")]
    await node.fetch(3)
    gives(node.fetcher.fetches[0], 0, 9, FRESH, ETAG)
    gives(node.fetcher.fetches[1], 0, 9, FRESH, ETAG)
    node.fetcher.fetches[2].answers(200, BODY, FRESH, ETAG)
    assert [len((await viewer.answer()).body) for viewer in viewers] == [10, 10, LENGTH]


# -- an origin that does otherwise


async def test_an_answer_with_the_whole_is_passed_on_and_kept_whole() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(0, 9))
    (await node.fetch()).answers(200, BODY, FRESH, ETAG)
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (200, BODY)
    await hits(node, "bytes=50-59", BODY[50:60])


async def test_a_chunked_answer_is_the_whole_object_and_ranges_of_it_come_from_the_cache() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(0, 9))
    (await node.fetch()).begins(200, FRESH).sends(BODY[:60]).sends(BODY[60:]).ends()
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (200, BODY) and "content-length" not in answer.fields
    await hits(node, "bytes=55-65", BODY[55:66])


async def test_an_unsatisfiable_range_is_passed_on_and_not_kept() -> None:
    node = Node()
    for number in (1, 2):
        viewer = node.viewer().asks("/a", range_of(1000, 1001))
        (await node.fetch(number)).answers(416, b"", FRESH, ("content-range", "bytes */100"))
        answer = await viewer.answer()
        assert (answer.status, answer.fields["content-range"]) == (416, "bytes */100")
        assert answer.fields["x-cache"] == "Error from cloudfront"
    assert node.store.statistics.entries == 0


async def test_the_viewers_if_range_goes_to_the_origin_and_what_comes_is_kept() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(0, 9), ("if-range", '"1"'))
    fetch = await node.fetch()
    assert fetch.request["if-range"] == '"1"'
    gives(fetch, 0, 9, FRESH, ETAG)
    assert (await viewer.answer()).status == 206
    await hits(node, "bytes=0-9", BODY[:10])
    viewer = node.viewer().asks("/a", range_of(20, 29), ("if-range", '"0"'))
    (await node.fetch(2)).answers(200, BODY, FRESH, ETAG)
    assert ((await viewer.answer()).status, viewer.so_far().body) == (200, BODY)


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"1"', 206), ('"2"', 200), ('W/"1"', 200), ("Sat, 01 Jan 2000 00:00:00 GMT", 200)],
)
async def test_a_condition_on_a_range_is_judged_at_a_hit(condition: str, status: int) -> None:
    node = Node()
    await node.stores("/a", BODY, FRESH, ETAG)
    answer = await node.viewer().asks("/a", range_of(0, 9), ("if-range", condition)).answer()
    assert (answer.status, answer.body) == (status, BODY[:10] if status == 206 else BODY)


# -- parts together


async def test_parts_of_the_same_object_are_put_together() -> None:
    node = Node()
    await stores_part(node, 10, 29)
    await stores_part(node, 60, 79)
    await stores_part(node, 20, 49)  # overlaps the first
    await hits(node, "bytes=10-49", BODY[10:50])
    await hits(node, "bytes=60-79", BODY[60:80])
    assert node.store.statistics.entries == 1


async def test_the_last_part_makes_the_object_whole() -> None:
    node = Node()
    await stores_part(node, 0, 49)
    await stores_part(node, 50, 99)
    answer = await node.viewer().asks("/a").answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (200, BODY, "Hit from cloudfront")
    await node.asks_nothing_more(2)


DATE = "Sat, 01 Jan 2000 00:00:00 GMT"
NO_STRONG_VALIDATOR = [(), (("etag", 'W/"1"'),), (("last-modified", DATE), ("date", DATE))]
OTHER_VALIDATORS = [((ETAG,), (("etag", '"2"'),)), *((headers, headers) for headers in NO_STRONG_VALIDATOR)]


@pytest.mark.parametrize(("before", "after"), OTHER_VALIDATORS)
async def test_a_part_of_another_version_takes_the_place_of_what_was_there(
    before: tuple[TextHeader, ...], after: tuple[TextHeader, ...]
) -> None:
    """Without the same strong validator nothing is put together. A date is none when the response is of the same second."""
    node = Node()
    other = BODY[::-1]
    await stores_part(node, 0, 9, FRESH, *before)
    await stores_part(node, 10, 19, FRESH, *after, body=other)
    await hits(node, "bytes=10-19", other[10:20])
    node.viewer().asks("/a", range_of(0, 9))
    await node.fetch(3)


async def test_a_part_of_another_length_is_another_object() -> None:
    node = Node()
    await stores_part(node, 0, 9)
    await stores_part(node, 10, 19, FRESH, ETAG, body=BODY[:50])
    node.viewer().asks("/a", range_of(0, 9))
    await node.fetch(3)


async def test_the_newest_fields_hold_for_all_parts() -> None:
    node = Node()
    await stores_part(node, 0, 9, FRESH, ETAG, ("x-version", "old"), ("x-first", "1"))
    node.now += 50
    await stores_part(node, 10, 19, FRESH, ETAG, ("x-version", "new"))
    node.now += 50  # the first part alone would have expired
    answer = await hits(node, "bytes=0-19", BODY[:20])
    assert (answer.fields["x-version"], answer.fields["x-first"], answer.fields["age"]) == ("new", "1", "50")


async def test_an_expired_part_is_asked_for_again_and_put_together_with_what_is_still_the_same() -> None:
    node = Node()
    await stores_part(node, 0, 9)
    node.now += 60
    viewer = node.viewer().asks("/a", range_of(5, 9))
    gives(await node.fetch(2), 5, 9, FRESH, ETAG)
    assert (await viewer.answer()).body == BODY[5:10]
    await hits(node, "bytes=0-9", BODY[:10])


async def test_a_whole_object_is_not_given_up_for_a_part_of_it() -> None:
    """A range that was asked for before the whole arrived, and comes after it."""
    node = Node()
    slow = node.viewer().asks("/a", range_of(0, 9))
    whole = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, BODY, FRESH, ETAG)
    await whole.answer()
    gives(node.fetcher.fetches[0], 0, 9, FRESH, ETAG)
    assert (await slow.answer()).body == BODY[:10]
    assert (await node.viewer().asks("/a").answer()).body == BODY
    await node.asks_nothing_more(2)


async def test_a_part_of_a_newer_version_takes_the_place_of_an_older_whole() -> None:
    node = Node()
    slow = node.viewer().asks("/a", range_of(0, 9))
    whole = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, BODY, FRESH, ETAG)
    await whole.answer()
    gives(node.fetcher.fetches[0], 0, 9, FRESH, ("etag", '"2"'), body=BODY[::-1])
    assert (await slow.answer()).body == BODY[::-1][:10]
    await hits(node, "bytes=0-9", BODY[::-1][:10])


# -- completing


async def completing(node: Node, *parts: tuple[int, int]) -> tuple[Viewer, Fetch]:
    """Parts are there, and somebody asks for the whole."""
    for first, last in parts:
        await stores_part(node, first, last)
    viewer = node.viewer().asks("/a", ("if-none-match", '"of another time"'))
    return viewer, await node.fetch(len(parts) + 1)


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ([(0, 9)], (10, 99)),
        ([(90, 99)], (0, 89)),
        ([(40, 49)], (0, 99)),
        ([(0, 9), (90, 99)], (10, 89)),
        ([(0, 9), (40, 49), (90, 99)], (10, 89)),
        ([(0, 9), (40, 49)], (10, 99)),
    ],
)
async def test_one_request_for_the_missing_hull_completes_the_object(
    parts: list[tuple[int, int]], missing: tuple[int, int]
) -> None:
    node = Node()
    viewer, fetch = await completing(node, *parts)
    assert (fetch.request["range"], fetch.request["if-range"]) == (f"bytes={missing[0]}-{missing[1]}", '"1"')
    assert "if-none-match" not in fetch.request
    gives(fetch, *missing, FRESH, ETAG)
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["content-length"]) == (200, BODY, "100")
    assert "content-range" not in answer.fields and answer.fields["x-cache"] == "Miss from cloudfront"
    assert (await node.viewer().asks("/a").answer()).body == BODY
    await hits(node, "bytes=45-55", BODY[45:56])
    await node.asks_nothing_more(len(parts) + 1)


async def test_what_is_stored_is_sent_before_the_missing_part_has_come() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    fetch.begins(206, FRESH, ETAG, ("content-range", "bytes 10-99/100"), ("content-length", "90"))
    assert viewer.so_far().body == BODY[:10]
    fetch.sends(BODY[10:]).ends()
    assert (await viewer.answer()).body == BODY


async def test_those_who_come_meanwhile_wait_for_the_same_part() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9), (50, 99))
    second = node.viewer().asks("/a")
    fetch.begins(206, FRESH, ETAG, ("content-range", "bytes 10-49/100"), ("content-length", "40")).sends(BODY[10:20])
    third = node.viewer().asks("/a")
    fetch.sends(BODY[20:50]).ends()
    assert {(await each.answer()).body for each in (viewer, second, third)} == {BODY}
    await node.asks_nothing_more(3)


async def test_a_range_inside_of_what_is_there_does_not_wait_for_the_rest() -> None:
    node = Node()
    await completing(node, (0, 9))
    await hits(node, "bytes=0-9", BODY[:10])


async def test_an_object_that_has_changed_comes_whole() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    fetch.answers(200, b"another", FRESH, ("etag", '"2"'))
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (200, b"another")
    assert (await node.viewer().asks("/a").answer()).body == b"another"
    await node.asks_nothing_more(2)


@pytest.mark.parametrize(
    ("status", "content_range", "etag"),
    [
        (206, "bytes 10-99/100", '"2"'),
        (206, "bytes 10-99/100", 'W/"1"'),
        (206, "bytes 10-98/100", '"1"'),
        (206, "bytes 11-99/100", '"1"'),
        (206, "bytes 0-99/100", '"1"'),
        (206, "bytes 10-99/200", '"1"'),
        (206, "bytes 10-99/*", '"1"'),
        (206, "", '"1"'),
        (416, "bytes */5", '"1"'),
    ],
)
async def test_an_answer_that_does_not_complete_it_reaches_nobody(status: int, content_range: str, etag: str) -> None:
    """No viewer has asked for that range: each gets the whole, asked for without conditions."""
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    second = node.viewer().asks("/a")
    fields = (("content-range", content_range),) if content_range else ()
    fetch.begins(status, FRESH, ("etag", etag), *fields)
    assert fetch.connection.is_closed
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    for number in (3, 4):
        again = await node.fetch(number)
        assert "range" not in again.request and "if-range" not in again.request
        again.answers(200, b"the new one", FRESH, ("etag", '"3"'))
    for each in (viewer, second):
        assert ((await each.answer()).status, each.so_far().body) == (200, b"the new one")
    assert (await node.viewer().asks("/a").answer()).body == b"the new one"


@pytest.mark.parametrize("sent", [BODY[10:60], BODY[10:] + b"more"])
async def test_a_missing_part_of_another_length_than_it_says_is_cut_and_not_stored(sent: bytes) -> None:
    """Chunked, so that only the count can tell. The parts that were there stay."""
    node = Node()
    viewer, fetch = await completing(node, (0, 9), (90, 99))
    fetch.begins(206, FRESH, ETAG, ("content-range", "bytes 10-89/100")).sends(sent).ends()
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    assert BODY.startswith(viewer.so_far().body)
    await hits(node, "bytes=0-9", BODY[:10])
    again = node.viewer().asks("/a")
    gives(await node.fetch(4), 10, 89, FRESH, ETAG)
    assert (await again.answer()).body == BODY


async def test_a_missing_part_that_breaks_off_is_cut_and_the_parts_stay() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    fetch.begins(206, FRESH, ETAG, ("content-range", "bytes 10-99/100"), ("content-length", "90")).sends(BODY[10:20])
    assert fetch.sink.resume_point() is None
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()
    await hits(node, "bytes=0-9", BODY[:10])


async def test_an_object_that_has_changed_and_breaks_off_is_cut() -> None:
    """The request for the missing part has a range already."""
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    fetch.begins(200, FRESH, ("etag", '"2"'), ("content-length", "90")).sends(b"other")
    assert fetch.sink.resume_point() is None
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    with pytest.raises(AssertionError, match="cut"):
        await viewer.answer()


async def test_a_completed_object_that_is_not_for_all_goes_to_who_asked_alone() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    second = node.viewer().asks("/a")
    gives(fetch, 10, 99, PRIVATE, ETAG)
    assert (await viewer.answer()).body == BODY
    (await node.fetch(3)).answers(200, b"for the second", PRIVATE)
    assert (await second.answer()).body == b"for the second"


@pytest.mark.parametrize("headers", NO_STRONG_VALIDATOR)
async def test_without_a_strong_validator_the_whole_is_asked_for(headers: tuple[TextHeader, ...]) -> None:
    node = Node()
    await stores_part(node, 0, 9, FRESH, *headers)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert "range" not in fetch.request
    fetch.answers(200, BODY, FRESH)
    assert (await viewer.answer()).body == BODY


async def test_a_strong_date_completes_as_a_tag_does() -> None:
    node = Node()
    modified, date = "Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2000 10:00:00 GMT"
    dated = (FRESH, ("last-modified", modified), ("date", date))
    await stores_part(node, 0, 9, *dated)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert fetch.request["if-range"] == modified
    gives(fetch, 10, 99, *dated)
    assert (await viewer.answer()).body == BODY


async def test_an_origin_that_fails_to_complete_it_is_left_alone_and_the_parts_are_served() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    fetch.fails()
    assert (await viewer.answer()).status == 502
    node.now += 9.9
    assert (await node.viewer().asks("/a").answer()).status == 502
    await hits(node, "bytes=0-9", BODY[:10])
    await node.asks_nothing_more(2)
    node.now += 0.1
    viewer = node.viewer().asks("/a")
    gives(await node.fetch(3), 10, 99, FRESH, ETAG)
    assert (await viewer.answer()).body == BODY


async def test_an_error_instead_of_the_missing_part_is_the_answer() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    fetch.answers(503, b"broken")
    assert (await viewer.answer()).status == 503


# -- time, invalidation and budget


async def test_parts_are_never_used_instead_of_an_error() -> None:
    """A stale part answers nobody: there is no telling which other bytes go with it."""
    node = Node()
    await stores_part(node, 0, 9)
    node.now += 60
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).fails()
    assert (await viewer.answer()).status == 502


async def test_an_expired_part_is_not_confirmed_for_who_wants_the_whole() -> None:
    node = Node()
    await stores_part(node, 0, 9)
    node.now += 60
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    assert not {"if-none-match", "range", "if-range"} & fetch.request.keys()
    fetch.answers(200, BODY, FRESH, ETAG)
    assert (await viewer.answer()).body == BODY


async def test_an_expired_whole_is_served_on_an_error_on_a_range() -> None:
    node = Node()
    await node.stores("/a", BODY, FRESH)
    node.now += 60
    viewer = node.viewer().asks("/a", range_of(0, 9))
    (await node.fetch(2)).answers(503, b"broken")
    answer = await viewer.answer()
    assert (answer.status, answer.body) == (206, BODY[:10])


async def test_an_expired_whole_is_confirmed_for_a_range() -> None:
    node = Node()
    await node.stores("/a", BODY, FRESH, ETAG)
    node.now += 60
    viewer = node.viewer().asks("/a", range_of(0, 9))
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == '"1"' and "range" not in fetch.request
    fetch.confirms(FRESH)
    answer = await viewer.answer()
    assert (answer.status, answer.body, answer.fields["x-cache"]) == (206, BODY[:10], "RefreshHit from cloudfront")


async def test_an_invalidation_invalidates_parts() -> None:
    node = Node()
    await stores_part(node, 0, 9)
    node.invalidates("/a")
    await stores_part(node, 5, 14)
    node.viewer().asks("/a", range_of(0, 9))
    await node.fetch(3)  # the old part was not put together with the new one


async def test_a_part_that_is_on_its_way_when_an_invalidation_comes_is_not_kept() -> None:
    node = Node()
    viewer = node.viewer().asks("/a", range_of(0, 9))
    fetch = await node.fetch()
    node.invalidates("/a")
    gives(fetch, 0, 9, FRESH, ETAG)
    assert (await viewer.answer()).body == BODY[:10]
    assert node.store.statistics.entries == 0


async def test_a_completion_across_an_invalidation_is_not_kept() -> None:
    node = Node()
    viewer, fetch = await completing(node, (0, 9))
    node.invalidates("/a")
    gives(fetch, 10, 99, FRESH, ETAG)
    assert (await viewer.answer()).body == BODY
    again = node.viewer().asks("/a")
    (await node.fetch(3)).answers(200, b"new", FRESH)
    assert (await again.answer()).body == b"new"


async def test_a_part_costs_what_it_holds() -> None:
    node = Node()
    body = bytes(1_000_000)
    await stores_part(node, 0, 99_999, FRESH, ETAG, body=body)
    used = node.store.statistics.used_bytes
    assert 100_000 <= used < 105_000
    await stores_part(node, 50_000, 149_999, FRESH, ETAG, body=body)
    assert 150_000 <= node.store.statistics.used_bytes < 155_000
    node.invalidates("/a")
    node.viewer().asks("/a", range_of(0, 0))
    await node.fetch(3)
    assert node.store.statistics.used_bytes == 0


async def test_parts_that_outgrow_their_share_of_the_budget_are_passed_on() -> None:
    node = Node(capacity=80_000)
    body = bytes(100_000)
    for number in range(4):
        await stores_part(node, number * 20_000, number * 20_000 + 19_999, FRESH, ETAG, body=body)
        assert node.store.statistics.used_bytes <= 80_000
    assert node.store.statistics.used_bytes == 0


async def test_a_regional_cache_keeps_parts_for_its_edges() -> None:
    node = Node(role=Role.REGIONAL)
    edge = (("x-edge-log-index", "log-1:1"), ("x-edge-distribution", "E1"), ("x-edge-request-id", "id=="))
    viewer = node.viewer().asks("/a", range_of(0, 9), *edge)
    gives(await node.fetch(), 0, 9, FRESH, ETAG)
    await viewer.answer()
    answer = await node.viewer().asks("/a", range_of(2, 3), *edge).answer()
    assert (answer.status, answer.body, answer.fields["x-edge-result"]) == (206, BODY[2:4], "hit;fresh")


async def test_with_cookies_forwarded_parts_are_kept_by_cookie() -> None:
    node = Node(behavior_message(policy=policy_message(cookies=listed("s"))))
    viewer = node.viewer().asks("/a", range_of(0, 9), ("cookie", "s=1"))
    gives(await node.fetch(), 0, 9, FRESH, ETAG)
    await viewer.answer()
    answer = await node.viewer().asks("/a", range_of(0, 9), ("cookie", "s=1")).answer()
    assert answer.fields["x-cache"] == "Hit from cloudfront"
    node.viewer().asks("/a", range_of(0, 9), ("cookie", "s=2"))
    await node.fetch(2)


async def test_parts_together_have_no_more_room_than_one_body() -> None:
    """A viewer that reads a large object in ranges takes no more of the cache than another may with a whole one."""
    node = Node(capacity=800_000)
    for number in range(6):
        await node.stores(f"/other/{number}", bytes(10_000), FRESH)
    body = bytes(range(256)) * 4_000
    for number in range(30):
        await stores_part(node, number * 30_000, number * 30_000 + 29_999, FRESH, ETAG, body=body)
        assert node.store.statistics.used_bytes <= 100_000 + 6 * 11_000
        first = number * 30_000 + 5
        await hits(node, f"bytes={first}-{first + 9}", body[first : first + 10])
    assert node.store.statistics.evictions == 0


async def test_parts_that_were_asked_for_together_are_put_together_in_any_order() -> None:
    node = Node()
    viewers = [node.viewer().asks("/a", range_of(0, 9)), node.viewer().asks("/a", range_of(20, 29))]
    first, second = await node.fetch(1), await node.fetch(2)
    node.now += 1
    third_viewer = node.viewer().asks("/a", range_of(50, 59))
    third = await node.fetch(3)
    gives(third, 50, 59, FRESH, ETAG)
    gives(second, 20, 29, FRESH, ETAG)
    gives(first, 0, 9, FRESH, ETAG)
    for viewer in (*viewers, third_viewer):
        await viewer.answer()
    for start in (0, 20, 50):
        await hits(node, f"bytes={start}-{start + 9}", BODY[start : start + 10])


async def test_an_older_part_of_another_version_does_not_take_the_place_of_a_newer() -> None:
    node = Node()
    old_viewer = node.viewer().asks("/a", range_of(0, 9))
    slow = await node.fetch(1)
    node.now += 1
    new_viewer = node.viewer().asks("/a", range_of(0, 9))
    new_body = BODY[::-1]
    gives(await node.fetch(2), 0, 9, FRESH, ("etag", '"2"'), body=new_body)
    gives(slow, 0, 9, FRESH, ETAG)
    assert [(await viewer.answer()).body for viewer in (old_viewer, new_viewer)] == [BODY[:10], new_body[:10]]
    await hits(node, "bytes=0-9", new_body[:10])
