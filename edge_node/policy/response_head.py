"""The bytes of response heads: status line, end-to-end fields, and the fields that CloudFront writes (reference 2.12).

A head is put together from four parts: its start up to and including `X-Amz-Cf-Id: `, the same for all responses of one kind; the request id; Age and Connection; and the
fields of the response with its framing, which a stored response has ready.
"""

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from edge_node.caching.age import age_value
from edge_node.caching.lookup import Reason, Result
from edge_node.model.configuration import Role
from edge_node.model.http import Headers, ResponseHead

_SPELLINGS: Final = {b"etag": b"ETag", b"www-authenticate": b"WWW-Authenticate", b"te": b"TE", b"dnt": b"DNT"}
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus} | {494: b"Request Header Too Large"}
_NOT_MODIFIED_FIELDS: Final = frozenset(
    {
        b"cache-control",
        b"cdn-cache-control",
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"vary",
        b"last-modified",
    }
)
"""RFC 9110 section 15.4.5; Last-Modified too, since a viewer without the ETag has nothing else, and the targeted field (RFC 9213), which the next cache updates by."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalNode:
    """What a node says of itself in every response."""

    role: Role
    pop: bytes
    via: bytes
    """`1.1 <hex>.cloudfront.net (CloudFront)`."""

    @property
    def is_regional(self) -> bool:
        """A regional cache tells its edges how it came to its answer."""
        return self.role is Role.REGIONAL


MOST_REMEMBERED_NAMES: Final = 512
LONGEST_REMEMBERED_NAME_BYTES: Final = 64
"""Origins choose them: together at most 64 KiB, with what is made of them."""
_line_starts: Final[dict[bytes, bytes]] = {}


def spell_field_name(name: bytes) -> bytes:
    """`content-type` as `Content-Type`: what people expect to read in HTTP/1.1."""
    return _SPELLINGS.get(name) or name.title()


def x_cache(result: Result, status: int) -> bytes:
    """The word of X-Cache (reference 2.12): an error status is an error, wherever it came from."""
    if status >= 400 or result is Result.ERROR:
        return b"Error from cloudfront"
    if result is Result.HIT:
        return b"Hit from cloudfront"
    if result is Result.REDIRECT:
        return b"Redirect from cloudfront"
    return b"RefreshHit from cloudfront" if result is Result.REFRESH_HIT else b"Miss from cloudfront"


def result_to_show(result: Result, upstream_result: Result | None) -> Result:
    """What X-Cache speaks of, when a regional cache has said how it came to its answer: a hit there is a hit for the viewer."""
    return upstream_result if upstream_result in (Result.HIT, Result.REFRESH_HIT) and result is Result.MISS else result


def age_to_show(head: ResponseHead, upstream_result: Result | None, *, is_strict: bool) -> int | None:
    """The Age of an answer that a regional cache gave from its store, or that an origin says of its own; none on a plain miss; by the RFCs it is never lost."""
    fields = head.fields
    return age_value(fields) if b"age" in fields and (is_strict or upstream_result is not Result.MISS) else None


@lru_cache(maxsize=256)
def status_line(status: int, reason: bytes) -> bytes:
    """With the usual phrase, where none is given."""
    if not reason:
        reason = _PHRASES.get(status, b"Unknown")
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


def own_fields(node: LocalNode, result: Result, reason: Reason, x_cache_value: bytes) -> Headers:
    """What this node says of each response, but for the request id. A regional cache tells its edges how it came to its answer."""
    edge_result = ((b"x-edge-result", b"%b;%b" % (result.encode(), reason.encode())),) if node.is_regional else ()
    return ((b"x-cache", x_cache_value), (b"via", node.via), (b"x-amz-cf-pop", node.pop), *edge_result)


def start_of_head(
    node: LocalNode, status: int, phrase: bytes, result: Result, reason: Reason, x_cache_value: bytes
) -> bytes:
    """Status line and this node's own fields, up to the request id; without a phrase the usual one."""
    start: bytes = _start_of_head(node, status, phrase, result, reason, x_cache_value)
    return start


@lru_cache(maxsize=128)
def _start_of_head(
    node: LocalNode, status: int, phrase: bytes, result: Result, reason: Reason, x_cache_value: bytes
) -> bytes:
    own = write_fields(own_fields(node, result, reason, x_cache_value))
    return b"%b%bX-Amz-Cf-Id: " % (status_line(status, phrase), own)


@lru_cache(maxsize=4096)
def middle_of_head(age_seconds: int | None, keep_alive: bool) -> bytes:
    """What follows the request id: Age where there is one, and Connection. The fields of the response follow, then framing and an empty line."""
    connection = b"keep-alive" if keep_alive else b"close"
    age = b"" if age_seconds is None else b"\r\nAge: %d" % age_seconds
    return b"%b\r\nConnection: %b\r\n" % (age, connection)


def write_fields(fields: Headers) -> bytes:
    """Field lines."""
    parts: list[bytes] = []
    for name, value in fields:
        parts.append(_line_starts.get(name) or _start_of_line(name))
        parts.append(value)
        parts.append(b"\r\n")
    return b"".join(parts)


def _start_of_line(name: bytes) -> bytes:
    """A name with its colon, remembered: those that repeat are soon known again after all were forgotten."""
    start = spell_field_name(name) + b": "
    if len(name) <= LONGEST_REMEMBERED_NAME_BYTES:
        if len(_line_starts) >= MOST_REMEMBERED_NAMES:
            _line_starts.clear()
        _line_starts[name] = start
    return start


def content_length(length: int) -> bytes:
    """The framing line of a body whose length is known."""
    return b"Content-Length: %d\r\n" % length


def not_modified_fields(fields: Headers) -> Headers:
    """The fields of a 304 answer."""
    return tuple(pair for pair in fields if pair[0] in _NOT_MODIFIED_FIELDS)


def error_page(status: int, text: str, request_id: bytes) -> bytes:
    """The body of an error made here: a plain page in the shape of reference 2.5."""
    return (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">\n'
        '<HTML><HEAD><META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=iso-8859-1">\n'
        "<TITLE>ERROR: The request could not be satisfied</TITLE>\n</HEAD><BODY>\n"
        f'<H1>{status} ERROR</H1>\n<H2>The request could not be satisfied.</H2>\n<HR noshade size="1px">\n{text}\n'
        f'<BR clear="all">\n<HR noshade size="1px">\n<PRE>\nGenerated by cloudfront (CloudFront)\nRequest ID: {request_id.decode()}\n</PRE>\n</BODY></HTML>'
    ).encode()
