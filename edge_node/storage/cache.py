"""Where responses are kept and found: the store, with the conditions under which an entry may be put there and still holds.

DESIGN section 4: an entry that an invalidation after its stamp matches is gone (rules 2 and 8), and so is one of another log (rule 9). Which of a target's variants a
request selects is decided here for behaviors that follow the RFCs (RFC 9111 section 4.1).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from edge_node.caching.entry import Entry
from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.caching.key import CacheKey, variant_key
from edge_node.caching.lookup import Reason
from edge_node.caching.vary import recency_of, variant_of
from edge_node.http.compressor import Compressors
from edge_node.model.http import RequestHead
from edge_node.policy.response_head import LocalNode
from edge_node.policy.router import Route
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.protocol import Store
from edge_node.storage.variant_index import VariantIndex, target_of_key

MOST_REMEMBERED_RETRIES: Final = 4_096
MOST_REMEMBERED_REQUESTS: Final = 4_096
"""Of the latest puts: as many responses may overtake a slow one before it is believed to be the newest. Kept here, since a field of each entry would cost 48 bytes."""


class Cache:
    """What a node has stored, and what it needs to know to use it."""

    def __init__(
        self,
        node: LocalNode,
        store: Store,
        invalidations: InvalidationLog,
        clock: Callable[[], float],
        template: EntryTemplates | None = None,
    ) -> None:
        self.node = node
        self.template = template or EntryTemplates(node)
        self.store = store
        self.invalidations = invalidations
        self.clock = clock
        """Seconds since the epoch."""
        self.variants = VariantIndex()
        self.compressors = Compressors()
        self._retries: OrderedDict[CacheKey, float] = OrderedDict()
        """Of entries that do not stay in memory between two requests."""
        self._requested_at: OrderedDict[CacheKey, tuple[int, float]] = OrderedDict()
        """When upstream was asked for what was put last under a key: index of the log, and moment."""

    # -- finding

    def find(self, route: Route, key: CacheKey, head: RequestHead) -> tuple[Entry | None, Reason]:
        """The entry for a request, if there is one that still holds; else why not."""
        if not route.is_strict:
            return self._find_valid(key)
        found: list[Entry] = []
        absence = Reason.NOT_STORED
        for candidate in self.variants.candidates(key, head.fields):
            entry, reason = self._find_valid(candidate)
            if entry is not None:
                found.append(entry)
            else:
                self.variants.forget(candidate)
                absence = reason if absence is Reason.NOT_STORED else absence
        if len(found) > 1:
            return max(found, key=lambda entry: recency_of(dict(entry.headers), entry.age_base)), Reason.FRESH
        if found:
            return found[0], Reason.FRESH
        is_for_others = absence is Reason.NOT_STORED and self._has_for_others(key)
        return None, Reason.VARIANT_NOT_STORED if is_for_others else absence

    def _has_for_others(self, key: CacheKey) -> bool:
        """Whether a variant that still holds is stored for other requests; those that do not are forgotten, so that each is asked for once."""
        for other in self.variants.of_target(key):
            entry = self.store.peek(other) or self.store.lookup(other)  # only what is not in memory counts as used
            if entry is not None and not self.is_invalidated(entry):
                return True
            self.store.remove(other)
            self.variants.forget(other)
        return False

    def key_to_share(self, key: CacheKey, head: RequestHead) -> CacheKey:
        """Under which key requests for a target wait for each other: those for one variant, as far as it is known what tells them apart."""
        names = self.variants.newest_names(key)
        return variant_key(key, tuple(zip(names, variant_of(names, head.fields), strict=True))) if names else key

    def peek(self, route: Route, key: CacheKey, head: RequestHead) -> Entry | None:
        """What is stored for a request, whether it still holds or not, without counting as a use."""
        keys = self.variants.candidates(key, head.fields) if route.is_strict else [key]
        return next((entry for entry in map(self.store.peek, keys) if entry is not None), None)

    def _find_valid(self, key: CacheKey) -> tuple[Entry | None, Reason]:
        """The entry, if no invalidation after its stamp matches it; then its stamp moves forward (DESIGN section 4, rule 2)."""
        entry = self.store.lookup(key)
        if entry is None:
            return None, Reason.NOT_STORED
        applied_index = self.invalidations.applied_index
        if entry.stamp != applied_index:
            if self.is_invalidated(entry):
                self.store.remove(key)
                return None, Reason.INVALIDATED
            entry.stamp = applied_index
        if entry.body is not None:  # perhaps read from disk anew
            entry.retry_at = self._retries.get(key, 0.0)
        return entry, Reason.FRESH

    def back_off(self, stale: Entry, until: float) -> None:
        """Upstream failed to refresh an entry: until then it is used as it is, and upstream is not asked (reference 2.5)."""
        stale.retry_at = until
        if stale.body is not None:
            self._retries[stale.key] = until
            if len(self._retries) > MOST_REMEMBERED_RETRIES:
                self._retries.popitem(last=False)

    def is_invalidated(self, entry: Entry) -> bool:
        """Whether an invalidation after its stamp matches it."""
        return self.invalidations.is_invalidated(entry.distribution_id, entry.target, entry.stamp)

    # -- putting

    def put(self, entry: Entry, epoch: int, requested_at: float | None, commit: Callable[[Entry], None]) -> bool:
        """Commit an entry, unless it was invalidated while it came (DESIGN section 4, rules 1, 3), or what is there was asked for later; says whether it did.

        The stamp of a stored entry does not tell which is newer: it moves forward with each use. `requested_at`: None for what is made of both.
        """
        invalidations = self.invalidations
        if epoch != invalidations.epoch or (entry.stamp != invalidations.applied_index and self.is_invalidated(entry)):
            return False
        if requested_at is not None:
            later = self._requested_at.get(entry.key)
            if later is not None and later > (entry.stamp, requested_at) and self._is_past(later):
                return False
            self._note_requested(entry, requested_at)
        commit(entry)
        return True

    def _is_past(self, asked: tuple[int, float]) -> bool:
        """A moment that is still to come is of a clock that was set back, and index and moment of another time are not compared."""
        return asked[1] <= self.clock()

    def _note_requested(self, entry: Entry, requested_at: float) -> None:
        self._requested_at[entry.key] = (entry.stamp, requested_at)
        self._requested_at.move_to_end(entry.key)
        if len(self._requested_at) > MOST_REMEMBERED_REQUESTS:
            self._requested_at.popitem(last=False)

    def index_variant(self, key: CacheKey) -> None:
        """Make a stored variant findable; one that is no longer in the index must not be found, since a write could not invalidate it (RFC 9111 section 4.4)."""
        for pushed_out in self.variants.add(key):
            self.store.remove(pushed_out)

    def replace(self, entry: Entry, replaced: Entry, requested_at: float) -> None:
        """Store a confirmed entry, if what it confirms is still there and still holds (DESIGN section 4, rule 8)."""
        if not self._is_there(replaced) or self.is_invalidated(entry):
            return
        writer = self.store.open_writer(entry.key, 0)
        if writer is not None:
            writer.commit(entry)
            self._note_requested(entry, requested_at)
        if entry.key != replaced.key:  # another Vary came with the confirmation
            self.remove(replaced)
            self.index_variant(entry.key)

    def remove(self, entry: Entry) -> None:
        """The entry is known to be outdated; what has taken its place meanwhile stays."""
        if self._is_there(entry):
            self.store.remove(entry.key)
            self.variants.forget(entry.key)

    def _is_there(self, entry: Entry) -> bool:
        """Whether this very response is stored; one on disk is another object each time that it is read."""
        there = self.store.lookup(entry.key)
        return there is entry or (there is not None and (there.age_base, there.block) == (entry.age_base, entry.block))

    def invalidate_targets(self, keys: Sequence[CacheKey]) -> None:
        """RFC 9111 section 4.4: everything stored for these targets, whatever the variant."""
        for key in keys:
            for stored in self.variants.forget_target(target_of_key(key)):
                self.store.remove(stored)

    def clear(self) -> None:
        """Everything belongs to another log (DESIGN section 4, rule 9)."""
        self.store.clear()
        self._requested_at.clear()
        self.variants.clear()
