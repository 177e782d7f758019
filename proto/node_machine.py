"""What a node does with the Sync stream, without any input or output: DESIGN sections 3 and 4, rules 7 and 9.

Messages and the time go in, effects come out; `node_session.py` carries them out and the simulation drives the same code. The rules that live here: entries
are applied in order and only from the log that the node is on, an acknowledgement follows the application, and a lease counts from when its heartbeat was sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from proto.cdn.v1 import sync_pb2
from proto.lease_times import HEARTBEAT_SECONDS
from proto.log_position import LogPosition
from proto.node_messages import to_node
from proto.process_identity import NO_PROCESS, ProcessIdentity
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges
from proto.resources import ResourceName

SHORTEST_HEARTBEAT_SECONDS = 0.02
"""However short the lease: a control plane that grants one of no time at all is not answered without a pause."""

HEARTBEATS_PER_LEASE = 5
"""Four beats in a row may be lost before a lease runs out."""


@dataclass(frozen=True, slots=True)
class Patience:
    """A stream on which nothing arrived for so many beats is taken for dead: the control plane answers each of them."""

    heartbeats: float
    shortest_seconds: float
    """However fast the beat: a machine under load is silent for a second now and then."""


PATIENT = Patience(4, 2.0)
"""Where there is none to go to."""
IMPATIENT = Patience(1.5, 1.5)
"""Where there is another control plane to go to, which costs little: the log is the same, and a lease goes on meanwhile."""

REMEMBERED_HEARTBEATS = 32
"""Beats whose answer may still come; older ones are forgotten, and a lease for them with them."""

REASON_CHARACTERS_OF_HELLO = 16_000
"""How much of reasons an introduction repeats, so that it stays a small message however much is refused; the control plane keeps those that it has heard."""

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
    process: ProcessIdentity = NO_PROCESS

    @property
    def identifier(self) -> str:
        """See node_messages.DescribedNode."""
        return self.node_id


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the control plane."""

    message: sync_pb2.NodeMessage


@dataclass(frozen=True, slots=True)
class ApplySnapshot:
    """Apply, durably, then report with `snapshot_applied`. It is whole."""

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


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """The node holds a lease until then, by its own clock."""

    until: float


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The lease is worth nothing any more, although it has not run out."""


Effect = Send | ApplySnapshot | ApplyEntry | ApplyDirectory | Disconnect | LeaseHeld | LeaseLost


@dataclass(frozen=True, slots=True)
class Load:
    """What a heartbeat says of the node's work."""

    requests_total: int = 0
    open_connections: int = 0
    checksum: bytes = b""
    """Of the configuration that the node has (`proto/resources.py`); empty: it cannot tell."""


