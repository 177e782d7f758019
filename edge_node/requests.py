"""One request on its way through the pipeline, and the connection that it came on."""

from typing import Protocol

from edge_node.exchange import BodyFromViewer, Exchange, UnderWay, Wire
from edge_node.hits import ViewerWire
from edge_node.model import RequestHead, Semantics


class ViewerConnection(Wire, ViewerWire, Protocol):
    """A viewer's connection, as the pipeline needs it."""

    def begin_exchange(self, exchange: UnderWay) -> None:
        """From now on the connection tells the exchange when it can send and when the viewer leaves."""

    @property
    def is_open(self) -> bool:
        """The viewer is still there."""


class Request:
    """One request on its way."""

    __slots__ = (
        "asked_head", "body", "domain_name", "head", "page_status", "request_id", "semantics", "started_at", "tries", "wire",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        wire: ViewerConnection,
        head: RequestHead,
        body: BodyFromViewer | None,
        request_id: bytes,
        started_at: float,
        tries: int = 1,
        domain_name: bytes = b"-",
        semantics: Semantics = Semantics.CLOUDFRONT,
        page_status: int = 0,
        asked_head: RequestHead | None = None,
    ) -> None:
        self.wire = wire
        self.head = head
        self.body = body
        self.request_id = request_id
        self.started_at = started_at
        """On the monotonic clock."""
        self.tries = tries
        self.domain_name = domain_name
        """Of the distribution, once it is known."""
        self.semantics = semantics
        self.page_status = page_status
        """What the viewer is told instead of 200, when this is the request for the page for an error; else 0."""
        self.asked_head = asked_head
        """What the viewer asked, when `head` is the request for a page."""


MALFORMED = RequestHead(b"-", b"-", b"", (), {}, 1, False, False, True)
"""What a malformed request is logged as."""


def request_of(exchange: Exchange) -> Request:
    """The request that an exchange works for, to be taken up again."""
    plan = exchange.plan
    return Request(
        exchange.wire,  # type: ignore[arg-type]  # every exchange was made with a ViewerConnection
        exchange.head,
        exchange.body,
        exchange.request_id,
        exchange.started_at,
        exchange.tries,
        plan.distribution.domain_name,
        plan.behavior.semantics,
        exchange.page_status,
        exchange.asked_head,
    )
