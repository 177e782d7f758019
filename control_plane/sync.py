"""The gRPC service `cdn.v1.ControlPlane`: streams in and out, timers, and the order in which things are told. Every decision is in `coordination.py`.

Messages are serialized here once for all nodes, and coordination is settled once for everything that arrived in the same turn of the event loop: with 500 nodes
both are what keeps one change within one core's second.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass

import grpc
import grpc.aio

from control_plane.admission import Admission
from control_plane.change_log import Frames, TooFarBehindError, committed_at, issued_invalidation
from control_plane.coordination import Coordinator, FromEntries, LeaseAnswer, Settlement, TooManyNodesError
from control_plane.directory import DirectoryFrames
from control_plane.leases import Granted, Refused
from control_plane.nodes import NodeDescription, Rejection, Resource, ResourceKind, Role
from control_plane.receipts import Receipt
from control_plane.state import StoreError
from control_plane.store import SqlStore
from control_plane.streams import NodeStream
from control_plane.trouble import LogGapError
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition

HELLO_SECONDS = 5.0
"""How long a connection may stay anonymous."""

DIRECTORY_PAUSE_SECONDS = 0.05
DIRECTORY_SECONDS_PER_LINE = 4e-6
"""Time between two versions of the directory, by the lines that are sent: 500 nodes that join at once are one change."""

SAVE_PAUSE_SECONDS = 0.05
SAVE_SECONDS_PER_NODE = 100e-6
"""Time between two writes of what nodes have acknowledged, beside those that cannot wait, by the nodes that are written: whether something is deployed is read from
there."""

LOOK_AGAIN_SECONDS = 1.0
"""How often the log is looked at for entries of which nobody has told us."""

HELD_BACK_SECONDS = 0.02
"""Until it is looked at again whether anything may be told."""

WRITE_AGAIN_SECONDS = 1.0
"""How often a database that takes no writes is tried, also when nothing waits for it: whether it does is on the admin port."""

MAXIMUM_IDENTIFIER_LENGTH = 128
MAXIMUM_REASON_LENGTH = 1024

SERVICE = sync_pb2.DESCRIPTOR.services_by_name["ControlPlane"].full_name

_ROLES = frozenset(int(role) for role in Role)

_logger = logging.getLogger("control-plane")

Context = grpc.aio.ServicerContext[sync_pb2.NodeMessage, bytes]


def _always(_now: float) -> bool:
    return True


class _StreamEndedError(Exception):
    """The stream is over; the message says why."""


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What streams and what is told on them depend on."""

    silence_seconds: float
    """A stream whose node has been silent for so long is closed."""
    may_act: Callable[[float], bool] = _always
    """Whether anything may be told now, by the clock: a leader may not whose tenure is over (`leadership.py`)."""