class NodeMachine:
    """One node's side of the protocol. All times are seconds of the one clock that the caller uses."""

    def __init__(
        self, identity: NodeIdentity, position: LogPosition, incarnation: int = 0, *, has_alternatives: bool = False
    ) -> None:
        """`incarnation`: a number that tells the processes of a node apart; 0: none. It counts up where the node has been without a lease: what others have heard of it
        meanwhile is what they hear of a process that has just started, so receipts wait for them as they do then (rule 10). `has_alternatives`: there are other
        control planes."""
        self._identity = identity
        self._patience = IMPATIENT if has_alternatives else PATIENT
        self._incarnation = incarnation
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
        self._renewed_at = float("-inf")
        self._is_witness = False
        """The control plane takes it that whoever asks this node hears of a lease."""
        self._has_left = False
        self._told_rejected: RejectedChanges = NOTHING_REJECTED
        self._directory: dict[str, sync_pb2.Node] = {}
        self._directory_version = 0
        self._pieces: sync_pb2.Snapshot | None = None
        """Of a snapshot that is not whole yet."""

    # A stream begins and ends

    def connected(
        self, now: float, position: LogPosition, rejected: RejectedChanges = NOTHING_REJECTED
    ) -> list[Effect]:
        """A stream is open: introduce the node with the position that is durable now, and with what it refuses there."""
        self.log_id, self.applied_index = position.log_id, position.index
        self._told_rejected = rejected
        self._directory_version = 0
        self._pieces = None
        self._sequence = 0
        self._sent_at.clear()
        self._next_heartbeat_at = now
        self._heard_at = now
        if self._is_witness and self.lease_state(now) != "held":
            self._is_witness = False
            self._incarnation += 1 if self._incarnation else 0
        hello = sync_pb2.Hello(
            node=to_node(self._identity),
            log_id=position.log_id,
            applied_index=position.index,
            digest=position.digest,
            incarnation=self._incarnation,
            process=self._identity.process.number,
            predecessors=self._identity.process.predecessors,
        )
        hello.rejections.extend(_in_brief(rejected))
        return [Send(sync_pb2.NodeMessage(hello=hello))]

    def left(self) -> list[Effect]:
        """The node drains: it gives its lease back before it says so."""
        self._has_left = True
        self._is_witness = False
        if self._lease_until is not None:
            self._lease_until = float("-inf")
        return [LeaseLost(), Send(sync_pb2.NodeMessage(leaving=sync_pb2.Leaving()))]

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
            directory_version=self._directory_version,
            checksum=load.checksum,
        )
        return [Send(sync_pb2.NodeMessage(heartbeat=heartbeat))]

    # The control plane speaks

    def received(self, message: sync_pb2.ControlMessage, now: float) -> list[Effect]:
        """Decide on one message. Carry the effects out before the next one is given."""
        self._heard_at = now
        if self._is_witness and self.lease_state(now) != "held":
            return [Disconnect("the lease ran out before it was renewed, which the control plane has to hear first")]
        match message.WhichOneof("kind"):
            case "entry":
                return self._entries_received((message.entry,))
            case "entries":
                return self._entries_received(message.entries.entries)
            case "lease":
                return self._lease_received(message.lease, now)
            case "directory":
                return self._directory_received(message.directory)
            case "directory_change":
                return self._directory_changed(message.directory_change)
            case "snapshot":
                return self._piece_received(message.snapshot)
            case _:
                return []  # a kind that a newer control plane knows

    def snapshot_applied(self, log_id: str, index: int, rejected: RejectedChanges = NOTHING_REJECTED) -> list[Effect]:
        """Everything up to `index` of that log is applied, but for what is refused. A lease from before may be of another log or another history, and is worth
        nothing in this one."""
        lost: list[Effect] = [LeaseLost()] if self._lease_until is not None else []
        self._lease_until = None
        self._is_witness = False
        self.log_id, self.applied_index = log_id, index
        self.head_index = index
        effects = [*lost, *self._accepted(rejected), *self._rejected(rejected, rejected.keys())]
        self._told_rejected = rejected
        return [*effects, _acknowledgement(index)]

    def entry_applied(self, index: int, rejected: RejectedChanges = NOTHING_REJECTED) -> list[Effect]:
        """The entry is applied, or refused; the index advances either way so that one bad resource blocks no other. What is refused is said first."""
        self.applied_index = index
        self.head_index = max(index, self.head_index)
        if rejected is self._told_rejected:
            return [_acknowledgement(index)]
        told = self._told_rejected
        changed = [resource for resource, change in rejected.items() if change is not told.get(resource)]
        effects = [*self._accepted(rejected), *self._rejected(rejected, changed)]
        self._told_rejected = rejected
        return [*effects, _acknowledgement(index)]

    def _accepted(self, rejected: RejectedChanges) -> Iterator[Send]:
        for resource in self._told_rejected.keys() - rejected.keys():
            kind = sync_pb2.ResourceKind.ValueType(resource.kind)
            yield Send(sync_pb2.NodeMessage(acceptance=sync_pb2.Acceptance(kind=kind, id=resource.identifier)))

    def _rejected(self, rejected: RejectedChanges, resources: Iterable[ResourceName]) -> Iterator[Send]:
        for resource in resources:
            self.rejections_total += 1
            yield Send(sync_pb2.NodeMessage(rejection=rejected[resource].rejection))

    # What the node may say of its lease

    def lease_state(self, now: float) -> LeaseState:
        """`none` until the first lease; `expired` when it has run out since."""
        if self._lease_until is None:
            return "none"
        return "held" if now < self._lease_until else "expired"

    def lease_remaining_seconds(self, now: float) -> float:
        """0 without a lease."""
        return 0.0 if self._lease_until is None else max(0.0, self._lease_until - now)

    def renewed_seconds_ago(self, now: float) -> float:
        """Since the heartbeat was sent that the newest lease answers; infinite without one."""
        return now - self._renewed_at

    # Rules

    def _entries_received(self, entries: Iterable[sync_pb2.Entry]) -> list[Effect]:
        effects: list[Effect] = []
        applied_index = self.applied_index
        for entry in entries:
            if entry.log_id != self.log_id:
                return [*effects, Disconnect(f"an entry of log {entry.log_id!r} on log {self.log_id!r}")]
            if entry.index <= applied_index:
                continue
            if entry.index != applied_index + 1:
                return [*effects, Disconnect(f"entry {entry.index} after {applied_index}")]
            applied_index = entry.index
            effects.append(ApplyEntry(entry))
        return effects

    def _piece_received(self, piece: sync_pb2.Snapshot) -> list[Effect]:
        known, self._pieces = self._pieces, None
        if known is None:
            known = piece
        elif (known.log_id, known.index, known.remaining_pieces) != (
            piece.log_id,
            piece.index,
            piece.remaining_pieces + 1,
        ):
            return [Disconnect(f"a piece of a snapshot at {piece.index} that does not follow the one before it")]
        else:
            known.resources.extend(piece.resources)
            known.remaining_pieces = piece.remaining_pieces
        if known.remaining_pieces == 0:
            return [ApplySnapshot(known)]
        self._pieces = known
        return []

    def _directory_received(self, directory: sync_pb2.Directory) -> list[Effect]:
        self._directory = {node.id: node for node in directory.nodes}
        self._directory_version = directory.version
        return [ApplyDirectory(directory)]

    def _directory_changed(self, change: sync_pb2.DirectoryChange) -> list[Effect]:
        if change.from_version != self._directory_version:
            return [Disconnect(f"a change of directory {change.from_version} on directory {self._directory_version}")]
        for node_id in change.removed_ids:
            self._directory.pop(node_id, None)
        self._directory.update((node.id, node) for node in change.put)
        self._directory_version = change.version
        return [ApplyDirectory(sync_pb2.Directory(version=change.version, nodes=self._directory.values()))]

    def _lease_received(self, lease: sync_pb2.Lease, now: float) -> list[Effect]:
        self.head_index = lease.head_index
        sent_at = self._sent_at.get(lease.sequence)
        if not lease.is_granted or sent_at is None or self._has_left:
            return []  # a lease still held is not taken back by a refusal
        duration_seconds = lease.duration_milliseconds / 1000
        until = sent_at + duration_seconds  # not from now: the answer may have been under way for any time
        self._lease_until = until if self._lease_until is None else max(until, self._lease_until)
        self._renewed_at = max(self._renewed_at, sent_at)
        self._is_witness = now < self._lease_until
        wanted_seconds = max(SHORTEST_HEARTBEAT_SECONDS, duration_seconds / HEARTBEATS_PER_LEASE)
        self._heartbeat_seconds = min(HEARTBEAT_SECONDS, wanted_seconds)
        self._next_heartbeat_at = min(self._next_heartbeat_at, sent_at + self._heartbeat_seconds)
        return [LeaseHeld(self._lease_until)]

    @property
    def _silent_after(self) -> float:
        patience = self._patience
        return self._heard_at + max(patience.shortest_seconds, patience.heartbeats * self._heartbeat_seconds)


def _in_brief(rejected: RejectedChanges) -> Iterator[sync_pb2.Rejection]:
    room = REASON_CHARACTERS_OF_HELLO
    for change in rejected.values():
        known = change.rejection
        reason = known.reason if len(known.reason) <= room else ""
        room -= len(reason)
        yield sync_pb2.Rejection(index=known.index, reason=reason, kind=known.kind, id=known.id)


def _acknowledgement(index: int) -> Send:
    return Send(sync_pb2.NodeMessage(acknowledgement=sync_pb2.Acknowledgement(index=index)))
