"""One origin at work: content, misbehaviour, log and counters joined into the two services that connections ask.

Here the clock is read and the dice are thrown; everything that is called from here gets them as values.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from origin import admin
from origin.behaviors import BehaviorTable, apply_behavior, falsify_content
from origin.bucket import DEFAULT_BUDGET_BYTES, BucketStore
from origin.conditions import apply_conditions
from origin.connection import Answer
from origin.footage.reader import read_footage
from origin.gates import Gates
from origin.history_rows import TABLE, Decision, OriginRow, row_of
from origin.lab_clock import LabClock
from origin.messages import BodyRule, Request, Response
from origin.metrics import Counters, OriginCollector
from origin.request_log import RequestLog
from origin.request_reader import RequestRefused
from origin.scenarios import Scenarios, body_rule, kind_of
from origin.stamps import Content, Stamps, identity_in
from proto.admin_access import AdminAccess
from proto.exposition import exposition
from proto.history_recorder import HistoryRecorder
from proto.moments import NANOSECONDS_PER_SECOND, SECONDS_SINCE_EPOCH, ClockAnchor
from proto.seeds import rng_of


class Served(Protocol):
    """The content port while it is served."""

    @property
    def connections(self) -> Collection[object]:
        """Those that are open."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is, and how much of it has passed."""

    wall: Callable[[], float]
    """Seconds since the epoch: of logs, versions and dates."""
    steady: Callable[[], float]
    """Seconds that nobody sets: of leases, which must not end early or late because somebody sets the clock."""
    anchor: ClockAnchor = SECONDS_SINCE_EPOCH
    """Of the steady clock."""


