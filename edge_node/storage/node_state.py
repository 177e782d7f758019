"""What a node serves from, as far as the log has been applied: the router of the current snapshot, the invalidations, and the other nodes.

Changed only by `control/client.py`, on the event loop, one log entry at a time; read by the pipeline. A snapshot is replaced in one assignment.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.model.configuration import Distribution, Peer, Role
from edge_node.policy.fence import Fence
from edge_node.policy.geo import GeoTable
from edge_node.policy.router import CompileStages, Router, Snapshot, no_stages
from edge_node.policy.upstream_request import decode_position
from proto.log_position import LogPosition


@dataclass(frozen=True, slots=True)
class ServedResources:
    """All that a node is configured to serve from."""

    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    latency_milliseconds: Mapping[str, float] = field(default_factory=dict)
    """From this node's region to the others."""
    geo_table: GeoTable = field(default_factory=GeoTable)
    """Where viewers are; nobody knows before the control plane has said it."""
    clock_ahead_seconds: float = 0.0
    """How far the lab's wall clock is ahead of the true one (docs/time-travel.md)."""


@dataclass(frozen=True, slots=True)
class InvalidatedPaths:
    """What is invalidated of one distribution."""

    distribution_id: str
    paths: Sequence[str]


def stays(_ahead_seconds: float) -> None:
    """Of a node whose clock nobody moves."""


