"""The origin's part of the history of a run (docs/history.md): a row of `origin_requests` for each answer, added when it was sent.

The fields are the columns, in their order (a test compares them with lab/history/schema.py). Pure.
"""

from typing import NamedTuple

from origin.messages import Request, Response
from origin.stamps import Content
from origin.wire import has_body
from proto.origin_stamp import identity_of

TABLE = "origin_requests"
_CONDITIONS = frozenset(("if-none-match", "if-modified-since", "if-match", "if-unmodified-since"))


class OriginRow(NamedTuple):
    """What was asked, and what was to be answered before any misbehaviour."""

    node: str
    request_id: str | None
    started_ns: int
    ended_ns: int | None
    """None: it is not sent yet."""
    peer: str | None
    """None as long as that is nobody's business."""
    method: str
    path: str
    identity: str | None
    is_conditional: bool
    range: str | None
    status: int
    version: str
    checksum: int | None
    body_bytes: int
    misbehaviour: str | None


class Decision(NamedTuple):
    """An answer as it was meant."""

    decided_ns: int
    response: Response
    content: Content
    misbehaviour: str | None


def row_of(node: str, request: Request, decision: Decision) -> OriginRow:
    """Of an answer that is about to be sent."""
    fields, response, content = request.fields, decision.response, decision.content
    return OriginRow(
        node,
        fields.get("x-amz-cf-id"),
        decision.decided_ns,
        None,
        None,
        request.method,
        request.target,
        identity_of(fields.get("authorization"), fields.get("cookie")),
        not _CONDITIONS.isdisjoint(fields),
        fields.get("range"),
        response.status,
        content.version,
        content.checksum,
        len(response.body) if has_body(request, response) else 0,
        decision.misbehaviour,
    )
