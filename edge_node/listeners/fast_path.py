"""The fast path of HTTP/1.1: a GET whose line and header section are known, answered from a fresh response that is kept in one piece.

Most requests go this way, so it does as little as possible, and it decides nothing by itself. That no stage has to look at the request, and nothing but the key matters,
was found when the route was made (`policy/router.py`, `stages/table.py`); the stages that look at the viewer's connection are asked for each request.
Whether the entry may be used and what of it is sent is asked of the same functions as in the pipeline (`caching/reuse.py`, `policy/representation.py`); whatever is not
as usual is left to that.
Both say the same, byte for byte: tests/property/edge_node/delivery/test_fast_path_properties.py.
"""

from collections.abc import Callable
from typing import Final

from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import Reason, Result
from edge_node.caching.request_directives import NO_DIRECTIVES
from edge_node.caching.reuse import FRESH, judge
from edge_node.delivery.body_sender import pieces_of
from edge_node.delivery.request_ids import RequestIds
from edge_node.delivery.request_record import HitRecord
from edge_node.delivery.request_recorder import BATCH_RECORDS, RequestRecorder
from edge_node.listeners.serving import KeptAliveStream
from edge_node.model.configuration import Semantics
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.http import RequestHead
from edge_node.policy.parse_cache import HeaderSection, ParseCache
from edge_node.policy.representation import choose_representation
from edge_node.policy.response_head import LocalNode, middle_of_head, start_of_head, x_cache
from edge_node.policy.router import Route
from edge_node.storage.eviction.protocol import MOST_USES
from edge_node.storage.node_state import NodeState
from edge_node.storage.protocol import Store

LARGEST_COPIED_BODY_BYTES: Final = 32_768
"""Up to this size head and body leave as one piece; beyond, copying costs more than a second piece."""
MOST_REMEMBERED_AGES: Final = 4_096
NO_BOUNDARY: Final = b"several-ranges-take-the-slow-path"


class RequestArrival:
    """When a request came, and how large it was."""

    __slots__ = ("now", "request_bytes", "started_at")

    def __init__(self, now: float, started_at: float, request_bytes: int) -> None:
        self.now = now
        """Seconds since the epoch."""
        self.started_at = started_at
        """On the monotonic clock."""
        self.request_bytes = request_bytes