class SyncService:
    """All streams. `run` must run for as long as streams are served."""

    def __init__(
        self,
        store: SqlStore,
        coordinator: Coordinator,
        clock: Callable[[], float],
        admission: Admission,
        *,
        rules: StreamRules,
        on_completed: Callable[[Receipt], None],
    ) -> None:
        self._store = store
        self._coordinator = coordinator
        self._clock = clock
        self._admission = admission
        self._silence_seconds = rules.silence_seconds
        self._on_completed = on_completed
        self._may_act = rules.may_act
        self._has_lost_track = asyncio.Event()
        self._frames = Frames(store)
        self._streams: dict[str, NodeStream] = {}
        self.directory = DirectoryFrames()
        self._directory_wanted = asyncio.Event()
        self._settlement_wanted = asyncio.Event()
        self._saving_wanted = asyncio.Event()
        store.subscribe(self._committed)

    async def run(self) -> None:
        """Draw consequences and send directories until cancelled, or until the log has been lost track of: then everything has to be made anew. A database that cannot
        be written does not end it: what may not be told before it is durable is
        held back (`coordination.py`)."""
        self._settlement_wanted.set()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._settle_forever())
                group.create_task(self._send_directories())
                group.create_task(self._save_acknowledgements())
                group.create_task(self._watch_database())
                group.create_task(self._watch_log())
                await self._has_lost_track.wait()
                raise LogGapError
        except* LogGapError:
            _logger.warning("the log was trimmed past what was read of it: all of it is read anew")
        finally:
            self._store.unsubscribe(self._committed)
            for stream in self._streams.values():
                stream.end("the control plane stops")

    def is_connected(self, node_id: str) -> bool:
        """Whether a stream speaks for the node now."""
        return node_id in self._streams

    def open_streams(self) -> int:
        """How many nodes are connected now."""
        return len(self._streams)

    # Consequences

    def log_grew(self) -> None:
        """Somebody has said that there may be another entry."""
        try:
            self._store.catch_up()
        except StoreError as error:
            _logger.error("%s", error)  # it is looked at again soon
        except LogGapError:
            self._has_lost_track.set()

    def _committed(self, entry: sync_pb2.Entry, now: float) -> None:
        """By any process: when it was issued is what that one has written."""
        self._coordinator.committed(entry.index, now, issued_invalidation(entry, committed_at(entry)))
        self._frames.add(entry)
        for stream in self._streams.values():
            stream.log_grew()
        self._settlement_wanted.set()

    async def _settle_forever(self) -> None:
        """Settle once for all that happened in one turn of the loop, and when a lease may have ended."""
        while True:
            try:
                async with asyncio.timeout(max(0.0, self._coordinator.next_check_at - self._clock())):
                    await self._settlement_wanted.wait()
            except TimeoutError:
                pass  # a lease may have ended
            now = self._clock()
            if not self._may_act(now):
                await asyncio.sleep(HELD_BACK_SECONDS)
                continue
            self._settlement_wanted.clear()
            self._tell(self._coordinator.settle(now))
            if self._coordinator.unsaved_nodes:
                self._saving_wanted.set()

    async def _save_acknowledgements(self) -> None:
        while True:
            await self._saving_wanted.wait()
            self._saving_wanted.clear()
            nodes = self._coordinator.unsaved_nodes
            await asyncio.sleep(SAVE_PAUSE_SECONDS + nodes * SAVE_SECONDS_PER_NODE)
            self._coordinator.save_changes(self._clock())

    async def _watch_log(self) -> None:
        while True:
            self.log_grew()
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _watch_database(self) -> None:
        while True:
            await asyncio.sleep(WRITE_AGAIN_SECONDS)
            if self._store.trouble is not None:
                self._store.try_to_write()

    async def _send_directories(self) -> None:
        while True:
            await self._directory_wanted.wait()
            self._directory_wanted.clear()
            lines = self._send_directory() * max(1, len(self._streams))
            await asyncio.sleep(max(DIRECTORY_PAUSE_SECONDS, lines * DIRECTORY_SECONDS_PER_LINE))

    def _tell(self, settlement: Settlement) -> None:
        for node_id, answer in settlement.answers.items():
            stream = self._streams.get(node_id)
            if stream is not None:
                stream.put_lease(_lease_frame(answer))
        for receipt in settlement.completed:
            self._on_completed(receipt)
        if settlement.is_directory_changed:
            self._directory_wanted.set()

    def _send_directory(self) -> int:
        """Send all what is different in the directory; how many lines."""
        changed_lines = self.directory.update(self._coordinator.live_nodes())
        for stream in self._streams.values():
            stream.directory_changed()
        return changed_lines

    # One stream

    async def serve(self, requests: AsyncIterator[sync_pb2.NodeMessage], context: Context) -> None:
        """Until it ends, for whatever reason."""
        hello = (await read_hello(requests, context, self._admission)).hello
        stream = await self._open(hello, context)
        reason = "an error of the control plane"
        try:
            async with asyncio.TaskGroup() as group:
                works = (self._read(requests, stream), self._write(context, stream))
                tasks = [group.create_task(_reporting(work, stream)) for work in works]
                reason = await stream.ended()
                for task in tasks:
                    task.cancel()
        except asyncio.CancelledError:
            reason = "the connection broke"
            raise
        finally:
            self._close(stream)
            _logger.info("node %s disconnected: %s", stream.node_id, reason)

    async def _open(self, hello: sync_pb2.Hello, context: Context) -> NodeStream:
        node = to_description(hello.node)
        position = LogPosition(hello.log_id, hello.applied_index, hello.digest)
        try:
            number, catch_up = self._coordinator.connected(node, position, self._clock(), hello.incarnation)
        except TooManyNodesError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except StoreError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        of_this_history = hello.rejections if isinstance(catch_up, FromEntries) else ()
        self._coordinator.restated_rejections(node.identifier, number, map(_to_rejection, of_this_history))
        stream = NodeStream(node.identifier, number, self._frames, self.directory)
        replaced = self._streams.get(node.identifier)
        if replaced is not None:
            replaced.end("replaced by another stream")
        self._streams[node.identifier] = stream
        if isinstance(catch_up, FromEntries):
            stream.start_after(catch_up.after_index)
        else:
            await self._start_with_snapshot(stream, context)
        _logger.info("node %s connected at index %d: %s", node.identifier, hello.applied_index, type(catch_up).__name__)
        self._settlement_wanted.set()
        return stream

    async def _start_with_snapshot(self, stream: NodeStream, context: Context) -> None:
        try:
            stream.start_with_snapshot(*self._frames.snapshot())
        except StoreError as error:
            self._close(stream)
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    def _close(self, stream: NodeStream) -> None:
        if self._streams.get(stream.node_id) is stream:
            del self._streams[stream.node_id]
        self._coordinator.disconnected(stream.node_id, stream.number, self._clock())

    async def _read(self, requests: AsyncIterator[sync_pb2.NodeMessage], stream: NodeStream) -> None:
        while True:
            try:
                async with asyncio.timeout(self._silence_seconds):
                    message = await anext(requests)
            except StopAsyncIteration:
                raise _StreamEndedError("closed by the node") from None
            except TimeoutError:
                raise _StreamEndedError("the node is silent") from None
            self._received(message, stream)

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream) -> None:
        coordinator, now = self._coordinator, self._clock()
        node_id, number = stream.node_id, stream.number
        match message.WhichOneof("kind"):
            case "acknowledgement":
                coordinator.acknowledged(node_id, number, message.acknowledgement.index, now)
            case "heartbeat":
                coordinator.beat(node_id, number, message.heartbeat.sequence, now)
                coordinator.has_directory(node_id, number, message.heartbeat.directory_version)
            case "rejection":
                rejection = _to_rejection(message.rejection)
                _logger.warning("node %s rejected %s", node_id, rejection)
                coordinator.rejected(node_id, number, rejection)
            case "acceptance":
                coordinator.accepted(node_id, number, _to_resource(message.acceptance))
            case "leaving":
                coordinator.left(node_id, number, now)
                self._settlement_wanted.set()
                raise _StreamEndedError("the node has left")
            case _:
                raise _StreamEndedError("the node said something that is not understood")
        self._settlement_wanted.set()

    async def _write(self, context: Context, stream: NodeStream) -> None:
        while True:
            frame = await stream.next_frame()
            try:
                async with asyncio.timeout(self._silence_seconds):
                    await context.write(frame)
            except TimeoutError:
                raise _StreamEndedError("the node does not read") from None


