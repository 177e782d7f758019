"""What a node does with the Sync stream, without any input or output: DESIGN sections 3 and 4, rules 7 and 9.

Messages and the time go in, effects come out; `node_session.py` carries them out and the simulation drives the same code. The rules that live here: entries
are applied in order and only from the log that the node is on, an acknowledgement follows the application, and a lease counts from when its heartbeat was sent.
"""

from dataclasses import dataclass
from typing import Literal

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition

HEARTBEAT_SECONDS = 1.0
"""Slowest beat; a shorter lease makes it faster."""

HEARTBEATS_PER_LEASE = 5
"""Four beats in a row may be lost before a lease runs out."""

SILENT_HEARTBEATS = 4
"""A stream on which nothing arrived for so many beats is taken for dead: the control plane answers each of them."""

SHORTEST_SILENCE_SECONDS = 2.0
"""However fast the beat: a machine under load is silent for a second now and then."""

REMEMBERED_HEARTBEATS = 32
"""Beats whose answer may still come; older ones are forgotten, and a lease for them with them."""

LeaseState = Literal["held", "expired", "none"]


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who the node is; `role` is a value of sync_pb2.Role."""

    node_id: str
    role: int
    region: str
    pop: str
    http_address: str
    admin_address: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the control plane."""

    message: sync_pb2.NodeMessage


@dataclass(frozen=True, slots=True)
class ApplySnapshot:
    """Apply, durably, then report with `snapshot_applied`."""

    snapshot: sync_pb2.Snapshot


@dataclass(frozen=True, slots=True)
class ApplyEntry:
    """Apply, durably, then report with `entry_applied`."""

    entry: sync_pb2.Entry


@dataclass(frozen=True, slots=True)
class ApplyDirectory:
    """Replace what is known of the other nodes."""

    directory: sync_pb2.Directory


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Give this stream up and connect again."""

    reason: str


Effect = Send | ApplySnapshot | ApplyEntry | ApplyDirectory | Disconnect


@dataclass(frozen=True, slots=True)
class Load:
    """What a heartbeat says of the node's work."""

    requests_total: int = 0
    open_connections: int = 0


