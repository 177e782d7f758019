"""Custom error pages (reference 2.5): which page a viewer gets instead of an error, and the request that fetches it."""

from typing import Final

from edge_node.caching.lookup import Reason
from edge_node.model.configuration import ErrorResponse
from edge_node.model.http import RequestHead
from edge_node.policy.router import Route

STATUSES_THAT_CLOSE: Final = frozenset({400, 405, 414, 416, 500, 501})
"""With a page, the connection closes after these and stays open after the others (reference 2.5)."""

_NEVER_REPLACED: Final = frozenset(
    {
        Reason.BAD_REQUEST,
        Reason.NOT_CONFIGURED,
        Reason.UNKNOWN_HOST,
        Reason.DISTRIBUTION_DISABLED,
        Reason.ONLY_IF_CACHED,
    }
)
"""A suspicious request, and what is said of capacity, get no page (reference 2.5); for who wants no origin to be asked none is fetched."""
_NOT_OF_THE_PAGE: Final = frozenset({
    b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range",
    b"cache-control", b"content-length", b"content-type", b"expect", b"pragma", b"transfer-encoding",
})  # fmt: skip


def page_for(route: Route, status: int, reason: Reason) -> ErrorResponse | None:
    """The page configured for an error, if there is one for it."""
    if reason in _NEVER_REPLACED:
        return None
    configured = route.distribution.error_responses.get(status)
    return configured if configured is not None and configured.page_path else None


def page_request(head: RequestHead, page: ErrorResponse) -> RequestHead:
    """The request for the page: it goes through the selection of behaviors as any other; what the viewer said of the object is left out."""
    headers = tuple(pair for pair in head.headers if pair[0] not in _NOT_OF_THE_PAGE)
    fields = {name: value for name, value in head.fields.items() if name not in _NOT_OF_THE_PAGE}
    method = b"HEAD" if head.method == b"HEAD" else b"GET"
    return RequestHead(
        method, page.page_path, head.host, headers, fields, head.minor_version, head.is_keep_alive, False, True
    )
