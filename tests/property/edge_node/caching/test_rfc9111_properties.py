"""Sentences about caching by the RFCs that hold for whatever history of requests, responses and clock steps, judged by tests/oracle_rfc9111.py."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from itertools import product
from typing import Literal, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_node.caching.age import initial_age
from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.cacheability import judge_cacheability
from edge_node.caching.request_directives import NO_DIRECTIVES, request_directives_of
from edge_node.caching.reuse import Fresh, OnlyIfCachedMiss, ServeStale, judge, may_serve_stale_if_error
from edge_node.caching.revalidation import is_validated_by, update_fields, with_date
from edge_node.caching.unsafe_methods import invalidated_targets
from edge_node.caching.vary import VARY_ANY, Recency, Variant, recency_of, variant_of, vary_names_of
from edge_node.http.cache_control import LONGEST_LIFETIME_SECONDS
from edge_node.http.request_head import make_request_head
from edge_node.http.structured_fields import parse_dictionary
from edge_node.http.targeted_cache_control import directives_of
from edge_node.model.configuration import Semantics
from edge_node.model.http import Header, RequestHead, ResponseHead
from edge_node.upstream.connection import make_response_head
from tests import oracle_rfc9111 as oracle
from tests.builders import behavior_message, distribution_message, origin_message, policy_message, read_distribution
from tests.depth import examples

V = TypeVar("V")
Pairs = tuple[tuple[str, str | int], ...]

NOW = 1_800_000_000.0
MAXIMUM_TTL_SECONDS = 31_536_000
STRICT = replace(
    read_distribution(
        distribution_message(
            origin_message("h", 80), behavior_message(policy=policy_message(maximum_ttl_seconds=MAXIMUM_TTL_SECONDS))
        )
    ).default_behavior,
    semantics=Semantics.RFC9111,
)


# -- what may happen


@dataclass(frozen=True)
class Answer:
    """What the origin would say; times in its fields are relative to the moment at which it says so."""

    status: int
    fields: Pairs
    delay_seconds: float
    kind: Literal["whole", "not modified", "lost"]

    def fields_at(self, now: float) -> oracle.Fields:
        return tuple(
            (name, formatdate(now + value, usegmt=True) if isinstance(value, int) else value)
            for name, value in self.fields
        )


@dataclass(frozen=True)
class Ask:
    asked: oracle.Request
    answer: Answer


DIRECTIVE_FORMS = (
    "max-age=10", "max-age=100", "s-maxage=20", "max-age=0", "public", "private", "no-store", "no-cache",
    "must-revalidate", "proxy-revalidate", "must-understand", "immutable", "no-transform", "stale-while-revalidate=30", "stale-if-error=30",
    "stale-if-error=0", 'max-age="10"', "max-age=1.5", "max-age=-1", "max-age=x", "max-age", "max-age= 10", "max-age =10", "MAX-AGE=50",
    "s-maxage=x", 'no-cache="X-A"', 'private="X-A, X-B"', "no-cache=X-A", 'private=""', 'no-cache="a b"', "No-Store", 'ext="no-store, max-age=1"',
    'ext="', "max-age=99999999999999999999999", "stale-while-revalidate=x", "unknown", "unknown=1", "no-store=1", "max-age='10'",
)  # fmt: skip
DIRECTIVES = st.sampled_from(DIRECTIVE_FORMS)


def some_of(forms: Mapping[str, Sequence[V]]) -> st.SearchStrategy[dict[str, V]]:
    """Each field every other time, in one of its forms; all of them by one draw, since draws are what takes time."""
    ways = [[None] * len(each) + list(each) for each in forms.values()]
    combinations = [
        {name: value for name, value in zip(forms, chosen, strict=True) if value is not None}
        for chosen in product(*ways)
    ]
    return st.sampled_from(range(len(combinations))).map(lambda number: combinations[number])


def together(*parts: st.SearchStrategy[dict[str, V]]) -> st.SearchStrategy[dict[str, V]]:
    return st.tuples(*parts).map(lambda dicts: {name: value for part in dicts for name, value in part.items()})


CACHE_CONTROLS = st.one_of(
    st.sampled_from(
        ["max-age=100", "public, max-age=50", "max-age=30, immutable", "max-age=10, stale-while-revalidate=60"]
    ),
    st.lists(DIRECTIVES, min_size=1, max_size=4).map(", ".join),
)
TARGETED = st.one_of(
    st.sampled_from(["max-age=60", "", "max-age=60, &&", "MAX-AGE=60", "no-store", "none", "private, max-age=60", "max-age=60,", "max-age=60;a=1"]),
    st.lists(
        st.sampled_from([
            "max-age=60", "max-age=6", 'max-age="60"', "max-age=60.5", "max-age=-1", "s-maxage=40", "no-cache", 'no-cache="x-a"', "private=?0",
            "no-store=?1", "no-store=5", "no-store", "must-revalidate", "stale-while-revalidate=30", "stale-if-error=30", "x;y=1", "max-age", "public",
        ]),
        min_size=1, max_size=3,
    ).map(", ".join),
)  # fmt: skip
INVALID_DATES = (
    "0", "-1", "", "tomorrow", "Fri, 15 Jan 2027 09:00:00 UTC", "Fri, 15 Jan 2027 9:00:00 GMT", "Fri, 35 Jan 2027 09:00:00 GMT",
    "fri, 15 jan 2027 09:00:00 gmt", "Friday, 15-Jan-27 09:00:00 GMT", "Fri Jan 15 09:00:00 2027", "Fri, 15 Jan 27 09:00:00 GMT",
)  # fmt: skip
PLAIN_RESPONSE_FIELDS: st.SearchStrategy[dict[str, str | int]] = st.fixed_dictionaries(
    {"cache-control": CACHE_CONTROLS, "date": st.just(0)}, optional={"etag": st.just('"1"')}
)
RESPONSE_FIELDS: st.SearchStrategy[dict[str, str | int]] = together(
    st.one_of(st.just({}), CACHE_CONTROLS.map(lambda value: {"cache-control": value})),
    some_of({"date": (*(0, 0, 0, -5, 5, -3600, 3600), *INVALID_DATES), "etag": ('"1"', '"2"', 'W/"1"')}),
    some_of({"expires": (*(0, 10, 100, -100) * 3, *INVALID_DATES), "last-modified": (*(-1_000, -100_000, 100) * 3, *INVALID_DATES)}),
)  # fmt: skip
ODD_RESPONSE_FIELDS: st.SearchStrategy[dict[str, str | int]] = together(
    st.one_of(st.just({}), TARGETED.map(lambda value: {"cdn-cache-control": value})),
    some_of(
        {
            "age": ("0", "5", "95", "-5", "x", "5, 200", "1.5", "9" * 30),
            "vary": ("X-A", "x-a, Accept-Language", "*", "X-A, *", "", "Accept-Language", "Accept, X-B"),
            "set-cookie": ("a=1",),
        }
    ),
)
STATUSES = st.one_of(
    st.just(200),
    st.sampled_from(
        [200, 201, 203, 204, 226, 299, 300, 301, 302, 307, 404, 410, 418, 429, 451, 500, 501, 503, 511, 599]
    ),
)
REQUEST_DIRECTIVE_FORMS = (
    "no-cache", "no-store", "max-age=0", "max-age=5", "max-age=50", "max-stale", "max-stale", "max-stale=10", "max-stale=90",
    "min-fresh=50", "only-if-cached", "max-age=50, max-stale=20",
    "max-age=x", "max-stale=x", "stale-if-error=20", "no-cache=1", "unknown", "no-transform",
)  # fmt: skip
SELECTING_FORMS = {
    "x-a": ("1", "2", "1,2", "1 , 2", "2, 1", ""),
    "accept-language": ("en", "EN", "de, en", "en,de;q=1.0", "de;q=0.5", "en;q=x", "en;q=0", "*", ""),
    "accept": ("text/html", "text/*;q=0.3, text/html", "text/html,text/*; q=0.30"),
}
REQUEST_FIELDS = some_of(SELECTING_FORMS)
REQUEST_DIRECTIVES = st.sampled_from(REQUEST_DIRECTIVE_FORMS)
ODD_REQUEST_FIELDS = some_of(
    {
        "cache-control": REQUEST_DIRECTIVE_FORMS,
        "pragma": ("no-cache", "No-Cache", "x"),
        "authorization": ("Basic Zm9v",),
    }
)


def often_plain(plain: st.SearchStrategy[dict[str, V]], *odd: st.SearchStrategy[dict[str, V]]) -> st.SearchStrategy[tuple[tuple[str, V], ...]]:  # fmt: skip
    """Odd fields in one of four, so that histories with reuse are many."""

    fields = st.one_of(plain, plain, plain, together(plain, *odd))
    return fields.map(lambda chosen: tuple(chosen.items()))


DEMANDING_FIELDS = st.builds(lambda directive: (("cache-control", directive),), REQUEST_DIRECTIVES)
ASKED_FIELDS = st.one_of(often_plain(st.just({}), REQUEST_FIELDS, ODD_REQUEST_FIELDS), DEMANDING_FIELDS)
ANSWERED_FIELDS = often_plain(PLAIN_RESPONSE_FIELDS, RESPONSE_FIELDS, ODD_RESPONSE_FIELDS)
ASKED = st.builds(
    oracle.Request,
    st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST", "M-SEARCH"]),
    st.sampled_from(["/a", "/a", "/a", "/b"]),
    ASKED_FIELDS,
)
ANSWERS = st.builds(
    Answer,
    STATUSES,
    ANSWERED_FIELDS,
    st.sampled_from([0.0, 0.0, 0.5, 15.0]),
    st.sampled_from(["whole", "whole", "not modified", "lost"]),
)
STEPS = st.lists(
    st.one_of(
        st.builds(Ask, ASKED, ANSWERS),
        st.builds(Ask, ASKED, ANSWERS),
        st.sampled_from([0.0, 0.5, 1.0, 4.0, 9.5, 10.0, 11.0, 30.0, 100.0]),
    ),
    min_size=3,
    max_size=12,
)


# -- a cache of nothing but the rules


def as_headers(fields: oracle.Fields) -> list[Header]:
    return [(name.encode(), value.encode()) for name, value in fields]


def as_request(asked: oracle.Request) -> RequestHead:
    return make_request_head(asked.method.encode(), asked.target.encode(), [(b"host", b"h"), *as_headers(asked.fields)], 1, True)  # fmt: skip


def as_response(status: int, headers: tuple[Header, ...]) -> ResponseHead:
    return make_response_head(status, b"", headers)


@dataclass
class Kept:
    """One stored response: what the rules know of it, and what the oracle knows."""

    witness: oracle.Stored
    headers: tuple[Header, ...]
    cache_metadata: CacheMetadata
    age_base: float
    vary_names: tuple[bytes, ...]
    variant: Variant
    recency: Recency


@dataclass
class RulesOnlyCache:
    """Stores, selects, reuses, validates and forgets as the rules say; everything else is left out."""

    now: float = NOW
    kept: dict[bytes, list[Kept]] = field(default_factory=dict)
    stats: Counter[str] = field(default_factory=Counter)

    def ask(self, step: Ask) -> None:
        request = as_request(step.asked)
        if request.method not in (b"GET", b"HEAD"):
            self._write(request, step.answer)
            return
        entry = self._select(request)
        directives = request_directives_of(request.fields, Semantics.RFC9111)
        if entry is None:
            if not directives.is_only_if_cached:
                self._fetch(step, request, None)
            return
        match judge(entry.cache_metadata, directives, self.now - entry.age_base):
            case Fresh():
                self._reuse(entry, step.asked, "fresh")
            case ServeStale(reason):
                self._reuse(entry, step.asked, reason.value)
            case OnlyIfCachedMiss():
                self._check_not_plain(entry, step.asked)
            case _:
                self._check_not_plain(entry, step.asked)
                self._fetch(step, request, entry)

    def _select(self, request: RequestHead) -> Kept | None:
        matching = [
            entry
            for entry in self.kept.get(request.target, [])
            if variant_of(entry.vary_names, request.fields) == entry.variant
        ]
        return max(matching, key=lambda entry: entry.recency, default=None)

    def _reuse(self, entry: Kept, asked: oracle.Request, how: str, *, is_disconnected: bool = False) -> None:
        self.stats[how] += 1
        broken = oracle.forbidden(entry.witness, asked, self.now, is_disconnected=is_disconnected)
        assert not broken, f"{how}: {broken}"
        if not is_disconnected:
            assert not oracle.unwanted(entry.witness, asked, self.now)

    def _check_not_plain(self, entry: Kept, asked: oracle.Request) -> None:
        assert not oracle.plainly_reusable(entry.witness, asked, self.now), "a response that may be used was not used"

    def _fetch(self, step: Ask, request: RequestHead, entry: Kept | None) -> None:
        """Ask the origin; a lost answer may be replaced by what is stored, a 304 confirms it."""
        asked_at = self.now
        self.now += step.answer.delay_seconds
        answer = step.answer
        if answer.kind == "lost":
            directives = request_directives_of(request.fields, Semantics.RFC9111)
            if entry is not None and may_serve_stale_if_error(
                entry.cache_metadata, directives, self.now - entry.age_base
            ):
                self._reuse(entry, step.asked, "stands in", is_disconnected=True)
            return
        fields = answer.fields_at(self.now)
        if answer.kind == "not modified" and entry is not None:
            if is_validated_by(dict(entry.headers), dict(as_headers(fields))):
                self._confirm(entry, oracle.Stored(step.asked, 304, fields, asked_at, self.now))
            return
        self._store(oracle.Stored(step.asked, answer.status, fields, asked_at, self.now), request)

    def _store(self, witness: oracle.Stored, request: RequestHead) -> None:
        received = tuple(as_headers(witness.fields))
        kept = self._kept(witness, with_date(received, self.now), dict(received), request)
        if kept is not None:
            entries = self.kept.setdefault(request.target, [])
            entries[:] = [e for e in entries if (e.vary_names, e.variant) != (kept.vary_names, kept.variant)]
            entries.append(kept)

    def _confirm(self, entry: Kept, not_modified: oracle.Stored) -> None:
        self.stats["confirmed"] += 1
        witness = oracle.validated(entry.witness, not_modified)
        received = as_headers(not_modified.fields)
        headers = update_fields(entry.headers, tuple(received), self.now)
        entries = self.kept[entry.witness.request.target.encode()]
        entries.remove(entry)
        kept = self._kept(witness, headers, dict(received), as_request(entry.witness.request))
        if kept is not None:
            entries.append(kept)

    def _kept(
        self, witness: oracle.Stored, headers: tuple[Header, ...], received: dict[bytes, bytes], request: RequestHead
    ) -> Kept | None:
        head = as_response(witness.status, tuple(pair for pair in headers if pair[0] != b"age"))
        cache_metadata = judge_cacheability(request, head, STRICT, 10.0, self.now)
        names = vary_names_of(head.fields)
        if not cache_metadata.is_storable:
            return None
        age = initial_age(received, witness.request_time, witness.response_time, Semantics.RFC9111)
        recency = recency_of(head.fields, self.now)
        if names is VARY_ANY:
            assert cache_metadata.is_always_validated
            names = ()
        variant = variant_of(names, request.fields)
        return Kept(witness, headers, cache_metadata, witness.response_time - age, names, variant, recency)

    def _write(self, request: RequestHead, answer: Answer) -> None:
        self.now += answer.delay_seconds
        response = as_response(answer.status, tuple(as_headers(answer.fields_at(self.now))))
        if answer.kind == "whole":
            for target in invalidated_targets(request, response, b"http"):
                self.kept.pop(target, None)


def play(steps: list[Ask | float]) -> RulesOnlyCache:
    cache = RulesOnlyCache()
    for step in steps:
        if isinstance(step, Ask):
            cache.ask(step)
        else:
            cache.now += step
    return cache


PLAIN = oracle.Request("GET", "/a", ())
STORED = Ask(PLAIN, Answer(200, (("cache-control", "max-age=10"), ("date", 0), ("etag", '"1"')), 0.0, "whole"))
STORED_STALE_WHILE_REVALIDATE = Ask(PLAIN, Answer(200, (("cache-control", "max-age=10, stale-while-revalidate=60"), ("date", 0)), 0.0, "whole"))  # fmt: skip
ASKED_WITH_MAX_STALE = Ask(replace(PLAIN, fields=(("cache-control", "max-stale"),)), STORED.answer)
ANSWER_LOST = Ask(PLAIN, replace(STORED.answer, kind="lost"))
CONFIRMED = Ask(PLAIN, replace(STORED.answer, kind="not modified"))
WAYS_OF_REUSE: dict[str, list[Ask | float]] = {
    "fresh": [STORED, 4.0, STORED],
    "stale_while_revalidate": [STORED_STALE_WHILE_REVALIDATE, 30.0, STORED],
    "request_max_stale": [STORED, 30.0, ASKED_WITH_MAX_STALE],
    "stands in": [STORED, 30.0, ANSWER_LOST],
    "confirmed": [STORED, 30.0, CONFIRMED],
}
"""One history for each: which of them random histories come to is luck."""


@pytest.mark.parametrize("way", WAYS_OF_REUSE)
def test_every_way_of_reuse_is_one_that_the_rfc_allows(way: str) -> None:
    assert play(WAYS_OF_REUSE[way]).stats == {way: 1}


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_no_history_makes_the_rules_reuse_what_the_rfc_forbids_or_refuse_what_is_plainly_fresh(
    steps: list[Ask | float],
) -> None:
    play(steps)


PAIRS = [f"{first}, {second}" for first in DIRECTIVE_FORMS for second in DIRECTIVE_FORMS]
AGES = (0.0, 9.0, 15.0, 25.0, 45.0, 75.0, 120.0, 4_000.0)
NO_FIELDS: oracle.Fields = ()
AUTHORIZED: oracle.Fields = (("authorization", "Basic Zm9v"),)


def follows_the_oracle(witness: oracle.Stored) -> bool:
    """Judge one exchange at several ages; whether its response was stored."""
    asked = witness.request
    headers = tuple(as_headers(witness.fields))
    response = as_response(witness.status, headers)
    cache_metadata = judge_cacheability(as_request(asked), response, STRICT, 10.0, witness.response_time)
    initial = initial_age(response.fields, witness.request_time, witness.response_time, Semantics.RFC9111)
    must_not = oracle.must_not_be_stored(witness)
    assert not (cache_metadata.is_storable and must_not), f"{witness}: {must_not}"
    for later in AGES if cache_metadata.is_storable else ():
        now = witness.response_time + later
        reusability = judge(cache_metadata, NO_DIRECTIVES, initial + later)
        if isinstance(reusability, Fresh | ServeStale):
            assert not oracle.forbidden(witness, asked, now), f"{witness} after {later}"
        if may_serve_stale_if_error(cache_metadata, NO_DIRECTIVES, initial + later):
            assert not oracle.forbidden(witness, asked, now, is_disconnected=True), f"{witness} after {later}"
        assert isinstance(reusability, Fresh) or not oracle.plainly_reusable(witness, asked, now), f"{witness}"
    return cache_metadata.is_storable


@pytest.mark.parametrize(("status", "fields"), [(200, NO_FIELDS), (200, AUTHORIZED), (299, NO_FIELDS)])
@pytest.mark.parametrize("name", ["cache-control", "cdn-cache-control"])
def test_no_two_directives_together_allow_what_the_rfc_forbids(name: str, status: int, fields: oracle.Fields) -> None:
    for pair in PAIRS:
        answered = ((name, pair), ("date", formatdate(NOW, usegmt=True)), ("etag", '"1"'))
        witness = oracle.Stored(oracle.Request("GET", "/a", fields), status, answered, NOW, NOW)
        is_stored = follows_the_oracle(witness)
        # A quote that is not closed may restrict more than it says; everything else is stored unless it must not be.
        assert is_stored or oracle.must_not_be_stored(witness) or pair.count('"') % 2, pair


RESPONSES = (
    "max-age=40", "max-age=40, must-revalidate", "s-maxage=40", "max-age=40, immutable", "max-age=20, stale-while-revalidate=40", "no-cache, max-age=40",
    "max-age=20, stale-if-error=40", "max-age=20, stale-while-revalidate=10, proxy-revalidate", "max-age=0", 'private="x", max-age=40',
)  # fmt: skip


@pytest.mark.parametrize("said", RESPONSES)
def test_no_demands_of_a_request_are_passed_over(said: str) -> None:
    answered = (("cache-control", said), ("date", formatdate(NOW, usegmt=True)))
    witness = oracle.Stored(oracle.Request("GET", "/a"), 200, answered, NOW, NOW)
    cache_metadata = judge_cacheability(
        as_request(witness.request), as_response(200, tuple(as_headers(answered))), STRICT, 10.0, NOW
    )
    for first, second in product(REQUEST_DIRECTIVE_FORMS, repeat=2):
        asked = oracle.Request("GET", "/a", (("cache-control", first), ("cache-control", second)))
        directives = request_directives_of(as_request(asked).fields, Semantics.RFC9111)
        for age in (*AGES, 5.0, 55.0):
            reusability = judge(cache_metadata, directives, age)
            if isinstance(reusability, Fresh | ServeStale):
                assert not oracle.forbidden(witness, asked, NOW + age), f"{asked} at {age}"
                assert not oracle.unwanted(witness, asked, NOW + age), f"{asked} at {age}"
            elif not oracle.unwanted(witness, asked, NOW + age):  # then only the response can be what forbids it
                assert oracle.forbidden(witness, asked, NOW + age), f"{asked} at {age}"
            if may_serve_stale_if_error(cache_metadata, directives, age):
                assert not oracle.forbidden(witness, asked, NOW + age, is_disconnected=True), f"{asked} at {age}"


@pytest.mark.parametrize(
    "vary", ["x-a", "Accept-Language", "x-a, ACCEPT", "accept , accept-language", "*", "x-a, *", ""]
)
def test_no_two_requests_share_a_variant_that_vary_tells_apart(vary: str) -> None:
    requests = [
        tuple((name, form) for name, form in zip(SELECTING_FORMS, forms, strict=True) if form is not None)
        for forms in product(*((None, *forms) for forms in SELECTING_FORMS.values()))
    ]
    names = vary_names_of({b"vary": vary.encode()})
    for first in requests[::3]:
        witness = oracle.Stored(oracle.Request("GET", "/a", first), 200, (("vary", vary),), NOW, NOW)
        left = as_request(witness.request).fields
        for second in (first, *requests[::7]):
            asked = oracle.Request("GET", "/a", second)
            is_same = names is not VARY_ANY and variant_of(names, left) == variant_of(names, as_request(asked).fields)
            assert is_same <= oracle.selects(witness, asked), f"{first} and {second}"
            assert is_same or first != second or names is VARY_ANY, f"{first} does not select its own response"


OLD_FIELDS: tuple[oracle.Fields, ...] = (
    (("cache-control", "max-age=20"), ("date", "Fri, 15 Jan 2027 07:59:30 GMT")),
    (("expires", "Fri, 15 Jan 2027 08:00:30 GMT"), ("date", "Fri, 15 Jan 2027 07:59:30 GMT"), ("etag", '"1"')),
    (("last-modified", "Fri, 15 Jan 2027 07:50:00 GMT"), ("date", "Fri, 15 Jan 2027 07:59:30 GMT")),
    (("cache-control", "max-age=20, must-revalidate"), ("vary", "x-a")),
)
NEW_FIELDS = (
    ("cache-control", "max-age=5"), ("cache-control", "no-store"), ("date", "Fri, 15 Jan 2027 08:00:00 GMT"), ("age", "15"), ("vary", "*"),
    ("expires", "0"), ("expires", "Fri, 15 Jan 2027 08:00:10 GMT"), ("content-length", "7"), ("last-modified", "Fri, 15 Jan 2027 07:00:00 GMT"),
)  # fmt: skip


@pytest.mark.parametrize("old", OLD_FIELDS)
def test_no_update_by_a_304_prolongs_what_it_does_not_say(old: oracle.Fields) -> None:
    before = oracle.Stored(oracle.Request("GET", "/a"), 200, old, NOW - 30, NOW - 30)
    for chosen in product((False, True), repeat=len(NEW_FIELDS)):
        new = tuple(pair for pair, is_chosen in zip(NEW_FIELDS, chosen, strict=True) if is_chosen)
        witness = oracle.validated(before, oracle.Stored(before.request, 304, new, NOW - 2, NOW))
        merged = update_fields(tuple(as_headers(old)), tuple(as_headers(new)), NOW)
        head = as_response(200, tuple(pair for pair in merged if pair[0] != b"age"))
        cache_metadata = judge_cacheability(as_request(before.request), head, STRICT, 10.0, NOW)
        initial = initial_age(dict(as_headers(new)), NOW - 2, NOW, Semantics.RFC9111)
        assert not (cache_metadata.is_storable and oracle.must_not_be_stored(witness)), new
        for later in AGES if cache_metadata.is_storable else ():
            is_usable = isinstance(judge(cache_metadata, NO_DIRECTIVES, initial + later), Fresh | ServeStale)
            assert not (is_usable and oracle.forbidden(witness, before.request, NOW + later)), f"{new} after {later}"


TIMES = (
    None,
    "0",
    "x",
    "Fri, 15 Jan 2027 07:00:00 GMT",
    "Fri, 15 Jan 2027 08:00:00 GMT",
    "Fri, 15 Jan 2027 08:00:20 GMT",
)
MORE_TIMES = (*TIMES, "Fri, 15 Jan 2027 08:00:40 UTC", "Friday, 15-Jan-27 08:00:40 GMT", "fri jan 15 08:00:40 2027")
AGE_FORMS = (None, "0", "10", "-10", "x", "10, 3600", "0,3600", "9" * 30)


@pytest.mark.parametrize("delay", [0.0, 12.0])
def test_no_fields_about_time_together_allow_what_the_rfc_forbids(delay: float) -> None:
    stored = 0
    for expires, made, modified, age in product(MORE_TIMES, MORE_TIMES, TIMES, AGE_FORMS):
        fields = {"expires": expires, "date": made, "last-modified": modified, "age": age}
        answered = tuple((name, value) for name, value in fields.items() if value is not None)
        stored += follows_the_oracle(oracle.Stored(oracle.Request("GET", "/a"), 200, answered, NOW - delay, NOW))
    assert stored > 3_000


@settings(max_examples=examples(300))
@given(
    ASKED.filter(lambda asked: asked.method == "GET"),
    STATUSES,
    ANSWERED_FIELDS,
    st.integers(0, 4_000),
)
def test_one_response_is_stored_and_reused_only_where_the_rfc_lets_it(
    asked: oracle.Request, status: int, fields: Pairs, later: int
) -> None:
    """The same question without any history: one exchange, one more request like the first."""
    answer = Answer(status, fields, 0.0, "whole")
    cache = play([Ask(asked, answer), float(later)])
    cache_metadata = next((kept.cache_metadata for entries in cache.kept.values() for kept in entries), None)
    witness = oracle.Stored(asked, status, answer.fields_at(NOW), NOW, NOW)
    if oracle.must_not_be_stored(witness):
        assert cache_metadata is None
    if cache_metadata is not None:
        assert (
            cache_metadata.lifetime_seconds is not None and 0 <= cache_metadata.lifetime_seconds <= MAXIMUM_TTL_SECONDS
        )
        assert cache_metadata.lifetime_seconds <= max(0.0, oracle.freshness_lifetime(witness))
    if oracle.plainly_reusable(witness, asked, cache.now):
        assert cache_metadata is not None
    cache.ask(Ask(asked, answer))


@given(st.binary(max_size=40))
def test_no_field_value_is_an_error_and_every_lifetime_has_its_bounds(value: bytes) -> None:
    control, _ = directives_of({b"cache-control": value, b"cdn-cache-control": value})
    lifetimes = (control.max_age, control.s_maxage, control.stale_while_revalidate, control.stale_if_error)
    assert all(0 <= seconds <= LONGEST_LIFETIME_SECONDS for seconds in lifetimes if seconds is not None)
    directives = request_directives_of({b"cache-control": value, b"pragma": value}, Semantics.RFC9111)
    assert directives.min_fresh >= 0 and (directives.max_age is None or directives.max_age >= 0)
    names = vary_names_of({b"vary": value})
    assert names is VARY_ANY or variant_of(names, dict.fromkeys(names, value)) is not None


MEMBERS = st.dictionaries(
    st.from_regex(r"[a-z*][a-z0-9_.*-]{0,8}", fullmatch=True),
    st.one_of(st.booleans(), st.integers(-(10**15) + 1, 10**15 - 1), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)),
    max_size=4,
)  # fmt: skip


@given(MEMBERS, st.sampled_from([",", ", ", " \t,\t "]))
def test_a_dictionary_that_is_written_is_read_again(members: dict[str, bool | int | str], separator: str) -> None:
    written = separator.join(f"{key}{serialise(value)}" for key, value in members.items())
    assert parse_dictionary(written.encode()) == members


def serialise(value: bool | int | str) -> str:
    """RFC 9651 section 4.1."""
    if isinstance(value, bool):
        return "" if value else "=?0"
    if isinstance(value, int):
        return f"={value}"
    return '="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


LANGUAGES = st.lists(
    st.tuples(st.sampled_from(["en", "de", "en-GB", "*"]), st.sampled_from([None, "1", "1.0", "0.5", "0.50", "0"])),
    min_size=1,
    max_size=3,
)


def spell(preferences: list[tuple[str, str | None]], separator: str, *, is_upper: bool) -> bytes:
    text = separator.join(name if weight is None else f"{name};q={weight}" for name, weight in preferences)
    return (text.upper() if is_upper else text).encode()


@given(LANGUAGES, st.permutations(range(3)), st.sampled_from([",", " , "]), st.booleans())
def test_preferences_select_the_same_whatever_their_spelling(
    preferences: list[tuple[str, str | None]], order: list[int], separator: str, is_upper: bool
) -> None:
    shuffled = [preferences[place] for place in order if place < len(preferences)]
    first, second = spell(preferences, ",", is_upper=False), spell(shuffled, separator, is_upper=is_upper)
    name = (b"accept-language",)
    assert variant_of(name, {name[0]: first}) == variant_of(name, {name[0]: second})


@given(LANGUAGES, LANGUAGES)
def test_preferences_that_differ_select_differently(left: list[tuple[str, str | None]], right: list[tuple[str, str | None]]) -> None:  # fmt: skip
    def meaning(preferences: list[tuple[str, str | None]]) -> set[tuple[str, float]]:
        return {(name.lower(), float(weight or 1)) for name, weight in preferences}

    name = (b"accept-language",)
    variants = [variant_of(name, {name[0]: spell(side, ",", is_upper=False)}) for side in (left, right)]
    assert (variants[0] == variants[1]) == (meaning(left) == meaning(right))
