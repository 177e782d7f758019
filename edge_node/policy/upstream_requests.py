"""The requests that a node sends upstream: to whom, with which line and fields."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_node.model import Header, Peer, RequestHead
from edge_node.policy.forwarding import Hop, host_for_origin, origin_fields, with_custom_headers
from edge_node.policy.routing import Plan

RequestParts = tuple[bytes, tuple[Header, ...]]
"""Request line and fields."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where a node stands in which log."""

    log_id: str
    index: int

    def encode(self) -> bytes:
        """The value of X-Edge-Log-Index."""
        return f"{self.log_id}:{self.index}".encode()


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a viewer, as it is to be put upstream."""

    head: RequestHead
    plan: Plan
    hop: Hop
    conditions: tuple[Header, ...] = ()
    """Conditions of our own, that validate a stored response; the viewer's are left out then."""
    has_viewer_conditions: bool = True
    body_length: int | None = None
    has_body: bool = False


def to_origin(question: Question) -> RequestParts:
    """The request as the origin gets it."""
    origin = question.plan.behavior.origin
    fields = with_custom_headers(_fields(question), origin)
    host = host_for_origin(question.head, question.plan, origin)
    framed = (*_framing(question), (b"via", _via(question)), (b"connection", b"keep-alive"))
    return _line(question, origin.path_prefix), ((b"host", host), *fields, *framed)


def to_regional(question: Question, position: LogPosition) -> RequestParts:
    """The request as a regional cache gets it: what the viewer asked, plus what only an edge may say (docs/contracts.md)."""
    head = question.head
    edge_fields = (
        (b"x-edge-log-index", position.encode()),
        (b"x-edge-distribution", question.plan.distribution.id.encode()),
        (b"x-edge-request-id", question.hop.request_id),
        (b"via", _via(question)),
        (b"connection", b"keep-alive"),
    )
    return _line(question, b""), ((b"host", head.fields.get(b"host", head.host)), *_fields(question), *edge_fields)


def hash_input(plan: Plan) -> bytes:
    """What rendezvous hashing spreads: all variants of one URL live on one regional cache."""
    return plan.distribution.id.encode() + plan.target.encode("latin-1")


def describe_peers(peers: Sequence[Peer]) -> str:
    """For explanations."""
    return ", ".join(peer.id for peer in peers) or "none"


def _fields(question: Question) -> list[Header]:
    fields = origin_fields(question.head, question.plan, question.hop, with_conditions=question.has_viewer_conditions)
    return fields + list(question.conditions)


def _line(question: Question, prefix: bytes) -> bytes:
    plan = question.plan
    query = b"?" + plan.query if plan.query else b""
    return b"%b %b%b%b HTTP/1.1\r\n" % (question.head.method, prefix, plan.path, query)


def _framing(question: Question) -> tuple[Header, ...]:
    if not question.has_body:
        return ()
    if question.body_length is None:
        return ((b"transfer-encoding", b"chunked"),)
    return ((b"content-length", b"%d" % question.body_length),)


def _via(question: Question) -> bytes:
    """Appended to what the viewer's request carried (reference 2.11)."""
    said = question.head.fields.get(b"via")
    return said + b", " + question.hop.via if said else question.hop.via
