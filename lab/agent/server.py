"""The agent over HTTP, on loopback (docs/contracts.md): who may ask, what a request has to be, and how leases and refusals are said."""

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lab.agent.events import Events, Listener
from lab.agent.keeper import Order
from lab.agent.service import BusyError, Service
from lab.errors import LabError, UsageError
from lab.faults.catalogue import CATALOGUE
from lab.faults.lease import Lease, NotInForceError, Phase
from lab.faults.parameters import Kind, Parameter
from proto.admin_access import AdminAccess
from proto.lab_clock import MOST_AHEAD_SECONDS
from proto.moments import ClockAnchor

MAXIMUM_BODY_BYTES = 64 << 10
_LEASE = Parameter("lease_seconds", Kind.DURATION, "s", "how long", 0.001, 3600)
_FORWARD = Parameter("forward_seconds", Kind.DURATION, "s", "how far", 0.001, MOST_AHEAD_SECONDS)
_ORDER_MEMBERS = {"fault", "target", "lease_seconds", "parameters"}

Answer = Callable[[Request], Awaitable[Response]]


def application(service: Service, anchor: ClockAnchor, now: Callable[[], float], token: str) -> ASGIApp:
    """Every answer is JSON, but for the events."""

    def describe(lease: Lease) -> dict[str, object]:
        return lease_document(lease, anchor, now())

    async def status(_request: Request) -> Response:
        return JSONResponse(service.status())

    async def catalogue(_request: Request) -> Response:
        return JSONResponse({"faults": [fault.to_json() for fault in CATALOGUE.values()]})

    async def faults(_request: Request) -> Response:
        return JSONResponse({"faults": [describe(lease) for lease in service.keeper.leases]})

    async def inject(request: Request) -> Response:
        return JSONResponse(describe(await service.inject(read_order(await _document(request)))), 201)

    async def clear(request: Request) -> Response:
        return JSONResponse(describe(await service.heal(request.path_params["id"])))

    async def clear_all(_request: Request) -> Response:
        return JSONResponse({"faults": [describe(lease) for lease in await service.heal_all()]})

    async def start(request: Request) -> Response:
        ended = await service.start(request.path_params["id"])
        return JSONResponse({"faults": [describe(lease) for lease in ended]})

    async def clock(request: Request) -> Response:
        seconds = read_move(await _document(request))
        return JSONResponse((await service.move_clock(seconds)).to_json())

    async def events(_request: Request) -> Response:
        return _EventStream(service.events, service.events.listen())

    routes = [
        Route("/status", _refusing(status), methods=["GET"]),
        Route("/catalogue", _refusing(catalogue), methods=["GET"]),
        Route("/faults", _refusing(faults), methods=["GET"]),
        Route("/faults", _refusing(inject), methods=["POST"]),
        Route("/faults", _refusing(clear_all), methods=["DELETE"]),
        Route("/faults/{id}", _refusing(clear), methods=["DELETE"]),
        Route("/nodes/{id}/start", _refusing(start), methods=["POST"]),
        Route("/clock", _refusing(clock), methods=["POST"]),
        Route("/events", _refusing(events), methods=["GET"]),
    ]
    return _Guarded(Starlette(routes=routes), token)


class _EventStream(StreamingResponse):
    """To one listener, who makes room for another however it ends, even before it has begun."""

    def __init__(self, events: Events, listener: Listener) -> None:
        stream = events.stream(listener)
        super().__init__(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._events, self._listener = events, listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._events.forget(self._listener)


class _Guarded:
    """Asks everybody for the token; and lets no web page in, whatever it knows (proto/admin_access.py)."""

    def __init__(self, application: ASGIApp, token: str) -> None:
        self._application = application
        self._access = AdminAccess(())
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._refusal(scope)
        await (response or self._application)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        fields: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            fields[key] = f"{fields[key]}, {text}" if key in fields else text
        refusal = self._access.refusal(fields, takes_json=scope["method"] == "POST")
        if refusal is not None:
            return JSONResponse({"error": refusal.reason}, refusal.status)
        given = fields.get("authorization", "").encode("latin-1")
        if not secrets.compare_digest(given, self._wanted):
            problem = "Authorization: Bearer TOKEN is wanted, with the token of the file agent/token in the lab's state folder"
            return JSONResponse({"error": problem}, 401, {"www-authenticate": "Bearer"})
        return None


def _refusing(answer: Answer) -> Answer:
    """What is expected to go wrong becomes an answer."""

    async def guarded(request: Request) -> Response:
        try:
            return await answer(request)
        except LabError as error:
            return JSONResponse({"error": str(error)}, _status_of(error))

    return guarded


def _status_of(error: LabError) -> int:
    match error:
        case NotInForceError():
            return 404
        case UsageError():
            return 400
        case BusyError():
            return 503
        case _:
            return 409


async def _document(request: Request) -> object:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAXIMUM_BODY_BYTES:
            raise UsageError(f"the body has more than {MAXIMUM_BODY_BYTES} bytes")
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {error}") from error
    return document


def read_order(document: object) -> Order:
    """UsageError with everything that is wrong with its form."""
    if not isinstance(document, dict):
        raise UsageError("a fault is ordered with a JSON object")
    problems = [f"unknown member {name!r}" for name in document if name not in _ORDER_MEMBERS]
    problems += [f"{name} has to be given, as text" for name in ("fault", "target") if not _is_text(document.get(name))]
    parameters = document.get("parameters", {})
    if not isinstance(parameters, dict):
        problems.append("parameters must be an object")
    if problems:
        raise UsageError("; ".join(problems))
    given = document.get("lease_seconds")
    lease = None if given is None else float(_LEASE.read(given))
    return Order(document["fault"], document["target"], lease, parameters)


def read_move(document: object) -> float:
    """By how many seconds the clock is to go forward. UsageError for anything else."""
    if not isinstance(document, dict) or document.keys() != {"forward_seconds"}:
        raise UsageError("the clock is moved with a JSON object with forward_seconds, and nothing else")
    return float(_FORWARD.read(document["forward_seconds"]))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def lease_document(lease: Lease, anchor: ClockAnchor, now: float) -> dict[str, object]:
    """`remaining_seconds` is until it is undone, or until that is tried again; null when nobody will."""
    is_pending = lease.phase in (Phase.INJECTING, Phase.INJECTED, Phase.HEALING)
    return {
        "id": lease.id,
        "fault": lease.fault,
        "target": lease.target,
        "nodes": list(lease.nodes),
        "links": list(lease.links),
        "parameters": dict(lease.parameters),
        "state": lease.phase.value,
        "lease_seconds": lease.lease_seconds,
        "remaining_seconds": round(max(0.0, lease.due_at - now), 3) if is_pending else None,
        "injected_monotonic_ns": anchor.moment(lease.injected_at).monotonic_ns,
        "due_monotonic_ns": anchor.moment(lease.due_at).monotonic_ns if is_pending else None,
        "failed_attempts": lease.attempts,
        "trouble": lease.trouble,
    }
