"""The short way: a GET whose line and header section are known, answered from a fresh response that is kept in one piece.

Most requests go it, so it does as little as possible, and it decides nothing by itself: that nothing but the key matters was found when the plan was made
(`policy/routing.py`), whether the entry may be used and what of it is sent is asked of the same functions as on the long way (`caching/reuse.py`, `policy/contents.py`),
and whatever is not as usual is left to that.
Both say the same, byte for byte: tests/property/test_edge_answers_properties.py.
"""

from collections.abc import Callable
from typing import Protocol

from edge_node.caching.bodies import Piece
from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.request_directives import NO_DEMANDS
from edge_node.caching.reuse import FRESH, judge
from edge_node.model import Semantics
from edge_node.policy.answers import NodeFacts, middle_of_head, start_of_head, x_cache
from edge_node.policy.contents import choose_content
from edge_node.policy.routing import Plan
from edge_node.policy.sections import HeaderSection
from edge_node.recording import BATCH_RECORDS, RequestRecorder
from edge_node.request_ids import RequestIds
from edge_node.sending import pieces_of
from edge_node.serving_state import ServingState
from edge_node.storage.eviction.protocol import MOST_USES
from edge_node.storage.protocol import Store

LARGEST_COPIED_BODY_BYTES = 32_768
"""Up to this size head and body leave as one piece; beyond, copying costs more than a second piece."""
MOST_REMEMBERED_AGES = 4_096
NO_BOUNDARY = b"several-ranges-go-the-long-way"


class OpenWire(Protocol):
    """The viewer's connection, which stays open."""

    peer: tuple[str, int]
    write: Callable[[Piece], None]
    """Send bytes, later than everything before."""

    def send_many(self, chunks: list[Piece]) -> None:
        """Send pieces in order."""


class ShortWay:
    """Answers plain hits."""

    __slots__ = (
        "_middles",
        "_monotonic",
        "_next_request_id",
        "_node",
        "_peek",
        "_recorder",
        "_starts",
        "_state",
        "_touch",
        "_touch_only_counts",
        "_wall",
    )

    def __init__(
        self,
        node_and_store: tuple[NodeFacts, Store],
        state: ServingState,
        recorder: RequestRecorder,
        request_ids: RequestIds,
        clocks: tuple[Callable[[], float], Callable[[], float]],
    ) -> None:
        self._node, store = node_and_store
        self._peek: Callable[[CacheKey], Entry | None] = store.peek
        self._touch = store.touch
        self._touch_only_counts = store.touch_only_counts
        self._state = state
        self._recorder = recorder
        self._next_request_id = request_ids.next
        self._wall, self._monotonic = clocks
        """Seconds since the epoch; and for durations."""
        self._middles: dict[int, bytes] = {}
        self._starts: dict[int, bytes] = {}
        """By status, for answers that are not the whole entry: at most 200, 206, 304 and 416."""

    def answer(self, wire: OpenWire, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        """Answer, or leave it to the long way: False."""
        started_at = self._monotonic()
        state = self._state
        plan = section.routes.get(line) if section.planner is state.planner else section.plan_of(line, state.planner)
        if plan is None:
            return False
        coding = section.accept_encoding
        key = plan.key if plan.coding == coding else plan.more_keys.get(coding)
        entry = self._peek(key) if key is not None else None
        if entry is None or entry.body is not None or entry.stamp != state.invalidations.applied_index:
            return False
        traits = entry.traits
        now = self._wall()
        age = now - entry.age_base
        if not traits.is_plain or judge(traits.terms, NO_DEMANDS, age) is not FRESH:
            return False
        if self._touch_only_counts:
            if entry.uses < MOST_USES:
                entry.uses += 1
        else:
            self._touch(entry)
        if not section.is_plain:
            return self._answer_in_part(wire, (section, line, plan), entry, (now, started_at, request_bytes))
        block = entry.block
        request_id = self._next_request_id()
        middle = self._middles.get(int(age)) or self._middle(int(age))
        if len(block) <= LARGEST_COPIED_BODY_BYTES:
            data = b"".join((traits.start, request_id, middle, block))
            sent_bytes = len(data)
            wire.write(data)
        else:
            head = b"".join((traits.start, request_id, middle))
            sent_bytes = len(head) + len(block)
            wire.send_many([head, block])
        length = len(block) - entry.body_start
        seconds = self._monotonic() - started_at
        records = self._recorder.records
        records.append(
            (now, wire.peer, section, plan, traits, sent_bytes, request_bytes, request_id, seconds, length, None)
        )
        if len(records) >= BATCH_RECORDS:
            self._recorder.settle()
        return True

    def _answer_in_part(
        self,
        wire: OpenWire,
        asked: tuple[HeaderSection, bytes, Plan],
        entry: Entry,
        times_and_size: tuple[float, float, int],
    ) -> bool:
        """Answer a request with conditions or ranges; errors go the long way."""
        section, line, plan = asked
        now, started_at, request_bytes = times_and_size
        known = section.contents.get(line)
        if known is not None and known.traits is entry.traits and entry.block.startswith(known.fields):
            content = known.content
        else:
            content = choose_content(section.get_head, entry, Semantics.CLOUDFRONT, NO_BOUNDARY)
            if content.status >= 400 or content.closing:
                return False
            section.remember_content(line, entry, content)
        request_id = self._next_request_id()
        age = int(now - entry.age_base)
        start = self._starts.get(content.status) or self._start(content.status, entry)
        head = b"".join((start, request_id, self._middles.get(age) or self._middle(age), content.field_lines, b"\r\n"))
        if content.parts:
            wire.send_many([head, *pieces_of(entry, content)])
        else:
            wire.write(head)
        sent_bytes = len(head) + content.body_length
        seconds = self._monotonic() - started_at
        record = (now, wire.peer, section, plan, entry.traits, sent_bytes, request_bytes, request_id, seconds)
        self._recorder.take((*record, content.body_length, content))
        return True

    def _start(self, status: int, entry: Entry) -> bytes:
        """The start of a head with another status than the entry's; the entry's own comes with it."""
        if status == entry.status:
            return entry.traits.start
        outcome = (Result.HIT, Reason.FRESH, x_cache(Result.HIT, status))
        start = self._starts[status] = start_of_head(self._node, (status, b""), outcome)
        return start

    def _middle(self, age_seconds: int) -> bytes:
        middle = middle_of_head(max(age_seconds, 0), True)
        if len(self._middles) >= MOST_REMEMBERED_AGES:
            self._middles.clear()
        self._middles[age_seconds] = middle
        return middle
