"""Plain fetches: a GET that misses, asks an upstream on an idle connection, and gets a small response that comes in one piece.

Most misses are like this, so they do without what only the others need: no task waits, nobody but one viewer reads, and the body is never in flight. Nothing is decided
here: what becomes of the response is asked of `reception.py`, as a fill does. The moment that anything is not as usual (somebody else asks for the same, the viewer
leaves, the response comes in pieces, has to be coded, or may not be stored), the exchange, the transfer and the fill are made that would have been there from the
beginning, and they go on. Both say the same, byte for byte: tests/property/test_edge_plain_fetches.py.
"""

from collections.abc import Callable
from typing import NamedTuple

from edge_node.access_log import LogRecord
from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entries import make_entry
from edge_node.caching.key import CacheKey
from edge_node.errors import UpstreamError
from edge_node.exchange import Exchange
from edge_node.fetches import Fetches
from edge_node.fills import Fill
from edge_node.keeping import Keeping
from edge_node.model import Header, ResponseHead
from edge_node.policy.answers import (
    age_to_show,
    content_length,
    middle_of_head,
    result_to_show,
    start_of_head,
    write_fields,
    x_cache,
)
from edge_node.policy.compression import coding_for
from edge_node.policy.routing import Plan
from edge_node.policy.upstream_requests import Question
from edge_node.reception import Asked, Reception, dated, receive, said_by_regional, traits_of
from edge_node.recording import RequestRecorder
from edge_node.requests import Request
from edge_node.shelf import Shelf
from edge_node.storage.protocol import Writer
from edge_node.transfers import Transfer
from edge_node.upstream.fetching import ResponseFlow, UpstreamFetcher
from edge_node.upstream.targets import Target


class Tools(NamedTuple):
    """What all plain fetches of a node work with."""

    shelf: Shelf
    fetcher: UpstreamFetcher
    fetches: Fetches
    recorder: RequestRecorder
    make_exchange: Callable[[Request, Plan, tuple[Result, Reason]], Exchange]
    monotonic: Callable[[], float]


MOST_REMEMBERED_STARTS = 256


