"""The admin port: health, metrics, status and receipts, as docs/contracts.md describes them. For operators and the lab, never for viewers."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.deployment import receipt_of, resources_of
from control_plane.lab_time import LabTime
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics
from control_plane.nodes import NodeRecord
from control_plane.receipts import NodeReceipt, Receipt
from control_plane.roles import Roles
from control_plane.state import Document, StoreError
from control_plane.store import SqlStore
from proto.admin_access import AdminAccess
from proto.fault_port import MOST_BODY_BYTES, FaultPort
from proto.history_recorder import HistoryRecorder
from proto.moments import ClockAnchor

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """Answers of the admin port, of a leader from what it knows, of a follower from what the database has."""

    def __init__(
        self, zone: str, store: SqlStore, roles: Roles, clock: Callable[[], float], lab_time: LabTime | None = None
    ) -> None:
        """Without `lab_time` there is no clock that could be moved."""
        self._zone = zone
        self._store = store
        self._ledger = SqlLedger(store)
        self._roles = roles
        self._clock = clock
        self._lab_time = lab_time
        self.is_serving: Callable[[], bool] = not_yet
        """Whether the management API answers."""

    def application(
        self, metrics: ControlMetrics, faults: FaultPort | None = None, history: HistoryRecorder | None = None
    ) -> Starlette:
        """The application behind the port; without `faults` none can be injected, without `history` none is kept."""

        async def healthz(_request: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def readyz(_request: Request) -> Response:
            reason = self._why_not_ready()
            return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

        async def exposition(_request: Request) -> Response:
            return Response(metrics.exposition(), media_type=PROMETHEUS_TEXT)

        async def status(_request: Request) -> Response:
            return JSONResponse(self._status())

        async def receipt(request: Request) -> Response:
            leading = self._roles.leading
            self._look_at_lab_clock()
            coordinator = None if leading is None else leading.coordinator
            found = receipt_of(request.path_params["invalidation_id"], coordinator, self._ledger)
            return (
                JSONResponse(to_json(found, self._store.anchor))
                if found
                else PlainTextResponse("no such invalidation, or its receipt is no longer kept\n", 404)
            )

        return Starlette(
            routes=[
                Route("/healthz", healthz),
                Route("/readyz", readyz),
                Route("/metrics", exposition),
                Route("/status", status),
                Route("/receipts/{invalidation_id}", receipt),
                *([] if faults is None else _port_routes(faults, "/faults", "/faults/{fault_id}")),
                *([] if history is None else _port_routes(history, "/history")),
                *([] if self._lab_time is None else [self._lab_time.route()]),
            ],
            exception_handlers={StoreError: _unreadable},
        )

    def _why_not_ready(self) -> str | None:
        if not self.is_serving():
            return "starting"
        if self._roles.leading is None and self._roles.leader_address is None:
            return "no control plane leads"
        return None if self._store.trouble is None else self._store.trouble.reason

    def _status(self) -> dict[str, Any]:
        now = self._clock()
        ahead_seconds = self._look_at_lab_clock()
        leading = self._roles.leading
        records = self._records()
        return {
            "id": "control-plane",
            "log_id": self._store.log_id,
            "head_index": self._store.head_index,
            "zone": self._zone,
            "clock": self._store.anchor.to_json(),
            "clock_ahead_seconds": ahead_seconds,
            "leads": leading is not None,
            "leader": self._roles.leader_address,
            "term": self._roles.term,
            "directory_version": 0 if leading is None else leading.sync.directory.version,
            "database": self._database(),
            "nodes": [self._node(record, now) for record in records],
            "distributions": [
                self._distribution(document, records) for document in self._store.documents("distribution")
            ],
        }

    def _look_at_lab_clock(self) -> float:
        """Wall times follow it, also where another control plane has moved it."""
        return 0.0 if self._lab_time is None else self._lab_time.look()

    def _records(self) -> Collection[NodeRecord]:
        """Of a follower: as the leader has saved them. When their leases end is known to the leader only."""
        if self._roles.leading is not None:
            return self._roles.leading.coordinator.nodes.values()
        now, settled_index = self._clock(), self._ledger.completed_index
        saved = [node.settled(settled_index) for node in self._ledger.saved_nodes()]
        return [node.restored(now if node.lease_seconds > 0 else None) for node in saved]

    def _is_connected(self, node_id: str) -> bool:
        """To this control plane or, of a leader, to any."""
        return self._roles.leading is not None and self._roles.leading.sync.is_connected(node_id)

    def _database(self) -> dict[str, Any]:
        trouble = self._store.trouble
        if trouble is None:
            return {"takes_writes": True, "reason": None, "since": None}
        return {"takes_writes": False, "reason": trouble.reason, "since": self._when(trouble.since)}

    def _when(self, seconds: float) -> str | None:
        """For people."""
        return to_rfc3339(self._store.anchor.wall_seconds(seconds))

    def _node(self, record: NodeRecord, now: float) -> dict[str, Any]:
        node = record.description
        return {
            "id": node.identifier,
            "role": node.role.name.lower(),
            "region": node.region,
            "pop": node.pop,
            "http": node.http_address,
            "admin": node.admin_address,
            "state": record.state,
            "directory_version": record.directory_version,
            "acknowledged_index": max(0, record.acknowledged_index),
            "lease_remaining_seconds": max(0.0, round((record.lease_until or now) - now, 3)),
            "connected": self._is_connected(node.identifier),
            "last_seen": self._when(record.last_seen),
            "rejections": [
                {"kind": refused.resource.kind.name.lower(), "id": refused.resource.identifier}
                | {"index": refused.index, "reason": refused.reason}
                for refused in record.rejections.values()
            ],
        }

    def _distribution(self, document: Document, records: Iterable[NodeRecord]) -> dict[str, Any]:
        index = document.body["index"]
        resources = resources_of(self._store, document.body["id"])
        waiting_for = [node for node in records if node.is_live and not node.has_applied(resources, index)]
        refusals = [
            (node, node.rejections[each]) for node in waiting_for for each in resources if each in node.rejections
        ]
        return {
            "id": document.body["id"],
            "domain_name": document.body["domain_name"],
            "status": "InProgress" if waiting_for else "Deployed",
            "index": index,
            "waiting_for": [node.description.identifier for node in waiting_for],
            "rejections": [
                {"node": node.description.identifier, "index": refused.index, "reason": refused.reason}
                for node, refused in refusals
            ],
        }


class _Port(Protocol):
    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes] | None: ...


def _port_routes(port: _Port, *paths: str) -> list[Route]:
    async def answer(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BODY_BYTES:
                return PlainTextResponse("content too large\n", 413)
        told = port.answer(request.method, request.url.path, body)
        return Response(status_code=404) if told is None else Response(told[2], told[0], media_type=told[1])

    return [Route(path, answer, methods=["GET", "POST", "DELETE"]) for path in paths]


def not_yet() -> bool:
    """Of a port that nothing answers behind."""
    return False


def guarded(application: ASGIApp, access: AdminAccess, json_paths: Collection[str] = ()) -> ASGIApp:
    """The application for those whom the rule lets in. What is posted to `json_paths` has to be JSON."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        headers, takes_json = request.headers, request.method == "POST" and request.url.path in json_paths
        refusal = access.refusal({name: ", ".join(headers.getlist(name)) for name in headers}, takes_json=takes_json)
        answer = application if refusal is None else PlainTextResponse(f"{refusal.reason}\n", refusal.status)
        await answer(scope, receive, send)

    return endpoint


