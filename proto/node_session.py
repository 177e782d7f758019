"""A node's end of the Sync stream: connects, carries out what `node_machine.py` decides, and connects again when the stream breaks. Where there are several control
planes, to the next one: they share one log and one leader, and it does not matter which of them a node speaks with.

Shared by edge_node and dns_router. No decision of the protocol belongs here; only sockets, waiting and the order in which effects are carried out.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Protocol

import grpc
import grpc.aio

from proto.cdn.v1 import sync_pb2, sync_pb2_grpc
from proto.host_clock import host_seconds
from proto.log_position import LogPosition
from proto.message_counts import RECEIVED, SENT, MessageCounts
from proto.mutual_tls import SERVER_NAME_OPTION, TlsIdentity
from proto.node_machine import (
    ApplyDirectory,
    ApplyEntry,
    ApplySnapshot,
    Disconnect,
    Effect,
    LeaseHeld,
    LeaseLost,
    LeaseState,
    Load,
    NodeIdentity,
    NodeMachine,
    Send,
)
from proto.rejected_changes import RejectedChanges, to_json
from proto.sync_call import SyncCall

__all__ = ["Applier", "NodeIdentity", "NodeSession"]

FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
LEAVE_SECONDS = 1.0
MAXIMUM_OUTGOING_MESSAGES = 16_384
"""Rejections, of a whole snapshot perhaps, and beats that the control plane has not read yet; acknowledgements replace each other."""

CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # a snapshot of thousands of distributions
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel means a new connection, also after a half-open one
    ("grpc.min_reconnect_backoff_ms", 3_000),  # bound on one connection attempt: three round trips (TCP, TLS, HTTP/2)
)

TRY_AGAIN = grpc.StatusCode.ABORTED
"""What a control plane ends a stream with that would be glad to have it anew."""

CONNECT_SECONDS = 0.75
"""Where there is another control plane to go to: whoever stands still takes connections all the same, and says nothing on them."""

_logger = logging.getLogger(__name__)


class Applier(Protocol):
    """What the node does with what it is told. Called on the event loop; an OSError means that it could not be made durable, and the stream starts over."""

    def position(self) -> LogPosition:
        """Log, index and the digest that came with it, as far as it is durable, or in use by a node which has no cache; LogPosition() when nothing is known."""

    def rejected(self) -> RejectedChanges:
        """What of the log, up to the position, is not in use in its newest version."""

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """When it returns, it can be acknowledged (see `Acknowledgement` in sync.proto); voids every cached response from before, also when it is of the same log."""

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """When it returns, it can be acknowledged; `rejected` has its resource when that could not be used."""

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """Replaces the one before."""

    def lease_held(self, until: float) -> None:
        """The node holds a lease until then, by the clock of the session."""

    def lease_lost(self) -> None:
        """The lease is worth nothing any more, although it has not run out: the node leaves, or is on another log."""

    def load(self) -> tuple[int, int]:
        """(requests_total, open_connections)."""

    def checksum(self) -> bytes:
        """Over all that is configured, as of the position; empty: it cannot be told."""


class _StreamEndedError(Exception):
    """The conversation is over; the message says why."""


class _Outgoing:
    """Messages that wait to be written, bounded."""

    def __init__(self) -> None:
        self._messages: deque[sync_pb2.NodeMessage] = deque()
        self._wake = asyncio.Event()

    def put(self, message: sync_pb2.NodeMessage) -> None:
        """Queue; an acknowledgement replaces one that directly precedes it, since it says more."""
        messages = self._messages
        if message.HasField("acknowledgement") and messages and messages[-1].HasField("acknowledgement"):
            messages.pop()
        if len(messages) >= MAXIMUM_OUTGOING_MESSAGES:
            raise _StreamEndedError("the control plane does not read")
        messages.append(message)
        self._wake.set()

    async def get(self) -> sync_pb2.NodeMessage:
        """The oldest message, as soon as there is one."""
        while not self._messages:
            self._wake.clear()
            await self._wake.wait()
        return self._messages.popleft()


class NodeSession:
    """Keeps one node in step with the control plane for as long as `run` runs."""

    def __init__(
        self,
        identity: NodeIdentity,
        applier: Applier,
        control_planes: str | Sequence[str],
        *,
        tls: TlsIdentity | None = None,
        clock: Callable[[], float] = host_seconds,
        rng: random.Random | None = None,
    ) -> None:
        self._identity = identity
        self._applier = applier
        self._control_planes = (control_planes,) if isinstance(control_planes, str) else tuple(control_planes)
        self._turn = 0
        """Which of them is next."""
        self._is_wanted_here = False
        """The stream was ended by a control plane that would be glad to have it anew."""
        self._failures_in_a_row = 0
        self._tls = tls
        self._told_of_certificate: str | None = None
        """What was wrong with this node's certificate the last time that it was looked at."""
        self._clock = clock
        self._rng = rng or random.Random()
        self._machine = NodeMachine(
            identity,
            applier.position(),
            incarnation=self._rng.getrandbits(63) | 1,
            has_alternatives=len(self._control_planes) > 1,
        )
        self._outgoing = _Outgoing()
        self._streams_total = 0
        self.message_counts = MessageCounts()
        """With all control planes, on all streams."""
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._is_connected = False
        self._could_not_keep = False
        """What was sent on the last stream could not be written here: the control plane is not to blame, and will send it again."""
        self._is_leaving = False
        self._tick_moved = asyncio.Event()
        self._stopped = asyncio.Event()
        self._abandoned = asyncio.Event()

    @property
    def applied_index(self) -> int:
        """Highest index that is applied."""
        return self._machine.applied_index

    @property
    def log_id(self) -> str:
        """Identity of the log that `applied_index` belongs to; empty when nothing is known."""
        return self._machine.log_id

    @property
    def head_index(self) -> int:
        """Newest index in the log as far as the node has heard."""
        return self._machine.head_index

    @property
    def is_connected(self) -> bool:
        """Whether the control plane has spoken on the current stream."""
        return self._is_connected

    @property
    def reconnects_total(self) -> int:
        """Streams opened after the first one."""
        return max(0, self._streams_total - 1)

    @property
    def rejections_total(self) -> int:
        """Resources that the node has refused."""
        return self._machine.rejections_total

    def rejections(self) -> list[dict[str, object]]:
        """What the node has refused and not accepted since, as `/status` has it."""
        return [to_json(change.rejection) for change in self._applier.rejected().values()]

    def lease_state(self) -> LeaseState:
        """`none` until the first lease; `expired` when it has run out since."""
        return self._machine.lease_state(self._clock())

    def lease_remaining_seconds(self) -> float:
        """0 without a lease."""
        return self._machine.lease_remaining_seconds(self._clock())

    def renewed_seconds_ago(self) -> float:
        """Since the heartbeat was sent that the newest lease answers; infinite without one."""
        return self._machine.renewed_seconds_ago(self._clock())

    @property
    def _control_plane(self) -> str:
        """The one that is spoken with, or tried next."""
        return self._control_planes[self._turn]

    async def run(self) -> None:
        """Stay connected until cancelled, or until `leave` is done."""
        try:
            while not self._is_leaving:
                reason = await self._converse_once()
                await self._wait_to_retry(reason)
        finally:
            self._is_connected = False
            self._stopped.set()

    async def leave(self) -> None:
        """Say that the node is going and close the stream, within a second; `run` returns."""
        if self._is_leaving:
            return
        self._is_leaving = True
        try:
            self._carry_out(self._machine.left())
        except _StreamEndedError:
            self._abandoned.set()
        if not self._is_connected:
            self._abandoned.set()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._stopped.wait()
        except TimeoutError:
            self._abandoned.set()

    async def _wait_to_retry(self, reason: str) -> None:
        """Back off, unless the node has left: twice as long after each failure in a row, once all control planes have been tried."""
        if self._is_connected and not self._could_not_keep:
            self._retry_seconds = FIRST_RETRY_SECONDS
            self._failures_in_a_row = 0
        if not self._is_connected:
            self._look_at_certificate()
        self._could_not_keep = False
        self._is_connected = False
        if self._is_leaving:
            return
        pause_seconds = self._retry_seconds * self._rng.uniform(0.5, 1.0)  # 500 nodes must not come back in step
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= len(self._control_planes):
            self._retry_seconds = min(LONGEST_RETRY_SECONDS, self._retry_seconds * 2)
        said_by = self._control_plane
        if not self._is_wanted_here:
            self._turn = (self._turn + 1) % len(self._control_planes)
        _logger.info("control plane %s: %s; retry in %.2f s at %s", said_by, reason, pause_seconds, self._control_plane)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds):
                await self._abandoned.wait()

    def _look_at_certificate(self) -> None:
        """After a stream on which nothing was heard: the control plane does not say what it has against a certificate."""
        problem = None if self._tls is None else self._tls.why_refused()
        if problem is not None and problem != self._told_of_certificate:
            _logger.error("the certificate of this node is good for no control plane: %s", problem)
        self._told_of_certificate = problem

    async def _converse_once(self) -> str:
        """Open a stream and talk until it ends; why it ended."""
        self._streams_total += 1
        self._outgoing = _Outgoing()
        self._is_wanted_here = False
        async with self._open_channel() as channel:
            if len(self._control_planes) > 1:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await channel.channel_ready()
                except TimeoutError:
                    return "it cannot be reached"
            call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
            try:
                return await self._converse(call)
            finally:
                call.cancel()

    def _open_channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._control_plane, options=CHANNEL_OPTIONS)
        options = (*CHANNEL_OPTIONS, SERVER_NAME_OPTION)
        return grpc.aio.secure_channel(self._control_plane, self._tls.for_channel(), options=options)

    async def _converse(self, call: SyncCall) -> str:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._carry_out(self._machine.connected(self._clock(), self._applier.position(), self._applier.rejected()))
        async with asyncio.TaskGroup() as group:
            works = (partial(self._read, call), partial(self._write, call), self._beat, self._watch_abandoned)
            tasks = [group.create_task(self._reporting(work, ended)) for work in works]
            reason = await ended
            for task in tasks:
                task.cancel()
        return reason

    async def _reporting(self, work: Callable[[], Coroutine[None, None, None]], ended: asyncio.Future[str]) -> None:
        """Do the work; what ends the stream is its result and not a failure of the group, so that a cancellation in the same moment is not lost in it."""
        try:
            await work()
        except grpc.aio.AioRpcError as error:
            self._is_wanted_here = error.code() is TRY_AGAIN
            reason = f"{error.code().name}: {error.details()}"
        except (_StreamEndedError, OSError) as error:
            reason = str(error)
        else:
            return
        if not ended.done():
            ended.set_result(reason)

    async def _read(self, call: SyncCall) -> None:
        while True:
            message = await call.read()
            if not isinstance(message, sync_pb2.ControlMessage):
                raise _StreamEndedError("the control plane closed the stream")
            self._is_connected = True
            self.message_counts.count(RECEIVED, message)
            tick_at = self._machine.next_tick_at
            self._carry_out(self._machine.received(message, self._clock()))
            if self._machine.next_tick_at < tick_at:
                self._tick_moved.set()

    async def _write(self, call: SyncCall) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                await call.write(message)
            except asyncio.InvalidStateError as error:
                raise _StreamEndedError("the stream is closed") from error
            self.message_counts.count(SENT, message)
            if message.HasField("leaving"):
                await call.done_writing()
                return  # the control plane closes the stream, which the reader sees

    async def _beat(self) -> None:
        while not self._is_leaving:
            self._carry_out(self._machine.ticked(self._clock(), Load(*self._applier.load(), self._applier.checksum())))
            await self._until_next_tick()

    async def _until_next_tick(self) -> None:
        """A lease may have moved it forward: the first one says how fast to beat."""
        self._tick_moved.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._machine.next_tick_at - self._clock())):
                await self._tick_moved.wait()

    async def _watch_abandoned(self) -> None:
        await self._abandoned.wait()
        raise _StreamEndedError("the node has left")

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        """Carry effects out in order, and those that follow from an application after it."""
        try:
            self._carry_out_in_order(effects)
        except OSError as error:
            self._could_not_keep = True
            raise _StreamEndedError(f"this node cannot keep what it was sent: {error}") from error

    def _carry_out_in_order(self, effects: Iterable[Effect]) -> None:
        waiting = deque(effects)
        while waiting:
            match waiting.popleft():
                case Send(message):
                    self._outgoing.put(message)
                case ApplyEntry(entry):
                    self._applier.apply_entry(entry)
                    waiting.extend(self._machine.entry_applied(entry.index, self._applier.rejected()))
                case ApplySnapshot(snapshot):
                    self._applier.apply_snapshot(snapshot)
                    rejected = self._applier.rejected()
                    waiting.extend(self._machine.snapshot_applied(snapshot.log_id, snapshot.index, rejected))
                case ApplyDirectory(directory):
                    self._applier.apply_directory(directory)
                case LeaseHeld(until):
                    self._applier.lease_held(until)
                case LeaseLost():
                    self._applier.lease_lost()
                case Disconnect(reason):
                    raise _StreamEndedError(reason)
