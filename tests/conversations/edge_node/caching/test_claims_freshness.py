"""What a response says of its lifetime, under both sets of rules, through one tier and through two (RFC 9111 sections 4.2, 5.2.2, 5.3, RFC 9213, reference 2.2).

Where a row gives two figures, the rules differ. None: it is not stored.
"""

from dataclasses import dataclass, field

import pytest

from proto.cdn.v1 import configuration_pb2
from tests.builders import ALL, behavior_message, policy_message
from tests.conversations.dialogue import Fetch, Node, TextHeader, Viewer
from tests.conversations.tiers import Tiers, strict

TAG = ("etag", '"1"')
CLOUDFRONT, RFC9111 = "cloudfront", "rfc9111"
BOTH = pytest.mark.parametrize("semantics", [CLOUDFRONT, RFC9111])
ONE_OR_TWO = pytest.mark.parametrize("tiers", [1, 2])
DAY = 86_400


def behavior(semantics: str, **policy: object) -> configuration_pb2.Behavior:
    values = policy_message(**policy)
    return strict(policy=values) if semantics == RFC9111 else behavior_message(policy=values)


@dataclass
class Way:
    """Viewers on one side, the origin on the other, one cache or two between them."""

    edge: Node
    last: Node
    tiers: Tiers | None = None
    viewers: list[Viewer] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """How often the origin was asked."""
        return len(self.last.fetcher.fetches)

    def asks(self, *headers: TextHeader, method: str = "GET", target: str = "/a") -> Viewer:
        return self.edge.viewer().asks(target, *headers, method=method)

    async def origin(self, number: int) -> Fetch:
        return await self.last.fetch(number)

    def passes(self, seconds: float) -> None:
        if self.tiers is not None:
            self.tiers.passes(seconds)
        else:
            self.edge.now += seconds

    async def stores(self, *headers: TextHeader, status: int = 200) -> None:
        viewer = self.asks()
        (await self.origin(1)).answers(status, b"hello", *headers)
        assert (await viewer.answer()).body == b"hello"

    async def is_hit(self) -> bool:
        """Whether a stored response answers by itself. Whoever would have to wait leaves again."""
        viewer = self.asks()
        if viewer.is_done:
            return True
        viewer.leaves()
        return False


def way(tiers: int, one: configuration_pb2.Behavior) -> Way:
    if tiers == 1:
        node = Node(one)
        return Way(node, node)
    both = Tiers(one)
    return Way(both.edge, both.regional, both)


async def lives(
    tiers: int, one: configuration_pb2.Behavior, lifetime: int | None, *headers: TextHeader, status: int = 200
) -> None:
    """The response answers others until its last moment, and not a moment longer."""
    there = way(tiers, one)
    await there.stores(*headers, status=status)
    if lifetime is not None and lifetime > 0:
        there.passes(lifetime - 0.5)
        assert await there.is_hit(), "too short"
        there.passes(0.5)
    assert not there.asks().is_done, "too long"
    request = (await there.origin(2)).request
    if TAG in headers and status == 200:
        assert request.get("if-none-match") == (None if lifetime is None else TAG[1])


# -- Cache-Control

HUNDRED_YEARS = 31_536_000  # what the policies of these tests allow at most is a year


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize(
    ("control", "lifetime"),
    [
        ('max-age="60"', 60), ("MaX-aGe=60", 60), ("max-age=60, max-age=10", 60), ("max-age=10, max-age=60", 10), ("s-maxage=10, s-maxage=60", 10),
        ("s-maxage=10, max-age=60", 10), ("max-age=60, s-maxage=10", 10), ("max-age=1.5", 0), ("max-age=60.0", 0), ("max-age=-60", 0), ("max-age=+60", 0),
        ("max-age=0x60", 0), ("max-age=60s", 0), ("max-age=", 0), ("max-age", 0), ('max-age="', 0), ("max-age =60", 0), ("max-age= 60", 0),
        ("max-age='60'", 0), ("max-age=2147483648", HUNDRED_YEARS), ("max-age=99999999999999999999", HUNDRED_YEARS),
        ("s-maxage=x, max-age=60", 0), ("max-age=x, max-age=60", 0), ("max-age=060", 60), ("foo=max-age=5, max-age=60", 60),
        ('foo="max-age=5, no-store", max-age=60', 60), ("max-age=60;no-store", 0), ("maxage=60, max-age=10", 10), (",, ,max-age=60,,", 60),
    ],
)  # fmt: skip
async def test_the_value_of_a_lifetime(control: str, lifetime: int, semantics: str, tiers: int) -> None:
    await lives(tiers, behavior(semantics), lifetime, ("cache-control", control), TAG)


