"""The API on HTTP: one request in, verified, routed, decoded, run in one transaction, encoded, one response out.

Operations are synchronous and run on the event loop's thread, of which there is one for the API alone (`api_process.py`): the store is near and management calls are
rare. Nothing here knows what an operation does.
"""

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.model import OperationModel
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.aws_api.calls import Call
from control_plane.aws_api.codec import (
    Parameters,
    WireRequest,
    WireResponse,
    decode_request,
    encode_error,
    encode_response,
)
from control_plane.aws_api.errors import ApiError, statuses_by_code
from control_plane.aws_api.identifiers import new_uuid
from control_plane.aws_api.model import load_model
from control_plane.aws_api.operations import OPERATIONS
from control_plane.aws_api.routing import Router, parse_query, unique_query
from control_plane.aws_api.signature import SignedRequest, verify
from control_plane.aws_api.validation import validate
from control_plane.request_counts import OPERATION_KEY
from control_plane.state import Deployment, Store, StoreError

MAXIMUM_BODY_BYTES = 1024 * 1024
"""The largest configuration and the largest batch of paths that quotas allow are below it in practice; the service's own bound is not documented."""

BODY_TIMEOUT_SECONDS = 20.0

LONGEST_PAUSE_SECONDS = 0.1
"""Between two changes."""

_UNKNOWN_OPERATION = "unknown"

_logger = logging.getLogger("api")


def utc_now() -> datetime:
    """The clock on the wall."""
    return datetime.now(UTC)


def _not_ahead() -> float:
    """Of a control plane whose clock nobody moves."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Times:
    """What time it is: for clients, who sign by a clock that is not the lab's, and for what is written down, which is dated by the lab's."""

    now: Callable[[], datetime] = utc_now
    """By this clock signatures are dated."""
    ahead_seconds: Callable[[], float] = _not_ahead
    """How far the lab's clock is ahead of that one (docs/time-travel.md). StoreError when that cannot be read."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands behind the API. `times` and `rng` are here so that tests can say what they are."""

    store: Store
    deployment: Deployment
    zone: str
    credentials: Mapping[str, str]
    times: Times
    rng: random.Random
    """Of ids. Those of requests are of another one: how many clients ask is nobody's choice."""


def create_application(
    store: Store,
    deployment: Deployment,
    zone: str,
    credentials: Mapping[str, str],
    *,
    times: Times | None = None,
    rng: random.Random | None = None,
) -> Starlette:
    """The ASGI application; `credentials` are secret access keys by access key id."""
    around = Surroundings(store, deployment, zone, credentials, times or Times(), rng or secrets.SystemRandom())
    return Starlette(routes=[Mount("/", app=_endpoint(ManagementApi(around)))])


class Pace:
    """Leaves the database to the others for as long as a change has had it: a client that never pauses would else have all of it, and receipts are written there too.
    Where writers do not wait for each other (`pauses` is false), nobody needs that."""

    def __init__(self, *, pauses: bool) -> None:
        self._pauses = pauses
        self._lock = asyncio.Lock()
        self._free_at = 0.0

    @contextlib.asynccontextmanager
    async def turn(self, *, is_write: bool) -> AsyncIterator[None]:
        """For one request; changes wait for each other in the order of their coming."""
        if not is_write:
            yield
            return
        time = asyncio.get_running_loop().time
        async with self._lock:
            await asyncio.sleep(max(0.0, self._free_at - time()))
            began_at = time()
            try:
                yield
            finally:
                ended_at = time()
                if self._pauses:
                    self._free_at = ended_at + min(LONGEST_PAUSE_SECONDS, ended_at - began_at)


