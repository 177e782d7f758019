"""What later responses do to stored ones: validation (RFC 9111 sections 3.2 and 4.3.4), HEAD (section 4.3.5), unsafe methods (section 4.4)."""

import pytest

from edge_node.caching.revalidation import HeadEffect, effect_of_head, is_validated_by, update_fields, with_date
from edge_node.caching.unsafe_methods import invalidated_targets
from edge_node.http.request_head import make_request_head
from edge_node.model.http import Headers
from edge_node.upstream.connection import make_response_head

NOW = 1_800_000_000.0
TODAY = b"Fri, 15 Jan 2027 08:00:00 GMT"
DATE = (b"date", TODAY)

Fields = dict[bytes, bytes]


@pytest.mark.parametrize(
    ("stored", "update", "expected"),
    [
        (((b"a", b"1"), (b"b", b"2"), (b"a", b"3")), ((b"a", b"9"), DATE), ((b"b", b"2"), (b"a", b"9"), DATE)),
        (((b"a", b"1"),), ((b"a", b"2"), (b"a", b"3"), DATE), ((b"a", b"2"), (b"a", b"3"), DATE)),
        (((b"a", b"1"),), ((b"b", b"2"), DATE), ((b"a", b"1"), (b"b", b"2"), DATE)),
        (((b"content-type", b"a"),), ((b"content-type", b"b"), DATE), ((b"content-type", b"b"), DATE)),
        *[
            (((name, b"1"),), ((name, b"2"), DATE), ((name, b"1"), DATE))
            for name in (b"content-length", b"content-encoding", b"content-range", b"transfer-encoding", b"proxy-authenticate")
        ],
        (((b"x-a", b"1"),), ((b"connection", b"x-a, close"), (b"x-a", b"2"), DATE), ((b"x-a", b"1"), DATE)),
        # RFC 9110 section 6.6.1: the stored Date is not that of the validation
        (((b"date", b"long ago"),), ((b"a", b"1"),), ((b"a", b"1"), DATE)),
    ],
)  # fmt: skip
def test_which_fields_are_updated(stored: Headers, update: Headers, expected: Headers) -> None:
    assert update_fields(stored, update, NOW) == expected


def test_a_response_without_date_gets_that_of_its_receipt() -> None:
    assert with_date((), NOW) == with_date((), NOW - 0.9) == (DATE,)
    assert with_date(((b"date", b"x"),), NOW) == ((b"date", b"x"),)


@pytest.mark.parametrize(
    ("stored", "not_modified", "is_validated"),
    [
        ({b"etag": b'"1"'}, {b"etag": b'"1"'}, True),
        ({b"etag": b'"1"'}, {b"etag": b'"2"'}, False),
        ({b"etag": b'W/"1"'}, {b"etag": b'"1"'}, False),  # a strong validator must be the same strong validator
        ({b"etag": b'"1"'}, {b"etag": b'W/"1"'}, True),  # a weak one need only correspond
        ({b"etag": b'W/"1"'}, {b"etag": b'W/"1"'}, True),
        ({b"etag": b'W/"1"'}, {b"etag": b'W/"2"'}, False),
        ({}, {b"etag": b'"1"'}, False),
        ({}, {b"etag": b'W/"1"'}, False),
        ({b"last-modified": TODAY}, {b"last-modified": TODAY}, True),
        ({b"last-modified": TODAY}, {b"last-modified": b"x"}, False),
        ({b"etag": b'"1"', b"last-modified": TODAY}, {b"etag": b'"1"', b"last-modified": b"x"}, True),
        ({b"etag": b'"1"', b"last-modified": TODAY}, {b"last-modified": TODAY}, True),
        ({b"etag": b'"1"'}, {}, True),
        ({}, {}, True),
    ],
)
def test_which_304_is_about_the_stored_response(stored: Fields, not_modified: Fields, is_validated: bool) -> None:
    assert is_validated_by(stored, not_modified) is is_validated


