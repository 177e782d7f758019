"""`CDN-Loop`: RFC 8586, and how many passes a request has."""

import pytest

from edge_node.caching.lookup import Reason
from edge_node.policy.loop_detection import (
    CDN_ID,
    LONGEST_PARSED_BYTES,
    LOOP_DETECTED,
    cdn_loop_for_upstream,
    count_passes,
    is_loop,
    parse_cdn_loop,
)


def members(value: bytes) -> list[tuple[bytes, tuple[tuple[bytes, bytes], ...]]] | None:
    parsed = parse_cdn_loop(value)
    return None if parsed is None else [(member.cdn_id, member.parameters) for member in parsed]


def test_the_examples_of_the_rfc() -> None:
    """Section 2."""
    assert members(b'foo123.foocdn.example, barcdn.example; trace="abcdef"') == [
        (b"foo123.foocdn.example", ()),
        (b"barcdn.example", ((b"trace", b"abcdef"),)),
    ]
    assert members(b'AnotherCDN; abc=123; def="456"') == [(b"AnotherCDN", ((b"abc", b"123"), (b"def", b"456")))]


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b"", []),
        (b" , ,\t", []),
        (b"a", [b"a"]),
        (b",a,, b,", [b"a", b"b"]),
        (
            b"a.example:8080,[2001:db8::1]:443,[v1.x:y],192.0.2.1",
            [b"a.example:8080", b"[2001:db8::1]:443", b"[v1.x:y]", b"192.0.2.1"],
        ),
        (b"a%2Cb, (x)=y, ~#|`^", [b"a%2Cb", b"(x)=y", b"~#|`^"]),
        (b'a;b=c\t;\td="e, cdnlab; f=\\"g"', [b"a"]),
    ],
)
def test_what_is_a_list(value: bytes, ids: list[bytes]) -> None:
    parsed = members(value)
    assert parsed is not None and [cdn_id for cdn_id, _ in parsed] == ids


def test_a_quoted_value_is_what_it_means() -> None:
    assert members(b'a; B="c, \\"d\\\\"') == [(b"a", ((b"b", b'c, "d\\'),))]


@pytest.mark.parametrize(
    "value",
    [b"a b", b"a;", b"a;b", b"a;b=", b"a;=c", b"a; b = c", b'a;b="c', b'a;b="c\\"', b";b=c", b'"a"', b"a/b", b"a@b", b"\xe9", b"[::1", b"[]", b"a\x00", b"a\n"],
)  # fmt: skip
def test_what_is_none(value: bytes) -> None:
    assert parse_cdn_loop(value) is None


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (None, 0),
        (b"", 0),
        (b"cdnlab", 1),
        (b"other, cdnlab; x=y, another", 1),
        (b"CDNlab, cdnlab", 2),
        (b"cdnlab.example, cdnlab2, notcdnlab", 0),
        (b'other; says="cdnlab, cdnlab, cdnlab"', 0),
        # Broken, by whoever it was: what looks like a member is one.
        (b"cdnlab, cdnlab;", 2),
        (b'x; a=", cdnlab, cdnlab', 2),
        (b"cdnlab cdnlab, cdnlab\xff,\tcdnlab /", 2),
        # Too long to be read strictly: the same.
        (b"cdnlab;x=y, " + b"a, " * LONGEST_PARSED_BYTES + b"CDNlab", 2),
        (b'a;x="' + b"a" * LONGEST_PARSED_BYTES + b', cdnlab"; y=z, cdnlab', 1),
    ],
)
def test_passes_are_counted(value: bytes | None, passes: int) -> None:
    assert count_passes(value, CDN_ID) == passes


def test_two_distributions_are_a_chain_and_a_third_pass_is_refused() -> None:
    """Each pass is one edge, with a regional cache behind it or not (reference 12, number 14)."""
    at_first = None
    assert not is_loop(at_first)
    at_second = cdn_loop_for_upstream(at_first)
    assert not is_loop(at_second)
    at_third = cdn_loop_for_upstream(at_second)
    assert at_third == b"cdnlab, cdnlab" and is_loop(at_third)
    assert is_loop(at_second, limit=1)
    assert (LOOP_DETECTED.status, LOOP_DETECTED.reason) == (403, Reason.LOOP_DETECTED)


def test_other_cdns_are_no_passes_of_ours() -> None:
    value: bytes | None = None
    for _ in range(10):
        value = cdn_loop_for_upstream(value, b"other")
    assert value is not None and not is_loop(value) and count_passes(value, b"other") == 10