class PlainFetches:
    """Begins them."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._starts: dict[tuple[bytes, Reason, Result | None], bytes] = {}

    def start(self, phrase: bytes, reason: Reason, said: Result | None) -> bytes:
        """The start of the head of an answer with status 200."""
        kind = (phrase, reason, said)
        start = self._starts.get(kind)
        if start is None:
            if len(self._starts) >= MOST_REMEMBERED_STARTS:
                self._starts.clear()
            outcome = (Result.MISS, reason, x_cache(result_to_show(Result.MISS, said), 200))
            start = self._starts[kind] = start_of_head(self.tools.shelf.node, (200, phrase), outcome)
        return start

    def begin(self, request: Request, question: Question, key: CacheKey, reason: Reason) -> bool:
        """Fetch for a miss that others may join; False when it is not plain, or no connection is idle."""
        plan = question.plan
        if plan.is_strict or request.page_status or request.tries > 1:
            return False
        tools = self.tools
        asked = Asked(request.head, plan, tools.shelf.invalidations.applied_index, tools.shelf.clock())
        target = tools.fetches.first_target(question, asked.stamp)
        if target.completion_timeout or target.failover_statuses is not None:
            return False
        fetch = PlainFetch(self, request, question, (key, reason, asked))
        return fetch.begins(target)


class PlainFetch:
    """One of them: takes the response, and is what the viewer's connection works on meanwhile."""

    __slots__ = (
        "_asked",
        "_connection",
        "_epoch",
        "_exchange",
        "_fill",
        "_is_answered",
        "_key",
        "_owner",
        "_question",
        "_reason",
        "_request",
        "_target",
        "body",
    )

    def __init__(
        self, owner: PlainFetches, request: Request, question: Question, about: tuple[CacheKey, Reason, Asked]
    ) -> None:
        self._owner = owner
        self._request = request
        self._question = question
        self._key, self._reason, self._asked = about
        self._epoch = owner.tools.shelf.invalidations.epoch
        self._target: Target | None = None
        self._connection: ResponseFlow | None = None
        self._fill: Fill | None = None
        """It has become one of the others,"""
        self._exchange: Exchange | None = None
        """and this is its viewer."""
        self._is_answered = False
        self.body = None

    def begins(self, target: Target) -> bool:
        """Ask, if that needs no waiting."""
        if not self._owner.tools.fetcher.begin_on_idle(target, self, self.ended):
            return False
        self._owner.tools.fetches.add_plain(self._key, self.become_joinable)
        self._request.wire.begin_exchange(self)
        return True

    # -- the viewer's side

    def resume(self) -> None:
        """The viewer takes more; there is nothing yet."""

    def viewer_left(self) -> None:
        """The connection is gone."""
        self._become_fill()
        if self._exchange is not None:
            self._exchange.viewer_left()

    # -- the sink of the connection

    @property
    def has_started(self) -> bool:
        """As a fill says it."""
        return self._fill is not None and self._fill.has_started

    @property
    def is_ended(self) -> bool:
        """As a fill says it."""
        return self._fill is not None and self._fill.is_ended

    def resume_point(self) -> tuple[Header, ...] | None:
        """Nothing has begun."""
        return None

    def connected(self, connection: ResponseFlow | None, target: Target) -> None:
        """Flow control, when it is needed, goes to this connection."""
        self._connection, self._target = connection, target
        if self._fill is not None:
            self._fill.connected(connection, target)

    def interim_arrived(self, head: ResponseHead) -> None:
        """Not as usual."""
        self._become_fill().interim_arrived(head)

    def head_arrived(self, head: ResponseHead) -> None:
        """Not as usual: the body comes later."""
        self._become_fill().head_arrived(head)

    def body_arrived(self, data: bytes) -> None:
        """The fill takes it; a connection tells it directly from its head on."""
        self._become_fill().body_arrived(data)

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        """Store it and answer, if that is all that there is to do."""
        shelf, plan = self._owner.tools.shelf, self._question.plan
        is_plain = self._fill is None and head.status == 200
        if is_plain and (shelf.node.is_regional or coding_for(self._question.head, head, plan.behavior) is None):
            answered_at = shelf.clock()
            received = receive(self._asked, self._key, dated(head, answered_at), answered_at)
            keeping = received.keeping
            if keeping is not None and received.is_storable and received.is_for_all and not received.own_fields:
                writer = shelf.store.open_writer(keeping.key, len(body))
                if writer is not None and writer.keeps_chunks and (not body or writer.add(body)):
                    self._answer(received, keeping, writer, body)
                    return
                if writer is not None:
                    writer.abort()
        self._become_fill().whole_arrived(head, body)

    def ended(self, error: UpstreamError | None) -> None:
        """The attempt is over; what has failed, the others try on."""
        if self._fill is None and error is None:
            return
        if self._is_answered:
            self._request.wire.abort()
            return
        fill = self._become_fill()
        if self._exchange is not None and self._target is not None:
            self._owner.tools.fetches.go_on(fill, self._exchange, (self._target, error))

    # -- inside

    def _answer(self, received: Reception, keeping: Keeping, writer: Writer, body: bytes) -> None:
        tools, request, head = self._owner.tools, self._request, received.head
        shelf, wire = tools.shelf, request.wire
        said = said_by_regional(head, self._target)
        keeps_alive = wire.may_keep_alive
        middle = middle_of_head(age_to_show(head, said, is_strict=False), keeps_alive)
        lines = write_fields(received.fields) + content_length(len(body))
        start = self._owner.start(head.reason, self._reason, said)
        data = b"".join((start, request.request_id, middle, lines, b"\r\n", body))
        traits = traits_of(shelf.traits, self._question.plan, keeping.head, keeping.terms)
        entry = make_entry(keeping.key, lines, (body,), len(body), traits, received.arrival)
        self._is_answered = True
        tools.fetches.remove_plain(self._key, self.become_joinable, is_shared=True)
        if not shelf.put(entry, self._epoch, self._asked.asked_at, writer.commit):
            writer.abort()
        wire.write(data)
        seconds = tools.monotonic() - request.started_at
        tools.recorder.take(
            LogRecord(
                shelf.clock(),
                request.head,
                wire.peer,
                request.domain_name,
                head.status,
                len(data),
                wire.request_bytes,
                Result.MISS,
                self._reason,
                request.request_id,
                seconds,
                seconds,
                traits.content_type,
                len(body),
                -1,
                -1,
            )
        )
        wire.end_exchange(keep_alive=keeps_alive)

    def become_joinable(self) -> None:
        """Somebody else asks for the same."""
        self._become_fill()

    def _become_fill(self) -> Fill:
        """What would have been there from the beginning, if it had not looked so simple."""
        if self._fill is not None:
            return self._fill
        tools, plan = self._owner.tools, self._question.plan
        tools.fetches.remove_plain(self._key, self.become_joinable)
        exchange = self._exchange = tools.make_exchange(self._request, plan, (Result.MISS, self._reason))
        transfer: Transfer = tools.fetches.begin(self._key, plan, since=(self._epoch, self._asked.stamp))
        fill = self._fill = Fill(tools.shelf, self._question, transfer, since=(self._epoch, self._asked.asked_at))
        tools.fetches.adopt(exchange, fill, self._connection)
        if self._target is not None:
            fill.connected(self._connection, self._target)
        if self._connection is not None:
            self._connection.feed(fill)
        return fill
