"""Behaviors that follow the RFCs: what may be stored, for how long it is fresh, and when it may be used stale (RFC 9111 sections 3 to 5.3, RFC 5861, RFC 9213)."""

import pytest

from edge_node.model.errors import UpstreamErrorKind
from tests.builders import policy_message
from tests.conversations.dialogue import Node, flush
from tests.conversations.tiers import strict, strict_node

FRESH = ("cache-control", "max-age=60")
TAG = ("etag", '"1"')
DAY_OLD = ("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT")


async def fresh_for(*headers: tuple[str, str], status: int = 200, policy: object = None) -> int | None:
    """For how many seconds a response is used without asking; None: it is not stored at all. 404 and the like included."""
    node = Node(strict(policy=policy)) if policy is not None else strict_node()  # type: ignore[arg-type]
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch()
    if status in (204, 304):
        fetch.begins(status, *headers).ends()
    else:
        fetch.answers(status, b"hello", *headers)
    await viewer.answer()
    await flush(lambda: not node.tasks)
    start = node.now
    if not await is_used(node):
        return 0 if node.store.statistics.entries else None
    low, high = 0, 1 << 30
    while high - low > 1:
        middle = (low + high) // 2
        node.now = start + middle
        if await is_used(node):
            low = middle
        else:
            high = middle
    return high


async def is_used(node: Node) -> bool:
    viewer = node.viewer().asks("/a")
    if viewer.is_done:
        return True
    viewer.leaves()
    return False


HEURISTIC = (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)
NEEDS_LIFETIME = (
    201, 202, 205, 226, 299, 302, 303, 307, 400, 401, 402, 403, 406, 407, 408, 409, 411, 412, 413, 415, 416, 417, 418, 421, 422, 425, 426, 451, 499,
    500, 502, 503, 504, 505, 599,
)  # fmt: skip
NEVER = (304, 428, 429, 431, 511)


@pytest.mark.parametrize("status", HEURISTIC)
async def test_these_statuses_are_stored_on_a_guess(status: int) -> None:
    assert await fresh_for(DAY_OLD, status=status) == 8_640
    assert await fresh_for(FRESH, status=status) == 60


@pytest.mark.parametrize("status", NEEDS_LIFETIME)
async def test_all_other_final_statuses_are_stored_if_they_say_for_how_long(status: int) -> None:
    assert await fresh_for(DAY_OLD, status=status) is None
    assert await fresh_for(FRESH, status=status) == 60
    assert await fresh_for(("expires", "Fri, 15 Jan 2027 08:00:30 GMT"), status=status) == 30


@pytest.mark.parametrize("status", NEVER)
async def test_these_statuses_are_never_stored(status: int) -> None:
    assert await fresh_for(FRESH, status=status) is None


@pytest.mark.parametrize(("status", "lifetime"), [(200, 60), (404, 60), (299, None), (418, None), (599, None)])
async def test_must_understand_stores_what_is_understood_and_lifts_no_store_for_it(
    status: int, lifetime: int | None
) -> None:
    assert await fresh_for(("cache-control", "max-age=60, must-understand, no-store"), status=status) == lifetime


@pytest.mark.parametrize(
    ("control", "lifetime"),
    [
        ("max-age=60", 60), ("MAX-AGE=60", 60), ('max-age="60"', 60), ("s-maxage=30, max-age=60", 30), ("max-age=60, s-maxage=0", 0),
        ("no-store, max-age=60", None), ("private, max-age=60", None), ('private="x", max-age=60', 60), ("no-cache, max-age=60", 0),
        ('no-cache="x", max-age=60', 60), ("max-age=x", 0), ("max-age=-5", 0), ("max-age=1.5", 0), ("max-age= 60", 0), ("max-age", 0),
        ("max-age=60, max-age=10", 60), ("max-age=99999999999999999999", 31_536_000), ("public", 0), ("", 0), ("immutable, max-age=60", 60),
        ('ext="no-store, private", max-age=60', 60),
    ],
)  # fmt: skip
async def test_the_directives_of_a_response_say_how_long_it_is_fresh(control: str, lifetime: int | None) -> None:
    assert await fresh_for(("cache-control", control), TAG) == lifetime


@pytest.mark.parametrize(
    ("expires", "date", "lifetime"),
    [
        ("Fri, 15 Jan 2027 08:01:00 GMT", "Fri, 15 Jan 2027 08:00:00 GMT", 60),
        ("Friday, 15-Jan-27 08:01:00 GMT", "Fri, 15 Jan 2027 08:00:00 GMT", 60),
        ("Fri Jan 15 08:01:00 2027", "Fri, 15 Jan 2027 08:00:00 GMT", 60),
        ("Fri, 15 Jan 2027 08:01:00 GMT", "Fri, 15 Jan 2027 07:59:30 GMT", 60),
        ("Fri, 15 Jan 2027 08:01:00 GMT", "nonsense", 60),
        ("0", "Fri, 15 Jan 2027 08:00:00 GMT", 0),
        ("-1", "Fri, 15 Jan 2027 08:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", "Fri, 15 Jan 2027 08:00:00 GMT", 0),
    ],
)
async def test_expires_is_reckoned_from_date_and_anything_malformed_is_past(
    expires: str, date: str, lifetime: int
) -> None:
    """What Date shows to have passed already counts as age: the fourth is 90 s fresh, of which 30 are over."""
    assert await fresh_for(("expires", expires), ("date", date), TAG) == lifetime


