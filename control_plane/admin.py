"""The admin port: health, metrics, status and receipts, as docs/contracts.md describes them. For operators and the lab, never for viewers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.coordination import Coordinator
from control_plane.deployment import receipt_of
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics
from control_plane.nodes import NodeRecord, Resource, ResourceKind
from control_plane.receipts import NodeReceipt, Receipt
from control_plane.state import Document, StoreError
from control_plane.store import SqlStore
from control_plane.sync import SyncService
from proto.admin_access import AdminAccess

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """Answers of the admin port."""

    def __init__(
        self,
        zone: str,
        store: SqlStore,
        coordinator: Coordinator,
        ledger: SqlLedger,
        clock: Callable[[], float],
    ) -> None:
        self._zone = zone
        self._store = store
        self._coordinator = coordinator
        self._ledger = ledger
        self._clock = clock
        self.is_serving: Callable[[], bool] = not_yet
        """Whether the management API answers."""

    def application(self, metrics: ControlMetrics, sync: SyncService) -> Starlette:
        """The application behind the port."""

        async def healthz(_request: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def readyz(_request: Request) -> Response:
            reason = self._why_not_ready()
            return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

        async def exposition(_request: Request) -> Response:
            return Response(metrics.exposition(), media_type=PROMETHEUS_TEXT)

        async def status(_request: Request) -> Response:
            return JSONResponse(self._status(sync))

        async def receipt(request: Request) -> Response:
            found = receipt_of(request.path_params["invalidation_id"], self._coordinator, self._ledger)
            return (
                JSONResponse(to_json(found))
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
            ],
            exception_handlers={StoreError: _unreadable},
        )

    def _why_not_ready(self) -> str | None:
        if not self.is_serving():
            return "starting"
        return None if self._store.trouble is None else self._store.trouble.reason

    def _status(self, sync: SyncService) -> dict[str, Any]:
        now = self._clock()
        nodes = [self._node(record, sync, now) for record in self._coordinator.nodes.values()]
        return {
            "id": "control-plane",
            "log_id": self._store.log_id,
            "head_index": self._store.head_index,
            "zone": self._zone,
            "directory_version": sync.directory.version,
            "database": self._database(),
            "nodes": nodes,
            "distributions": [self._distribution(document) for document in self._store.documents("distribution")],
        }

    def _database(self) -> dict[str, Any]:
        trouble = self._store.trouble
        if trouble is None:
            return {"takes_writes": True, "reason": None, "since": None}
        return {"takes_writes": False, "reason": trouble.reason, "since": to_rfc3339(trouble.since)}

    def _node(self, record: NodeRecord, sync: SyncService, now: float) -> dict[str, Any]:
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
            "connected": sync.is_connected(node.identifier),
            "last_seen": to_rfc3339(record.last_seen),
            "rejections": [
                {"kind": refused.resource.kind.name.lower(), "id": refused.resource.identifier}
                | {"index": refused.index, "reason": refused.reason}
                for refused in record.rejections.values()
            ],
        }

    def _distribution(self, document: Document) -> dict[str, Any]:
        index = document.body["index"]
        resource = Resource(ResourceKind.DISTRIBUTION, document.body["id"])
        waiting_for = self._coordinator.waiting_for(resource, index)
        refusals = [(node, node.rejections[resource]) for node in waiting_for if resource in node.rejections]
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


def not_yet() -> bool:
    """Of a port that nothing answers behind."""
    return False


def guarded(application: ASGIApp, access: AdminAccess) -> ASGIApp:
    """The application for those whom the rule lets in."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Request(scope).headers
        refusal = access.refusal({name: ", ".join(headers.getlist(name)) for name in headers})
        answer = application if refusal is None else PlainTextResponse(f"{refusal.reason}\n", refusal.status)
        await answer(scope, receive, send)

    return endpoint


async def _unreadable(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503)


def to_json(receipt: Receipt) -> dict[str, Any]:
    """A receipt as people and programs read it."""
    invalidation = receipt.invalidation
    return {
        "invalidation_id": invalidation.identifier,
        "distribution_id": invalidation.distribution_id,
        "index": invalidation.index,
        "paths": list(invalidation.paths),
        "issued_at": to_rfc3339(invalidation.issued_at),
        "status": "InProgress" if receipt.completed_at is None else "Completed",
        "completed_at": to_rfc3339(receipt.completed_at),
        "nodes": [_node_line(node, invalidation.issued_at) for node in receipt.nodes],
    }


def _node_line(node: NodeReceipt, issued_at: float) -> dict[str, Any]:
    seconds = None if node.acknowledged_at is None else round(max(0.0, node.acknowledged_at - issued_at), 6)
    return {
        "id": node.node_id,
        "state": node.state,
        "acknowledged_at": to_rfc3339(node.acknowledged_at),
        "seconds": seconds,
        "left_out_since": to_rfc3339(node.left_out_since),
        "fenced_by": node.fenced_by,
        "fenced_since": to_rfc3339(node.fenced_since),
    }


def to_rfc3339(seconds: float | None) -> str | None:
    """For example 2026-11-21T01:02:03.456Z."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
