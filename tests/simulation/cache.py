"""A cache as DESIGN section 4 describes it, around the real NodeState and its InvalidationLog: rules 1, 2, 3, 4 and 8. Both roles, over virtual time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_node.policy.router import Snapshot
from edge_node.policy.upstream_request import encode_position
from edge_node.storage.node_state import NodeState
from proto.log_position import LogPosition
from tests.simulation.disk import Disk, Entry
from tests.simulation.world import Callback, World

DISTRIBUTION_ID = "D1"
CATCH_UP_SECONDS = 0.15
"""How long a regional cache that is behind its client waits before it answers without its cache."""

Respond = Callable[[int | None], None]
"""Called with the version of the object, or None for an error."""


@dataclass(slots=True)
class Fetch:
    """One on its way, and who waits for it."""

    position: LogPosition
    epoch: int
    """Which log of those that the node has been on: InvalidationLog.epoch."""
    waiting: list[Respond]
    revalidated: Entry | None
    must_confirm: bool = False
    """For one viewer of a node that may have missed an invalidation: nothing stale answers instead of an error."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a node asks the next tier."""

    path: str
    position: LogPosition
    """Where the asker stands."""
    wanted: int | None
    """The version that it would like confirmed."""
    must_confirm: bool = False
    """Only a regional cache with a lease may answer from what it has stored (rule 10)."""


Upstream = Callable[[Question, Callable[[int | None], None]], None]
"""Answers NOT_MODIFIED, a version, or None for an error."""

NOT_MODIFIED = -1


def validator(version: int) -> int:
    """A coarse one, as Last-Modified is: two versions in a row can share it."""
    return version // 2


