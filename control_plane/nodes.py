"""What the control plane knows of one node, and what of it survives a restart."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from math import inf
from typing import Literal

NOTHING_ACKNOWLEDGED = -1
"""The node has confirmed nothing of this log, not even its empty beginning (index 0)."""

MAXIMUM_REJECTIONS = 10_000
"""Of one node, which names the resources itself. A node that has refused more is kept with so many, and nothing counts as applied by it."""

FORGET_AFTER_SECONDS = 24 * 3600.0
"""A node that has been gone for so long is dropped from the registry and from receipts."""

FORGET_REPLACED_AFTER_SECONDS = 600.0
"""The same for a process that another one has taken the place of. It could only matter while it runs on, cut off from everybody who has a lease."""

MAXIMUM_NODES = 8192
"""More are refused: each costs memory and a line in every receipt."""

NodeState = Literal["live", "expired", "left", "replaced"]

SET_ASIDE_MARK = "!"
"""Between a node's id and a number, in the name of a process of it that another one has taken the place of (`succession.py`). No node's id has it."""


class TooManyNodesError(Exception):
    """The registry is full."""


class ResourceKind(IntEnum):
    """Values of cdn.v1.ResourceKind."""

    UNKNOWN = 0
    DISTRIBUTION = 1
    ROUTING_TABLE = 2
    GEO_TABLE = 3
    CACHE_POLICY = 4
    LAB_CLOCK = 5

    @classmethod
    def of(cls, number: int) -> "ResourceKind":
        """A newer node may know more kinds."""
        return next((kind for kind in cls if kind == number), cls.UNKNOWN)


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

    @property
    def is_set_aside(self) -> bool:
        """Whether it is of a process that another one has taken the place of, and that may still run."""
        return SET_ASIDE_MARK in self.identifier


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that is configured; the identifier is empty for a kind of which there is one only."""

    kind: ResourceKind
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A node cannot use the newest version of one resource, which came in the entry or the snapshot of this index."""

    resource: Resource
    index: int
    reason: str

    def __str__(self) -> str:
        name = f"{self.resource.kind.name.lower()} {self.resource.identifier}".rstrip()
        return f"{name} at {self.index}: {self.reason}"


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
    process: int = 0
    """Number of the process that all of this is about (`proto/process_identity.py`)."""
    incarnation: int = 0
    """Of that process, as it said in its last Hello."""
    witness_since: float = inf
    """Since when whoever asks this process hears that the control plane is there: since its first lease, or its first after it had none. Infinite: not yet."""
    stream: int | None = None
    """Number of the stream that speaks for the node now."""
    is_granted_on_stream: bool = False
    directory_version: int = 0
    """What its newest heartbeat said; 0 before it has one."""
    heartbeat_sequence: int = 0
    heartbeat_received_at: float = 0.0
    is_heartbeat_answered: bool = True
    check_at: float = inf
    """When it is looked at whether time alone has changed something about it; infinite: not planned."""
    started_over_at: float = -inf
    """When it was last found to have another configuration than the log."""
    must_start_over: bool = False
    """It gets a snapshot when it connects next, wherever it stands."""
    rejections: dict[Resource, Rejection] = field(default_factory=dict)
    """What the node does not serve in its newest version: at most one for each resource, until the node says that it has accepted it or that it is gone."""

    @property
    def is_live(self) -> bool:
        """Whether invalidations wait for it."""
        return self.lease_until is not None

    @property
    def is_routable(self) -> bool:
        """Whether it is in the directory: a process that has been replaced is waited for, and nobody is sent to it."""
        return self.is_live and not self.description.is_set_aside

    @property
    def remembered_seconds(self) -> float:
        """For how long it is known after it was heard of last."""
        return FORGET_REPLACED_AFTER_SECONDS if self.description.is_set_aside else FORGET_AFTER_SECONDS

    @property
    def state(self) -> NodeState:
        """For people."""
        if self.description.is_set_aside:
            return "replaced"
        if self.is_live:
            return "live"
        return "left" if self.has_left else "expired"

    def has_applied(self, resources: Iterable[Resource], index: int) -> bool:
        """Whether it serves these as the log has them at `index`, or newer versions."""
        is_refusing = any(each in self.rejections for each in resources) or len(self.rejections) >= MAXIMUM_REJECTIONS
        return self.acknowledged_index >= index and not is_refusing

    def reject(self, rejection: Rejection) -> None:
        """Instead of an older one for the same resource. A reason that is left out is the one that is known."""
        known = self.rejections.get(rejection.resource)
        if known is None and len(self.rejections) >= MAXIMUM_REJECTIONS:
            return
        if known is not None and known.index == rejection.index and not rejection.reason:
            return
        self.rejections[rejection.resource] = rejection

    def restate_rejections(self, rejections: Iterable[Rejection]) -> None:
        """These and no others."""
        known, self.rejections = self.rejections, {}
        for rejection in rejections:
            before = known.get(rejection.resource)
            if before is not None:
                self.rejections[rejection.resource] = before
            self.reject(rejection)

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
    process: int = 0

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
            rejections=tuple(record.rejections.values()),
            process=record.process,
        )

    def settled(self, index: int) -> "SavedNode":
        """What it had acknowledged is recorded with other news of it only; at least it was this index, if it is recorded with a lease (`unsaved.Ledger`)."""
        if self.lease_seconds <= 0 or self.acknowledged_index in (NOTHING_ACKNOWLEDGED, index):
            return self
        return replace(self, acknowledged_index=max(self.acknowledged_index, index))

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
            rejections={rejection.resource: rejection for rejection in self.rejections},
            process=self.process,
        )