@BOTH
async def test_a_directive_on_a_second_line_counts_as_on_the_first(semantics: str) -> None:
    await lives(1, behavior(semantics), None, ("cache-control", "max-age=60"), ("cache-control", "no-store"), TAG)
    await lives(1, behavior(semantics), 60, ("cache-control", "max-age=60"), ("cache-control", "max-age=5"), TAG)


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize("control", ["no-store, max-age=60", "private, max-age=60", 'private="", max-age=60'])
async def test_what_is_for_nobody_else(control: str, semantics: str, tiers: int) -> None:
    await lives(tiers, behavior(semantics), None, ("cache-control", control), TAG)


# -- Expires

NOW = ("date", "Fri, 15 Jan 2027 08:00:00 GMT")


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize(
    ("expires", "lifetime"),
    [
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60), ("fri, 15 jan 2027 08:01:00 gmt", 60), ("Friday, 15-Jan-27 08:01:00 GMT", 60),
        ("Fri Jan 15 08:01:00 2027", 60), ("Mon Feb  1 08:00:00 2027", 17 * DAY), ("Friday, 15-Jan-77 08:00:00 GMT", 365 * DAY),
        ("Friday, 15-Jan-78 08:00:00 GMT", 0), ("Fri, 15 Jan 2027 08:01:00 UTC", 0), ("Fri, 15 Jan 2027 08:01:00 +0000", 0),
        ("Fri, 15 Jan 2027 08:01:00", 0), ("Fri, 15 Jan 2027 8:01:00 GMT", 0), ("15 Jan 2027 08:01:00 GMT", 0), ("Fri, 32 Jan 2027 08:01:00 GMT", 0),
        ("Fri, 15 Jan 2027 25:01:00 GMT", 0), ("Fri, 15 Jan 27 08:01:00 GMT", 0), ("Fri,15 Jan 2027 08:01:00 GMT", 0), ("1800000060", 0), ("0", 0), ("-1", 0),
        ("never", 0), ("", 0), ("Fri, 15 Jan 2027 07:59:59 GMT", 0), ("Fri, 15 Jan 2027 08:00:00 GMT", 0),
        ("Fri, 15 Jan 2027 08:01:00 GMT, Fri, 15 Jan 2027 08:02:00 GMT", 0),
    ],
)  # fmt: skip
async def test_each_form_of_expires(expires: str, lifetime: int, semantics: str, tiers: int) -> None:
    await lives(tiers, behavior(semantics), lifetime, ("expires", expires), NOW, TAG)


@BOTH
@pytest.mark.parametrize(("control", "lifetime"), [("max-age=60", 60), ("s-maxage=60", 60), ("public", 30), ("max-age=x", 0)])  # fmt: skip
async def test_expires_counts_where_no_directive_says_how_long(control: str, lifetime: int, semantics: str) -> None:
    until = ("expires", "Fri, 15 Jan 2027 08:00:30 GMT")
    await lives(1, behavior(semantics), lifetime, ("cache-control", control), until, NOW, TAG)


@BOTH
@pytest.mark.parametrize(
    ("date", "cloudfront", "rfc9111"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", 90, 90),
        ("Fri, 15 Jan 2027 07:59:00 GMT", 150, 90),  # a slow clock, or an old response: the minute is age by the RFC
        ("Fri, 15 Jan 2027 08:01:00 GMT", 30, 30),  # a fast clock: what the origin meant, reckoned from its own time
        ("Fri, 15 Jan 2027 08:02:00 GMT", 0, 0),
        ("yesterday", 90, 90),
    ],
)
async def test_expires_is_reckoned_from_the_clock_of_the_origin(
    date: str, cloudfront: int, rfc9111: int, semantics: str
) -> None:
    lifetime = cloudfront if semantics == CLOUDFRONT else rfc9111
    until = ("expires", "Fri, 15 Jan 2027 08:01:30 GMT")
    await lives(1, behavior(semantics), lifetime, until, ("date", date), TAG)


