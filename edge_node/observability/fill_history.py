"""The history's table `fills`: a row for each request that this node has sent upstream, or could not send (lab/history/schema.py)."""

import hashlib
from collections.abc import Sequence
from typing import Final

from edge_node.caching.key import primary_key, varying_fields
from edge_node.fill.cache_fill import CacheFill
from edge_node.model.errors import UpstreamFailure
from edge_node.model.http import Header, ResponseHead
from edge_node.policy.upstream_request import parse_request
from edge_node.upstream.endpoints import Endpoint
from edge_node.upstream.fetch_observer import Ending
from edge_node.upstream.fetch_sink import FetchSink
from proto.history_recorder import HistoryRecorder

FILLS: Final = "fills"
FILLS_COLUMNS: Final = (
    "node", "request_id", "tier", "upstream", "started_ns", "head_ns", "ended_ns", "method", "host", "path", "key", "variant",
    "is_conditional", "range", "index", "status",
    "received_bytes", "is_shared", "must_confirm", "error",
)  # fmt: skip
GIVEN_UP: Final = "given_up"
"""In place of the kind of an error: this node wanted no more of the response."""
_PRECONDITIONS = frozenset((b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range"))


class FillHistory:
    """Observes the fetches of one node."""

    def __init__(self, recorder: HistoryRecorder) -> None:
        self._recorder = recorder

    @property
    def is_enabled(self) -> bool:
        """See FetchObserver."""
        return self._recorder.is_recording

    def began(self, target: Endpoint, extra: Sequence[Header], sink: FetchSink) -> "FillExchange":
        """See FetchObserver."""
        return FillExchange(self._recorder, target, extra, sink)

    def could_not_begin(self, target: Endpoint, sink: FetchSink, failure: UpstreamFailure) -> None:
        """See FetchObserver."""
        FillExchange(self._recorder, target, (), sink).ended(failure)


class FillExchange:
    """One request, and how much of its response has come."""

    def __init__(self, recorder: HistoryRecorder, target: Endpoint, extra: Sequence[Header], sink: FetchSink) -> None:
        self._recorder = recorder
        self._started_ns = recorder.clock()
        self._target = target
        self._extra = extra
        assert isinstance(sink, CacheFill)  # whoever else fetches has no place in this table
        self._fill = sink
        self._status: int | None = None
        self._head_ns: int | None = None
        self._received_bytes = 0

    # -- ResponseSink

    def interim_arrived(self, head: ResponseHead) -> None:
        """See ResponseSink."""
        self._fill.interim_arrived(head)

    def head_arrived(self, head: ResponseHead) -> None:
        """See ResponseSink."""
        self._status, self._head_ns = head.status, self._recorder.clock()
        self._fill.head_arrived(head)

    def body_arrived(self, data: bytes) -> None:
        """See ResponseSink."""
        self._received_bytes += len(data)
        self._fill.body_arrived(data)

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        """See ResponseSink."""
        self._status, self._head_ns = head.status, self._recorder.clock()
        self._received_bytes += len(body)
        self._fill.whole_arrived(head, body)

    # -- ObservedExchange

    def switched(self) -> None:
        """See ObservedExchange."""
        self._status, self._head_ns = 101, self._recorder.clock()

    def ended(self, how: Ending | UpstreamFailure) -> None:
        """See ObservedExchange."""
        target, recorder, fill = self._target, self._recorder, self._fill
        line, told = parse_request(target.request)
        method, _, rest = line.partition(b" ")
        fields = dict((*told, *self._extra))
        asked_range = fields.get(b"range")
        key = fill.key
        # What the answer varies with, or what was stored before it.
        varying = fill.varying or (() if key is None else varying_fields(key))
        recorder.add(
            FILLS,
            (
                recorder.node,
                _text(fill.upstream_request.hop.request_id),
                target.tier.value,
                f"{target.address[0]}:{target.address[1]}",
                self._started_ns,
                self._head_ns,
                recorder.clock(),
                _text(method),
                _text(fill.upstream_request.head.host),
                _text(rest.rpartition(b" ")[0]),
                None if key is None else _checksum(primary_key(key)),
                _checksum(repr(varying).encode()) if varying else None,
                not _PRECONDITIONS.isdisjoint(fields),
                None if asked_range is None else _text(asked_range),
                fill.validated_index,
                self._status,
                self._received_bytes,
                fill.is_shared if fill.is_sharing_known else None,
                fill.upstream_request.must_confirm,
                _error(how),
            ),
        )


def _error(how: Ending | UpstreamFailure) -> str | None:
    if isinstance(how, UpstreamFailure):
        return how.kind.value
    return GIVEN_UP if how is Ending.GIVEN_UP else None


def _checksum(key: bytes) -> str:
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def _text(value: bytes) -> str:
    return value.decode("latin-1")
