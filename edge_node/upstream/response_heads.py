"""Response heads as the parser has read them, and what of them this node refuses although the parser lets it pass (RFC 9110 section 15, RFC 9112 section 6.1)."""

import re
from collections.abc import Iterable

from edge_node.model.http import Header, ResponseHead
from edge_node.upstream.response_head_parser import join_repeated

MAXIMUM_HEAD_BYTES = 32_768
"""As for requests (reference 2.5, status 494); a larger response head is OriginHeaderTooBigError: 502."""

is_visible = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch
"""A reason phrase (RFC 9112 section 4)."""


def mistake_in(head: ResponseHead, version: str, *, is_large: bool) -> str | None:
    """What the parser lets pass and this node does not."""
    if version not in ("1.1", "1.0"):
        return f"HTTP/{version}"
    if head.status > 599:  # RFC 9110 section 15: there is no such class
        return f"status {head.status}"
    if head.fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        return "a transfer coding other than chunked"
    if is_large and sum(len(name) + len(value) + 4 for name, value in head.headers) > MAXIMUM_HEAD_BYTES:
        return f"response head larger than {MAXIMUM_HEAD_BYTES} bytes"
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