@pytest.mark.parametrize(
    ("modified", "lifetime"),
    [
        ("Fri, 15 Jan 2027 07:58:20 GMT", 10),
        ("Thu, 14 Jan 2027 08:00:00 GMT", 8_640),
        ("Fri, 15 Jan 2016 08:00:00 GMT", 86_400),
        ("Fri, 15 Jan 2027 09:00:00 GMT", 0),
    ],
)
async def test_a_guess_is_a_tenth_of_the_time_since_the_last_change_and_a_day_at_most(
    modified: str, lifetime: int
) -> None:
    assert await fresh_for(("last-modified", modified)) == lifetime


async def test_what_can_be_neither_fresh_nor_validated_is_not_stored() -> None:
    assert await fresh_for() is None
    assert await fresh_for(TAG) == 0


async def test_of_the_policy_only_the_maximum_ttl_counts() -> None:
    policy = policy_message(minimum_ttl_seconds=20, default_ttl_seconds=30, maximum_ttl_seconds=40)
    assert await fresh_for(FRESH, policy=policy) == 40
    assert await fresh_for(("cache-control", "max-age=5"), policy=policy) == 5
    assert await fresh_for(("cache-control", "no-store"), policy=policy) is None
    assert await fresh_for(policy=policy) is None


# -- CDN-Cache-Control: RFC 9213


@pytest.mark.parametrize(
    ("targeted", "lifetime"),
    [
        ("max-age=10", 10), ("max-age=10;ext=1", 10), ("no-store", None), ("private", None), ("none", 0), ("max-age=x", 0), ('max-age="10"', 0),
        ("max-age=10.5", 0), ("max-age=10, no-store=?0", 10), ("max-age=10, no-store=5", 10), ("", 600), ("max-age=10, &&", 600),
        ("MAX-AGE=10", 600), ("max-age=10,", 600),
    ],
)  # fmt: skip
async def test_a_valid_targeted_field_decides_alone_and_an_invalid_one_is_as_good_as_absent(
    targeted: str, lifetime: int | None
) -> None:
    """`none` is a key that nobody knows: a valid field that gives no lifetime, so there is only a guess, and for that nothing to go by."""
    answer = await fresh_for(("cdn-cache-control", targeted), ("cache-control", "max-age=600"), TAG)
    assert answer == lifetime


async def test_a_targeted_field_overrules_no_store_and_expires_and_is_passed_on() -> None:
    node = strict_node()
    elsewhere = (("cache-control", "no-store"), ("expires", "0"))
    await node.stores("/a", b"hello", ("cdn-cache-control", "max-age=60"), *elsewhere)
    answer = await node.viewer().asks("/a").answer()
    assert (answer.fields["cdn-cache-control"], answer.fields["cache-control"]) == ("max-age=60", "no-store")


# -- stale: RFC 9111 section 4.2.4, RFC 5861


async def stale(control: str, seconds: float) -> Node:
    """A node with a response that has been stale for so long."""
    node = strict_node()
    await node.stores("/a", b"old", ("cache-control", control), TAG)
    node.now += 60 + seconds
    return node


@pytest.mark.parametrize(("seconds", "is_allowed"), [(0, True), (29.9, True), (30, False)])
async def test_stale_while_revalidate_answers_at_once_and_refreshes(seconds: float, is_allowed: bool) -> None:
    node = await stale("max-age=60, stale-while-revalidate=30", seconds)
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    assert [viewer.is_done for viewer in viewers] == [is_allowed] * 2
    fetch = await node.fetch(2)
    assert fetch.request["if-none-match"] == '"1"'
    fetch.answers(200, b"new", FRESH)
    assert {(await viewer.answer()).body for viewer in viewers} == {b"old" if is_allowed else b"new"}
    await flush(lambda: not node.tasks)
    assert (await node.viewer().asks("/a").answer()).body == b"new"
    await node.asks_nothing_more(2)


@pytest.mark.parametrize("failure", [503, UpstreamErrorKind.REFUSED])
@pytest.mark.parametrize("semantics", [1, 2])
async def test_a_refresh_in_the_background_that_fails_leaves_what_is_stored(
    failure: int | UpstreamErrorKind, semantics: int
) -> None:
    node = Node(strict(semantics=semantics))
    await node.stores("/a", b"old", ("cache-control", "max-age=60, stale-while-revalidate=100"), TAG)
    node.now += 70
    assert (await node.viewer().asks("/a").answer()).body == b"old"
    fetch = await node.fetch(2)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken", ("cache-control", "max-age=600"))
    else:
        fetch.fails(failure)
    await flush(lambda: not node.tasks)
    assert (await node.viewer().asks("/a").answer()).body == b"old"