class NodeMachine:
    """One node's side of the protocol. All times are seconds of the one clock that the caller uses."""

    def __init__(self, identity: NodeIdentity, position: LogPosition) -> None:
        self._identity = identity
        self.log_id = position.log_id
        self.applied_index = position.index
        self.head_index = 0
        self.rejections_total = 0
        self._heartbeat_seconds = HEARTBEAT_SECONDS
        self._sequence = 0
        self._sent_at: dict[int, float] = {}
        self._next_heartbeat_at = 0.0
        self._heard_at = 0.0
        self._lease_until: float | None = None
        self._has_left = False

    # A stream begins and ends

    def connected(self, now: float, position: LogPosition) -> list[Effect]:
        """A stream is open: introduce the node with the position that is durable now."""
        self.log_id, self.applied_index = position.log_id, position.index
        self._sequence = 0
        self._sent_at.clear()
        self._next_heartbeat_at = now
        self._heard_at = now
        hello = sync_pb2.Hello(
            node=_node(self._identity),
            log_id=position.log_id,
            applied_index=position.index,
            digest=position.digest,
        )
        return [Send(sync_pb2.NodeMessage(hello=hello))]

    def left(self) -> list[Effect]:
        """The node drains: it gives its lease back before it says so."""
        self._has_left = True
        if self._lease_until is not None:
            self._lease_until = float("-inf")
        return [Send(sync_pb2.NodeMessage(leaving=sync_pb2.Leaving()))]

    # Time passes

    @property
    def next_tick_at(self) -> float:
        """When `ticked` has something to do."""
        return min(self._next_heartbeat_at, self._silent_after)

    def ticked(self, now: float, load: Load) -> list[Effect]:
        """Beat when a beat is due; give up on a stream that has been silent for too long."""
        if now >= self._silent_after:
            return [Disconnect("the control plane is silent")]
        if now < self._next_heartbeat_at:
            return []
        self._next_heartbeat_at = now + self._heartbeat_seconds
        self._sequence += 1
        self._sent_at[self._sequence] = now
        self._sent_at.pop(self._sequence - REMEMBERED_HEARTBEATS, None)
        heartbeat = sync_pb2.Heartbeat(
            sequence=self._sequence,
            applied_index=self.applied_index,
            requests_total=load.requests_total,
            open_connections=load.open_connections,
        )
        return [Send(sync_pb2.NodeMessage(heartbeat=heartbeat))]

    # The control plane speaks

    def received(self, message: sync_pb2.ControlMessage, now: float) -> list[Effect]:
        """Decide on one message. Carry the effects out before the next one is given."""
        self._heard_at = now
        match message.WhichOneof("kind"):
            case "entry":
                return self._entry_received(message.entry)
            case "lease":
                self._lease_received(message.lease)
                return []
            case "directory":
                return [ApplyDirectory(message.directory)]
            case "snapshot":
                return [ApplySnapshot(message.snapshot)]
            case _:
                return []  # a kind that a newer control plane knows

    def snapshot_applied(self, log_id: str, index: int) -> list[Effect]:
        """Everything up to `index` of that log is durable. A lease from before may be of another log or another history, and is worth nothing in this one."""
        self._lease_until = None
        self.log_id, self.applied_index = log_id, index
        self.head_index = index
        return [_acknowledgement(index)]

    def entry_applied(self, index: int, rejection: str | None) -> list[Effect]:
        """The entry is durable, or refused; the index advances either way so that one bad resource blocks no other."""
        self.applied_index = index
        self.head_index = max(index, self.head_index)
        if rejection is None:
            return [_acknowledgement(index)]
        self.rejections_total += 1
        refused = sync_pb2.NodeMessage(rejection=sync_pb2.Rejection(index=index, reason=rejection))
        return [Send(refused), _acknowledgement(index)]

    # What the node may say of its lease

    def lease_state(self, now: float) -> LeaseState:
        """`none` until the first lease; `expired` when it has run out since."""
        if self._lease_until is None:
            return "none"
        return "held" if now < self._lease_until else "expired"

    def lease_remaining_seconds(self, now: float) -> float:
        """0 without a lease."""
        return 0.0 if self._lease_until is None else max(0.0, self._lease_until - now)

    # Rules

    def _entry_received(self, entry: sync_pb2.Entry) -> list[Effect]:
        if entry.log_id != self.log_id:
            return [Disconnect(f"an entry of log {entry.log_id!r} on log {self.log_id!r}")]
        if entry.index <= self.applied_index:
            return []
        if entry.index != self.applied_index + 1:
            return [Disconnect(f"entry {entry.index} after {self.applied_index}")]
        return [ApplyEntry(entry)]

    def _lease_received(self, lease: sync_pb2.Lease) -> None:
        self.head_index = lease.head_index
        sent_at = self._sent_at.get(lease.sequence)
        if not lease.is_granted or sent_at is None or self._has_left:
            return  # a lease still held is not taken back by a refusal
        duration_seconds = lease.duration_milliseconds / 1000
        until = sent_at + duration_seconds  # not from now: the answer may have been under way for any time
        self._lease_until = until if self._lease_until is None else max(until, self._lease_until)
        self._heartbeat_seconds = min(HEARTBEAT_SECONDS, duration_seconds / HEARTBEATS_PER_LEASE)

    @property
    def _silent_after(self) -> float:
        return self._heard_at + max(SHORTEST_SILENCE_SECONDS, SILENT_HEARTBEATS * self._heartbeat_seconds)


def _node(identity: NodeIdentity) -> sync_pb2.Node:
    return sync_pb2.Node(
        id=identity.node_id,
        role=sync_pb2.Role.ValueType(identity.role),
        region=identity.region,
        pop=identity.pop,
        http_address=identity.http_address,
        admin_address=identity.admin_address,
    )


def _acknowledgement(index: int) -> Send:
    return Send(sync_pb2.NodeMessage(acknowledgement=sync_pb2.Acknowledgement(index=index)))