@pytest.mark.parametrize(
    ("stored", "head", "effect"),
    [
        ({b"etag": b'"1"'}, {b"etag": b'"1"', b"content-length": b"5"}, HeadEffect.UPDATE),
        ({b"etag": b'"1"'}, {b"content-length": b"5"}, HeadEffect.UPDATE),
        ({b"etag": b'"1"'}, {}, HeadEffect.UPDATE),
        ({b"etag": b'"1"'}, {b"etag": b'"2"', b"content-length": b"5"}, HeadEffect.STALE),
        ({b"etag": b'"1"'}, {b"etag": b'"1"', b"content-length": b"6"}, HeadEffect.STALE),
        ({b"etag": b'"1"'}, {b"etag": b'"1"', b"content-length": b"x"}, HeadEffect.STALE),
        ({}, {b"last-modified": TODAY}, HeadEffect.STALE),
        ({b"last-modified": TODAY}, {b"last-modified": TODAY}, HeadEffect.UPDATE),
    ],
)
def test_what_a_head_says_of_a_stored_get(stored: Fields, head: Fields, effect: HeadEffect) -> None:
    assert effect_of_head(stored, 5, head) is effect


HERE = "http://h.test:8080"


@pytest.mark.parametrize(
    ("method", "status", "fields", "targets"),
    [
        *[(method, 200, {}, ["/a?b=c"]) for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get", "UNKNOWN")],
        *[(method, 200, {"location": "/x"}, []) for method in ("GET", "HEAD", "OPTIONS", "TRACE")],
        *[("POST", status, {}, ["/a?b=c"]) for status in (201, 204, 299, 303, 399)],
        *[("POST", status, {"location": "/x"}, []) for status in (100, 400, 404, 500, 503, 599, 600)],
        ("POST", 201, {"location": "/x"}, ["/a?b=c", "/x"]),
        ("POST", 201, {"content-location": "/x?y=%20#z"}, ["/a?b=c", "/x?y=%20"]),
        ("POST", 201, {"location": "/x", "content-location": "/y"}, ["/a?b=c", "/x", "/y"]),
        ("POST", 201, {"location": "/x", "content-location": "/x"}, ["/a?b=c", "/x"]),
        ("POST", 201, {"location": "?d"}, ["/a?b=c", "/a?d"]),
        ("POST", 201, {"location": "x/../y"}, ["/a?b=c", "/y"]),
        ("POST", 201, {"location": ""}, ["/a?b=c"]),
        ("POST", 201, {"location": HERE}, ["/a?b=c", "/"]),
        ("POST", 201, {"location": "HTTP://H.TEST:8080/x"}, ["/a?b=c", "/x"]),
        ("POST", 201, {"location": "//h.test:8080/x"}, ["/a?b=c", "/x"]),
        # another origin: RFC 9111 section 4.4, against denial of service
        *[
            ("POST", 201, {name: other}, ["/a?b=c"])
            for name in ("location", "content-location")
            for other in (
                "http://h.test/x", "https://h.test:8080/x", "http://other.test:8080/x", "//other.test/x", "http://h.test:8080@other.test/x",
                "ftp://h.test:8080/x", "mailto:a@h.test", "http://[::1/x", "http://h.test:99999/x", "http://h.test:x/x",
            )
        ],
    ],
)  # fmt: skip
def test_what_a_write_invalidates(method: str, status: int, fields: dict[str, str], targets: list[str]) -> None:
    request = make_request_head(method.encode(), b"/a?b=c", [(b"host", b"h.test:8080")], 1, True)
    response = make_response_head(status, b"", [(name.encode(), value.encode()) for name, value in fields.items()])
    assert [target.decode() for target in invalidated_targets(request, response, b"http")] == targets


def test_the_default_port_is_the_same_origin() -> None:
    request = make_request_head(b"POST", b"/a", [(b"host", b"h.test")], 1, True)
    response = make_response_head(200, b"", [(b"location", b"http://h.test:80/x")])
    assert invalidated_targets(request, response, b"http") == (b"/a", b"/x")
