"""What can go wrong with a request, and what follows: whose fault it is, whether a retry is safe, which status to answer.

Foreign exceptions (sockets, parsers) become these where the socket is owned; nothing above the `upstream` and `listeners` packages sees an OSError.
"""

from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Who has to mend it."""

    VIEWER = "viewer"
    UPSTREAM = "upstream"
    INTERNAL = "internal"


class UpstreamErrorKind(StrEnum):
    """How an upstream failed; a label of `cdn_upstream_errors_total`."""

    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    READ_TIMEOUT = "read_timeout"
    RESET = "reset"
    INVALID_RESPONSE = "invalid_response"
    NAME = "name"
    TRUNCATED = "truncated"
    FAILOVER = "failover"
    """It answered, but with a status that sends the request to the other origin of its group."""
    OVERLOADED = "overloaded"
    """It was not asked: as many requests as it may have are under way, and as many as may wait."""
    INTERNAL = "internal"
    """It is not its fault: this node failed while it took the response."""


_STATUS_OF_KIND: Final = {  # reference 2.5, last table: refused ports, bad responses and names are 502; timeouts are 504
    UpstreamErrorKind.REFUSED: 502,
    UpstreamErrorKind.CONNECT_TIMEOUT: 504,
    UpstreamErrorKind.READ_TIMEOUT: 504,
    UpstreamErrorKind.RESET: 502,
    UpstreamErrorKind.INVALID_RESPONSE: 502,
    UpstreamErrorKind.NAME: 502,
    UpstreamErrorKind.TRUNCATED: 502,
    UpstreamErrorKind.FAILOVER: 502,
    UpstreamErrorKind.OVERLOADED: 503,  # CapacityExceeded
    UpstreamErrorKind.INTERNAL: 502,
}


class UpstreamFailure:
    """How an upstream did not give a whole, valid response: what is passed on and remembered of it, a plain value."""

    __slots__ = ("detail", "is_on_reused_connection", "is_request_untouched", "kind")

    def __init__(
        self,
        kind: UpstreamErrorKind,
        detail: str,
        is_request_untouched: bool = False,
        is_on_reused_connection: bool = False,
    ) -> None:
        self.kind: Final = kind
        self.detail: Final = detail
        self.is_request_untouched: Final = is_request_untouched
        """The upstream cannot have acted on the request: nothing of it was sent, so that even a POST may be sent again."""
        self.is_on_reused_connection: Final = is_on_reused_connection
        """An idle connection may have been closed by the upstream just as the request went out; a fresh one deserves a try."""

    @property
    def fault(self) -> Fault:
        """The upstream's, unless it was not asked, or was and this node failed."""
        is_ours = self.kind in (UpstreamErrorKind.OVERLOADED, UpstreamErrorKind.INTERNAL)
        return Fault.INTERNAL if is_ours else Fault.UPSTREAM

    @property
    def status(self) -> int:
        """The status that the viewer gets when nothing better is left."""
        return _STATUS_OF_KIND[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


class UpstreamError(Exception):
    """Raised where an upstream fails while a coroutine waits for it, and caught beside the socket: only its failure goes on, since an exception keeps frames alive."""

    def __init__(
        self,
        kind: UpstreamErrorKind,
        detail: str,
        is_request_untouched: bool = False,
        is_on_reused_connection: bool = False,
    ) -> None:
        super().__init__(kind, detail)
        self.failure = UpstreamFailure(kind, detail, is_request_untouched, is_on_reused_connection)

    def __str__(self) -> str:
        return str(self.failure)


class ViewerLeftError(Exception):
    """The viewer closed before its request was whole, or has its answer and is no longer listened to."""


class ViewerError(Exception):
    """A request that is refused before it is understood; the connection closes after the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    @property
    def fault(self) -> Fault:
        """The viewer's, unless this node failed while it read the request."""
        return Fault.INTERNAL if self.status == 500 else Fault.VIEWER

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


class RejectedResourceError(Exception):
    """A resource of the control plane that this node cannot honour; it stays on its last good version."""
