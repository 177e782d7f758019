"""What the gRPC port answers beside nodes: health (gRPC's health checking protocol, version 1) and reflection. Visitors, who have seconds (decision 22)."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from control_plane.grpc_calls import Call, CallHandler, ServeCall
from control_plane.grpc_wire import Status

VISIT_SECONDS: Final = 5.0
"""A call of another service than that of nodes: health and reflection answer at once, and nobody may watch for ever."""

HEALTH: Final = "grpc.health.v1.Health"


class Visit:
    """One call that ends by itself. See grpc_calls.CallHandler."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._timer = asyncio.get_running_loop().call_later(VISIT_SECONDS, self._over)

    def message_received(self, data: bytes) -> None:
        """See grpc_calls.CallHandler."""
        try:
            self.asked(data)
        except DecodeError:
            self.finish(Status.INVALID_ARGUMENT, "the message is not of this method")

    def asked(self, data: bytes) -> None:
        """Answer; DecodeError when the request is none."""
        raise NotImplementedError

    def half_closed(self) -> None:
        """See grpc_calls.CallHandler. Of a request nothing is known before it has come."""

    def writable(self) -> None:
        """See grpc_calls.CallHandler: nothing waits, answers are few."""

    def broken(self) -> None:
        """See grpc_calls.CallHandler."""
        self._timer.cancel()

    def finish(self, status: Status, reason: str = "") -> None:
        """It is over."""
        self.broken()
        self.call.finish(status, reason)

    def _over(self) -> None:
        self.broken()
        self.call.finish(Status.DEADLINE_EXCEEDED, f"a call may last {VISIT_SECONDS:g} s here")


class HealthService:
    """Whether the services are served: all or none, and those who watch are told when that changes."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._is_serving = False
        self._watching: dict[Watch, None] = {}

    def set_serving(self, is_serving: bool) -> None:
        """From now on."""
        self._is_serving = is_serving
        for watch in list(self._watching):
            watch.tell()

    def answer(self, name: str) -> health_pb2.HealthCheckResponse | None:
        """None: there is no such service."""
        if name not in self._names:
            return None
        known = health_pb2.HealthCheckResponse
        return known(status=known.SERVING if self._is_serving else known.NOT_SERVING)

    def watching(self, watch: "Watch") -> None:
        """It is told of changes until it ends."""
        self._watching[watch] = None

    def ended(self, watch: "Watch") -> None:
        """See `watching`."""
        self._watching.pop(watch, None)

    def routes(self) -> Mapping[str, ServeCall]:
        """Its methods."""
        return {
            f"/{HEALTH}/Check": lambda call: Check(call, self),
            f"/{HEALTH}/Watch": lambda call: Watch(call, self),
        }


class Check(Visit):
    """One question, one answer."""

    def __init__(self, call: Call, health: HealthService) -> None:
        super().__init__(call)
        self._health = health

    def asked(self, data: bytes) -> None:
        """See Visit."""
        answer = self._health.answer(health_pb2.HealthCheckRequest.FromString(data).service)
        if answer is None:
            self.finish(Status.NOT_FOUND, "there is no such service")
        else:
            self.call.send(answer.SerializeToString())
            self.finish(Status.OK)


class Watch(Visit):
    """An answer now, and at each change."""

    def __init__(self, call: Call, health: HealthService) -> None:
        super().__init__(call)
        self._health = health
        self._name: str | None = None

    def asked(self, data: bytes) -> None:
        """See Visit."""
        self._name = health_pb2.HealthCheckRequest.FromString(data).service
        self._health.watching(self)
        self.tell()

    def tell(self) -> None:
        """How it is now."""
        unknown = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        if self.call.is_writable:
            self.call.send((self._health.answer(self._name or "") or unknown).SerializeToString())

    def broken(self) -> None:
        """See Visit."""
        self._health.ended(self)
        super().broken()


class ReflectionVisit(Visit):
    """Questions, each with its answers; the answers are grpcio-reflection's."""

    def __init__(self, call: Call, servicer: Any) -> None:
        super().__init__(call)
        self._servicer = servicer

    def asked(self, data: bytes) -> None:
        """See Visit."""
        if not self.call.is_writable:  # what waits has a bound: one answer
            self.finish(Status.RESOURCE_EXHAUSTED, "read an answer before the next question")
            return
        request = reflection_pb2.ServerReflectionRequest.FromString(data)
        for answer in self._servicer.ServerReflectionInfo(iter((request,)), None):
            self.call.send(answer.SerializeToString())

    def half_closed(self) -> None:
        """See Visit."""
        self.finish(Status.OK)


def reflection_routes(services: Iterable[str]) -> Mapping[str, ServeCall]:
    """The method of reflection, which names these services."""
    servicer = reflection.ReflectionServicer((*services, reflection.SERVICE_NAME))

    def serve(call: Call) -> CallHandler:
        return ReflectionVisit(call, servicer)

    return {f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": serve}