@pytest.mark.parametrize("forbidding", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"])
@pytest.mark.parametrize("window", ["stale-while-revalidate=100", "stale-if-error=100", "public"])
async def test_what_must_be_validated_closes_every_window(forbidding: str, window: str) -> None:
    node = await stale(f"max-age=60, {window}, {forbidding}", 1)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).fails()
    assert (await viewer.answer()).status == 502


FAILURES = [500, 502, 503, 504, 599, UpstreamErrorKind.REFUSED, UpstreamErrorKind.READ_TIMEOUT, UpstreamErrorKind.RESET]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(
    ("control", "seconds", "is_allowed"),
    [
        ("max-age=60, stale-if-error=30", 29.9, True),
        ("max-age=60, stale-if-error=30", 30, False),
        ("max-age=60, stale-if-error=0", 0, False),
        ("max-age=60", 1_000, True),
    ],
)
async def test_stale_is_served_for_a_failing_origin_inside_its_window(
    failure: int | UpstreamErrorKind, control: str, seconds: float, is_allowed: bool
) -> None:
    node = await stale(control, seconds)
    viewer = node.viewer().asks("/a")
    fetch = await node.fetch(2)
    if isinstance(failure, int):
        fetch.answers(failure, b"broken")
    else:
        fetch.fails(failure)
    answer = await viewer.answer()
    assert (answer.body == b"old") is is_allowed and (answer.status == 200) is is_allowed


@pytest.mark.parametrize("status", [400, 404, 410, 429])
async def test_stale_is_served_for_no_answer_about_the_request(status: int) -> None:
    node = await stale("max-age=60, stale-if-error=100", 1)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(status, b"no")
    assert (await viewer.answer()).status == status


async def test_a_guessed_lifetime_is_served_stale_for_nothing_without_stale_if_error() -> None:
    for more, is_allowed in (((), False), ((("cache-control", "stale-if-error=100"),), True)):
        node = strict_node()
        await node.stores("/a", b"old", ("last-modified", "Fri, 15 Jan 2027 07:58:20 GMT"), *more)
        node.now += 20
        viewer = node.viewer().asks("/a")
        (await node.fetch(2)).fails()
        assert ((await viewer.answer()).body == b"old") is is_allowed


async def test_a_request_may_allow_stale_if_error_by_itself() -> None:
    node = strict_node()
    await node.stores("/a", b"old", ("last-modified", "Fri, 15 Jan 2027 07:58:20 GMT"))
    node.now += 20
    viewer = node.viewer().asks("/a", ("cache-control", "stale-if-error=11"))
    (await node.fetch(2)).fails()
    assert (await viewer.answer()).body == b"old"


async def test_a_failed_fetch_is_no_response_to_store() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a")
    (await node.fetch(1)).fails()
    assert (await viewer.answer()).status == 502
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"back", FRESH)
    assert (await viewer.answer()).body == b"back"


async def test_a_truncated_response_is_never_reused_as_whole() -> None:
    node = strict_node()
    viewer = node.viewer().asks("/a")
    fetch = (await node.fetch()).begins(200, FRESH, ("content-length", "5")).sends(b"he")
    fetch.fails(UpstreamErrorKind.TRUNCATED)
    await flush(lambda: viewer.is_cut)
    viewer = node.viewer().asks("/a")
    (await node.fetch(2)).answers(200, b"hello", FRESH)
    assert (await viewer.answer()).body == b"hello"


# -- sharing


@pytest.mark.parametrize(
    "control", ["private", "no-store", "no-cache", "max-age=0", "s-maxage=0, max-age=60", "max-age=60, vary"]
)
async def test_who_waits_is_released_by_a_response_that_is_not_for_all(control: str) -> None:
    node = strict_node()
    headers = [("cache-control", control)]
    if control.endswith("vary"):
        headers.append(("vary", "*"))
    viewers = [node.viewer().asks("/me") for _ in range(3)]
    (await node.fetch(1)).answers(200, b"1", *headers)
    for number in (2, 3):  # both at once: nobody waits for the other
        await node.fetch(number)
    for number in (2, 3):
        (await node.fetch(number)).answers(200, b"%d" % number, *headers)
    assert sorted([(await viewer.answer()).body for viewer in viewers]) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "headers", [[("cache-control", "max-age=0")], [FRESH, ("age", "60")], [("cache-control", "no-cache")]]
)
async def test_who_waits_for_a_validation_is_released_when_its_result_is_stale_at_once(
    headers: list[tuple[str, str]],
) -> None:
    """It was confirmed for whoever asked before it was confirmed; not for those who came later."""
    node = strict_node()
    await node.stores("/a", b"old", FRESH, ("age", "60"), TAG)
    viewers = [node.viewer().asks("/a") for _ in range(2)]
    (await node.fetch(2)).confirms(*headers)
    (await node.fetch(3)).answers(200, b"new", FRESH)
    assert [(await viewer.answer()).body for viewer in viewers] == [b"old", b"new"]