# -- Age


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize(
    ("age", "lifetime"),
    [("20", 40), ("20, 50", 40), ("0", 60), ("-20", 60), ("1.5", 60), ("x", 60), ("", 60), ("60", 0), ("99999999999999999999", 0)],
)  # fmt: skip
async def test_what_age_says_is_over_already(age: str, lifetime: int, semantics: str, tiers: int) -> None:
    await lives(tiers, behavior(semantics), lifetime, ("cache-control", "max-age=60"), ("age", age), TAG)


@BOTH
async def test_age_is_counted_on_from_what_came_and_is_never_negative(semantics: str) -> None:
    there = way(1, behavior(semantics))
    await there.stores(("cache-control", "max-age=60"), ("age", "20"))
    there.passes(7)
    assert (await there.asks().answer()).fields["age"] == "27"
    there.passes(-100)  # the clock was set back
    assert int((await there.asks().answer()).fields["age"]) >= 0


# -- heuristic freshness, and public

DAY_OLD = ("last-modified", "Thu, 14 Jan 2027 08:00:00 GMT")


@ONE_OR_TWO
@pytest.mark.parametrize(
    ("status", "control", "lifetime"),
    [
        (200, None, 8_640), (404, None, 8_640), (201, None, None), (418, None, None), (201, "public", 8_640), (418, "public", 8_640),
        (500, "public", 8_640), (302, "public", 8_640), (302, "private", None), (200, "must-revalidate", 8_640),
    ],
)  # fmt: skip
async def test_a_guess_is_made_for_known_statuses_and_for_what_is_public(
    status: int, control: str | None, lifetime: int | None, tiers: int
) -> None:
    said = () if control is None else (("cache-control", control),)
    await lives(tiers, behavior(RFC9111), lifetime, DAY_OLD, *said, status=status)


async def test_cloudfront_guesses_nothing() -> None:
    await lives(1, behavior(CLOUDFRONT, default_ttl_seconds=100), 100, DAY_OLD)


# -- the policy


@BOTH
@pytest.mark.parametrize(
    ("control", "cloudfront", "rfc9111"),
    [("max-age=5", 20, 5), ("max-age=30", 30, 30), ("max-age=50", 40, 40), ("no-cache", 20, 0), ("no-store", 20, None), ("public", 25, 0)],
)  # fmt: skip
async def test_the_bounds_of_the_policy(control: str, cloudfront: int, rfc9111: int | None, semantics: str) -> None:
    one = behavior(semantics, minimum_ttl_seconds=20, default_ttl_seconds=25, maximum_ttl_seconds=40)
    lifetime = cloudfront if semantics == CLOUDFRONT else rfc9111
    await lives(1, one, lifetime, ("cache-control", control), TAG)


@BOTH
@pytest.mark.parametrize("window", ["stale-while-revalidate", "stale-if-error"])
async def test_the_maximum_ttl_bounds_the_windows_too(window: str, semantics: str) -> None:
    for seconds, is_inside in ((39.5, True), (40, False)):
        there = way(1, behavior(semantics, default_ttl_seconds=10, maximum_ttl_seconds=40))
        await there.stores(("cache-control", f"max-age=10, {window}=1000"), TAG)
        there.passes(10 + seconds)
        viewer = there.asks()
        (await there.origin(2)).answers(503, b"broken")
        assert (await viewer.answer()).status == (200 if is_inside else 503)


# -- CDN-Cache-Control


@ONE_OR_TWO
@pytest.mark.parametrize(
    ("targeted", "lifetime"),
    [
        ("max-age=10", 10), ("max-age=10, max-age=20", 20), ("max-age=10;x=1;y", 10), ('max-age="10"', 0), ("max-age=10.0", 0), ("max-age=?1", 0),
        ("max-age=:MTA=:", 0), ("max-age=(10)", 0), ("max-age=ten", 0), ("max-age", 0), ("max-age=-10", 0), ("no-store", None), ("no-store=?0, max-age=10", 10),
        ("no-store=1, max-age=10", 10), ('private="x", max-age=10', 10), ("private=x, max-age=10", 10), ("no-cache", 0), ("public", 0), ("x", 0),
        # none at all: Cache-Control holds
        ("", 600), (" ", 600), ("max-age=10,", 600), ("max-age = 10", 600), ("Max-Age=10", 600), ("max-age=10; no-store", 10), ("max-age=1_0", 600),
        ("max-age=10 no-store", 600), ('max-age="10', 600), ("max-age=9999999999999999", 600),
    ],
)  # fmt: skip
async def test_a_targeted_field_decides_alone_or_not_at_all(targeted: str, lifetime: int | None, tiers: int) -> None:
    elsewhere = (("cache-control", "max-age=600"), ("expires", "Fri, 15 Jan 2027 08:10:00 GMT"), NOW)
    await lives(tiers, behavior(RFC9111), lifetime, ("cdn-cache-control", targeted), *elsewhere, TAG)