class ManagementApi:
    """All operations of the model; those that are not in the table are refused by name."""

    def __init__(self, around: Surroundings) -> None:
        model = load_model()
        self._around = around
        self._request_ids = secrets.SystemRandom()
        self._router = Router(model)
        self._statuses = statuses_by_code(model)
        self._pace = Pace(pauses=around.store.has_one_writer)

    async def answer(self, request: Request) -> Response:
        """The response to any request, whatever it is."""
        request_id = new_uuid(self._request_ids)
        request.scope[OPERATION_KEY] = _UNKNOWN_OPERATION
        try:
            body = await _read_body(request)
            async with self._pace.turn(is_write=request.method != "GET"):
                wire = self._run(request, body)
        except ApiError as error:
            wire = self._refused(error, request_id)
        except StoreError as error:
            _logger.error("request %s: %s", request_id, error)
            unavailable = ApiError("ServiceUnavailable", f"The control plane {error}. Nothing has changed.")
            wire = self._refused(unavailable, request_id)
        except Exception:
            # The last resort of a server: the client gets its answer, the log gets the reason.
            _logger.exception("request %s failed", request_id)
            failure = ApiError("InternalFailure", f"The request failed because of an error of ours; see {request_id}.")
            wire = self._refused(failure, request_id)
        content_type = {"Content-Type": "text/xml"} if wire.body else {}
        headers = {**content_type, **wire.headers, "x-amzn-RequestId": request_id}
        return Response(wire.body, wire.status, headers)

    def _run(self, request: Request, body: bytes) -> WireResponse:
        around, now = self._around, self._around.times.now()
        signed = _to_signed(request, body)
        verify(signed, around.credentials, now)
        query = unique_query(parse_query(signed.raw_query))
        operation, labels = self._router.find(signed.method, signed.raw_path, query)
        request.scope[OPERATION_KEY] = operation.name
        if operation.name not in OPERATIONS:
            raise _unsupported(operation)
        parameters = decode_request(operation, WireRequest(labels, query, signed.headers, body))
        validate(operation, parameters)
        endpoint = f"{request.scope['scheme']}://{signed.headers['host']}"
        lab_now = now + timedelta(seconds=around.times.ahead_seconds())
        return encode_response(operation, self._operate(operation, parameters, lab_now, endpoint))

    def _operate(self, operation: OperationModel, parameters: Parameters, now: datetime, endpoint: str) -> Parameters:
        around = self._around
        only_looks = operation.http["method"] == "GET"
        with around.store.view() if only_looks else around.store.transaction() as transaction:
            call = Call(transaction, around.deployment, around.zone, now, around.rng, endpoint)
            return OPERATIONS[operation.name](call, parameters)

    def _refused(self, error: ApiError, request_id: str) -> WireResponse:
        status = self._statuses[error.code]
        return WireResponse(
            status, {"Content-Type": "text/xml"}, encode_error(error.code, error.message, status, request_id)
        )


def _endpoint(api: ManagementApi) -> ASGIApp:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        response = await api.answer(Request(scope, receive))
        await response(scope, receive, send)

    return endpoint


async def _read_body(request: Request) -> bytes:
    """All of the body, within its bounds of size and time."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAXIMUM_BODY_BYTES:
                    raise ApiError("RequestEntityTooLarge", f"The body is larger than {MAXIMUM_BODY_BYTES} bytes.")
    except TimeoutError as error:
        raise ApiError(
            "RequestTimeout", f"The body was not there within {BODY_TIMEOUT_SECONDS:.0f} seconds."
        ) from error
    except ClientDisconnect as error:
        raise ApiError("RequestTimeout", "The connection was closed before the whole body was there.") from error
    return bytes(body)


def _to_signed(request: Request, body: bytes) -> SignedRequest:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    raw_path: bytes = request.scope["raw_path"]
    raw_query: bytes = request.scope["query_string"]
    return SignedRequest(request.method, raw_path.decode("latin-1"), raw_query.decode("latin-1"), headers, body)


def _unsupported(operation: OperationModel) -> ApiError:
    return ApiError(
        "UnsupportedOperation",
        f"{operation.name} is not supported in this version. Supported are {', '.join(OPERATIONS)}.",
    )
