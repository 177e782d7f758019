"""What the control plane knows of one node, and what of it survives a restart."""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from math import inf
from typing import Literal

NOTHING_ACKNOWLEDGED = -1
"""The node has confirmed nothing of this log, not even its empty beginning (index 0)."""

REMEMBERED_REJECTIONS = 32
"""Per node; the oldest are forgotten, by then replaced by newer versions of the same resources."""

NodeState = Literal["live", "expired", "left"]


class Role(IntEnum):
    """Values of cdn.v1.Role."""

    EDGE = 1
    REGIONAL = 2
    DNS_ROUTER = 3


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """What a node says of itself when it connects."""

    identifier: str
    role: Role
    region: str
    pop: str
    http_address: str
    admin_address: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A node could not use the resource of one entry."""

    index: int
    reason: str


@dataclass(slots=True)
class NodeRecord:
    """One node. A lease runs exactly while `lease_until` is set: it ends by an event, not by the passing of time alone."""

    description: NodeDescription
    acknowledged_index: int = NOTHING_ACKNOWLEDGED
    last_seen: float = 0.0
    lease_until: float | None = None
    lease_seconds: float = 0.0
    """Duration of the lease that runs; what a restarted control plane has to wait for."""
    unleased_since: float = 0.0
    has_left: bool = False
    incarnation: int = 0
    """Of its process, as it said in its last Hello."""
    witness_since: float = inf
    """Since when whoever asks this process hears that the control plane is there: since its first lease, or its first after it had none. Infinite: not yet."""
    stream: int | None = None
    """Number of the stream that speaks for the node now."""
    is_granted_on_stream: bool = False
    heartbeat_sequence: int = 0
    heartbeat_received_at: float = 0.0
    is_heartbeat_answered: bool = True
    rejections: deque[Rejection] = field(default_factory=lambda: deque(maxlen=REMEMBERED_REJECTIONS))

    @property
    def is_live(self) -> bool:
        """Whether invalidations wait for it."""
        return self.lease_until is not None

    @property
    def state(self) -> NodeState:
        """For people."""
        if self.is_live:
            return "live"
        return "left" if self.has_left else "expired"

    def has_applied(self, index: int) -> bool:
        """Whether it has acknowledged the entry at `index` and did not reject it."""
        return self.acknowledged_index >= index and all(rejection.index != index for rejection in self.rejections)

    def end_lease(self, now: float) -> None:
        """It is routable no longer, and nothing waits for it."""
        if self.lease_until is not None:
            self.unleased_since = now
        self.lease_until = None
        self.lease_seconds = 0.0
        self.witness_since = inf
        self.is_granted_on_stream = False


@dataclass(frozen=True, slots=True)
class SavedNode:
    """What survives a restart."""

    description: NodeDescription
    acknowledged_index: int
    lease_seconds: float
    last_seen: float
    unleased_since: float
    has_left: bool
    rejections: tuple[Rejection, ...]

    @classmethod
    def of(cls, record: NodeRecord) -> "SavedNode":
        """The record as it is now."""
        return cls(
            description=record.description,
            acknowledged_index=record.acknowledged_index,
            lease_seconds=record.lease_seconds,
            last_seen=record.last_seen,
            unleased_since=record.unleased_since,
            has_left=record.has_left,
            rejections=tuple(record.rejections),
        )

    def restored(self, lease_until: float | None) -> NodeRecord:
        """The node as a restarted control plane has to see it."""
        return NodeRecord(
            description=self.description,
            acknowledged_index=self.acknowledged_index,
            last_seen=self.last_seen,
            lease_until=lease_until,
            lease_seconds=self.lease_seconds,
            unleased_since=self.unleased_since,
            has_left=self.has_left,
            rejections=deque(self.rejections, maxlen=REMEMBERED_REJECTIONS),
        )