async def _unreadable(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503)


def to_json(receipt: Receipt, own_clock: ClockAnchor) -> dict[str, Any]:
    """A receipt as people and programs read it. `NAME_at` and `NAME_since` are wall time, for people; programs compare `NAME_monotonic_ns`, of `clock`."""
    invalidation, clock = receipt.invalidation, receipt.clock or own_clock
    issued_clock = invalidation.clock or own_clock
    return {
        "invalidation_id": invalidation.identifier,
        "distribution_id": invalidation.distribution_id,
        "index": invalidation.index,
        "paths": list(invalidation.paths),
        "clock": clock.to_json() if clock.boot_id else None,
        "issued_at": to_rfc3339(issued_clock.wall_seconds(invalidation.issued_at)),
        "issued_monotonic_ns": _nanoseconds(invalidation.issued_at, clock) if issued_clock == clock else None,
        "status": "InProgress" if receipt.completed_at is None else "Completed",
        **_time("completed", "at", receipt.completed_at, clock),
        "nodes": [_node_line(node, receipt, clock) for node in receipt.nodes],
    }


def _node_line(node: NodeReceipt, receipt: Receipt, clock: ClockAnchor) -> dict[str, Any]:
    seconds = receipt.seconds_after_issue(node.acknowledged_at)
    return {
        "id": node.node_id,
        "state": node.state,
        **_time("acknowledged", "at", node.acknowledged_at, clock),
        "seconds": None if seconds is None else round(seconds, 6),
        **_time("left_out", "since", node.left_out_since, clock),
        "fenced_by": node.fenced_by,
        **_time("fenced", "since", node.fenced_since, clock),
    }


def _time(name: str, preposition: str, seconds: float | None, clock: ClockAnchor) -> dict[str, Any]:
    wall = None if seconds is None else clock.wall_seconds(seconds)
    return {f"{name}_{preposition}": to_rfc3339(wall), f"{name}_monotonic_ns": _nanoseconds(seconds, clock)}


def _nanoseconds(seconds: float | None, clock: ClockAnchor) -> int | None:
    """None also for a time of which the clock is not known."""
    return None if seconds is None or not clock.boot_id else clock.moment(seconds).monotonic_ns


def to_rfc3339(seconds: float | None) -> str | None:
    """For example 2026-11-21T01:02:03.456Z."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
