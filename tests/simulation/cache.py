"""What a node does with a request, over virtual time and for both roles. What is stored, whether it still holds, what is decided and whom one may wait for is the
product's: `storage/cache.py`, `caching/lookup.py`, `fill/coalescer.py`, `storage/node_state.py` (DESIGN section 4, rules 1 to 4, 8 and 9)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from edge_node.caching.entry import Entry
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import Hit, Miss, Revalidate, decide
from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.coalescer import RequestCoalescer, call_later
from edge_node.model.counters import Counters
from edge_node.policy.router import Route
from edge_node.policy.upstream_request import encode_position
from edge_node.storage.cache import Cache as ProductCache
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.memory import MemoryStore
from edge_node.storage.node_state import InvalidatedPaths, NodeState, ServedResources
from proto.log_position import LogPosition
from tests.simulation.disk import Disk, Stored
from tests.simulation.stored import (
    DISTRIBUTION_ID,
    EPOCH_SECONDS,
    LIFETIMES_SECONDS,
    Asked,
    asked_for,
    entry_of,
    make_cache,
    validator,
    version_of,
)
from tests.simulation.world import Callback, World

CATCH_UP_SECONDS = 0.15
"""How long a regional cache that is behind its client waits before it answers without its cache."""
STORE_BYTES = 1 << 20

Respond = Callable[[int | None], None]
"""Called with the version of the object, or None for an error."""


@dataclass(slots=True, eq=False)
class _Stream:
    """Of a fill whose response has not begun."""

    is_joinable: bool = True


@dataclass(slots=True, eq=False)
class Fetch:
    """One on its way, and who waits for it. To the coalescer it is a CacheFill."""

    key: CacheKey
    route: Route
    validated_index: int
    """The applied index when it began (rule 1)."""
    epoch: int
    """Which log of those that the node has been on: InvalidationLog.epoch."""
    requested_at: float
    waiting: list[Respond]
    stale: Entry | None
    """What may be served instead of an error."""
    revalidated: Entry | None
    """What upstream is asked to confirm."""
    stream: _Stream
    is_joinable: bool = True
    is_shared: bool = True


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


Upstream = Callable[[Question, Respond], None]
"""Answers NOT_MODIFIED, a version, or None for an error."""

NOT_MODIFIED = -1


class Cache:
    """What a node stores; what it knows of the log and of other nodes is in its NodeState."""

    def __init__(
        self,
        world: World,
        upstream: Upstream,
        disk: Disk,
        state: NodeState,
        product: tuple[type[ProductCache], type[RequestCoalescer]] = (ProductCache, RequestCoalescer),
    ) -> None:
        self.world = world
        self.upstream = upstream
        self.disk = disk
        self.state = state
        self.log = state.invalidations
        self.kept = make_cache(product[0], MemoryStore(STORE_BYTES, POLICIES["fifo"]), self.log, self._wall_clock)
        self.coalescer = product[1](state, Counters(), call_later, self._wall_clock)
        self.waiting_for_log: list[Callable[[], bool]] = []
        self.must_confirm: Callable[[bool], bool] = lambda is_strict: False
        """Whether this node may have missed an invalidation: Fence.must_confirm."""
        self._dice = world.dice(f"cache of {disk.node_id}")
        state.invalidate_everything = self.invalidate_everything

    def _wall_clock(self) -> float:
        return EPOCH_SECONDS + self.world.now

    # The log

    def load_entries(self) -> None:
        """After a restart that forgot nothing: what was stored is as good as its stamp (rule 7)."""
        for path, stored in self.disk.entries.items():
            self._commit(entry_of(path, stored.version, stored.stamp, stored.stored_at, stored.lifetime_seconds))

    def stamps_beyond(self) -> int:
        """How many stored responses have a stamp that the log does not reach."""
        return sum(stored.stamp > self.log.applied_index for stored in self.disk.entries.values())

    def start_cold(self, position: LogPosition) -> None:
        """After a restart that forgot which invalidations came."""
        self.state.start_cold(position.log_id, position.index, ServedResources())

    def resume(self, position: LogPosition) -> None:
        """After one that forgot nothing; the log knows already."""
        self.state.resume(position.log_id, position.index, ServedResources())

    def apply_snapshot(self, position: LogPosition) -> None:
        """Invalidate what was stored before: invalidations are skipped, or it was stored under another log or history (rule 9)."""
        self.state.replace(position.log_id, position.index, ServedResources())
        self.log.put_digest(position.digest)
        self.log_advanced()

    def apply_invalidation(self, at: LogPosition, paths: Sequence[str]) -> None:
        """One more."""
        self.state.apply(at.index, invalidated=[InvalidatedPaths(DISTRIBUTION_ID, paths)])
        self.log.put_digest(at.digest)
        self.log_advanced()

    def apply_nothing(self, at: LogPosition) -> None:
        """An entry that invalidates nothing."""
        self.state.apply(at.index)
        self.log.put_digest(at.digest)
        self.log_advanced()

    def invalidate_everything(self) -> None:
        """Indexes of different histories are never compared: no entry survives, and fetches on their way are of another epoch."""
        self.kept.clear()
        self.coalescer.invalidate_everything()
        self.disk.void_entries()

    def log_advanced(self) -> None:
        """Whoever waits for an entry looks again."""
        self.waiting_for_log = [is_served for is_served in self.waiting_for_log if not is_served()]

    @property
    def log_id(self) -> str:
        """Of the log that is applied; empty before the first snapshot."""
        return self.state.log_id

    @property
    def position(self) -> LogPosition:
        """Where the node stands."""
        return self.state.position

    # Requests

    def request(self, path: str, respond: Respond, *, is_strict: bool = False) -> None:
        """From the store, from a fetch on its way, or by a new fetch: Dispatcher.dispatch."""
        asked = asked_for(path)
        entry, absence = self.kept.find(asked.route, asked.key, asked.head)
        must_confirm = self.must_confirm(is_strict)
        now = EPOCH_SECONDS + self.world.now
        decision = decide(asked.head, asked.route.behavior, entry, absence, now, must_confirm=must_confirm)
        match decision:
            case Hit(entry=found):
                respond(version_of(found))
            case Revalidate(entry=expired):
                self._join_or_fetch(asked, respond, expired, expired)
            case Miss(stale=stale):
                if must_confirm:
                    self.fetch_alone(asked, respond)
                else:
                    self._join_or_fetch(asked, respond, stale or entry, None)
            case _:
                raise AssertionError(f"a plain GET ends as {decision}")

    def fetch_alone(self, asked: Asked, respond: Respond) -> None:
        """Anew, for one viewer: what it is served instead of an error, or with whom it waits, may be older than what this node has missed."""
        self.fetch(asked, respond, None, None, must_confirm=True)

    def _join_or_fetch(self, asked: Asked, respond: Respond, stale: Entry | None, revalidated: Entry | None) -> None:
        fetch = self.joinable(asked)
        if fetch is not None:
            fetch.waiting.append(respond)
        else:
            self.fetch(asked, respond, stale, revalidated)

    def joinable(self, asked: Asked) -> Fetch | None:
        """Only one that no matching invalidation has come after (rule 3)."""
        return cast("Fetch | None", self.coalescer.find(asked.key))

    def fetch(
        self,
        asked: Asked,
        respond: Respond,
        stale: Entry | None,
        revalidated: Entry | None,
        *,
        must_confirm: bool = False,
    ) -> None:
        """Ask upstream."""
        log, now = self.log, self._wall_clock()
        fetch = Fetch(
            asked.key, asked.route, log.applied_index, log.epoch, now, [respond], stale, revalidated, _Stream()
        )
        fetch.is_joinable = not must_confirm
        self.coalescer.add(cast(CacheFill, fetch))
        wanted = None if revalidated is None else version_of(revalidated)
        question = Question(asked.path, self.position, wanted, must_confirm)
        self.upstream(question, lambda answer: self._fetched(asked.path, fetch, answer))

    def _fetched(self, path: str, fetch: Fetch, answer: int | None) -> None:
        self.coalescer.forget(cast(CacheFill, fetch))
        version = answer
        if answer is None:
            version = self._instead_of_an_error(fetch)
        elif answer == NOT_MODIFIED:
            assert fetch.revalidated is not None
            version = version_of(fetch.revalidated)
            self.kept.replace(self._new_entry(path, version, fetch), fetch.revalidated, fetch.requested_at)
            self._write_down(path)
        elif self.kept.put(self._new_entry(path, answer, fetch), fetch.epoch, fetch.requested_at, self._commit):
            self._write_down(path)
        for respond in fetch.waiting:
            respond(version)

    def stamp(self, fetch: Fetch) -> int:
        """The index when the fetch started (rule 1)."""
        return fetch.validated_index

    def _new_entry(self, path: str, version: int, fetch: Fetch) -> Entry:
        lifetime_seconds = self._dice.choice(LIFETIMES_SECONDS)
        return entry_of(path, version, self.stamp(fetch), self._wall_clock(), lifetime_seconds)

    def _instead_of_an_error(self, fetch: Fetch) -> int | None:
        """Stale, but never invalidated (rule 8): FillStorage.may_answer_error."""
        stale = fetch.stale
        if stale is None or fetch.epoch != self.log.epoch or self.kept.is_invalidated(stale):
            return None
        return version_of(stale)

    def _commit(self, entry: Entry) -> None:
        writer = self.kept.store.open_writer(entry.key, 0)
        assert writer is not None
        writer.commit(entry)

    def _write_down(self, path: str) -> None:
        """Most times: what was written last may not get to the disk, and something older is found after a crash."""
        entry = self.kept.store.lookup(asked_for(path).key)
        if entry is not None and self._dice.random() < 0.8:
            lifetime_seconds = entry.cache_metadata.lifetime_seconds or 0.0
            self.disk.entries[path] = Stored(version_of(entry), entry.stamp, entry.age_base, lifetime_seconds)

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


def _revalidated(version: int | None, wanted: int | None) -> int | None:
    if version is not None and wanted is not None and validator(version) == validator(wanted):
        return NOT_MODIFIED
    return version
