"""A proxy's TCP port: accepts, finds the link by who has connected, and connects to the server in the client's name."""

import asyncio
import socket
from typing import Final

from lab.wan.configuration import ClientAddress, Proxy
from lab.wan.context import Context
from lab.wan.network import NoLinkError
from lab.wan.proxy_protocol import local_header, proxied_header
from lab.wan.sockets import connect_stream, hand_over
from lab.wan.tcp_session import Session
from lab.wan.toxics import Stream, Toxic

BACKLOG: Final = 1_024


class TcpRelay:
    """One listening address; the host of its sessions (tcp_session.SessionHost)."""

    def __init__(self, proxy: Proxy, context: Context) -> None:
        self._proxy = proxy
        self._context = context
        self.shared = context.shared
        self.chance = context.chance
        self.window_bytes = context.bounds.window_bytes
        self._toxics: tuple[Toxic, ...] = ()
        self._sessions: set[Session] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """OSError when the address is taken; else the port."""
        loop = self.shared.loop
        make = lambda: Session(self, lambda: self._toxics).client  # noqa: E731
        self._server = await loop.create_server(make, host, port, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more, and drop all connections."""
        if self._server is not None:
            self._server.close()
        for session in tuple(self._sessions):
            session.abort(is_reset=False)
        for task in tuple(self._dials):
            task.cancel()

    def change_toxics(self, toxics: tuple[Toxic, ...]) -> None:
        """Others from now on, for the connections that are there as well."""
        self._toxics = toxics
        now = self.shared.clock()
        for session in tuple(self._sessions):
            session.toxics_changed(now)
            session.look()

    def cuts_changed(self) -> None:
        """Those of the network are others from now on."""
        now = self.shared.clock()
        for session in tuple(self._sessions):
            session.cuts_changed(now)

    # -- tcp_session.SessionHost

    def admit(self, session: Session) -> bool:
        """See SessionHost."""
        counters, context = self._context.counters, self._context
        transport = session.client.transport
        assert transport is not None
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not peer:  # it has reset its connection already
            return False
        if counters.connections >= context.bounds.connections:
            counters.refused_full_total += 1
            return False
        session.peer, session.local = peer[:2], local[:2]
        try:
            way = context.network.way(session.peer[0], self._proxy)
        except NoLinkError as error:
            counters.refused_unlinked_total += 1
            context.complaints.tell(self._proxy.name, error, self.shared.clock())
            return False
        counters.connections += 1
        counters.connections_total += 1
        self._sessions.add(session)
        session.place(way)
        return True

    def dial(self, session: Session, after_seconds: float) -> None:
        """See SessionHost."""
        self._context.tasks.create_task(self._dial(session, after_seconds))

    async def _dial(self, session: Session, after_seconds: float) -> None:
        try:
            connected = await self._connect(session, after_seconds)
            if connected is not None:
                await hand_over(connected, session.server)
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # no server; no name that could be looked up; uvloop, of a socket that is gone again
            self._context.counters.refused_by_server_total += 1
            session.refused(f"{self._proxy.upstream}: {error or type(error).__name__}")

    async def _connect(self, session: Session, after_seconds: float) -> socket.socket | None:
        """Ends with the relay: so much of a dial may be cancelled. A transport may not be while it is made, since its protocol would hear of it or not."""
        task = asyncio.current_task()
        assert task is not None
        self._dials.add(task)
        try:
            if after_seconds:
                await asyncio.sleep(after_seconds)
            source = self._context.source_for(session.peer[0], self._proxy)
            return None if session.is_over else await connect_stream(self._proxy.upstream, source)
        finally:
            self._dials.discard(task)

    def severed(self, session: Session) -> frozenset[Stream]:
        """See SessionHost."""
        return self._context.network.severed(session.peer[0], self._proxy)

    def greeting(self, session: Session) -> bytes:
        """See SessionHost."""
        if self._proxy.client_address is not ClientAddress.PROXY_V2:
            return b""
        try:
            return proxied_header(session.peer, session.local)
        except ValueError:  # a client of IPv6 at an address of IPv4, by some system's translation
            return local_header()

    def ended(self, session: Session) -> None:
        """See SessionHost."""
        if session in self._sessions:
            self._sessions.discard(session)
            self._context.counters.connections -= 1