@pytest.mark.parametrize("elsewhere", ["no-store", "private", "no-cache", "max-age=0", "s-maxage=0", 'no-cache="etag"'])
async def test_nothing_of_cache_control_is_mixed_in(elsewhere: str) -> None:
    await lives(1, behavior(RFC9111), 10, ("cdn-cache-control", "max-age=10"), ("cache-control", elsewhere), TAG)


async def test_no_window_of_cache_control_is_mixed_in() -> None:
    there = way(1, behavior(RFC9111))
    await there.stores(("cdn-cache-control", "max-age=10"), ("cache-control", "stale-while-revalidate=100"), TAG)
    there.passes(10)
    assert not await there.is_hit()


@ONE_OR_TWO
async def test_to_cloudfront_a_targeted_field_means_nothing(tiers: int) -> None:
    said = (("cdn-cache-control", "no-store"), ("cache-control", "max-age=60"))
    await lives(tiers, behavior(CLOUDFRONT), 60, *said, TAG)
    await lives(tiers, behavior(CLOUDFRONT), None, ("cdn-cache-control", "max-age=60"), ("cache-control", "no-store"))


# -- what a viewer of CloudFront cannot demand, and who gets cookies


@ONE_OR_TWO
@pytest.mark.parametrize(
    "demand",
    [
        ("cache-control", "no-cache"), ("cache-control", "no-store"), ("cache-control", "max-age=0"), ("cache-control", "min-fresh=1000"),
        ("cache-control", "only-if-cached"), ("pragma", "no-cache"),
    ],
)  # fmt: skip
async def test_cloudfront_listens_to_no_demand(demand: TextHeader, tiers: int) -> None:
    """Reference 2.1: not for what is stored, and not for what is to be stored."""
    there = way(tiers, behavior(CLOUDFRONT))
    viewer = there.asks(demand)
    (await there.origin(1)).answers(200, b"hello", ("cache-control", "max-age=60"))
    assert (await viewer.answer()).body == b"hello"
    there.passes(10)
    assert (await there.asks(demand).answer()).fields["x-cache"] == "Hit from cloudfront"
    there.passes(50)
    there.asks(demand, ("cache-control", "max-stale"))
    assert (await there.origin(2)).request["host"]


@ONE_OR_TWO
@pytest.mark.parametrize("forwards", [False, True])
async def test_cloudfront_passes_cookies_on_where_they_are_forwarded(forwards: bool, tiers: int) -> None:
    """Reference 2.2: otherwise they are removed, for whoever asked first as for all others."""
    policy = policy_message(**({"cookies": ALL} if forwards else {}))
    there = way(tiers, behavior_message(policy=policy))
    viewer = there.asks()
    (await there.origin(1)).answers(200, b"x", ("cache-control", "max-age=60"), ("set-cookie", "a=1"))
    for answer in (await viewer.answer(), await there.asks().answer()):
        assert ("set-cookie" in answer.fields) is forwards


@ONE_OR_TWO
@BOTH
@pytest.mark.parametrize("control", ['no-cache="X-User", max-age=60', 'max-age=60, private="x-user, x-more"'])
async def test_named_fields_are_for_who_asked_only(control: str, semantics: str, tiers: int) -> None:
    """Reference 2.2, RFC 9111 sections 5.2.2.4 and 5.2.2.7."""
    there = way(tiers, behavior(semantics))
    first, second = there.asks(), there.asks()
    (await there.origin(1)).answers(200, b"hello", ("cache-control", control), ("x-user", "me"), ("x-other", "all"))
    assert (await first.answer()).fields["x-user"] == "me"
    for answer in (await second.answer(), await there.asks().answer()):
        assert "x-user" not in answer.fields and answer.fields["x-other"] == "all"
    assert there.asked == 1
