"""What a node serves from, as far as the log has been applied: the router of the current snapshot, the invalidations, and the other nodes.

Changed only by `control/client.py`, on the event loop, one log entry at a time; read by the pipeline. A snapshot is replaced in one assignment.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.model.configuration import Distribution, Peer, Role
from edge_node.policy.fence import Fence
from edge_node.policy.geo import GeoTable
from edge_node.policy.router import CompileStages, Router, Snapshot, no_stages
from edge_node.policy.upstream_request import decode_position
from proto.log_position import LogPosition


class NodeState:
    """The applied part of one log."""

    def __init__(self, region: str, fence: Fence, compile_stages: CompileStages = no_stages) -> None:
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

    def start_cold(
        self, snapshot: Snapshot, latency_milliseconds: Mapping[str, float], geo_table: GeoTable | None = None
    ) -> None:
        """Serve from a snapshot of earlier with nothing stored, not knowing what came after it."""
        self.replace(snapshot, latency_milliseconds, geo_table)
        self.has_forgotten = True

    def replace(
        self, snapshot: Snapshot, latency_milliseconds: Mapping[str, float], geo_table: GeoTable | None = None
    ) -> None:
        """Another snapshot: it skips over invalidations, or is of another log, or of another history; all that is stored is void (DESIGN section 4, rule 9)."""
        self.has_forgotten = False
        self.router = self._make_router(snapshot)
        self.latency_milliseconds = latency_milliseconds
        self.geo_table = geo_table or GeoTable()
        self.invalidations.start_over(snapshot.index)
        self.invalidate_everything()
        self._wake()

    def resume(
        self, snapshot: Snapshot, latency_milliseconds: Mapping[str, float], geo_table: GeoTable | None = None
    ) -> None:
        """Go on where the process before this one stood; `invalidations` know already what it knew."""
        self.router = self._make_router(snapshot)
        self.latency_milliseconds = latency_milliseconds
        self.geo_table = geo_table or GeoTable()
        self._wake()

    def put_distribution(self, index: int, distribution: Distribution) -> None:
        """One distribution new or changed at `index`."""
        self._replace_distributions(index, {**self.router.snapshot.distributions, distribution.id: distribution})

    def remove_distribution(self, index: int, distribution_id: str) -> None:
        """One distribution gone at `index`."""
        kept = {k: v for k, v in self.router.snapshot.distributions.items() if k != distribution_id}
        self.invalidations.forget_distribution(distribution_id)
        self._replace_distributions(index, kept)

    def put_latencies(self, index: int, latency_milliseconds: Mapping[str, float]) -> None:
        """Another routing table at `index`."""
        self.latency_milliseconds = latency_milliseconds
        self.advance(index)

    def put_geo_table(self, index: int, geo_table: GeoTable) -> None:
        """Another table of countries at `index`."""
        self.geo_table = geo_table
        self.advance(index)

    def invalidate(self, index: int, distribution_id: str, paths: Sequence[str]) -> None:
        """An invalidation at `index`."""
        self.invalidations.append(index, distribution_id, paths)
        self._wake()

    def advance(self, index: int) -> None:
        """An entry at `index` that changes nothing here."""
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

    def _replace_distributions(self, index: int, distributions: Mapping[str, Distribution]) -> None:
        self.router = self._make_router(Snapshot(self.log_id, index, distributions))
        self.advance(index)

    def _wake(self) -> None:
        """Let those who wait look again."""
        self._has_stood_still = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
