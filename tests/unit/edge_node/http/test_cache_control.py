"""Cache-Control, targeted fields and request directives in every form that they come in (RFC 9111 section 5.2, RFC 9213, RFC 9651); dates (RFC 9110 section 5.6.7)."""

from math import inf
from typing import Any

import pytest

from edge_node.caching.request_directives import NO_DIRECTIVES, RequestDirectives, request_directives_of
from edge_node.http.cache_control import (
    LONGEST_LIFETIME_SECONDS,
    LONGEST_REMEMBERED_VALUE_BYTES,
    NOTHING_SAID,
    CacheControl,
    parse_cache_control,
    split_list,
)
from edge_node.http.dates import parse_http_date
from edge_node.http.structured_fields import Date, DisplayString, Token, parse_dictionary
from edge_node.http.targeted_cache_control import directives_of, parse_targeted
from edge_node.model.configuration import Semantics

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", CacheControl()),
        (b"No-Store , PRIVATE", CacheControl(no_store=True, private=True)),
        (b",,max-age=5,,", CacheControl(max_age=5)),
        (b"max-age=5,s-maxage=6", CacheControl(max_age=5, s_maxage=6)),
        (b"must-revalidate", CacheControl(must_revalidate=True)),
        (b"proxy-revalidate", CacheControl(proxy_revalidate=True)),
        (b"must-understand, no-transform, public", CacheControl(must_understand=True, no_transform=True, public=True)),
        (b"immutable, immutable=x", CacheControl(immutable=True)),
        (b"stale-while-revalidate=7, stale-if-error=9", CacheControl(stale_while_revalidate=7, stale_if_error=9)),
        # arguments where there are none, and unknown directives
        (b"no-store=1, community=UCI, x", CacheControl(no_store=True)),
        (b'ext="a, no-store", max-age=5', CacheControl(max_age=5)),
        (b'ext="a\\", no-store", max-age=5', CacheControl(max_age=5)),
        (b'extension="max-age=3600", max-age=1', CacheControl(max_age=1)),
        # quoted, duplicated, out of range
        (b'max-age="60"', CacheControl(max_age=60)),
        (b'max-age="6\\0"', CacheControl(max_age=60)),
        (b"max-age=1, max-age=1800", CacheControl(max_age=1)),
        (b"max-age=1800, max-age=1", CacheControl(max_age=1800)),
        (b"max-age=x, max-age=1800", CacheControl(max_age=0)),
        (b"max-age=003600", CacheControl(max_age=3600)),
        (b"max-age=2147483648", CacheControl(max_age=2147483648)),
        (b"max-age=99999999999", CacheControl(max_age=LONGEST_LIFETIME_SECONDS)),
        (b"max-age=" + b"9" * 400, CacheControl(max_age=LONGEST_LIFETIME_SECONDS)),
        # malformed lifetimes are stale
        *[
            (b"max-age" + rest, CacheControl(max_age=0))
            for rest in (
                b"", b"=", b"=-1", b"=+1", b"=1.5", b"=3600.0", b"=a100", b"=100a", b"='60'", b'="60', b'=60"', b'=""', b"= 60", b" =60", b"=1 2",
                b"=\xb2", b"=1e3", b"=0x10", b"=1_0",
            )
        ],
        (b"s-maxage=x, max-age=60", CacheControl(s_maxage=0, max_age=60)),
        (b"stale-if-error, stale-while-revalidate=x", CacheControl(stale_if_error=0, stale_while_revalidate=0)),
        # a quote that is not closed hides nothing
        (b'ext="a, no-store', CacheControl(no_store=True)),
        (b'ext="a, max-age=60', CacheControl(max_age=0)),
        # field names
        (b'private="X-A, X-B"', CacheControl(without_fields=(b"x-a", b"x-b"))),
        (b'private="X-A, X-B", ext="', CacheControl(private=True)),  # an open quote: nothing in it is a list for certain
        (b'private="X-A", ext="', CacheControl(private=True)),
        (b'no-cache=X-A, ext="', CacheControl(no_cache=True)),
        (b"private = X-A", CacheControl(private=True)),
        (b'no-cache="Set-Cookie", private=X-A', CacheControl(without_fields=(b"set-cookie", b"x-a"))),
        (b'no-cache="a", no-cache="b"', CacheControl(without_fields=(b"a", b"b"))),
        (b'no-cache="a", no-cache', CacheControl(no_cache=True, without_fields=(b"a",))),
        *[(b"private=" + rest, CacheControl(private=True)) for rest in (b"", b'""', b'","', b'"a b"', b'"a, (b)"')],
    ],
)  # fmt: skip
def test_cache_control_is_read(value: bytes, expected: CacheControl) -> None:
    assert parse_cache_control(value) == expected


