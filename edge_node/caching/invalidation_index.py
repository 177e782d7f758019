"""Which cached responses an invalidation covers: DESIGN section 4, rules 1, 2, 3 and 8.

Every cached response carries a stamp: the log index that its node had applied when the fetch for it *started*. A response stamped `s` is invalid when an
invalidation in `(s, applied_index]` matches it. Nothing is scanned when an invalidation arrives, and a lookup costs the same however many there have been:
paths are held by their newest index only, exact ones in one dictionary and wildcard ones in another that is asked once per distinct prefix length.

Path rules: reference section 4. A `*` is a wildcard only as the last character; the target of a response is its path with the query string that is part of its key.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

MAXIMUM_PATHS_PER_DISTRIBUTION = 131_072
"""Beyond it every response of the distribution stamped earlier is invalid: forgetting an invalidation is not an option, and memory has a bound."""

MAXIMUM_COST_BYTES = 32 * 1024 * 1024
"""The same over all distributions, with their paths' lengths counted; it also bounds the time in which the journal is written anew."""

REMEMBERED_DIGESTS: Final = 4096
"""So many entries may an edge be behind a regional cache that still recognises its history; one that is further behind is answered without the cache."""

PATH_COST_BYTES: Final = 160
"""What a path of one character holds: its string, its number, and its places in a dictionary."""


class DistributionInvalidations:
    """The newest index at which each path of one distribution was invalidated."""

    __slots__ = ("cost_bytes", "exact", "floor", "newest", "prefix_lengths", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, int] = {}
        self.prefixes: dict[str, int] = {}
        """Without their `*`."""
        self.prefix_lengths: tuple[int, ...] = ()
        self.newest = 0
        self.floor = 0
        self.cost_bytes = 0

    @classmethod
    def of(
        cls, newest: int, floor: int, exact: Mapping[str, int], prefixes: Mapping[str, int]
    ) -> "DistributionInvalidations":
        """As it was when these were read from it."""
        paths = cls()
        paths.newest, paths.floor = newest, floor
        paths.exact.update(exact)
        paths.prefixes.update(prefixes)
        paths.prefix_lengths = tuple(sorted({len(prefix) for prefix in prefixes}))
        paths.cost_bytes = sum(PATH_COST_BYTES + len(path) for of_kind in (exact, prefixes) for path in of_kind)
        return paths

    def add(self, index: int, path: str) -> None:
        """Record one path; `index` never goes back."""
        self.newest = index
        is_prefix = path.endswith("*")
        if is_prefix:
            path = path[:-1]
            if len(path) not in self.prefix_lengths:
                self.prefix_lengths = tuple(sorted({*self.prefix_lengths, len(path)}))
        known = self.prefixes if is_prefix else self.exact
        if path not in known:
            self.cost_bytes += PATH_COST_BYTES + len(path)
        known[path] = index
        if len(self.exact) + len(self.prefixes) > MAXIMUM_PATHS_PER_DISTRIBUTION:
            self.forget_all()

    def forget_all(self) -> None:
        """Invalidate everything stamped before the newest of them, in exchange for the memory."""
        self.floor = self.newest
        self.exact.clear()
        self.prefixes.clear()
        self.prefix_lengths = ()
        self.cost_bytes = 0

    def matches_after(self, target: str, stamp: int) -> bool:
        """Whether an invalidation later than `stamp` covers `target`."""
        if stamp < self.floor or self.exact.get(target, 0) > stamp:
            return True
        prefixes = self.prefixes
        return any(prefixes.get(target[:length], 0) > stamp for length in self.prefix_lengths)


class InvalidationLog:
    """The invalidations that a node has applied, and up to where in the log it stands."""

    __slots__ = ("_by_distribution", "_cost_bytes", "_digests", "applied_index", "epoch")

    def __init__(self, applied_index: int = 0) -> None:
        self.applied_index = applied_index
        self.epoch = 0
        """Tells the histories apart that this node has been on: stamps of different ones are never compared (DESIGN section 4, rule 9).

        With a journal it also outlives the process: after a restart it is the same exactly when stored stamps still mean something.
        """
        self._by_distribution: dict[str, DistributionInvalidations] = {}
        self._cost_bytes = 0
        self._digests = OrderedDict({applied_index: b""})

    @property
    def digest(self) -> bytes:
        """Of the log's history up to `applied_index` (DESIGN section 4, rule 9); empty where nobody has said it."""
        return self._digests[self.applied_index]

    def digest_at(self, index: int) -> bytes | None:
        """The same of an earlier moment; None for what has not been applied here, or so long ago that it is not remembered."""
        return self._digests.get(index)

    def put_digest(self, digest: bytes) -> None:
        """The history up to what has just been applied."""
        self._digests[self.applied_index] = digest

    @property
    def distributions(self) -> Mapping[str, DistributionInvalidations]:
        """What is known, to be written down."""
        return self._by_distribution

    def append(self, index: int, distribution_id: str, paths: Sequence[str]) -> None:
        """Apply the invalidation at `index`."""
        of_distribution = self._by_distribution.setdefault(distribution_id, DistributionInvalidations())
        self._cost_bytes -= of_distribution.cost_bytes
        for path in paths:
            of_distribution.add(index, path)
        self._cost_bytes += of_distribution.cost_bytes
        while self._cost_bytes > MAXIMUM_COST_BYTES:
            self._forget_largest()
        self.advance(index)

    def advance(self, index: int) -> None:
        """Apply an entry that invalidates nothing."""
        self.applied_index = index
        self._digests[index] = b""
        if len(self._digests) > REMEMBERED_DIGESTS:
            self._digests.popitem(last=False)

    def start_over(self, index: int) -> None:
        """A snapshot at `index` replaced what was known, perhaps of another history: no stamp from before means anything."""
        self.epoch += 1
        self._by_distribution.clear()
        self._cost_bytes = 0
        self._digests.clear()
        self.advance(index)

    def resume(self, before: "InvalidationLog") -> None:
        """Be what the process before this one knew."""
        self.epoch, self.applied_index = before.epoch, before.applied_index
        self._by_distribution, self._cost_bytes = before._by_distribution, before._cost_bytes
        self._digests = before._digests

    def put_distribution(self, distribution_id: str, paths: DistributionInvalidations) -> None:
        """What was written down of one distribution."""
        self.forget_distribution(distribution_id)
        self._by_distribution[distribution_id] = paths
        self._cost_bytes += paths.cost_bytes

    def forget_distribution(self, distribution_id: str) -> None:
        """The distribution is gone, and its identifier never comes back: its invalidations need no memory."""
        forgotten = self._by_distribution.pop(distribution_id, None)
        if forgotten is not None:
            self._cost_bytes -= forgotten.cost_bytes

    def is_invalidated(self, distribution_id: str, target: str, stamp: int) -> bool:
        """Whether a response for `target` whose fetch started at `stamp` is invalid now."""
        if stamp >= self.applied_index:
            return False
        of_distribution = self._by_distribution.get(distribution_id)
        return (
            of_distribution is not None
            and of_distribution.newest > stamp
            and of_distribution.matches_after(target, stamp)
        )

    def _forget_largest(self) -> None:
        largest = max(self._by_distribution.values(), key=lambda paths: paths.cost_bytes)
        self._cost_bytes -= largest.cost_bytes
        largest.forget_all()
