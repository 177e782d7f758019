"""The port for nodes: who is let in, how many at a time, and for how long without a word (decisions 22 and 25). What nodes say there is the
business of `relay.py` and `sync.py`.

Nobody is known before its hello, so everything that is not a session is bounded in seconds: a handshake, a connection without a call, a session without a hello
(`sync.py`), and a call of any other service. Sessions are not: they last as long as their nodes beat.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Mapping
from typing import Final

from control_plane.connection_limit import OpenConnections
from control_plane.grpc_calls import ServeCall
from control_plane.grpc_connection import GrpcConnection, Peer
from control_plane.grpc_services import HEALTH, HealthService, reflection_routes
from control_plane.http2_frames import ErrorCode
from control_plane.session_messages import METHOD
from control_plane.tls_server import TlsServer
from proto.mutual_tls import TlsIdentity

ANONYMOUS_SECONDS: Final = 3.0
"""A handshake, and a connection without a call."""
LOOK_SECONDS: Final = 0.5
"""How often that is looked after."""
MOST_HANDSHAKES: Final = 512
"""At the same time; who comes then waits in the system's queue, which costs nothing. So handshakes that have begun end before their nodes give up, however many come."""
WAITING_IN_SYSTEM: Final = 4_096
ACCEPTED_AT_A_TIME: Final = 64
"""In one turn of the loop, so that nodes that are connected are heard beside those that come."""

_SERVICE: Final = METHOD.split("/")[1]
_CLOSED: Final = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


MakeConnection = Callable[
    [Mapping[str, ServeCall], OpenConnections[GrpcConnection], Callable[[Peer], bool]], GrpcConnection
]
"""What GrpcConnection is made of."""


def _nobody(_peer: Peer) -> bool:
    return False


class GrpcPort:
    """The server behind the port; with `tls`, who has no certificate of its authority gets no further than the handshake."""

    def __init__(
        self,
        nodes: ServeCall,
        most_connections: int,
        tls: TlsIdentity | None = None,
        passes_on: Callable[[Peer], bool] = _nobody,
        make_connection: MakeConnection = GrpcConnection,
    ) -> None:
        """`passes_on`: see GrpcConnection."""
        self._passes_on = passes_on
        self._make_connection = make_connection
        self._tls = None if tls is None else tls.for_listener()
        self._health = HealthService(("", _SERVICE))
        self._connections: OpenConnections[GrpcConnection] = OpenConnections(most_connections)
        self._routes: Mapping[str, ServeCall] = {
            METHOD: nodes,
            **self._health.routes(),
            **reflection_routes((_SERVICE, HEALTH)),
        }
        self._listener: socket.socket | None = None
        self._taking: set[asyncio.Task[None]] = set()
        self._handshakes: dict[TlsServer, asyncio.TimerHandle] = {}
        """Those that are not over, and what ends them if they take too long."""
        self._looking: asyncio.Task[None] | None = None
        self.failed_handshakes_total = 0
        """Of clients without a certificate that is accepted here, that gave up, or that took too long."""

    async def start(self, address: str) -> None:
        """Listen. RuntimeError when the address cannot be used."""
        host, _, port = address.rpartition(":")
        try:
            self._listener = _listen(host.strip("[]"), int(port))
        except OSError as error:
            raise RuntimeError(error.strerror or str(error)) from error
        self._resume_accepting()
        self._looking = asyncio.get_running_loop().create_task(self._look())
        self._health.set_serving(True)

    async def enter_graceful_shutdown(self) -> None:
        """Say so to those who ask for its health."""
        self._health.set_serving(False)

    async def stop(self, grace_seconds: float | None) -> None:
        """End all connections, after a while if that is given."""
        self._pause_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._looking is not None:
            self._looking.cancel()
        for handshake in list(self._handshakes):
            handshake.abort()
        for connection in self._connections.all():
            connection.end(ErrorCode.NO_ERROR, "the control plane stops")
        loop = asyncio.get_running_loop()
        until = loop.time() + (grace_seconds or 0.0)
        while len(self._connections) and loop.time() < until:  # noqa: ASYNC110  they end one by one, and soon
            await asyncio.sleep(0.005)

    # Accepting

    def _resume_accepting(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _pause_accepting(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_A_TIME):
            if self._listener is None or len(self._handshakes) >= MOST_HANDSHAKES:
                break
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # nobody any more; or no descriptor is left, which `connection_limit.py` sees to
                break
            if _has_given_up(accepted):
                accepted.close()
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.get_running_loop().create_task(self._take(accepted))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
        if len(self._handshakes) >= MOST_HANDSHAKES:
            self._pause_accepting()

    async def _take(self, accepted: socket.socket) -> None:
        """A connection, which begins with a handshake if there are certificates."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, accepted)
        except OSError:
            accepted.close()  # it did not wait

    def _protocol(self) -> asyncio.Protocol:
        def make() -> GrpcConnection:
            return self._make_connection(self._routes, self._connections, self._passes_on)

        if self._tls is None:
            return make()
        handshake = TlsServer(self._tls, make, self._shaken)
        self._handshakes[handshake] = asyncio.get_running_loop().call_later(ANONYMOUS_SECONDS, handshake.abort)
        return handshake

    def _shaken(self, handshake: TlsServer) -> None:
        if len(self._handshakes) >= MOST_HANDSHAKES:
            self._resume_accepting()
        self.failed_handshakes_total += not handshake.has_shaken_hands
        timer = self._handshakes.pop(handshake, None)
        if timer is not None:
            timer.cancel()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = loop.time()
            for connection in self._connections.all():
                connection.look(now, ANONYMOUS_SECONDS)


def _has_given_up(accepted: socket.socket) -> bool:
    """Whether the client has closed while it waited in the system's queue. With a queue longer than clients wait, all work would be for those who are gone."""
    poller = select.poll()
    poller.register(accepted, _CLOSED)
    return bool(poller.poll(0))


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(WAITING_IN_SYSTEM)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
