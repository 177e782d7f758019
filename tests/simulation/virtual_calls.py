"""One call of Sync over a connection in virtual time: what grpc.aio is to a node, and `grpc_calls.Call` to the control plane.

They behave as badly as real ones do: a write waits for room, what is under way when a connection breaks arrives or does not, each end hears of that when it hears of it,
and half-open connections say nothing."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

import grpc
import grpc.aio

from control_plane.grpc_calls import Call, CallHandler
from control_plane.grpc_wire import Status
from proto.cdn.v1 import sync_pb2
from tests.simulation.plan import PLANE
from tests.simulation.session import Process
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Link

WINDOWS: Final = (1, 3, 1_000)
"""How many messages may be under way on a connection before a writer waits."""
CONNECT_SECONDS: Final = 2.0
"""Bound on one connection attempt: node_session.CHANNEL_OPTIONS."""
REFUSED_SECONDS: Final = (0.01, 0.3, CONNECT_SECONDS)
WRITTEN_DOWN: Final = ("entry", "entries", "snapshot")

_STATUS_CODES: Final = {int(code.value[0]): code for code in grpc.StatusCode}
_NOBODY: Final[Mapping[str, Sequence[bytes]]] = MappingProxyType({})

_Waiter = asyncio.Future[None] | None


class Mark(Enum):
    """What goes over a connection beside messages."""

    OPEN = "open"
    OPENED = "opened"
    CALL = "call"
    HALF_CLOSED = "half closed"
    CANCELLED = "cancelled"


class Ending:
    """The trailers of a call."""

    __slots__ = ("code", "reason")

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        self.code = code
        self.reason = reason


class Listener(Protocol):
    """The control plane, as far as connections go."""

    @property
    def stall_probability(self) -> float:
        """How often a message is late by a lot."""

    @property
    def loop(self) -> VirtualLoop | None:
        """Of the process that is there; None while there is none."""

    def serve(self, call: Call) -> CallHandler:
        """See sync.SyncService."""

    def accepted(self, connection: "Connection") -> None:
        """It leads to this process."""

    def closed(self, connection: "Connection") -> None:
        """Nothing comes of it any more."""


class NodeEnd:
    """See grpc.aio.StreamStreamCall, and what of grpc.aio.Channel concerns its connection."""

    def __init__(self, loop: VirtualLoop, connection: "Connection") -> None:
        self._loop, self._connection = loop, connection
        self.is_connected = self._is_cancelled = self._has_said_all = False
        self._ending: Ending | None = None
        self._unread: deque[sync_pb2.ControlMessage] = deque()
        self._in_flight = 0
        self._reading: _Waiter = None
        self._writing: _Waiter = None

    # grpc.aio

    async def connected(self) -> None:
        """See Channel.channel_ready."""
        while not self.is_connected:
            self._writing = self._loop.create_future()
            await self._writing

    async def read(self) -> object:
        """See StreamStreamCall."""
        while not self._unread:
            if self._has_ended():
                self._raise_for_status()
                return grpc.aio.EOF
            self._reading = self._loop.create_future()
            await self._until(self._reading)
        return self._unread.popleft()

    async def write(self, message: sync_pb2.NodeMessage) -> None:
        """See StreamStreamCall."""
        if self._has_ended() or self._has_said_all:
            raise asyncio.InvalidStateError("the call is over")
        while not (self.is_connected and self._in_flight < self._connection.window):
            self._writing = self._loop.create_future()
            await self._until(self._writing)
            if self._has_ended():
                self._raise_for_status()
                return
        self._in_flight += 1
        self._send(message.SerializeToString())

    async def done_writing(self) -> None:
        """See StreamStreamCall."""
        if not (self._has_ended() or self._has_said_all):
            self._has_said_all = True
            self._send(Mark.HALF_CLOSED)

    def cancel(self) -> bool:
        """See StreamStreamCall."""
        if self._has_ended():
            return False
        self._is_cancelled = True
        self._send(Mark.CANCELLED)
        self._wake()
        return True

    def _has_ended(self) -> bool:
        return self._is_cancelled or self._ending is not None

    async def _until(self, waiter: "asyncio.Future[None]") -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            self.cancel()
            raise

    def _raise_for_status(self) -> None:
        ending = self._ending
        if ending is None:
            raise asyncio.CancelledError
        if ending.code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(ending.code, grpc.aio.Metadata(), grpc.aio.Metadata(), ending.reason)

    def _send(self, message: object) -> None:
        if not self._loop.is_dead:
            self._connection.up.send(message)

    # For the connection

    def opened(self) -> None:
        """Handshakes are over."""
        if not self._has_ended():
            self.is_connected = True
            self._send(Mark.CALL)
            self._wake()

    def received(self, message: sync_pb2.ControlMessage) -> None:
        """One message, which waits until it is read."""
        self._unread.append(message)
        self._wake()

    def has_room(self) -> None:
        """A message has arrived at the other end."""
        self._in_flight -= 1
        if self._writing is not None:
            self._loop.enter(self._wake)

    def ended(self, ending: Ending, *, at_once: bool) -> None:
        """With a status; `at_once`: what is not read yet is lost."""
        if not self._has_ended():
            self._ending = ending
            if at_once:
                self._unread.clear()
            self._wake()

    def _wake(self) -> None:
        for waiter in (self._reading, self._writing):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._reading = self._writing = None


class PlaneEnd:
    """See grpc_calls.Call."""

    peer = _NOBODY

    def __init__(self, loop: VirtualLoop, connection: "Connection") -> None:
        self._loop, self._connection = loop, connection
        self._handler: CallHandler | None = None
        self._is_over = False
        self._in_flight = 0

    @property
    def is_writable(self) -> bool:
        """See grpc_calls.Call."""
        return self._in_flight < self._connection.window

    def admit(self) -> None:
        """See grpc_calls.Call."""

    def send(self, message: bytes) -> None:
        """See grpc_calls.Call."""
        if not (self._is_over or self._loop.is_dead):
            self._in_flight += 1
            self._connection.down.send(message)

    def finish(self, status: Status, reason: str = "") -> None:
        """See grpc_calls.Call."""
        self._handler = None
        if not (self._is_over or self._loop.is_dead):
            self._is_over = True
            self._connection.down.send(Ending(_STATUS_CODES[int(status)], reason))
            self._connection.finished()

    # For the connection

    def received(self, serve: Callable[[Call], CallHandler], message: object) -> None:
        """Whatever comes over the connection."""
        handler = self._handler
        if message is Mark.CALL:
            self._handler = serve(self)
        elif handler is None:
            return
        elif message is Mark.HALF_CLOSED:
            handler.half_closed()
        elif message is Mark.CANCELLED:
            self.broken()
        else:
            assert isinstance(message, bytes)
            handler.message_received(message)

    def has_room(self) -> None:
        """A message has arrived at the other end."""
        self._in_flight -= 1
        if self._in_flight == self._connection.window - 1:
            self._loop.enter(self._writable)

    def _writable(self) -> None:
        if self._handler is not None and self.is_writable:
            self._handler.writable()

    def broken(self) -> None:
        """The node is gone."""
        handler, self._handler, self._is_over = self._handler, None, True
        if handler is not None:
            handler.broken()


class Connection:
    """Between a process and the control plane."""

    def __init__(self, process: Process, loop: VirtualLoop, listener: Listener) -> None:
        self._process, self._listener = process, listener
        self._world, self._network, self._place = process.world, process.network, process.place
        self._dice = self._world.dice(f"{self._place} connection")
        self.window = self._dice.choice(WINDOWS)
        self._loop = loop
        self.node = NodeEnd(loop, self)
        self._plane: PlaneEnd | None = None
        self._plane_loop: VirtualLoop | None = None
        self._is_broken = False
        stall_probability = listener.stall_probability
        self.up = Link(self._network, (self._place, PLANE), stall_probability, self._at_plane)
        self.down = Link(self._network, (PLANE, self._place), stall_probability, self._at_node)

    def open(self, *, is_refused: bool) -> None:
        """Begin to connect."""
        if is_refused or self._listener.loop is None:
            self._fail_after(self._dice.choice(REFUSED_SECONDS), "connection refused")
        else:
            self.up.send(Mark.OPEN)
            self._fail_after(CONNECT_SECONDS, "it takes too long")

    def silence(self, *, both_ways: bool) -> None:
        """Half-open: what the node says arrives no more, and perhaps what it is told; nobody is told that."""
        self.up.is_silent = True
        self.down.is_silent = both_ways

    def break_off(self) -> None:
        """What is under way is lost, and both ends notice, each when the news arrives."""
        if not self._is_broken:
            self._is_broken = self.up.is_closed = self.down.is_closed = True
            self._node_hears()
            self._plane_hears()

    def left_by_node(self) -> None:
        """Its process has ended. What it had said may be on its way all the same."""
        if self._dice.random() < 0.5:
            self.break_off()
        else:
            self.down.is_closed = True
            self.up.send(Mark.CANCELLED)

    def left_by_plane(self) -> None:
        """The control plane's process has ended."""
        if self._dice.random() < 0.5:
            self.break_off()
        else:
            self.up.is_closed = True
            self.down.send(Ending(grpc.StatusCode.UNAVAILABLE, "connection reset"))

    def finished(self) -> None:
        """By the control plane: it does not listen any more."""
        self._listener.closed(self)

    # At the node

    def _fail_after(self, seconds: float, reason: str) -> None:
        def fail() -> None:
            if not self.node.is_connected:
                self._end_at_node(reason)

        self._world.after(seconds, lambda: self._network.run_in(self._place, fail))

    def _node_hears(self) -> None:
        if not self.down.is_silent:
            self._later(PLANE, self._place, partial(self._end_at_node, "connection reset"))

    def _end_at_node(self, reason: str) -> None:
        self._loop.enter(partial(self.node.ended, Ending(grpc.StatusCode.UNAVAILABLE, reason), at_once=True))

    def _at_node(self, message: object) -> None:
        if self._loop.is_dead:
            return
        if message is Mark.OPENED:
            self._loop.enter(self.node.opened)
        elif isinstance(message, Ending):
            self._loop.enter(partial(self.node.ended, message, at_once=False))
        else:
            assert isinstance(message, bytes)
            self._network.arrive(self._place, PLANE, self._room_at_plane)
            self._told(sync_pb2.ControlMessage.FromString(message))

    def _told(self, message: sync_pb2.ControlMessage) -> None:
        """The whole process waits for a slow disk."""
        process, deliver = self._process, partial(self._loop.enter, self.node.received, message)
        seconds = process.writing_seconds() if message.WhichOneof("kind") in WRITTEN_DOWN else 0.0
        if seconds:
            self._network.stand_still(self._place)
            self._world.after(seconds, partial(self._network.go_on, self._place, deliver))
        else:
            deliver()

    def _room_at_node(self) -> None:
        if not self._loop.is_dead:
            self.node.has_room()

    # At the control plane

    def _at_plane(self, message: object) -> None:
        if message is Mark.OPEN:
            self._accept()
            return
        if message is Mark.CANCELLED:
            self._listener.closed(self)
        if self._plane is not None and self._plane_loop is not None and not self._plane_loop.is_dead:
            self._plane_loop.enter(self._plane.received, self._listener.serve, message)
            if isinstance(message, bytes):
                self._network.arrive(PLANE, self._place, self._room_at_node)

    def _accept(self) -> None:
        loop = self._listener.loop
        if loop is None:
            self._node_hears()
            return
        self._plane_loop, self._plane = loop, PlaneEnd(loop, self)
        self._listener.accepted(self)
        self.down.send(Mark.OPENED)

    def _room_at_plane(self) -> None:
        if self._plane is not None and self._plane_loop is not None and not self._plane_loop.is_dead:
            self._plane.has_room()

    def _plane_hears(self) -> None:
        if self._plane is not None and not self.up.is_silent:
            self._later(self._place, PLANE, self._end_at_plane)

    def _end_at_plane(self) -> None:
        if self._plane is not None and self._plane_loop is not None:
            self._listener.closed(self)
            self._plane_loop.enter(self._plane.broken)

    def _later(self, source: str, target: str, callback: Callable[[], None]) -> None:
        self._world.after(self._dice.uniform(0.0, 0.05), lambda: self._network.arrive(source, target, callback))
