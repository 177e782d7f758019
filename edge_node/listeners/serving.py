"""What a connection of a viewer asks of the server that it belongs to, and of whoever answers requests; and what it can be asked."""

from collections.abc import Callable, Sequence
from typing import Protocol

from edge_node.caching.stored_body import Piece
from edge_node.delivery.downstream import DownstreamStream
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.errors import ViewerError
from edge_node.model.http import RequestHead
from edge_node.policy.parse_cache import HeaderSection
from edge_node.policy.response_head import LocalNode


class Service(Protocol):
    """What is done with requests."""

    def handle(self, downstream: DownstreamStream, head: RequestHead, body: RequestBodyStream | None) -> None:
        """Take one; the stream's `release` ends it."""

    def refuse_malformed(self, downstream: DownstreamStream, error: ViewerError) -> None:
        """Answer something that is no request; the connection closes after it."""


class KeptAliveStream(Protocol):
    """A connection that stays open, as the fast path writes to it."""

    facts: ConnectionFacts
    write: Callable[[Piece], None]
    """Send bytes, later than everything before."""

    def send_many(self, pieces: Sequence[Piece]) -> None:
        """Send pieces in order."""


class FastPath(Protocol):
    """Requests of known parts (`fast_path.py`)."""

    def section_of(self, data: bytes) -> HeaderSection | None:
        """The header section of these bytes, if it is known."""

    def head_of(self, line: bytes, section: HeaderSection) -> RequestHead | None:
        """The request that a known section makes with this line, if it is known too."""

    def answer(self, wire: KeptAliveStream, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        """Answer a request of known parts at once and keep the connection open; False: it has to be taken as any other."""

    def remember(self, data: bytes, head: RequestHead, *, is_answered: bool) -> None:
        """These bytes are this request, and nothing else; whether it was answered at once, from what is stored."""

    def remember_target(self, head: RequestHead) -> None:
        """This request was answered at once, from what is stored."""


class OpenConnection(Protocol):
    """A viewer's connection, as whoever keeps a list of them needs it."""

    def check_deadline(self, now: float) -> None:
        """Called about once a second: end what takes too long."""

    def shed_rank(self, now: float) -> tuple[bool, float] | None:
        """Who goes first when there are too many, the least of all; None: it is being answered."""

    def shed(self) -> None:
        """Close, with nothing under way."""

    def drain(self) -> None:
        """Close now if idle; else after the answer that is under way."""

    def abort(self) -> None:
        """Cut the connection."""


class Listener(Protocol):
    """What the connections of one server share."""

    is_draining: bool
    node: LocalNode

    @property
    def service(self) -> Service:
        """Who takes the requests."""

    @property
    def fast_path(self) -> FastPath:
        """Who answers those that need no more than a look."""

    def opened(self, connection: OpenConnection) -> bool:
        """One more connection; False when it is one too many."""

    def closed(self, connection: OpenConnection) -> None:
        """One less."""

    def clock(self) -> float:
        """Monotonic seconds."""