class NodeState:
    """The applied part of one log."""

    def __init__(
        self,
        region: str,
        fence: Fence,
        compile_stages: CompileStages = no_stages,
        put_clock_ahead: Callable[[float], None] = stays,
    ) -> None:
        """`put_clock_ahead` is told how far the lab's wall clock is ahead when that changes, before anything of the entry counts as applied."""
        self._put_clock_ahead = put_clock_ahead
        self._region = region
        self.fence = fence
        """Whether what is stored may be served as it is."""
        self._compile_stages = compile_stages
        self.router = self._make_router(Snapshot("", 0, {}))
        self.invalidations = InvalidationLog()
        self.has_forgotten = False
        """It cannot tell which invalidations it has acknowledged, and the control plane has not been heard since."""
        self._regionals: tuple[Peer, ...] = ()
        self.peers: tuple[Peer, ...] = ()
        """All cache nodes that hold a lease, as far as the control plane has told."""
        self.former_peers: tuple[Peer, ...] = ()
        """Those that held one once; they may hold one again, which a node that is cut off is not told."""
        self.latency_milliseconds: Mapping[str, float] = {}
        """From this node's region to the others."""
        self.geo_table = GeoTable()
        """Where viewers are; nobody knows before the control plane has said it."""
        self.invalidate_everything: Callable[[], None] = lambda: None
        """Called when cached responses may belong to another history or it cannot be told which invalidations came after them; set by who keeps them.

        When it returns, those on disk must be gone for good: the journal that is written next would vouch for what a process killed later leaves.
        """
        self.clock_ahead_seconds = 0.0
        """How far the lab's wall clock is ahead of the true one."""
        self._waiting: list[asyncio.Future[None]] = []
        self._has_stood_still = False
        """Somebody has waited in vain since the log moved last."""

    @property
    def log_id(self) -> str:
        """Identity of the log that is applied; empty before the first snapshot."""
        return self.router.snapshot.log_id

    @property
    def applied_index(self) -> int:
        """The newest applied entry."""
        return self.invalidations.applied_index

    @property
    def position(self) -> LogPosition:
        """Where this node stands, and on which history."""
        return LogPosition(self.log_id, self.applied_index, self.invalidations.digest)

    @property
    def regionals(self) -> tuple[Peer, ...]:
        """The regional caches that may be asked.

        None by a node that has forgotten: it would name an index that it has been beyond, and a regional cache that has been cut off since then would
        take it for up to date. While the lease from before goes on, viewers are still sent here.
        """
        return () if self.has_forgotten else self._regionals

    def start_cold(self, log_id: str, index: int, served: ServedResources) -> None:
        """Serve from a configuration of earlier with nothing stored, not knowing what came after it."""
        self.replace(log_id, index, served)
        self.has_forgotten = True

    def replace(self, log_id: str, index: int, served: ServedResources) -> None:
        """A snapshot: it skips over invalidations, or is of another log, or of another history; all that is stored is void (DESIGN section 4, rule 9)."""
        self.has_forgotten = False
        self._serve(Snapshot(log_id, index, served.distributions), served)
        self.invalidations.start_over(index)
        self.invalidate_everything()
        self._wake()

    def resume(self, log_id: str, index: int, served: ServedResources) -> None:
        """Go on where the process before this one stood; `invalidations` know already what it knew."""
        self._serve(Snapshot(log_id, index, served.distributions), served)
        self._wake()

    def apply(
        self, index: int, served: ServedResources | None = None, invalidated: Sequence[InvalidatedPaths] = ()
    ) -> None:
        """One entry of the log, as a whole: what is served from now on, if it changes that, and what it invalidates."""
        if served is not None:
            self._reconfigure(index, served)
        for each in invalidated:
            self.invalidations.append(index, each.distribution_id, each.paths)
        self.invalidations.advance(index)
        self._wake()

    def put_directory(self, peers: Sequence[Peer], former: Sequence[Peer] = ()) -> None:
        """The nodes that hold a lease, and those that did."""
        self.peers, self.former_peers = tuple(peers), tuple(former)
        self._regionals = tuple(peer for peer in peers if peer.role is Role.REGIONAL)

    def is_behind(self, position: bytes) -> bool:
        """Whether an edge that says where it stands may know an invalidation that this node does not: it is ahead, or on another log or history."""
        asked = decode_position(position)
        return asked is None or asked.log_id != self.log_id or asked.digest != self.invalidations.digest_at(asked.index)

    def told_position(self, position: bytes, now: float) -> None:
        """An edge has said where it stands, at this moment of the monotonic clock: without a lease this node learns from it that it is cut off (section 4, rule 10)."""
        said = decode_position(position)
        if said is not None:
            self.fence.told_position(said, self.position, now)

    async def wait_until_not_behind(self, position: bytes, timeout_seconds: float) -> bool:
        """Wait for the log to arrive here; False when it did not in time.

        Without a control plane it will not arrive: one vain wait is enough until the log moves again, or each miss would cost its viewer the whole of it.
        """
        if self._has_stood_still:
            return not self.is_behind(position)
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.is_behind(position):
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.append(future)
                    await future
        except TimeoutError:
            self._has_stood_still = True
            return False
        return True

    def _make_router(self, snapshot: Snapshot) -> Router:
        return Router(snapshot, self._compile_stages)

    def _reconfigure(self, index: int, served: ServedResources) -> None:
        before = self.router.snapshot
        for distribution_id in before.distributions.keys() - served.distributions.keys():
            self.invalidations.forget_distribution(distribution_id)
        is_same = _are_the_same(before.distributions, served.distributions)
        self._serve(before if is_same else Snapshot(self.log_id, index, served.distributions), served)

    def _serve(self, snapshot: Snapshot, served: ServedResources) -> None:
        if snapshot is not self.router.snapshot:
            self.router = self._make_router(snapshot)
        self.latency_milliseconds = served.latency_milliseconds
        self.geo_table = served.geo_table
        if served.clock_ahead_seconds != self.clock_ahead_seconds:
            self.clock_ahead_seconds = served.clock_ahead_seconds
            self._put_clock_ahead(served.clock_ahead_seconds)

    def _wake(self) -> None:
        """Let those who wait look again."""
        self._has_stood_still = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


def _are_the_same(before: Mapping[str, Distribution], after: Mapping[str, Distribution]) -> bool:
    """Not merely equal: what has not changed is not read again."""
    return before.keys() == after.keys() and all(before[name] is after[name] for name in before)
