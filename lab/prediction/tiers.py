"""What a cache does about one request, step by step as an edge node does it, in no time: a fill is over before the next request comes. Pure.

Decisions are the edge node's own: freshness (`caching.reuse.judge` over `caching.freshness_cloudfront`), invalidations (`caching.invalidation_index`), eviction
(`storage.eviction`). What is written anew here is the course between them, as `pipeline/dispatcher.py` and `fill/cache_fill.py` have it, without anything that can fail.

An answer is its Age, whole seconds, or NO_AGE when it says none; `Content.answered_version` says which representation it was about. Whoever asks says
which version it has (`known_version`): an answer about that one is a 304.
"""

from typing import Protocol

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.caching.request_directives import NO_DIRECTIVES
from edge_node.caching.reuse import FRESH, ServeStale, judge
from lab.prediction.content import Content
from lab.prediction.copy_store import CopyStore
from lab.prediction.counts import CacheCounts, OriginCounts
from lab.prediction.stored_copy import StoredCopy

NO_AGE = -1
NOTHING_KNOWN = -1


class Upstream(Protocol):
    """Whoever a cache asks."""

    is_origin: bool

    def ask(self, content: Content, now: float, known_version: int) -> int:
        """Answer a GET; `known_version`: of the copy that whoever asks would have confirmed, or NOTHING_KNOWN."""

    def ask_head(self, content: Content, now: float) -> None:
        """Answer a HEAD."""


class PredictedOrigin:
    """All origins: they have everything, and know what has changed."""

    is_origin = True

    def __init__(self) -> None:
        self.counts = OriginCounts()

    def ask(self, content: Content, now: float, known_version: int) -> int:
        """See Upstream."""
        del now
        counts = self.counts
        counts.requests += 1
        size = content.answered_bytes = content.size_bytes
        version = content.answered_version = content.version
        if version == known_version:
            counts.not_modified += 1
        else:
            counts.sent_bytes += size
        return NO_AGE

    def ask_head(self, content: Content, now: float) -> None:
        """See Upstream."""
        del content, now
        self.counts.requests += 1


class ParentChoice(Protocol):
    """Whom the caches of one place ask for which content."""

    def __call__(self, content: Content) -> Upstream:
        """The first choice: here nobody is down."""