class HitFastPath:
    """Answers hits, and remembers the parts of requests that it needs for that."""

    __slots__ = (
        "_middles",
        "_monotonic",
        "_next_request_id",
        "_node",
        "_parse_cache",
        "_peek",
        "_recorder",
        "_starts",
        "_state",
        "_touch",
        "_touch_only_counts",
        "_wall",
        "head_of",
        "section_of",
    )

    def __init__(  # noqa: PLR0913 - one for each thing that it works with
        self,
        node: LocalNode,
        store: Store,
        state: NodeState,
        recorder: RequestRecorder,
        request_ids: RequestIds,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """The clocks: seconds since the epoch, and for durations."""
        self._node = node
        self._peek: Callable[[CacheKey], Entry | None] = store.peek
        self._touch = store.touch
        self._touch_only_counts = store.touch_only_counts
        self._state = state
        self._recorder = recorder
        self._next_request_id = request_ids.next
        self._wall, self._monotonic = wall, monotonic
        self._parse_cache = ParseCache()
        self.section_of = self._parse_cache.section_of
        self.head_of = self._parse_cache.head_of
        self._middles: dict[int, bytes] = {}
        self._starts: dict[int, bytes] = {}
        """By status, for answers that are not the whole entry: at most 200, 206, 304 and 416."""

    def remember(self, data: bytes, head: RequestHead, *, is_answered: bool = True) -> None:
        """Remember the parts of a viewer's request. Those of edges are never the same twice, and what is not stored may never be asked for again."""
        if not self._node.is_regional:
            self._parse_cache.remember(data, head, with_line=is_answered)
            if is_answered:
                self.remember_target(head)

    def remember_target(self, head: RequestHead) -> None:
        """Remember where a request leads that was answered from what is stored."""
        self._state.router.remember(head)

    def answer(self, wire: KeptAliveStream, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        """Answer, or leave it to the pipeline: False."""
        started_at = self._monotonic()
        state = self._state
        route = section.route_of(line, state.router)
        if route is None or (route.stages and not self._passes_stages(route, wire.facts)):
            return False
        if state.fence.must_confirm(started_at, is_strict=route.distribution.is_strictly_invalidated):
            return False
        coding = section.accept_encoding
        key = route.key if route.coding == coding else route.more_keys.get(coding)
        entry = self._peek(key) if key is not None else None
        if entry is None or entry.body is not None or entry.stamp != state.invalidations.applied_index:
            return False
        template = entry.template
        now = self._wall()
        age = now - entry.age_base
        if not template.is_plain or judge(template.cache_metadata, NO_DIRECTIVES, age) is not FRESH:
            return False
        if self._touch_only_counts:
            if entry.uses < MOST_USES:
                entry.uses += 1
        else:
            self._touch(entry)
        if not section.is_plain:
            return self._answer_in_part(
                wire, section, line, route, entry, RequestArrival(now, started_at, request_bytes)
            )
        block = entry.block
        request_id = self._next_request_id()
        middle = self._middles.get(int(age)) or self._middle(int(age))
        if len(block) <= LARGEST_COPIED_BODY_BYTES:
            data = b"".join((template.start, request_id, middle, block))
            sent_bytes = len(data)
            wire.write(data)
        else:
            head = b"".join((template.start, request_id, middle))
            sent_bytes = len(head) + len(block)
            wire.send_many([head, block])
        length = len(block) - entry.body_start
        seconds = self._monotonic() - started_at
        records = self._recorder.records
        records.append(
            HitRecord(now, wire.facts, section, route, template, sent_bytes, request_bytes, request_id, seconds, length, None, started_at)
        )  # fmt: skip
        if len(records) >= BATCH_RECORDS:
            self._recorder.flush()
        return True

    def _passes_stages(self, route: Route, connection: ConnectionFacts) -> bool:
        """What the stages that are left for this route say; whoever does not pass is answered by the pipeline."""
        return all(stage.lets_pass is not None and stage.lets_pass(connection, self._state) for stage in route.stages)

    def _answer_in_part(
        self,
        wire: KeptAliveStream,
        section: HeaderSection,
        line: bytes,
        route: Route,
        entry: Entry,
        arrival: RequestArrival,
    ) -> bool:
        """Answer a request with conditions or ranges; errors are left to the pipeline."""
        known = section.contents.get(line)
        if known is not None and known.template is entry.template and entry.block.startswith(known.fields):
            content, lines = known.content, known.lines
        else:
            content = choose_representation(section.get_head, entry, Semantics.CLOUDFRONT, NO_BOUNDARY)
            if content.status >= 400 or content.closing:
                return False
            lines = section.remember_content(line, entry, content)
        request_id = self._next_request_id()
        age = int(arrival.now - entry.age_base)
        start = self._starts.get(content.status) or self._start(content.status, entry)
        head = b"".join((start, request_id, self._middles.get(age) or self._middle(age), lines))
        if content.parts:
            wire.send_many([head, *pieces_of(entry, content)])
        else:
            wire.write(head)
        seconds = self._monotonic() - arrival.started_at
        sent_bytes, length = len(head) + content.body_length, content.body_length
        self._recorder.take(
            HitRecord(
                arrival.now, wire.facts, section, route, entry.template, sent_bytes, arrival.request_bytes, request_id, seconds, length, content, arrival.started_at
            )
        )  # fmt: skip
        return True

    def _start(self, status: int, entry: Entry) -> bytes:
        """The start of a head with another status than the entry's; the entry's own comes with it."""
        if status == entry.status:
            return entry.template.start
        x_cache_value = x_cache(Result.HIT, status)
        start = self._starts[status] = start_of_head(self._node, status, b"", Result.HIT, Reason.FRESH, x_cache_value)
        return start

    def _middle(self, age_seconds: int) -> bytes:
        middle = middle_of_head(max(age_seconds, 0), True)
        if len(self._middles) >= MOST_REMEMBERED_AGES:
            self._middles.clear()
        self._middles[age_seconds] = middle
        return middle