class OriginNode:
    """The state of one origin, and the service of its content port."""

    def __init__(
        self,
        node_id: str,
        clocks: Clocks,
        is_log_written: bool = False,
        recorder: HistoryRecorder | None = None,
        seed: int | None = None,
    ) -> None:
        """With a seed behaviors do the same again to the same requests, in the same order."""
        self.node_id = node_id
        self.clocks = clocks
        self.wall = LabClock(clocks.wall)
        self.buckets = BucketStore(DEFAULT_BUDGET_BYTES)
        self.behaviors = BehaviorTable()
        self.gates = Gates()
        self.log = RequestLog(is_log_written)
        self.content: Served | None = None
        self._scenarios = Scenarios(self.buckets, read_footage())
        self._counters = Counters()
        self._collector = OriginCollector(node_id, self._counters, self)
        self._stamps = Stamps(node_id)
        self._recorder = recorder
        self._rng = rng_of(seed, node_id)
        self._answered = 0
        self._started_at = clocks.steady()

    # The content port.

    def body_rule(self, method: str, path: str) -> BodyRule:
        """How such a request's body is received."""
        return body_rule(method, path)

    def decide(self, request: Request) -> Answer:
        """The answer: the content's, misbehaving if that is wanted; noted before it is sent."""
        now, now_ns = self.wall(), self._nanoseconds()
        self._answered += 1
        kind = kind_of(request.path)
        whole = self._scenarios.respond(request, kind, now, self._answered)
        selected = self.behaviors.select(request, self.clocks.steady(), self._rng.random) if self.behaviors else None
        if selected is None:
            meant = response = apply_conditions(request, whole)
        else:
            meant = apply_conditions(request, falsify_content(selected.behavior, whole))
            response = apply_behavior(selected.behavior, request, meant)
        self.log.record(request, response.status, kind, now, now_ns)
        self._counters.requests[kind][response.status // 100] += 1
        decision = Decision(now_ns, meant, self._content(kind, whole, meant), selected.id if selected else None)
        if selected is None:
            stamp = self._stamp(request, kind, now_ns, decision.content)
        elif selected.behavior.is_stamp_wanted(response):
            stamp = self._stamp(request, kind, now_ns, self._content(kind, whole, response))
        else:
            stamp = ""
        return Answer(kind, response, stamp, self._row(request, decision))

    def _content(self, kind: str, whole: Response, response: Response) -> Content:
        """What a response is about: an error has a body of its own; a part, and a 304, are of the whole."""
        return self._stamps.content_of(kind, whole if response is whole or response.status < 400 else response)

    def _stamp(self, request: Request, kind: str, now_ns: int, content: Content) -> str:
        return self._stamps.stamp(content, now_ns, identity_in(request, kind))

    def _row(self, request: Request, decision: Decision) -> OriginRow | None:
        """None while no history is kept."""
        recorder = self._recorder
        return row_of(self.node_id, request, decision) if recorder is not None and recorder.is_recording else None

    def sent(self, row: OriginRow, peer: str) -> None:
        """An answer was sent, or could not be."""
        if self._recorder is not None:
            self._recorder.add(TABLE, row._replace(ended_ns=self._nanoseconds(), peer=peer or None))

    def refuse(self, refusal: RequestRefused, connection_number: int) -> Answer:
        """The answer to what is no request; noted as well as it was understood."""
        request = Request(refusal.method, refusal.target, refusal.target, "", connection_number=connection_number)
        now_ns, response = self._nanoseconds(), refusal_response(refusal)
        self.log.record(request, refusal.status, "other", self.wall(), now_ns)
        self._counters.requests["other"][refusal.status // 100] += 1
        content = self._stamps.content_of("other", response)
        row = self._row(request, Decision(now_ns, response, content, None))
        return Answer("other", response, self._stamps.stamp(content, now_ns, None), row)

    def count_sent_bytes(self, kind: str, count: int) -> None:
        """Body bytes were sent."""
        self._counters.sent_bytes[kind] += count

    async def pass_gate(self, gate: str) -> None:
        """Wait at a gate."""
        await self.gates.wait_open(gate)

    def _nanoseconds(self) -> int:
        return round(self.clocks.steady() * NANOSECONDS_PER_SECOND)

    # The operators' port.

    def metrics_text(self) -> bytes:
        """The Prometheus exposition."""
        return exposition(self._collector.collect())

    def open_connections(self) -> int:
        """Connections to the content port."""
        return len(self.content.connections) if self.content is not None else 0

    def not_ready_reason(self) -> str:
        """Why the content port is not served."""
        return "" if self.content is not None else "the content port is not served"

    def status(self) -> dict[str, object]:
        """The document of docs/contracts.md; an origin follows no change log and holds no lease."""
        now = self.clocks.steady()
        return {
            "id": self.node_id,
            "role": "origin",
            "region": "",
            "pop": "",
            "applied_index": 0,
            "log_id": "",
            "lease": "none",
            "clock": self.clocks.anchor.to_json(),
            "clock_ahead_seconds": self.wall.ahead_seconds,
            "uptime_seconds": round(now - self._started_at, 3),
            "open_connections": self.open_connections(),
            "requests": self.log.total,
            "request_log_dropped_lines": self.log.dropped_lines,
            "behaviors": len(self.behaviors.describe(now)),
            "bucket_bytes": self.buckets.used_bytes,
            "bucket_budget_bytes": self.buckets.budget_bytes,
        }


class AdminService:
    """The service of the operators' port; not logged and not counted as content."""

    def __init__(self, node: OriginNode, access: AdminAccess, recorder: HistoryRecorder | None = None) -> None:
        self._node = node
        self._access = access
        self._recorder = recorder

    def body_rule(self, _method: str, _path: str) -> BodyRule:
        """Small documents only."""
        return admin.BODY_RULE

    def decide(self, request: Request) -> Answer:
        """The answer to an operator; a web page is none (docs/security.md)."""
        takes_json = request.method == "POST" and request.path in ("/behaviors", "/clock", "/history")
        refusal = self._access.refusal(request.fields, takes_json=takes_json)
        if refusal is not None:
            text = f"{refusal.reason}\n".encode()
            return Answer("other", Response(refusal.status, (("Content-Type", "text/plain"),), text))
        recorded = self._recorder and self._recorder.answer(request.method, request.path, request.body.content)
        if recorded:
            status, content_type, body = recorded
            return Answer("other", Response(status, (("Content-Type", content_type),), body))
        return Answer("other", admin.respond(self._node, request, self._node.clocks.steady()))

    def refuse(self, refusal: RequestRefused, _connection_number: int) -> Answer:
        """The answer to what is no request."""
        return Answer("other", refusal_response(refusal))

    def count_sent_bytes(self, _kind: str, _count: int) -> None:
        """Not content."""

    def sent(self, _row: OriginRow, _peer: str) -> None:
        """Not content."""

    async def pass_gate(self, _gate: str) -> None:
        """Operators never wait."""


def refusal_response(refusal: RequestRefused) -> Response:
    """A refusal as an answer."""
    return Response(refusal.status, (("Content-Type", "text/plain"),), f"{refusal.reason}\n".encode())
