"""One origin at work: content, misbehaviour, log and counters joined into the two services that connections ask.

Here the clock is read and the dice are thrown; everything that is called from here gets them as values.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import Protocol

from origin import admin
from origin.behaviors import BehaviorTable, apply_behavior, falsify_content
from origin.bucket import DEFAULT_BUDGET_BYTES, BucketStore
from origin.conditions import apply_conditions
from origin.connection import Answer
from origin.footage.reader import read_footage
from origin.gates import Gates
from origin.messages import BodyRule, Request, Response
from origin.metrics import Counters, OriginCollector
from origin.request_log import RequestLog
from origin.request_reader import RequestRefused
from origin.scenarios import Scenarios, body_rule, kind_of
from proto.admin_access import AdminAccess
from proto.exposition import exposition
from proto.moments import NANOSECONDS_PER_SECOND, SECONDS_SINCE_EPOCH, ClockAnchor


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

    def __init__(self, node_id: str, clocks: Clocks, is_log_written: bool = False) -> None:
        self.node_id = node_id
        self.clocks = clocks
        self.buckets = BucketStore(DEFAULT_BUDGET_BYTES)
        self.behaviors = BehaviorTable()
        self.gates = Gates()
        self.log = RequestLog(is_log_written)
        self.content: Served | None = None
        self._scenarios = Scenarios(self.buckets, read_footage())
        self._counters = Counters()
        self._collector = OriginCollector(node_id, self._counters, self)
        self._rng = Random()
        self._answered = 0
        self._started_at = clocks.steady()

    # The content port.

    def body_rule(self, method: str, path: str) -> BodyRule:
        """How such a request's body is received."""
        return body_rule(method, path)

    def decide(self, request: Request) -> Answer:
        """The answer: the content's, misbehaving if that is wanted; noted before it is sent."""
        now = self.clocks.wall()
        self._answered += 1
        kind = kind_of(request.path)
        whole = self._scenarios.respond(request, kind, now, self._answered)
        behavior = self.behaviors.select(request, self.clocks.steady(), self._rng.random) if self.behaviors else None
        if behavior is None:
            response = apply_conditions(request, whole)
        else:
            honest = apply_conditions(request, falsify_content(behavior, whole))
            response = apply_behavior(behavior, request, honest)
        self.log.record(request, response.status, kind, now, self._nanoseconds())
        self._counters.requests[kind][response.status // 100] += 1
        return Answer(kind, response)

    def refuse(self, refusal: RequestRefused, connection_number: int) -> Answer:
        """The answer to what is no request; noted as well as it was understood."""
        request = Request(refusal.method, refusal.target, refusal.target, "", connection_number=connection_number)
        self.log.record(request, refusal.status, "other", self.clocks.wall(), self._nanoseconds())
        self._counters.requests["other"][refusal.status // 100] += 1
        return Answer("other", refusal_response(refusal))

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

    def __init__(self, node: OriginNode, access: AdminAccess) -> None:
        self._node = node
        self._access = access

    def body_rule(self, _method: str, _path: str) -> BodyRule:
        """Small documents only."""
        return admin.BODY_RULE

    def decide(self, request: Request) -> Answer:
        """The answer to an operator; a web page is none (docs/security.md)."""
        takes_json = (request.method, request.path) == ("POST", "/behaviors")
        refusal = self._access.refusal(request.fields, takes_json=takes_json)
        if refusal is not None:
            text = f"{refusal.reason}\n".encode()
            return Answer("other", Response(refusal.status, (("Content-Type", "text/plain"),), text))
        return Answer("other", admin.respond(self._node, request, self._node.clocks.steady()))

    def refuse(self, refusal: RequestRefused, _connection_number: int) -> Answer:
        """The answer to what is no request."""
        return Answer("other", refusal_response(refusal))

    def count_sent_bytes(self, _kind: str, _count: int) -> None:
        """Not content."""

    async def pass_gate(self, _gate: str) -> None:
        """Operators never wait."""


def refusal_response(refusal: RequestRefused) -> Response:
    """A refusal as an answer."""
    return Response(refusal.status, (("Content-Type", "text/plain"),), f"{refusal.reason}\n".encode())