class Cache:
    """What a node stores; what it knows of the log and of other nodes is in its NodeState."""

    def __init__(self, world: World, upstream: Upstream, disk: Disk, state: NodeState) -> None:
        self.world = world
        self.upstream = upstream
        self.disk = disk
        self.state = state
        self.log = state.invalidations
        self.entries: dict[str, Entry] = {}
        self.fetches: dict[str, Fetch] = {}
        self.waiting_for_log: list[Callable[[], bool]] = []
        self.must_confirm: Callable[[bool], bool] = lambda is_strict: False
        """Whether this node may have missed an invalidation: Fence.must_confirm."""
        self.confirmations_total = 0
        self._dice = world.dice(f"cache of {disk.node_id}")
        state.invalidate_everything = self.invalidate_everything

    # The log

    def load_entries(self) -> None:
        """After a restart that forgot nothing: what was stored is as good as its stamp (rule 7)."""
        self.entries = {path: Entry(e.version, e.stamp, e.fresh_until) for path, e in self.disk.entries.items()}

    def start_cold(self, position: LogPosition) -> None:
        """After a restart that forgot which invalidations came."""
        self.state.start_cold(_configuration(position), {})

    def resume(self, position: LogPosition) -> None:
        """After one that forgot nothing; the log knows already."""
        self.state.resume(_configuration(position), {})

    def apply_snapshot(self, position: LogPosition) -> None:
        """Invalidate what was stored before: invalidations are skipped, or it was stored under another log or history (rule 9)."""
        self.state.replace(_configuration(position), {})
        self.log.put_digest(position.digest)
        self._log_advanced()

    def apply_invalidation(self, at: LogPosition, paths: Sequence[str]) -> None:
        """One more."""
        self.state.invalidate(at.index, DISTRIBUTION_ID, paths)
        self.log.put_digest(at.digest)
        self._log_advanced()

    def apply_nothing(self, at: LogPosition) -> None:
        """An entry that invalidates nothing."""
        self.state.advance(at.index)
        self.log.put_digest(at.digest)
        self._log_advanced()

    def invalidate_everything(self) -> None:
        """Indexes of different histories are never compared: no entry survives, and fetches on their way are of another epoch."""
        self.entries.clear()
        self.disk.void_entries()

    def store(self, path: str, entry: Entry) -> None:
        """In memory, and most times on the disk: what was written last may not get there, and something older is found after a crash."""
        self.entries[path] = entry
        if self._dice.random() < 0.8:
            self.disk.entries[path] = Entry(entry.version, entry.stamp, entry.fresh_until)

    def _log_advanced(self) -> None:
        self.waiting_for_log = [is_served for is_served in self.waiting_for_log if not is_served()]

    # Requests

    @property
    def log_id(self) -> str:
        """Of the log that is applied; empty before the first snapshot."""
        return self.state.log_id

    @property
    def position(self) -> LogPosition:
        """Where the node stands."""
        return self.state.position

    @property
    def asking_position(self) -> LogPosition:
        """What the next tier is told; none by a node that has been further than it knows, and then the origin is asked (rule 7)."""
        return LogPosition() if self.state.has_forgotten else self.state.position

    def request(self, path: str, respond: Respond, *, is_strict: bool = False) -> None:
        """From the store, from a fetch on its way, or by a new fetch."""
        entry = self.lookup(path)
        if self.must_confirm(is_strict):
            self.confirmations_total += entry is not None
            self._fetch_alone(path, respond)
            return
        if entry is not None and self.world.now < entry.fresh_until:
            respond(entry.version)
            return
        fetch = self.fetches.get(path)
        if fetch is not None and self.may_join(path, fetch):
            fetch.waiting.append(respond)
            return
        self._fetch(path, entry, respond)

    def lookup(self, path: str) -> Entry | None:
        """The entry unless it is invalid (rule 2); an invalidated one is gone for every purpose (rule 8)."""
        entry = self.entries.get(path)
        if entry is None:
            return None
        if self.log.is_invalidated(DISTRIBUTION_ID, path, entry.stamp):
            del self.entries[path]
            return None
        entry.stamp = max(entry.stamp, self.log.applied_index)
        return entry

    def may_join(self, path: str, fetch: Fetch) -> bool:
        """Only if no matching invalidation came after the fetch started (rule 3)."""
        return fetch.epoch == self.log.epoch and not self.log.is_invalidated(
            DISTRIBUTION_ID, path, fetch.position.index
        )

    def stamp(self, fetch: Fetch) -> int:
        """The index when the fetch started (rule 1)."""
        return fetch.position.index

    def may_store(self, fetch: Fetch) -> bool:
        """Not under another log than the one it started under (rule 9)."""
        return fetch.epoch == self.log.epoch

    def stale_for_error(self, path: str) -> Entry | None:
        """What may be served when the upstream fails: stale, but never invalidated (rule 8)."""
        return self.lookup(path)

    def revalidated(self, path: str, entry: Entry | None) -> Entry | None:
        """What the upstream may be asked to confirm (rule 8)."""
        del path
        return entry

    def _fetch_alone(self, path: str, respond: Respond) -> None:
        """Anew, for one viewer."""
        self._fetch(path, None, respond, must_confirm=True)

    def _fetch(self, path: str, entry: Entry | None, respond: Respond, *, must_confirm: bool = False) -> None:
        candidate = self.revalidated(path, entry)
        fetch = Fetch(self.position, self.log.epoch, [respond], candidate, must_confirm)
        if not must_confirm:
            self.fetches[path] = fetch
        version = None if candidate is None else candidate.version
        question = Question(path, self.asking_position, version, must_confirm)
        self.upstream(question, lambda answer: self._fetched(path, fetch, answer))

    def _fetched(self, path: str, fetch: Fetch, answer: int | None) -> None:
        if self.fetches.get(path) is fetch:
            del self.fetches[path]
        version = fetch.revalidated.version if answer == NOT_MODIFIED and fetch.revalidated else answer
        if version is None and not fetch.must_confirm:
            stale = self.stale_for_error(path)
            version = None if stale is None else stale.version
        elif version is not None and self.may_store(fetch):
            lifetime_seconds = self._dice.choice((0.4, 3.0, 60.0))
            self.store(path, Entry(version, self.stamp(fetch), self.world.now + lifetime_seconds))
        for respond in fetch.waiting:
            respond(version)

    # A regional cache's clients

    def serve(self, question: Question, answer: Respond, bypass: Callback) -> None:
        """Answer an edge; one that is ahead is answered from here only after catching up, or else without the cache (rule 4)."""
        is_answered = False

        def from_cache() -> bool:
            nonlocal is_answered
            if not is_answered and self.may_serve(question.position):
                is_answered = True
                self.request(
                    question.path,
                    lambda version: answer(_revalidated(version, question.wanted)),
                    is_strict=question.must_confirm,
                )
            return is_answered

        def without_cache() -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                bypass()

        if not from_cache():
            self.waiting_for_log.append(from_cache)
            self.world.after(CATCH_UP_SECONDS, without_cache)

    def may_serve(self, client: LogPosition) -> bool:
        """Whether this cache knows every invalidation that its client knows (rule 4)."""
        return not self.state.is_behind(encode_position(client))


def _configuration(position: LogPosition) -> Snapshot:
    """One with nothing in it."""
    return Snapshot(position.log_id, position.index, {})


def _revalidated(version: int | None, wanted: int | None) -> int | None:
    if version is not None and wanted is not None and validator(version) == validator(wanted):
        return NOT_MODIFIED
    return version