class PredictedCache:
    """One cache node."""

    is_origin = False

    def __init__(
        self, store: CopyStore, invalidations: InvalidationLog, distribution_id: str, choose_parent: ParentChoice
    ) -> None:
        self.counts = CacheCounts()
        self.store = store
        self._invalidations = invalidations
        self._distribution_id = distribution_id
        self._choose_parent = choose_parent

    # -- from downstream

    def ask(self, content: Content, now: float, known_version: int) -> int:
        """See Upstream."""
        counts = self.counts
        counts.requests += 1
        copy = self._find(content)
        if copy is None:
            return self._miss(content, now, known_version)
        age = now - copy.age_base
        decision = judge(copy.metadata, NO_DIRECTIVES, age)
        if decision is FRESH or isinstance(decision, ServeStale):
            counts.hits += 1
            if decision is not FRESH:
                self._refresh_in_background(content, copy, now)
            return self._answer_from(content, copy, max(int(age), 0), known_version)
        if content.has_validator:
            return self._validate(content, copy, now, known_version)
        return self._miss(content, now, known_version)

    def ask_head(self, content: Content, now: float) -> None:
        """See Upstream. What comes for a HEAD is stored by nobody, and updates nothing in CloudFront's semantics."""
        counts = self.counts
        counts.requests += 1
        copy = self._find(content)
        decision = None if copy is None else judge(copy.metadata, NO_DIRECTIVES, now - copy.age_base)
        if copy is not None and (decision is FRESH or isinstance(decision, ServeStale)):
            counts.hits += 1
            if decision is not FRESH:
                self._refresh_in_background(content, copy, now)
            return
        counts.misses += 1
        upstream = self._choose_parent(content)
        counts.upstream_fetches += 1
        counts.origin_fetches += upstream.is_origin
        upstream.ask_head(content, now)

    def pass_on(self, content: Content, now: float, origin: PredictedOrigin, method: str) -> None:
        """Straight to the origin: what the method or the policy keeps from being looked up."""
        counts = self.counts
        counts.requests += 1
        counts.passes += 1
        counts.upstream_fetches += 1
        counts.origin_fetches += 1
        if method == "HEAD":
            origin.ask_head(content, now)
            return
        origin.ask(content, now, NOTHING_KNOWN)
        counts.upstream_bytes += content.answered_bytes
        counts.origin_bytes += content.answered_bytes
        counts.sent_bytes += content.answered_bytes

    # -- the cache

    def _find(self, content: Content) -> StoredCopy | None:
        """What is stored, if no invalidation after its stamp matches it; then its stamp moves forward (`Cache._find_valid`)."""
        copy = self.store.lookup(content.key)
        if copy is None:
            return None
        applied = self._invalidations.applied_index
        if copy.stamp != applied:
            if self._invalidations.is_invalidated(self._distribution_id, content.target, copy.stamp):
                self.store.remove(copy)
                return None
            copy.stamp = applied
        return copy

    def _answer_from(self, content: Content, copy: StoredCopy, age: int, known_version: int) -> int:
        content.answered_bytes, content.answered_version = copy.size_bytes, copy.version
        return self._answer(content, age, known_version)

    def _answer(self, content: Content, age: int, known_version: int) -> int:
        """With the representation that the last answer from upstream, or a copy, has told of."""
        if content.answered_version != known_version:
            self.counts.sent_bytes += content.answered_bytes
        return age

    def _miss(self, content: Content, now: float, known_version: int) -> int:
        """Ask with the conditions of whoever asked: a 304 is passed on and not stored."""
        self.counts.misses += 1
        age = self._fetch(content, now, known_version)
        if content.answered_version != known_version:
            self._keep(content, now, age)
        return self._answer(content, age, known_version)

    def _validate(self, content: Content, copy: StoredCopy, now: float, known_version: int) -> int:
        """Ask whether a copy still holds, by its own validators."""
        age = self._fetch(content, now, copy.version)
        if content.answered_version == copy.version:
            self.counts.refresh_hits += 1
            self._confirm(content, copy, now, age)
            return self._answer_from(content, copy, max(age, 0), known_version)
        self.counts.misses += 1
        self._keep(content, now, age)
        return self._answer(content, age, known_version)

    def _refresh_in_background(self, content: Content, copy: StoredCopy, now: float) -> None:
        """RFC 5861 section 3; nobody waits for it."""
        known_version = copy.version if content.has_validator else NOTHING_KNOWN
        age = self._fetch(content, now, known_version)
        if content.answered_version == known_version:
            self._confirm(content, copy, now, age)
        else:
            self._keep(content, now, age)

    def _fetch(self, content: Content, now: float, known_version: int) -> int:
        counts = self.counts
        upstream = self._choose_parent(content)
        age = upstream.ask(content, now, known_version)
        is_not_modified = content.answered_version == known_version
        received = 0 if is_not_modified else content.answered_bytes
        counts.upstream_fetches += 1
        counts.upstream_bytes += received
        counts.not_modified += is_not_modified
        if upstream.is_origin:
            counts.origin_fetches += 1
            counts.origin_bytes += received
        return age

    def _keep(self, content: Content, now: float, age: int) -> None:
        """Store what has come, if that is allowed; what may not be stored takes the stale copy with it (reference 2.4)."""
        if content.metadata.lifetime_seconds is not None:
            stamp = self._invalidations.applied_index
            self.store.put(StoredCopy(content, now - max(age, 0), stamp))
            return
        stale = self.store.lookup(content.key)
        if stale is not None:
            self.store.remove(stale)

    def _confirm(self, content: Content, copy: StoredCopy, now: float, age: int) -> None:
        """A 304: the copy lives on with a new lifetime. That it is still there is looked up, which counts as a use (`Cache.replace`)."""
        there = self.store.lookup(copy.key)
        if content.metadata.lifetime_seconds is None:
            self.store.remove(copy)
        elif there is copy and self.store.admits(0):
            copy.age_base, copy.metadata = now - max(age, 0), content.metadata
            copy.stamp = self._invalidations.applied_index
            self.store.commit(copy)
