"""Conditional requests and ranges: RFC 9110 sections 13 and 14, for answers that are otherwise 200.

A function from (request, whole response) to the response that is sent. Knows validators and lengths, not content or sockets.
"""

import re
from dataclasses import replace
from email.utils import formatdate, parsedate_to_datetime

from origin.messages import Request, Response, sliced

# Strong or weak entity tags of a list (RFC 9110, 8.8.3).
_ENTITY_TAG = re.compile(r'(?:W/)?"[^"]*"')
# One range only; anything else is ignored, which RFC 9110, 14.2 allows.
_SINGLE_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.ASCII | re.IGNORECASE)
_CONDITIONAL_FIELDS = frozenset(("if-none-match", "if-modified-since", "range", "if-match", "if-unmodified-since"))
_ABOUT_CACHING = frozenset(("cache-control", "content-location", "date", "expires", "vary"))
"""Of a 304 (RFC 9110, 15.4.5), less the validators."""
_CONTENT_HEADERS = ("content-type", "content-encoding", "content-language", "content-range", "accept-ranges")


def http_date(seconds: float) -> str:
    """IMF-fixdate (RFC 9110, 5.6.7)."""
    return formatdate(seconds, usegmt=True)


def parse_http_date(text: str) -> float | None:
    """Seconds since the epoch, or None for what is no date."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def apply_conditions(request: Request, response: Response) -> Response:
    """The response after the request's preconditions and range, in the order of RFC 9110, 13.2.2."""
    fields = request.fields
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return response
    if _CONDITIONAL_FIELDS.isdisjoint(fields):
        return response
    if not is_precondition_met(request, response.header("etag"), response.header("last-modified")):
        return replace(response.without_headers(*_CONTENT_HEADERS), status=412, body=b"", accepts_ranges=False)
    if is_not_modified(request, response):
        # Section 15.4.5: a 304 keeps what tells about caching and drops what describes the content.
        return replace(response.without_headers(*_CONTENT_HEADERS), status=304, body=b"", accepts_ranges=False)
    if (
        request.method == "GET"
        and response.accepts_ranges
        and "range" in fields
        and _is_range_wanted(request, response)
    ):
        return _ranged(fields["range"], response)
    return response


def is_precondition_met(request: Request, entity_tag: str | None, last_modified: str | None) -> bool:
    """Whether If-Match, or else If-Unmodified-Since, lets the request go on (13.1.1, 13.1.4)."""
    if_match = request.field_value("if-match")
    if if_match is not None:
        # Strong comparison: a weak tag never matches (8.8.3.2).
        tags = _ENTITY_TAG.findall(if_match)
        return entity_tag is not None and (if_match.strip() == "*" or (entity_tag in tags and entity_tag[0] == '"'))
    since, modified = _date_of(request.field_value("if-unmodified-since")), _date_of(last_modified)
    return since is None or modified is None or modified <= since


def is_not_modified(request: Request, response: Response) -> bool:
    """Whether If-None-Match, or else If-Modified-Since, says that the asker has it already (13.1.2, 13.1.3)."""
    if_none_match = request.field_value("if-none-match")
    if if_none_match is not None:
        return is_any_tag_matching(if_none_match, response.header("etag"))
    since, modified = _date_of(request.field_value("if-modified-since")), _date_of(response.header("last-modified"))
    return since is not None and modified is not None and modified <= since


def is_any_tag_matching(tag_list: str, entity_tag: str | None) -> bool:
    """Weak comparison of a list of entity tags, or `*`, with the current one (8.8.3.2)."""
    if entity_tag is None:
        return False
    wanted = entity_tag.removeprefix("W/")
    return tag_list.strip() == "*" or any(tag.removeprefix("W/") == wanted for tag in _ENTITY_TAG.findall(tag_list))


def is_entity_tag(text: object) -> bool:
    """Whether it is one, with its quotes (8.8.3)."""
    return isinstance(text, str) and _ENTITY_TAG.fullmatch(text) is not None and text.isascii() and text.isprintable()


def is_asking_for_changes(request: Request) -> bool:
    """Whether a 304 would be an answer to it."""
    is_read = request.method in ("GET", "HEAD")
    return is_read and ("if-none-match" in request.fields or "if-modified-since" in request.fields)


def unchanged(request: Request, response: Response) -> Response:
    """A 304 to it, true or not: with the validators that it came with, and nothing of what there is now.

    One with the validators of the new content would be no lie: a cache would see that what it has is another (RFC 9111, 4.3.4).
    """
    said = tuple(pair for pair in response.headers if pair[0].lower() in _ABOUT_CACHING)
    tags = _ENTITY_TAG.findall(request.field_value("if-none-match") or "")
    since = request.field_value("if-modified-since")
    entity_tag = [("ETag", tag) for tag in tags] if len(tags) == 1 else []
    modified = [("Last-Modified", since)] if since is not None and _date_of(since) is not None else []
    return replace(response, status=304, headers=(*said, *entity_tag, *modified), body=b"", accepts_ranges=False)


def _date_of(text: str | None) -> float | None:
    return None if text is None else parse_http_date(text)


def _is_range_wanted(request: Request, response: Response) -> bool:
    """If-Range needs a strong match; a date must be exactly Last-Modified (13.1.5)."""
    if_range = request.field_value("if-range")
    if if_range is None:
        return True
    return if_range in (response.header("etag"), response.header("last-modified")) and not if_range.startswith("W/")


def parse_range(text: str, length: int) -> tuple[int, int] | None:
    """(start, end) of a single byte range within `length`, end excluded; empty when it cannot be satisfied; None to ignore it."""
    match = _SINGLE_RANGE.fullmatch(text)
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes (14.1.2)
        start = max(0, length - int(last))
        return start, length
    if last and int(last) < int(first):
        return None
    end = min(length, int(last) + 1) if last else length
    return int(first), max(int(first), end)


def _ranged(text: str, response: Response) -> Response:
    length = len(response.body)
    selected = parse_range(text, length)
    if selected is None:
        return response
    start, end = selected
    if start >= length or start == end:
        return Response(416, (("Content-Range", f"bytes */{length}"), ("Accept-Ranges", "bytes")))
    part = replace(response, status=206, body=sliced(response.body, start, end - start))
    return part.with_headers(("Content-Range", f"bytes {start}-{end - 1}/{length}"))
