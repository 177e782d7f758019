"""Response heads as the parser has read them, and what of them this node refuses although the parser lets it pass (RFC 9110 section 15, RFC 9112 section 6.1)."""

import re
from collections.abc import Iterable
from typing import Final

from edge_node.model.http import Header, ResponseHead
from edge_node.upstream.response_head_parser import join_repeated

MAXIMUM_HEAD_BYTES: Final = 32_768
"""As for requests (reference 2.5, status 494); a larger response head is OriginHeaderTooBigError: 502."""

LARGEST_UNFINISHED_HEAD_BYTES: Final = MAXIMUM_HEAD_BYTES + 128
"""With a usual status line and the empty line behind the head, which are no part of what is limited: a head that is taken whole is taken in pieces, too."""

TOO_LARGE: Final = f"response head larger than {MAXIMUM_HEAD_BYTES} bytes"
SILENT: Final = f"more than {MAXIMUM_HEAD_BYTES} bytes without content"

MAXIMUM_INTERIM_RESPONSES: Final = 16
"""Before one final response; more is an upstream that plays with us."""

is_visible: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
"""A reason phrase (RFC 9112 section 4)."""


def _is_too_large(head: ResponseHead) -> bool:
    return sum(len(name) + len(value) + 4 for name, value in head.headers) > MAXIMUM_HEAD_BYTES


def mistake_in(head: ResponseHead, version: str, received_bytes: int) -> str | None:
    """What the parser lets pass and this node does not; no head is larger than what was received of its response."""
    if version not in ("1.1", "1.0"):
        return f"HTTP/{version}"
    if head.status > 599:  # RFC 9110 section 15: there is no such class
        return f"status {head.status}"
    if head.fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        return "a transfer coding other than chunked"
    if received_bytes > MAXIMUM_HEAD_BYTES and _is_too_large(head):
        return TOO_LARGE
    return None


def mistake_in_interim(head: ResponseHead, number: int, *, may_switch: bool) -> str | None:
    """The same of the n-th interim response to a request; `may_switch`: that asked for a WebSocket."""
    if head.status < 100:  # RFC 9110 section 15: there is no such class
        return f"status {head.status}"
    if head.status == 101:
        return _mistake_in_switch(head) if may_switch else NOT_ASKED_TO_SWITCH
    return "too many interim responses" if number > MAXIMUM_INTERIM_RESPONSES else None


NOT_ASKED_TO_SWITCH: Final = "switched protocols without having been asked to"


def _mistake_in_switch(head: ResponseHead) -> str | None:
    """Without the two fields nobody has switched (RFC 6455 section 4.1), and with a length there would be a body (RFC 9110 section 8.6)."""
    fields = head.fields
    options = [option.strip(b" \t").lower() for option in fields.get(b"connection", b"").split(b",")]
    if fields.get(b"upgrade", b"").lower() != b"websocket" or b"upgrade" not in options:
        return "switched to another protocol than was asked for"
    if b"content-length" in fields or b"transfer-encoding" in fields:
        return "switched protocols with a body"
    if _is_too_large(head):
        return TOO_LARGE
    return None


def make_response_head(status: int, reason: bytes, fields: Iterable[Header]) -> ResponseHead:
    """A head with its fields by name."""
    headers = tuple(fields)
    by_name = join_repeated(headers)
    length_text = by_name.get(b"content-length")
    is_framed_by_length = length_text is not None and length_text.isdigit() and b"transfer-encoding" not in by_name
    return ResponseHead(
        status, reason, headers, int(length_text) if is_framed_by_length and length_text else None, by_name
    )
