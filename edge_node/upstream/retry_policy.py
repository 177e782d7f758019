"""What may be tried again after an attempt that failed (reference 1.5, 2.6)."""

from typing import Final

from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_sink import FetchSink, RequestBody

REPEATABLE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Reference 2.6: the others are never sent twice."""

_STATUS_THAT_COUNTS: Final = {
    UpstreamErrorKind.REFUSED: 503,
    UpstreamErrorKind.CONNECT_TIMEOUT: 503,
    UpstreamErrorKind.NAME: 503,
    UpstreamErrorKind.OVERLOADED: 503,
    UpstreamErrorKind.READ_TIMEOUT: 504,
}
"""Reference 1.5: without a connection the criterion is 503, without a response in time 504; for what else goes wrong on the way it is 502."""


def may_fail_over(target: Endpoint, failure: UpstreamFailure) -> bool:
    """Whether the next target may be asked after the last attempt at this one."""
    if target.failover_statuses is None or failure.kind is UpstreamErrorKind.FAILOVER:
        return True
    return _STATUS_THAT_COUNTS.get(failure.kind, 502) in target.failover_statuses


def may_try_again(failure: UpstreamFailure, method: bytes, body: RequestBody | None, sink: FetchSink) -> bool:
    """Whether the request may be sent once more, here or to another one."""
    if failure.kind is UpstreamErrorKind.INTERNAL:
        return False  # it would fail here again
    if sink.has_started:
        return sink.resume_point() is not None
    return failure.is_request_untouched or (body is None and method in REPEATABLE_METHODS)


def was_of_idle_connection(failure: UpstreamFailure) -> bool:
    """The upstream had closed it, most likely, before the request came: that says nothing of a fresh one."""
    return failure.is_on_reused_connection and failure.kind is not UpstreamErrorKind.READ_TIMEOUT
