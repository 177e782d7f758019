"""Which cached responses an invalidation has voided: DESIGN section 4, rules 1, 2, 3 and 8.

Every cached response carries a stamp: the log index that its node had applied when the fetch for it *started*. A response stamped `s` is void when an
invalidation in `(s, applied_index]` matches it. Nothing is scanned when an invalidation arrives, and a lookup costs the same however many there have been:
paths are held by their newest index only, exact ones in one dictionary and wildcard ones in another that is asked once per distinct prefix length.

Path rules: reference section 4. A `*` is a wildcard only as the last character; the target of a response is its path with the query string that is part of its key.
"""

from collections.abc import Sequence

MAXIMUM_PATHS_PER_DISTRIBUTION = 131_072
"""Beyond it every response of the distribution stamped earlier is void: forgetting an invalidation is not an option, and memory has a bound."""


class _DistributionPaths:
    """The newest index at which each path of one distribution was invalidated."""

    __slots__ = ("exact", "floor", "newest", "prefix_lengths", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, int] = {}
        self.prefixes: dict[str, int] = {}
        self.prefix_lengths: tuple[int, ...] = ()
        self.newest = 0
        self.floor = 0

    def add(self, index: int, path: str) -> None:
        """Record one path; `index` never goes back."""
        self.newest = index
        if path.endswith("*"):
            prefix = path[:-1]
            if prefix not in self.prefixes and len(prefix) not in self.prefix_lengths:
                self.prefix_lengths = tuple(sorted({*self.prefix_lengths, len(prefix)}))
            self.prefixes[prefix] = index
        else:
            self.exact[path] = index
        if len(self.exact) + len(self.prefixes) > MAXIMUM_PATHS_PER_DISTRIBUTION:
            self.forget_all(index)

    def forget_all(self, index: int) -> None:
        """Void everything stamped before `index`, in exchange for the memory."""
        self.floor = index
        self.exact.clear()
        self.prefixes.clear()
        self.prefix_lengths = ()

    def matches_after(self, target: str, stamp: int) -> bool:
        """Whether an invalidation later than `stamp` covers `target`."""
        if stamp < self.floor or self.exact.get(target, 0) > stamp:
            return True
        prefixes = self.prefixes
        return any(prefixes.get(target[:length], 0) > stamp for length in self.prefix_lengths)


class InvalidationLog:
    """The invalidations that a node has applied, and up to where in the log it stands."""

    __slots__ = ("_by_distribution", "_floor", "applied_index", "epoch")

    def __init__(self, applied_index: int = 0) -> None:
        self.applied_index = applied_index
        self.epoch = 0
        """Counts the logs that this node has been on: stamps of different ones are never compared (DESIGN section 4, rule 9)."""
        self._floor = 0
        self._by_distribution: dict[str, _DistributionPaths] = {}

    def append(self, index: int, distribution_id: str, paths: Sequence[str]) -> None:
        """Apply the invalidation at `index`."""
        of_distribution = self._by_distribution.setdefault(distribution_id, _DistributionPaths())
        for path in paths:
            of_distribution.add(index, path)
        self.advance(index)

    def advance(self, index: int) -> None:
        """Apply an entry that invalidates nothing."""
        self.applied_index = index

    def void_before(self, index: int) -> None:
        """A snapshot at `index` replaced what was known: the invalidations in between were never seen, so every earlier stamp is void."""
        self._by_distribution.clear()
        self._floor = index
        self.applied_index = index

    def start_over(self, index: int) -> None:
        """Another log: no stamp from before means anything."""
        self.epoch += 1
        self.void_before(index)

    def forget_distribution(self, distribution_id: str) -> None:
        """The distribution is gone, and its identifier never comes back: its invalidations need no memory."""
        self._by_distribution.pop(distribution_id, None)

    def is_invalidated(self, distribution_id: str, target: str, stamp: int) -> bool:
        """Whether a response for `target` whose fetch started at `stamp` is void now."""
        if stamp >= self.applied_index:
            return False
        if stamp < self._floor:
            return True
        of_distribution = self._by_distribution.get(distribution_id)
        return (
            of_distribution is not None
            and of_distribution.newest > stamp
            and of_distribution.matches_after(target, stamp)
        )