def test_a_long_field_is_read_like_a_short_one_and_not_remembered() -> None:
    padding = b"x=" + b"y" * LONGEST_REMEMBERED_VALUE_BYTES
    assert parse_cache_control(padding + b", max-age=5") == CacheControl(max_age=5)
    assert parse_targeted(padding + b", max-age=5") == CacheControl(max_age=5)
    assert request_directives_of({b"cache-control": padding + b", no-cache"}, Semantics.RFC9111) == RequestDirectives(
        is_no_cache=True
    )


def test_a_member_may_hold_commas_in_quotes() -> None:
    assert split_list(b'a, "b, c" ,d="e,f"') == [b"a", b'"b, c"', b'd="e,f"']
    assert split_list(b'a, "b, c') == [b"a", b'"b', b"c"]


# -- targeted fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"max-age=60", CacheControl(max_age=60)),
        (b"max-age=60, must-revalidate, no-store", CacheControl(max_age=60, must_revalidate=True, no_store=True)),
        (b"none", CacheControl()),
        (b"max-age=60;ext=1, private;a", CacheControl(max_age=60, private=True)),
        (b"no-store=?1", CacheControl(no_store=True)),
        (b'no-cache="Set-Cookie, X-A"', CacheControl(without_fields=(b"set-cookie", b"x-a"))),
        (b'private="a b"', CacheControl(private=True)),
        (b"max-age=1, max-age=60", CacheControl(max_age=60)),  # RFC 9651 section 4.2.2: the last one
        (b"max-age=99999999999", CacheControl(max_age=LONGEST_LIFETIME_SECONDS)),
        # of the wrong type: a flag is absent, a lifetime stale
        (b"no-store=?0, private=1, no-cache=x, must-revalidate=(a)", CacheControl()),
        *[
            (b"max-age=" + argument, CacheControl(max_age=0))
            for argument in (b'"60"', b"60.5", b"60.0", b"-60", b"x", b"?1", b"(60)", b":NjA=:", b"@60")
        ],
        (b"max-age", CacheControl(max_age=0)),
        # empty or no structured field: as good as absent
        *[
            (value, None)
            for value in (
                b"", b" ", b"max-age=60,", b",max-age=60", b"max-age=60,,private", b"max-age=10000, &&&&&", b"MaX-aGe=60", b"max-age =60", b"max-age= 60",
                b"max-age=60 private", b'no-cache="a', b"max-age=6\xff", b"max-age=1234567890123456", b"a=1.2345", b"a=1.", b"a=(1", b"a=(1,2)", b"a=:x:",
                b"a=?2", b"a;=1", b"a=@1.5", b'a=%"%F0"', b'a=%"%ff"', b"a=1;B=2", b"max-age='60'", b'a="\\x"', b"a==1", b"-a=1",
            )
        ],
    ],
)  # fmt: skip
def test_a_targeted_field_is_a_structured_field(value: bytes, expected: CacheControl | None) -> None:
    assert parse_targeted(value) == expected


def test_every_type_of_a_structured_field_is_read() -> None:
    value = rb'a, b=?0, c=-12, d=1.5, e="x\"\\", f=*tok/en:1, g=:aGk=:, h=@-5, i=%"%c3%bc ", j=( 1  "b";q  c );p=1, *k.-_=1;  l=2'
    assert parse_dictionary(value) == {
        "a": True, "b": False, "c": -12, "d": 1.5, "e": 'x"\\', "f": Token("*tok/en:1"), "g": b"hi", "h": Date(-5), "i": DisplayString("ü "),
        "j": (1, "b", Token("c")), "*k.-_": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (NOTHING_SAID, False)),
        ({b"cache-control": b"max-age=1"}, (CacheControl(max_age=1), False)),
        ({b"cache-control": b"no-store", b"cdn-cache-control": b"max-age=60"}, (CacheControl(max_age=60), True)),
        ({b"cache-control": b"max-age=60", b"cdn-cache-control": b"no-store"}, (CacheControl(no_store=True), True)),
        ({b"cache-control": b"max-age=60", b"cdn-cache-control": b"none"}, (CacheControl(), True)),
        ({b"cache-control": b"no-store", b"cdn-cache-control": b"max-age=60, &"}, (CacheControl(no_store=True), False)),
        ({b"cache-control": b"max-age=9", b"cdn-cache-control": b""}, (CacheControl(max_age=9), False)),
        ({b"surrogate-control": b"max-age=9"}, (NOTHING_SAID, False)),
    ],
)
def test_a_valid_targeted_field_decides_alone(fields: dict[bytes, bytes], expected: tuple[CacheControl, bool]) -> None:
    assert directives_of(fields) == expected


