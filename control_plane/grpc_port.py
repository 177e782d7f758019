"""The port for nodes: gRPC's own limits, and one that it lacks (decision 22). What nodes say there is the business of `relay.py` and `sync.py`.

Nobody is known before its hello, so everything that is not a session is bounded in seconds: a connection until its first frame, one without a call, a session without
a hello (`sync.py`), and a call of any other service. Sessions are not: they last as long as their nodes beat.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from proto.cdn.v1 import sync_pb2
from proto.mutual_tls import TlsIdentity

ANONYMOUS_MILLISECONDS: Final = 3_000
"""A connection without a frame, or without a call."""
VISIT_SECONDS: Final = 5.0
"""A call of another service than that of nodes: health and reflection answer at once, and nobody may watch for ever."""
STREAMS_PER_CONNECTION: Final = 16
"""A node needs one."""

OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second control plane on the same port must fail, not share
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    (
        "grpc.max_receive_message_length",
        1024 * 1024,
    ),  # nodes say little, but for one that refuses thousands of resources
    ("grpc.server_handshake_timeout_ms", ANONYMOUS_MILLISECONDS),
    ("grpc.max_connection_idle_ms", ANONYMOUS_MILLISECONDS),
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
)

_SERVICE = sync_pb2.DESCRIPTOR.services_by_name["ControlPlane"].full_name

_Handler: TypeAlias = (
    "grpc.RpcMethodHandler[Any, Any] | None"  # generic for the type checker only; None: no such method
)
_Context = grpc.aio.ServicerContext[Any, Any]


class VisitLimit(grpc.aio.ServerInterceptor):
    """Ends calls of all services but that of nodes after `VISIT_SECONDS`; also those whose request never comes, for which gRPC waits for ever."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """See grpc.aio."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(f"/{_SERVICE}/"):
            return handler
        return grpc.stream_stream_rpc_method_handler(
            _limited(handler), handler.request_deserializer, handler.response_serializer
        )


def _limited(handler: "grpc.RpcMethodHandler[Any, Any]") -> Callable[[AsyncIterator[Any], _Context], Awaitable[None]]:
    """The same as a stream of requests and one of responses, which is what each kind of call is on the wire."""
    behavior: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def visit(requests: AsyncIterator[Any], context: _Context) -> None:
        try:
            async with asyncio.timeout(VISIT_SECONDS):
                answers = behavior(requests if handler.request_streaming else await anext(requests), context)
                if inspect.isasyncgen(answers):
                    async for answer in answers:
                        await context.write(answer)
                elif (answer := await answers) is not None:
                    await context.write(answer)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"a call may last {VISIT_SECONDS:g} s here")
        except StopAsyncIteration:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "there is no request")

    return visit


class GrpcPort:
    """The server behind the port; with `tls`, who has no certificate of its authority gets no further than the handshake."""

    def __init__(self, nodes: grpc.GenericRpcHandler, most_connections: int, tls: TlsIdentity | None = None) -> None:
        options = (*OPTIONS, ("grpc.max_allowed_incoming_connections", most_connections))
        self._tls = tls
        self._server = grpc.aio.server(options=options, interceptors=[VisitLimit()])
        self._health = health.aio.HealthServicer()
        self._server.add_generic_rpc_handlers((nodes,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str) -> None:
        """Listen. RuntimeError when the address cannot be used."""
        if self._tls is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, self._tls.for_server())
        await self._server.start()
        for name in ("", _SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def enter_graceful_shutdown(self) -> None:
        """Say so to those who ask for its health."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float | None) -> None:
        """End all streams, after a while if that is given."""
        await self._server.stop(grace_seconds)
