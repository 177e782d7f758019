"""Selecting a stored response where Vary names fields (RFC 9111 section 4.1)."""

import pytest

from edge_node.caching.vary import (
    LONGEST_REMEMBERED_VALUE_BYTES,
    VARY_ANY,
    Recency,
    VaryAny,
    normalise_selecting_field,
    recency_of,
    variant_of,
    vary_names_of,
)

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()),
        (b"", ()),
        (b",", ()),
        (b"Foo", (b"foo",)),
        (b"Foo, bar,FOO ,,", (b"bar", b"foo")),
        (b"*", VARY_ANY),
        (b" *", VARY_ANY),
        (b"foo, *", VARY_ANY),
        (b"*, foo", VARY_ANY),
        (b", *", VARY_ANY),
        (b"foo bar", VARY_ANY),
        (b'"foo"', VARY_ANY),
        (b"x" * (LONGEST_REMEMBERED_VALUE_BYTES + 1), (b"x" * (LONGEST_REMEMBERED_VALUE_BYTES + 1),)),
    ],
)
def test_which_fields_select(value: bytes | None, names: tuple[bytes, ...] | VaryAny) -> None:
    assert vary_names_of({} if value is None else {b"vary": value}) == names


@pytest.mark.parametrize(
    ("name", "left", "right", "match"),
    [
        ("foo", "1", "1", True),
        ("foo", "1", "2", False),
        ("foo", "1", None, False),
        ("foo", "", None, False),
        ("foo", None, None, True),
        ("foo", "a", "A", False),
        # white space, and lines of one name (joined by ", ")
        ("foo", "1,2", " 1 ,\t2 ", True),
        ("foo", "1, 2", "1,2", True),
        ("foo", "1,2", "2,1", False),
        ("foo", "1,,2", "1,2", False),
        ("foo", '"a, b",c', '"a, b" , c', True),
        ("foo", '"a, b"', '"a,b"', False),
        ("foo", '"a, b', '"a,b', False),
        ("cookie", "a=1; b=x, y", "a=1; b=x,y", False),
        ("user-agent", "x (a, b)", "x (a,b)", False),
        # preferences: case, order, weights, repetition, empty members
        ("accept-language", "en, de", "DE,en", True),
        ("accept-language", "en;q=1.0, de;q=0.50", "de; q=0.5 , en", True),
        ("accept-language", "en, en", "en", True),
        ("accept-language", "en,,de,", "de,en", True),
        ("accept-language", "en;q=0.5", "en;q=0.6", False),
        ("accept-language", "en", "en-GB", False),
        ("accept-language", "en;q=0", "en", False),
        ("accept-language", "", None, False),
        ("accept-language", "en;q=2, de", "de, en;q=2", False),  # malformed: compared as it is
        ("accept-language", "en;q=2, de", "en;q=2,de", True),
        ("accept-language", "en;level=1", "en", False),
        ("accept-encoding", "gzip, br", "br;q=1, GZIP", True),
        ("accept-encoding", "gzip", "identity", False),
        ("accept-charset", "utf-8, *;q=0.1", "*;q=0.100,UTF-8", True),
        ("accept", "text/html, text/*;q=0.3", "Text/*; Q=0.30 , text/HTML", True),
        ("accept", "text/html;level=1", "text/html; Level=1", True),
        ("accept", "text/html;a=B", "text/html;a=b", False),
        ("accept", "text/html;level=1;q=0.5", "text/html;level=1", False),
        ("accept", "text/html;q=0.5;ext=1, a/b", "a/b, text/html;q=0.5;ext=1", False),
        ("accept", 'text/html;a="x, y"', 'text/html;a="x,y"', False),
    ],
)
def test_which_requests_match(name: str, left: str | None, right: str | None, match: bool) -> None:
    def variant(value: str | None) -> tuple[bytes | None, ...]:
        return variant_of((name.encode(),), {} if value is None else {name.encode(): value.encode()})

    assert (variant(left) == variant(right)) is match


def test_every_named_field_must_match_and_no_other() -> None:
    names = (b"bar", b"foo")
    first = variant_of(names, {b"foo": b"1", b"other": b"2"})
    assert first == (None, b"1") == variant_of(names, {b"foo": b" 1", b"other": b"3"})
    assert first != variant_of(names, {b"foo": b"1", b"bar": b"1"})
    assert variant_of((), {b"foo": b"1"}) == ()


def test_a_long_value_is_normalised_like_a_short_one() -> None:
    value = b", ".join(b"x%d" % number for number in range(LONGEST_REMEMBERED_VALUE_BYTES))
    assert normalise_selecting_field(b"foo", value) == value.replace(b" ", b"")


def test_the_newest_of_several_matches_is_used() -> None:
    older = recency_of({b"date": b"Fri, 15 Jan 2027 07:00:00 GMT"}, NOW + 5)
    newer = recency_of({b"date": b"Fri, 15 Jan 2027 07:30:00 GMT"}, NOW)
    undated = recency_of({}, NOW + 1)
    assert older < newer < undated == Recency(False, NOW + 1, NOW + 1)
    assert recency_of({b"date": b"x"}, NOW) == Recency(False, NOW, NOW)
    same = {b"date": b"Fri, 15 Jan 2027 07:30:00 GMT"}
    assert recency_of(same, NOW) < recency_of(same, NOW + 1)


def test_one_that_omits_vary_by_mistake_comes_after_one_that_has_it() -> None:
    assert recency_of({b"vary": b"foo"}, NOW) > recency_of({}, NOW + 100)
