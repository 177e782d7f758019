"""The management API as a client sees it that fails or is slow, as large services do now and then: before anything of a request is looked at, so nothing has changed."""

import asyncio
import random
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.api_faults import ApiFault, ApiFaults
from control_plane.aws_api.codec import encode_error
from control_plane.aws_api.errors import COMMON_STATUSES
from control_plane.aws_api.identifiers import new_uuid
from control_plane.injected_faults import API_DELAY, API_ERROR, API_THROTTLE
from proto.host_clock import host_seconds

_REFUSALS = {
    API_ERROR: ("ServiceUnavailable", "The service is unavailable: a fault has been injected. Nothing has changed."),
    API_THROTTLE: ("Throttling", "Rate exceeded: a fault has been injected. Nothing has changed."),
}


def suffering(
    application: ASGIApp,
    faults: ApiFaults,
    tell: Callable[[str], None],
    *,
    clock: Callable[[], float] = host_seconds,
) -> ASGIApp:
    """The same application with these faults; `tell` is told the kind of each that has done something."""
    request_ids = random.SystemRandom()
    thrown: dict[str, tuple[int, random.Random]] = {}
    """By kind, the seed and the dice of the fault that was in force last: it is told of anew when another one begins."""

    def throw(fault: ApiFault) -> float:
        seed, dice = thrown.get(fault.kind, (-1, random.Random()))
        if seed != fault.seed:
            dice = random.Random(fault.seed)
            thrown[fault.kind] = fault.seed, dice
        return dice.random()

    def turn(kind: str) -> ApiFault | None:
        fault = faults.in_force(kind, clock())
        if fault is None or throw(fault) >= float(fault.parameters["probability"]):
            return None
        tell(kind)
        return fault

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        delay = turn(API_DELAY)
        if delay is not None:
            await asyncio.sleep(float(delay.parameters["by"]))
        for kind, (code, message) in _REFUSALS.items():
            if turn(kind) is not None:
                await _refusal(code, message, new_uuid(request_ids))(scope, Request(scope, receive).receive, send)
                return
        await application(scope, receive, send)

    return served


def _refusal(code: str, message: str, request_id: str) -> Response:
    status = COMMON_STATUSES[code]
    headers = {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}
    return Response(encode_error(code, message, status, request_id), status, headers)