async def _reporting(work: Coroutine[None, None, None], stream: NodeStream) -> None:
    """Do the work; what ends the stream is said to it, and is not a failure of the group."""
    try:
        await work
    except TooFarBehindError:
        stream.end("the log has been trimmed past the node")
    except (_StreamEndedError, StoreError, grpc.RpcError) as error:
        stream.end(str(error))


def _problem_with(message: sync_pb2.NodeMessage) -> str | None:
    if not message.HasField("hello"):
        return "the first message must be Hello"
    node = message.hello.node
    if not 0 < len(node.id) <= MAXIMUM_IDENTIFIER_LENGTH:
        return f"the node needs an id of 1 to {MAXIMUM_IDENTIFIER_LENGTH} characters"
    if int(node.role) not in _ROLES:
        return f"the role {node.role} is unknown"
    return None


def handler_of(
    serve: Callable[[AsyncIterator[sync_pb2.NodeMessage], Context], Awaitable[None]],
) -> grpc.GenericRpcHandler:
    """The service with frames sent as they are: serialized once, not once per node."""
    method = grpc.stream_stream_rpc_method_handler(
        serve,
        request_deserializer=sync_pb2.NodeMessage.FromString,
        response_serializer=bytes,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Sync": method})


async def read_hello(
    requests: AsyncIterator[sync_pb2.NodeMessage], context: Context, admission: Admission
) -> sync_pb2.NodeMessage:
    """The first message, of a node that may come in; the call is aborted otherwise."""
    try:
        first = await asyncio.wait_for(anext(requests), HELLO_SECONDS)
    except (TimeoutError, StopAsyncIteration):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be Hello")
    problem = _problem_with(first)
    if problem is not None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
    refusal = admission.why_refused(context.auth_context(), to_description(first.hello.node))
    if refusal is not None:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal)
    return first


def to_description(node: sync_pb2.Node) -> NodeDescription:
    """As it says of itself."""
    return NodeDescription(node.id, Role(node.role), node.region, node.pop, node.http_address, node.admin_address)


def _to_resource(message: sync_pb2.Rejection | sync_pb2.Acceptance) -> Resource:
    return Resource(ResourceKind.of(int(message.kind)), message.id[:MAXIMUM_IDENTIFIER_LENGTH])


def _to_rejection(message: sync_pb2.Rejection) -> Rejection:
    return Rejection(_to_resource(message), message.index, message.reason[:MAXIMUM_REASON_LENGTH])


def _lease_frame(answer: LeaseAnswer) -> bytes:
    lease = sync_pb2.Lease(sequence=answer.sequence, head_index=answer.head_index)
    match answer.decision:
        case Granted(_, duration_seconds):
            lease.is_granted = True
            lease.duration_milliseconds = round(duration_seconds * 1000)
        case Refused(reason):
            lease.reason = reason
    return sync_pb2.ControlMessage(lease=lease).SerializeToString()
