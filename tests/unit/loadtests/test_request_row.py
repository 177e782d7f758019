"""Rows of `requests`, and the stamps of origins in them."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.history.schema import REQUESTS
from loadtests.connection import Request, Response
from loadtests.exchange import Exchange
from loadtests.name_resolution import Answer
from loadtests.request_block import MOST_TEXT_BYTES, Block, NoBlockError, pack, read_block, rows_of
from loadtests.request_columns import Person, columns_of, seen_of
from loadtests.request_row import Asker, RequestRow
from proto.origin_stamp import STAMP_FIELD, OriginStamp, identity_of, parse_stamp

ASKER = Asker("api", "eu", "load-0-1.1", "10.2.3.4", "d1.cdn.localhost")
ANSWER = Answer(("127.0.0.3", "127.0.0.4"), 10.0, asked_ns=90)
HEADERS = {
    "x-amz-cf-id": "AbC==",
    "x-cache": "RefreshHit from cloudfront",
    "x-amz-cf-pop": "FRA56-P1",
    "age": "3",
    "cache-control": "max-age=60",
    "etag": '"a"',
    "content-range": "bytes 0-4/9",
    "content-length": "5",
    "content-encoding": "gzip",
    STAMP_FIELD.lower(): "origin-1;a;80;77;Bearer me; or not",
}
RESPONSE = Response(206, HEADERS, b"", 5, 99, "127.0.0.4", first_byte_ns=120)


def block_of(*exchanges: Exchange, error: str = "", request: Request | None = None) -> bytes:
    person = Person(ASKER)
    seen = [seen_of(person, 95, request or Request("/a?b=c"), each, error) for each in exchanges]
    return pack("load-0-", 7, *columns_of(seen))


def read(written: bytes) -> Block:
    block = read_block(BytesIO(written))
    assert block is not None
    return block


def row_of(exchange: Exchange, error: str = "", request: Request | None = None) -> RequestRow:
    """As it comes out of what the load has written."""
    (row,) = rows_of(read(block_of(exchange, error=error, request=request)))
    return row


def test_the_fields_are_the_columns() -> None:
    assert list(RequestRow._fields) == [column.name for column in REQUESTS.columns]


def test_a_row_says_all_that_came() -> None:
    request = Request("/a?b=c", headers={"cookie": "x=1; session=me"})
    exchange = Exchange(RESPONSE, "", "127.0.0.4", ANSWER, attempts=2, started_ns=100, ended_ns=130)
    assert row_of(exchange, "not theirs", request)._asdict() == {
        "id": "load-0-7",
        "request_id": "AbC==",
        "profile": "api",
        "region": "eu",
        "viewer": "load-0-1.1",
        "client_address": "10.2.3.4",
        "intended_ns": 95,
        "started_ns": 100,
        "first_byte_ns": 120,
        "ended_ns": 130,
        "dns_answer": "127.0.0.3,127.0.0.4",
        "dns_asked_ns": 90,
        "address": "127.0.0.4",
        "attempts": 2,
        "method": "GET",
        "host": "d1.cdn.localhost",
        "path": "/a?b=c",
        "identity": "me",
        "status": 206,
        "x_cache": "RefreshHit from cloudfront",
        "pop": "FRA56-P1",
        "age_seconds": 3,
        "cache_control": "max-age=60",
        "entity_tag": '"a"',
        "content_range": "bytes 0-4/9",
        "content_length": 5,
        "received_bytes": 5,
        "body_checksum": 99,
        "stamp_origin": "origin-1",
        "stamp_version": "a",
        "stamp_produced_ns": 80,
        "stamp_checksum": 77,
        "stamp_identity": "Bearer me; or not",
        "error": "not theirs",
        "content_encoding": "gzip",
    }


def test_a_row_of_what_never_was_sent_says_nothing_of_an_answer() -> None:
    row = row_of(Exchange(None, "NXDOMAIN", "", None, attempts=0, started_ns=None, ended_ns=130), "NXDOMAIN")
    known = {name for name, value in row._asdict().items() if value is not None}
    who = {"id", "profile", "region", "viewer", "client_address", "method", "host", "path"}
    assert known == who | {"intended_ns", "ended_ns", "attempts", "received_bytes", "error"}


@pytest.mark.parametrize("field", ["age", "content-length", STAMP_FIELD.lower()])
@pytest.mark.parametrize("value", ["", "soon", "-1", "1e3", "9" * 30, "²", "a;b;c;d;e", ";;;;", "o;v;1"])
def test_what_a_field_should_not_be_is_not_known(field: str, value: str) -> None:
    """Whatever made it, a row can still be read as numbers."""
    exchange = Exchange(RESPONSE._replace(headers=HEADERS | {field: value}), "", "", ANSWER, 1, 100, 130)
    row = row_of(exchange)
    unknown = {"age": row.age_seconds, "content-length": row.content_length, STAMP_FIELD.lower(): row.stamp_version}
    assert unknown[field] is None
    assert row.status == 206


_VALUE = st.sampled_from(["", "3", "\\N", "a\tb", "ü", "a;b;3;4;e", "a\nb", "\n\n", "x\r", "\ud800"]) | st.text(
    max_size=5
)


@given(
    st.lists(st.dictionaries(st.sampled_from([*HEADERS, "other"]), _VALUE), min_size=1, max_size=3),
    st.sampled_from([{}, {"authorization": "Bearer x"}, {"cookie": "session=s"}]),
    st.sampled_from(["", "status 503", "two\nlines", "a\ttab"]),
)
def test_rows_stay_apart_whatever_stands_in_them(
    fields: list[dict[str, str]], sent: dict[str, str], error: str
) -> None:
    """And what can be printed stays as it is, as long as nothing beside it has an end of a line in it."""
    answers = [None, ANSWER, ANSWER]
    exchanges = [
        Exchange(RESPONSE._replace(headers=each, received_bytes=number), "", "127.0.0.4", answers[number], 1, 100, 130)
        for number, each in enumerate(fields)
    ]
    rows = list(rows_of(read(block_of(*exchanges, error=error, request=Request("/a?b=c", headers=sent)))))
    assert [(row.id, row.received_bytes, row.dns_asked_ns) for row in rows] == [
        (f"load-0-{7 + number}", number, 90 if answers[number] else None) for number in range(len(fields))
    ]
    for row, each in zip(rows, fields, strict=True):
        assert row.identity == ({"authorization": "Bearer x", "cookie": "s"}[next(iter(sent))] if sent else None)
        assert (row.error or "") == (error if error.isprintable() else row.error) and (row.error is None) == (not error)
        for value, name in ((row.x_cache, "x-cache"), (row.content_encoding, "content-encoding")):
            came = each.get(name)
            assert value == came if came is None or (came.isprintable() and "\\" not in came) else value != ""


def test_what_is_no_whole_block_is_not_read() -> None:
    exchange = Exchange(RESPONSE, "", "127.0.0.4", ANSWER, 1, 100, 130)
    whole = block_of(exchange, exchange, exchange)
    file = BytesIO(whole + whole[:-1])
    assert read_block(file) is not None
    with pytest.raises(NoBlockError) as lost:
        read_block(file)
    assert lost.value.rows == 3
    too_few_lines = whole[:8] + (len(whole) - 20 - 3 * 64 - 100).to_bytes(4, "little") + whole[12:]
    other_version = whole[:3] + b"\x02" + whole[4:]
    for wrong in (whole[:5], other_version, b"x" * 200, too_few_lines):
        with pytest.raises(NoBlockError):
            read_block(BytesIO(wrong))
    assert read_block(BytesIO()) is None


def test_a_block_has_a_bound() -> None:
    exchange = Exchange(RESPONSE, "", "127.0.0.4", ANSWER, 1, 100, 130)
    assert block_of(exchange, request=Request("/" * MOST_TEXT_BYTES)) == b""


_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";"), min_size=1)


@given(_TEXT, _TEXT, st.integers(0, 10**17), st.none() | st.integers(0, (1 << 32) - 1), st.none() | _TEXT)
def test_a_stamp_is_read_as_it_was_written(
    node: str, version: str, produced_ns: int, checksum: int | None, identity: str | None
) -> None:
    stamp = OriginStamp(node, version, produced_ns, checksum, identity)
    assert parse_stamp(stamp.field_value()) == stamp


@pytest.mark.parametrize(
    ("authorization", "cookie", "identity"),
    [
        (None, None, None),
        ("Bearer a", "session=b", "Bearer a"),
        ("Bearer ", "session=b", "b"),
        ("Basic", None, None),
        (None, "x=1;session=b;session=c", "b"),
        (None, "session=; y=2", None),
        (None, "my-session=b", None),
    ],
)
def test_who_asks_is_told_by_authorization_or_else_by_the_session(
    authorization: str | None, cookie: str | None, identity: str | None
) -> None:
    assert identity_of(authorization, cookie) == identity
