"""The operators' port: health, metrics, status, and the calls that set misbehaviour, open gates and read what was asked.

From request to response like the content; the state it changes is handed to it.
"""

import json
from typing import Protocol
from urllib.parse import unquote

from origin.behaviors import BehaviorTable, parse_behavior
from origin.errors import InvalidInputError
from origin.gates import Gates, checked_gate_name
from origin.lab_clock import LabClock
from origin.messages import BodyRule, Request, Response
from origin.request_log import MAX_RECORDS, RequestLog

BODY_RULE = BodyRule(is_kept=True, limit_bytes=1 << 20)
_DEFAULT_RECORDS_SHOWN = 1_000
_METHODS_OF_PATH = {
    "healthz": ("GET",),
    "readyz": ("GET",),
    "metrics": ("GET",),
    "status": ("GET",),
    "count": ("GET",),
    "requests": ("GET", "DELETE"),
    "behaviors": ("GET", "POST", "DELETE"),
    "gates": ("GET", "POST", "DELETE"),
    "clock": ("GET", "POST"),
}


class Node(Protocol):
    """The origin as its operators see it."""

    behaviors: BehaviorTable
    gates: Gates
    log: RequestLog
    wall: LabClock

    def metrics_text(self) -> bytes:
        """The Prometheus exposition."""

    def status(self) -> dict[str, object]:
        """The /status document."""

    def not_ready_reason(self) -> str:
        """Why it cannot do its job; nothing if it can."""


def respond(node: Node, request: Request, now: float) -> Response:
    """The answer to an operator; `now` is of the clock that leases are counted by."""
    segments = tuple(unquote(part) for part in request.path[1:].split("/"))
    method = "GET" if request.method == "HEAD" else request.method
    try:
        response = _respond(node, method, segments, request, now)
    except InvalidInputError as error:
        return _json(400, {"error": "; ".join(error.problems), "problems": list(error.problems)})
    return response if response is not None else _unknown(segments, method)


def _respond(node: Node, method: str, segments: tuple[str, ...], request: Request, now: float) -> Response | None:
    match segments[0]:
        case "behaviors":
            return _behaviors(node.behaviors, method, segments[1:], request, now)
        case "gates":
            return _gates(node.gates, method, segments[1:])
        case "clock" if len(segments) == 1:
            return _clock(node.wall, method, request)
        case "requests" | "count" if len(segments) == 1:
            return _requests(node.log, method, segments[0], request)
        case _ if method == "GET" and len(segments) == 1:
            return _observed(node, segments[0])
        case _:
            return None


def _observed(node: Node, name: str) -> Response | None:
    match name:
        case "healthz":
            return _text(200, b"ok")
        case "readyz":
            reason = node.not_ready_reason()
            return _text(503, f"{reason}\n".encode()) if reason else _text(200, b"ok")
        case "metrics":
            return Response(200, (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),), node.metrics_text())
        case "status":
            return _json(200, node.status())
        case _:
            return None


def _behaviors(
    table: BehaviorTable, method: str, rest: tuple[str, ...], request: Request, now: float
) -> Response | None:
    match method, rest:
        case "POST", ():
            return _json(201, {"id": table.add(parse_behavior(_document(request)), now)})
        case "GET", ():
            return _json(200, {"behaviors": table.describe(now)})
        case "DELETE", ():
            return _json(200, {"removed": table.clear()})
        case "DELETE", (behavior_id,):
            is_removed = table.remove(behavior_id)
            return (
                _json(200, {"removed": 1})
                if is_removed
                else _json(404, {"error": f"no behavior {behavior_id!r} is in force"})
            )
        case _:
            return None


def _gates(gates: Gates, method: str, rest: tuple[str, ...]) -> Response | None:
    match method, rest:
        case "GET", ():
            return _json(200, {"gates": gates.states()})
        case "GET", (name,):
            return _json(200, gates.state(checked_gate_name(name)))
        case "POST", (name,):
            gates.open(checked_gate_name(name))
            return _json(200, gates.state(name))
        case "DELETE", (name,):
            return _json(200, {"removed": int(gates.remove(name))})
        case _:
            return None


def _clock(clock: LabClock, method: str, request: Request) -> Response | None:
    if method not in _METHODS_OF_PATH["clock"]:
        return None
    if method == "POST":
        clock.put(_document(request))
    return _json(200, clock.to_json())


def _requests(log: RequestLog, method: str, name: str, request: Request) -> Response | None:
    match method, name:
        case "GET", "count":
            return _count(log, dict(request.parameters()))
        case "GET", "requests":
            limit = request.parameter("limit", str(_DEFAULT_RECORDS_SHOWN))
            if not (limit.isascii() and limit.isdigit() and len(limit) < 9):
                raise InvalidInputError("limit must be a whole number")
            return _json(200, log.describe(request.parameter("path_prefix"), min(int(limit), MAX_RECORDS)))
        case "DELETE", "requests":
            log.reset()
            return Response(204)
        case _:
            return None


def _count(log: RequestLog, parameters: dict[str, str]) -> Response:
    match parameters:
        case {"path": path}:
            return _json(200, {"count": log.count(path)})
        case {"path_prefix": path_prefix}:
            return _json(200, {"count": log.count_under(path_prefix)})
        case _:
            raise InvalidInputError("path or path_prefix says what to count")


def _document(request: Request) -> object:
    try:
        document: object = json.loads(request.body.content)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the body is not JSON: {error}") from error
    return document


def _unknown(segments: tuple[str, ...], method: str) -> Response:
    methods = _METHODS_OF_PATH.get(segments[0], ())
    if methods and method not in methods:
        return _json(405, {"error": f"{method} is not allowed here"}).with_headers(("Allow", ", ".join(methods)))
    return _json(404, {"error": "there is nothing here; see docs/origin.md"})


def _json(status: int, document: object) -> Response:
    body = json.dumps(document).encode() + b"\n"
    return Response(status, (("Content-Type", "application/json"), ("Cache-Control", "no-store")), body)


def _text(status: int, body: bytes) -> Response:
    return Response(status, (("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")), body)
