"""A proxy's UDP port: datagrams between clients and the server, each by itself late, or lost. For DNS, and whatever else is small.

A *flow* is a client's address, with a socket of its own toward the server, so that answers find back. There are so many flows at most; the one that was silent longest
makes room, and one that was silent for a minute ends (RFC 4787 section 4.3 asks NATs for two minutes, and DNS needs seconds).
"""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from lab.wan.configuration import Proxy
from lab.wan.context import Context
from lab.wan.cuts import NEITHER
from lab.wan.links import datagram_arrival
from lab.wan.network import NoLinkError
from lab.wan.running_link import RunningPath, Way
from lab.wan.sockets import Resolved, keep_bursts, open_socket, resolve
from lab.wan.toxics import Stream

LARGEST_DATAGRAM_BYTES: Final = 65_535
DATAGRAMS_A_TURN: Final = 64
"""Read from one socket before others have their turn."""
MOST_WAITING_DATAGRAMS: Final = 16_384
"""Of one proxy; more are dropped, as by a router without memory."""
SILENT_SECONDS: Final = 60.0

Address = tuple[str, int]


class UdpFlow:
    """One client's."""

    def __init__(self, server: socket.socket, way: Way | None) -> None:
        self.server = server
        self.up = None if way is None else way.up
        self.down = None if way is None else way.down
        self.heard_at = 0.0
        self.severed: frozenset[Stream] = NEITHER


class UdpRelay:
    """One listening address."""

    def __init__(self, proxy: Proxy, context: Context) -> None:
        self._proxy = proxy
        self._context = context
        self._loop = context.shared.loop
        self._clock = context.shared.clock
        self._flows: OrderedDict[Address, UdpFlow] = OrderedDict()
        self._waiting = 0
        self._listening: socket.socket | None = None
        self._upstream: Resolved | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> int:
        """OSError when the address is taken, or the server has none; else the port."""
        self._upstream = await resolve(self._proxy.upstream, socket.SOCK_DGRAM)
        family, where = await resolve(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", socket.SOCK_DGRAM)
        listening = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listening.setblocking(False)
            keep_bursts(listening)
            listening.bind(where)
        except OSError:
            listening.close()
            raise
        self._listening = listening
        self._loop.add_reader(listening.fileno(), self._read_clients)
        self._sweep = self._loop.call_later(SILENT_SECONDS, self._end_silent_flows)
        return int(listening.getsockname()[1])

    def close(self) -> None:
        """Listen no more; what is under way is lost."""
        listening, self._listening = self._listening, None
        if listening is not None:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for client in tuple(self._flows):
            self._end(client)

    # -- from clients to the server

    def _read_clients(self) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            if self._listening is None:
                return
            try:
                data, client = self._listening.recvfrom(LARGEST_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier answer
                continue
            flow = self._flow_of(client[:2])
            if flow is not None:
                is_severed = Stream.UPSTREAM in flow.severed
                self._send(flow.up, data, lambda data, flow=flow: flow.server.send(data), is_severed=is_severed)  # type: ignore[misc]

    def _flow_of(self, client: Address) -> UdpFlow | None:
        flow = self._flows.get(client)
        if flow is None:
            flow = self._begin(client)
        if flow is not None:
            flow.heard_at = self._clock()
            self._flows.move_to_end(client)
        return flow

    def _begin(self, client: Address) -> UdpFlow | None:
        assert self._upstream is not None
        counters = self._context.counters
        try:
            way = self._context.network.way(client[0], self._proxy)
            server = open_socket(self._upstream, socket.SOCK_DGRAM, self._context.source_for(client[0], self._proxy))
            keep_bursts(server)
            server.connect(self._upstream[1])
        except (NoLinkError, OSError) as error:
            counters.refused_unlinked_total += 1
            self._context.complaints.tell(self._proxy.name, error, self._clock())
            return None
        if counters.flows >= self._context.bounds.flows and self._flows:
            self._end(next(iter(self._flows)))
        flow = self._flows[client] = UdpFlow(server, way)
        flow.severed = self._context.network.severed(client[0], self._proxy)
        counters.flows += 1
        self._loop.add_reader(server.fileno(), self._read_server, client, flow)
        return flow

    # -- and back

    def _read_server(self, client: Address, flow: UdpFlow) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = flow.server.recv(LARGEST_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error: nobody listens there. User space cannot hand it on
                return
            flow.heard_at = self._clock()
            is_severed = Stream.DOWNSTREAM in flow.severed
            self._send(flow.down, data, lambda data: self._answer(data, client), is_severed=is_severed)

    def _answer(self, data: bytes, client: Address) -> None:
        if self._listening is not None:
            self._listening.sendto(data, client)

    # -- both

    def cuts_changed(self) -> None:
        """Those of the network are others from now on. What is under way arrives, as over a link."""
        for client, flow in self._flows.items():
            flow.severed = self._context.network.severed(client[0], self._proxy)

    def _send(
        self, path: RunningPath | None, data: bytes, send: Callable[[bytes], object], *, is_severed: bool
    ) -> None:
        counters, now = self._context.counters, self._clock()
        counters.datagrams_total += 1
        at: float | None = now
        if is_severed:
            at = None
        elif path is not None:
            at = datagram_arrival(path.queue, len(data), now, self._context.chance)
        if at is None or self._waiting >= MOST_WAITING_DATAGRAMS:
            counters.datagrams_dropped_total += 1
        elif at <= now:
            self._send_now(send, data)
        else:
            self._waiting += 1
            self._loop.call_later(at - now, self._send_later, send, data)

    def _send_later(self, send: Callable[[bytes], object], data: bytes) -> None:
        self._waiting -= 1
        self._send_now(send, data)

    def _send_now(self, send: Callable[[bytes], object], data: bytes) -> None:
        with contextlib.suppress(OSError):  # full, refused, or closed meanwhile: datagrams may be lost
            send(data)

    def _end_silent_flows(self) -> None:
        now = self._clock()
        for client, flow in tuple(self._flows.items()):
            if now - flow.heard_at >= SILENT_SECONDS:
                self._end(client)
        self._sweep = self._loop.call_later(SILENT_SECONDS, self._end_silent_flows)

    def _end(self, client: Address) -> None:
        flow = self._flows.pop(client)
        self._context.counters.flows -= 1
        self._loop.remove_reader(flow.server.fileno())
        flow.server.close()
