"""The gRPC service `cdn.v1.ControlPlane`: streams in and out, timers, and the order in which things are told. Every decision is in `coordination.py`.

Messages are serialized here once for all nodes, entries that are committed in quick succession go out together, and coordination is settled once for everything that
arrived in the same turn of the event loop: that is what lets one core bear thousands of nodes (decision 25).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from control_plane.acknowledgement_saving import AcknowledgementSaving
from control_plane.admission import Admission
from control_plane.change_log import CommittedEntry, FollowedLog, Frames, TooFarBehindError
from control_plane.checksums import RoleChecksums
from control_plane.coordination import Coordinator, FromEntries, Settlement
from control_plane.directory import DirectoryFrames
from control_plane.entry_batches import EntryBatches
from control_plane.grpc_calls import Call, CallHandler
from control_plane.grpc_wire import Status
from control_plane.nodes import NodeDescription, Role, TooManyNodesError
from control_plane.receipts import Receipt
from control_plane.session_messages import (
    HELLO_SECONDS,
    NO_HELLO,
    StreamEndedError,
    introduced,
    lease_frame,
    read_message,
    to_process,
    to_rejection,
    to_resource,
)
from control_plane.state import StoreError
from control_plane.streams import NodeStream, StreamRules
from control_plane.succession import NameTakenError
from control_plane.trouble import LogGapError
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition

LOOKS_PER_SILENCE = 8
"""How often, within the time that a node may be silent, it is looked who was."""

DIRECTORY_PAUSE_SECONDS = 0.05
DIRECTORY_SECONDS_PER_STREAM = 75e-6
DIRECTORY_SECONDS_PER_LINE = 2e-7
"""Time between two versions of the directory, at least, by the nodes that they go to and by the lines that are sent to all of them together: 500 nodes that join at
once are one change, and 2,000 are known to all of them a second later."""

ENTRIES_SECONDS_PER_STREAM = 75e-6
"""Time between two rounds of entries, by the nodes that they go to. A round costs a third of it, for the message and the acknowledgement; what is committed
meanwhile goes with the next one. A change that comes alone waits for nobody, and with nine nodes nothing is to be seen of it."""

STREAMS_AT_A_TIME = 250
"""Told in one turn of the loop."""

WRITE_AGAIN_SECONDS = 1.0
"""How often a database that takes no writes is tried, also when nothing waits for it: whether it does is on the admin port."""

LOOK_AGAIN_SECONDS = 1.0
"""How often the log is looked at for entries of which nobody has told us."""

HELD_BACK_SECONDS = 0.02
"""Until it is looked at again whether anything may be told."""

_logger = logging.getLogger("control-plane")


class NodeCall:
    """One call of a node, from before its hello to its end. See grpc_calls.CallHandler."""

    __slots__ = ("_service", "call", "heard_at", "stream")

    def __init__(self, service: "SyncService", call: Call, now: float) -> None:
        self._service = service
        self.call = call
        self.stream: NodeStream | None = None
        """None before the hello."""
        self.heard_at = now

    def message_received(self, data: bytes) -> None:
        """See grpc_calls.CallHandler."""
        self._service.message_received(self, data)

    def half_closed(self) -> None:
        """See grpc_calls.CallHandler."""
        self._service.half_closed(self)

    def writable(self) -> None:
        """See grpc_calls.CallHandler."""
        self._service.writable(self)

    def broken(self) -> None:
        """See grpc_calls.CallHandler."""
        self._service.forget(self, "the connection broke")


class SyncService:
    """All streams. `run` must run for as long as streams are served."""

    def __init__(
        self,
        store: FollowedLog,
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
        self._rules = rules
        self._silence_seconds = rules.silence_seconds
        self._on_completed = on_completed
        self._frames = Frames(store)
        self._entries = {role: EntryBatches(self._frames.of(role)) for role in Role}
        self._calls: dict[NodeCall, None] = {}
        self._streams: dict[str, NodeCall] = {}
        self._checksums: RoleChecksums | None = None
        """Made when the first node says its own."""
        self.directory = DirectoryFrames()
        self._directory_wanted = asyncio.Event()
        self._entries_wanted = asyncio.Event()
        self._settlement_wanted = asyncio.Event()
        self._saving = AcknowledgementSaving(coordinator, clock, rules.save_settled)
        self._has_lost_track = asyncio.Event()
        store.subscribe(self._committed)

    def serve(self, call: Call) -> CallHandler:
        """A call of `METHOD` begins."""
        node_call = NodeCall(self, call, self._clock())
        self._calls[node_call] = None
        return node_call

    async def run(self) -> None:
        """Draw consequences and send directories until cancelled, or until the log has been lost track of: then everything has to be made anew. A database that cannot
        be written does not end it: what may not be told before it is durable is held back (`coordination.py`)."""
        self._settlement_wanted.set()
        try:
            async with asyncio.TaskGroup() as group:
                works = (self._settle_forever(), self._send_entries(), self._send_directories(), self._watch_silence())
                for work in (*works, self._watch_database(), self._saving.run(), self._watch_log()):
                    group.create_task(work)
                await self._has_lost_track.wait()
                raise LogGapError
        except* LogGapError:
            _logger.warning("the log was trimmed past what was read of it: all of it is read anew")
        finally:
            self._store.unsubscribe(self._committed)
            for call in list(self._calls):
                self._end(call, "the control plane stops")

    def published_version(self) -> int | None:
        """Of the directory; None while another one is due."""
        return None if self._directory_wanted.is_set() else self.directory.version

    def is_connected(self, node_id: str) -> bool:
        """Whether a stream speaks for the node now."""
        return node_id in self._streams

    # Consequences

    def log_grew(self) -> None:
        """Somebody has said that there may be another entry."""
        try:
            self._store.catch_up()
        except StoreError as error:
            _logger.error("%s", error)  # it is looked at again soon
        except LogGapError:
            self._has_lost_track.set()

    def _committed(self, committed: CommittedEntry, now: float) -> None:
        """By any process."""
        entry = committed.entry
        self._coordinator.committed(entry.index, now, committed.invalidation)
        self._frames.add(entry)
        if self._checksums is not None:
            self._checksums.committed(entry)
        for entries in self._entries.values():
            entries.log_grew()
        self._entries_wanted.set()
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
            if not self._rules.may_act(now):
                await asyncio.sleep(HELD_BACK_SECONDS)
                continue
            self._settlement_wanted.clear()
            self._tell(self._coordinator.settle(now))
            if self._coordinator.unsaved_nodes:
                self._saving.want()

    async def _watch_log(self) -> None:
        while True:
            self.log_grew()
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _watch_database(self) -> None:
        while True:
            await asyncio.sleep(WRITE_AGAIN_SECONDS)
            if self._store.trouble is not None:
                self._store.try_to_write()

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(min(self._silence_seconds, HELLO_SECONDS) / LOOKS_PER_SILENCE)
            now = self._clock()
            for call in list(self._calls):
                reason = self._why_over(call, now)
                if reason is not None:
                    self._end(call, reason, Status.OK if call.stream else Status.INVALID_ARGUMENT)

    def _why_over(self, call: NodeCall, now: float) -> str | None:
        stream = call.stream
        if stream is None:
            return NO_HELLO if now > call.heard_at + HELLO_SECONDS else None
        if now > call.heard_at + self._silence_seconds:
            return "the node is silent"
        if stream.blocked_since is not None and now > stream.blocked_since + self._silence_seconds:
            return "the node does not read"
        return None

    async def _send_entries(self) -> None:
        while True:
            await self._entries_wanted.wait()
            self._entries_wanted.clear()
            await self._push_to_all()
            await asyncio.sleep(len(self._streams) * ENTRIES_SECONDS_PER_STREAM)

    async def _send_directories(self) -> None:
        while True:
            await self._directory_wanted.wait()
            self._directory_wanted.clear()
            changed_lines = self.directory.update(self._coordinator.live_nodes())
            await self._push_to_all()
            each_seconds = DIRECTORY_SECONDS_PER_STREAM + changed_lines * DIRECTORY_SECONDS_PER_LINE
            await asyncio.sleep(max(DIRECTORY_PAUSE_SECONDS, len(self._streams) * each_seconds))

    async def _push_to_all(self) -> None:
        for number, call in enumerate(list(self._streams.values()), 1):
            self._push(call)
            if not number % STREAMS_AT_A_TIME:
                await asyncio.sleep(0)

    def _tell(self, settlement: Settlement) -> None:
        for node_id, answer in settlement.answers.items():
            call = self._streams.get(node_id)
            if call is not None and call.stream is not None:
                call.stream.set_lease(lease_frame(answer))
                self._push(call)
        for receipt in settlement.completed:
            self._on_completed(receipt)
        if settlement.is_directory_changed:
            self._directory_wanted.set()
        self._rules.settled()

    def _push(self, call: NodeCall) -> None:
        """Send the node what there is for it."""
        if call.stream is None or call not in self._calls:
            return
        try:
            call.stream.push()
        except TooFarBehindError:
            self._end(call, "the log has been trimmed past the node")
        except StoreError as error:
            self._end(call, str(error))

    # One call

    def message_received(self, call: NodeCall, data: bytes) -> None:
        """Of a node, or of whoever says that it is one."""
        if call not in self._calls:
            return  # it was handed over with several messages, of which one before has ended it
        call.heard_at = now = self._clock()
        try:
            message = read_message(data)
            if call.stream is None:
                self._introduced(message, call)
            else:
                self._received(message, call.stream, now)
        except StreamEndedError as error:
            self._end(call, str(error), error.status)

    def half_closed(self, call: NodeCall) -> None:
        """The node has said all."""
        if call.stream is None:
            self._end(call, NO_HELLO, Status.INVALID_ARGUMENT)
        else:
            self._end(call, "closed by the node")

    def writable(self, call: NodeCall) -> None:
        """The node has read what was sent to it."""
        if call.stream is not None:
            call.stream.blocked_since = None
            self._push(call)

    def forget(self, call: NodeCall, reason: str) -> None:
        """The call is over, however."""
        if call not in self._calls:
            return
        del self._calls[call]
        stream = call.stream
        if stream is not None:
            if self._streams.get(stream.node_id) is call:
                del self._streams[stream.node_id]
            self._coordinator.disconnected(stream.node_id, stream.number, self._clock())
            _logger.info("node %s disconnected: %s", stream.node_id, reason)

    def _end(self, call: NodeCall, reason: str, status: Status = Status.OK) -> None:
        self.forget(call, reason)
        call.call.finish(status, "" if status is Status.OK else reason)

    def _introduced(self, message: sync_pb2.NodeMessage, call: NodeCall) -> None:
        node = introduced(message, call.call.peer, self._admission)
        call.call.admit()
        try:
            self._open(message.hello, node, call)
        except TooManyNodesError as error:
            raise StreamEndedError(str(error), Status.RESOURCE_EXHAUSTED) from error
        except NameTakenError as error:
            if error.is_news:  # it tries again, for ever perhaps
                _logger.warning("a second process of node %s is refused: %s", node.identifier, error)
            raise StreamEndedError(str(error), Status.ALREADY_EXISTS) from error
        except StoreError as error:
            raise StreamEndedError(str(error), Status.UNAVAILABLE) from error

    def _open(self, hello: sync_pb2.Hello, node: NodeDescription, call: NodeCall) -> None:
        position = LogPosition(hello.log_id, hello.applied_index, hello.digest)
        number, catch_up = self._coordinator.connected(
            node, position, self._clock(), to_process(hello), hello.incarnation
        )
        of_this_history = hello.rejections if isinstance(catch_up, FromEntries) else ()
        self._coordinator.restated_rejections(node.identifier, number, map(to_rejection, of_this_history))
        replaced = self._streams.get(node.identifier)
        if replaced is not None:
            self._end(replaced, "replaced by another stream")
        shared = (self._entries[node.role], self.directory)
        call.stream = NodeStream(node.identifier, number, call.call, shared, self._clock)
        self._streams[node.identifier] = call
        if isinstance(catch_up, FromEntries):
            call.stream.start_after(catch_up.after_index)
        else:
            snapshot = self._frames.snapshot(node.role)
            call.stream.start_with_snapshot(snapshot)
            if snapshot.index > self._store.head_index:
                self.log_grew()  # another process has appended, and what is acknowledged must be known
        _logger.info("node %s connected at index %d: %s", node.identifier, hello.applied_index, type(catch_up).__name__)
        self._push(call)
        self._settlement_wanted.set()

    def _compare(self, stream: NodeStream, heartbeat: sync_pb2.Heartbeat, now: float) -> None:
        """A node that has not what the log has starts over."""
        if self._checksums is None and heartbeat.checksum:
            with contextlib.suppress(StoreError):  # another heartbeat comes
                self._checksums = RoleChecksums(self._store.snapshot())
        known, record = self._checksums, self._coordinator.nodes[stream.node_id]
        if known is None or not known.differs(record.description.role, heartbeat.applied_index, heartbeat.checksum):
            return
        if self._coordinator.starts_over(stream.node_id, stream.number, now):
            _logger.error(
                "node %s has another configuration than the log at %d", stream.node_id, heartbeat.applied_index
            )
            raise StreamEndedError("its configuration is not the log's: it starts over from a snapshot")

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        coordinator = self._coordinator
        node_id, number = stream.node_id, stream.number
        match message.WhichOneof("kind"):
            case "acknowledgement":
                coordinator.acknowledged(node_id, number, message.acknowledgement.index, now)
                self._saving.want()
            case "heartbeat":
                coordinator.beat(node_id, number, message.heartbeat.sequence, now)
                coordinator.has_directory(node_id, number, message.heartbeat.directory_version)
                self._compare(stream, message.heartbeat, now)
            case "rejection":
                rejection = to_rejection(message.rejection)
                _logger.warning("node %s rejected %s", node_id, rejection)
                coordinator.rejected(node_id, number, rejection)
            case "acceptance":
                coordinator.accepted(node_id, number, to_resource(message.acceptance))
            case "leaving":
                coordinator.left(node_id, number, now)
                self._settlement_wanted.set()
                raise StreamEndedError("the node has left")
            case _:
                raise StreamEndedError("the node said something that is not understood")
        self._settlement_wanted.set()