# -- requests


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        ("no-cache", {"is_no_cache": True}),
        ("No-Cache=1", {"is_no_cache": True}),
        ("no-store", {"is_no_store": True}),
        ("only-if-cached, no-transform", {"is_only_if_cached": True}),
        ("max-age=5", {"max_age": 5}),
        ('max-age="5"', {"max_age": 5}),
        ("max-age=9, max-age=5", {"max_age": 5}),
        ("max-age=x", {"max_age": 0}),
        ("max-age", {"max_age": 0}),
        ("max-stale", {"max_stale": inf}),
        ("max-stale=7", {"max_stale": 7}),
        ("max-stale, max-stale=7", {"max_stale": 7}),
        ("max-stale=x", {}),
        ("min-fresh=3, min-fresh=4", {"min_fresh": 4}),
        ("min-fresh", {}),
        ("stale-if-error=60", {"stale_if_error": 60}),
        ("unknown=1, immutable", {}),
        ('x="no-cache"', {}),
    ],
)
def test_what_a_request_demands(value: str, changes: dict[str, Any]) -> None:
    assert request_directives_of({b"cache-control": value.encode()}, Semantics.RFC9111) == RequestDirectives(**changes)


@pytest.mark.parametrize(
    ("fields", "is_no_cache"),
    [
        ({b"pragma": b"no-cache"}, True),
        ({b"pragma": b"x, No-Cache"}, True),
        ({b"pragma": b"x"}, False),
        ({b"pragma": b"no-cache", b"cache-control": b"max-stale"}, False),
        ({}, False),
    ],
)
def test_pragma_counts_only_without_cache_control(fields: dict[bytes, bytes], is_no_cache: bool) -> None:
    assert request_directives_of(fields, Semantics.RFC9111).is_no_cache is is_no_cache


def test_nothing_said_is_the_one_value_that_the_fast_path_looks_for() -> None:
    assert request_directives_of({}, Semantics.RFC9111) is NO_DIRECTIVES
    assert request_directives_of({b"cache-control": b"x"}, Semantics.RFC9111) is NO_DIRECTIVES


def test_a_viewer_cannot_force_a_refresh_in_cloudfront_s_semantics() -> None:
    assert (
        request_directives_of({b"cache-control": b"no-cache, no-store", b"pragma": b"no-cache"}, Semantics.CLOUDFRONT)
        is NO_DIRECTIVES
    )


# -- dates


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"Fri, 15 Jan 2027 08:00:00 GMT", NOW),
        (b"Friday, 15-Jan-27 08:00:00 GMT", NOW),
        (b"Fri Jan 15 08:00:00 2027", NOW),
        (b"Fri Jan  1 08:00:00 2027", NOW - 14 * 86_400),
        (b"fRI, 15 JAN 2027 08:00:00 gMT", NOW),
        (b"Thu, 14 Jan 2027 23:59:60 GMT", NOW - 8 * 3_600),
        (b"Mon, 29 Feb 2024 00:00:00 GMT", 1_709_164_800.0),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        *[
            (text, None)
            for text in (
                b"", b"0", b"-1", b"\xff", b"Fri, 15 Jan 2027", b"Fri, 35 Jan 2027 08:00:00 GMT", b"Wed, 29 Feb 2023 00:00:00 GMT",
                b"Fri, 15 Jan 2027 08:00:00 +0100", b"Fri, 15 Jan 2027 08:00:00 UTC", b"Fri, 15 Jan 2027 08:00:00 CET", b"Fri, 15 Jan 2027 08:00:00",
                b"Fri, 15 Jan 27 08:00:00 GMT", b"Fri 15 Jan 2027 08:00:00 GMT", b"Fri, 15  Jan  2027 08:00:00 GMT", b"Fri, 15-Jan-2027 08:00:00 GMT",
                b"Fri, 15 Jan 2027 08.00.00 GMT", b"Fri, 15 Jan 2027 8:00:00 GMT", b"Fri, 15 Jan 2027 24:00:00 GMT", b"Fri, 15 Jan 2027 08:60:00 GMT",
                b"Fri, 15 Jan 2027 08:00:61 GMT", b"Fri, 15 Foo 2027 08:00:00 GMT", b"Fri, 15 Jan 0000 08:00:00 GMT", b"Fry, 15 Jan 2027 08:00:00 GMT",
                b"Fri, 15 Jan 2027 08:00:00 GMT, Fri, 15 Jan 2027 08:00:00 GMT", b"x" * 65,
            )
        ],
    ],
)  # fmt: skip
def test_dates_are_read(text: bytes, seconds: float | None) -> None:
    assert parse_http_date(text) == seconds


@pytest.mark.parametrize(
    ("year", "full"), [(b"27", 2027), (b"76", 2076), (b"77", 2077), (b"78", 1978), (b"99", 1999), (b"00", 2000)]
)
def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(year: bytes, full: int) -> None:
    short, long = b"Friday, 01-Jan-%b 00:00:00 GMT" % year, b"Fri, 01 Jan %d 00:00:00 GMT" % full
    assert parse_http_date(short, NOW) == parse_http_date(long) is not None
