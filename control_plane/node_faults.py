"""Faults of the port for nodes: a control plane that is deaf, and one that takes no new streams. Only where faults are allowed; else no connection is of this kind.

Deaf is a process whose port for nodes stands still while the rest of it works: connections are accepted and stay, nothing on them is read, and nothing is written. What
was heard already, and what was about to be said, waits for the end of it, within the bounds that a peer has that does not read.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from control_plane.connection_limit import OpenConnections
from control_plane.grpc_calls import Call, CallHandler, ServeCall
from control_plane.grpc_connection import GrpcConnection, Peer
from control_plane.grpc_port import GrpcPort
from control_plane.grpc_wire import Status
from control_plane.http2_connection import MOST_UNREAD_BYTES
from control_plane.injected_faults import DEAF, REFUSE
from proto.fault_port import FaultPort
from proto.mutual_tls import TlsIdentity


class Deafness:
    """Whether the port is deaf, and its connections."""

    def __init__(self, faults: FaultPort) -> None:
        self._faults = faults
        self._connections: dict[DeafConnection, None] = {}
        self.is_deaf = False
        faults.when_changed(DEAF, self._changed)

    def make_connection(
        self,
        routes: Mapping[str, ServeCall],
        open_connections: OpenConnections[GrpcConnection],
        passes_on: Callable[[Peer], bool],
    ) -> GrpcConnection:
        """See GrpcConnection."""
        return DeafConnection(routes, open_connections, passes_on, self)

    def joined(self, connection: "DeafConnection") -> None:
        """It is told until it has left."""
        self._connections[connection] = None

    def left(self, connection: "DeafConnection") -> None:
        """See `joined`."""
        self._connections.pop(connection, None)

    def _changed(self) -> None:
        self.is_deaf = self._faults.in_force(DEAF) is not None
        for connection in list(self._connections):
            if self.is_deaf:
                connection.fall_deaf()
            else:
                connection.hear_again()


class DeafConnection(GrpcConnection):
    """A connection that can be told to stand still."""

    __slots__ = ("_deafness", "_heard", "_is_deaf", "_is_held_up", "_said")

    def __init__(
        self,
        routes: Mapping[str, ServeCall],
        open_connections: OpenConnections[GrpcConnection],
        passes_on: Callable[[Peer], bool],
        deafness: Deafness,
    ) -> None:
        super().__init__(routes, open_connections, passes_on)
        self._deafness = deafness
        self._is_deaf = False
        self._is_held_up = False
        """The system takes no more either."""
        self._heard = bytearray()
        """What came with the last look at the socket; it is not looked at any more."""
        self._said = bytearray()

    def fall_deaf(self) -> None:
        """From now on."""
        if self._is_deaf or self._transport is None:
            return
        self._is_deaf = True
        self._is_held_up, self._is_paused = self._is_paused, True
        with contextlib.suppress(RuntimeError):  # it is closing
            self._transport.pause_reading()

    def hear_again(self) -> None:
        """Everything in the order in which it would have been."""
        if not self._is_deaf:
            return
        self._is_deaf, self._is_paused = False, self._is_held_up
        said, heard = bytes(self._said), bytes(self._heard)
        self._said.clear()
        self._heard.clear()
        if self._transport is None or self._transport.is_closing():
            return
        if said:
            self._write(said)
        with contextlib.suppress(RuntimeError):
            self._transport.resume_reading()
        if heard:
            self.data_received(heard)
        if not self._is_paused:
            self._send_what_waits()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol. Not even a new one is greeted."""
        self._deafness.joined(self)
        if self._deafness.is_deaf:
            self._transport = transport  # type: ignore[assignment]  # as in Http2Connection
            self.fall_deaf()
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._deafness.left(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_deaf:
            self._heard += data
        else:
            super().data_received(data)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_held_up = True
        super().pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_held_up = False
        if not self._is_deaf:
            super().resume_writing()

    # http2_connection.Http2Connection

    def look(self, now: float, anonymous_seconds: float) -> None:
        """See GrpcConnection."""
        if not self._is_deaf:
            super().look(now, anonymous_seconds)

    def _write(self, data: bytes) -> None:
        if not self._is_deaf:
            super()._write(data)
            return
        self._said += data
        if len(self._said) > MOST_UNREAD_BYTES and self._transport is not None:
            self._transport.abort()


class _Refused:
    """A call that is over. See grpc_calls.CallHandler."""

    def message_received(self, data: bytes) -> None:
        """See grpc_calls.CallHandler."""

    def half_closed(self) -> None:
        """See grpc_calls.CallHandler."""

    def writable(self) -> None:
        """See grpc_calls.CallHandler."""

    def broken(self) -> None:
        """See grpc_calls.CallHandler."""


def refusing(serve: ServeCall, faults: FaultPort) -> ServeCall:
    """The same, but for new calls while they are to be refused."""

    def serve_or_refuse(call: Call) -> CallHandler:
        fault = faults.in_force(REFUSE)
        if fault is None:
            return serve(call)
        fault.times += 1
        call.finish(Status.UNAVAILABLE, "no new streams are taken: a fault has been injected")
        return _Refused()

    return serve_or_refuse


def port_for_nodes(
    serve: ServeCall,
    most_connections: int,
    tls: TlsIdentity | None,
    passes_on: Callable[[Peer], bool],
    faults: FaultPort | None,
) -> GrpcPort:
    """See GrpcPort. Without `faults` nothing of this module is in it."""
    if faults is None:
        return GrpcPort(serve, most_connections, tls, passes_on)
    deafness = Deafness(faults)
    return GrpcPort(refusing(serve, faults), most_connections, tls, passes_on, deafness.make_connection)
