"""Two tiers of LRU caches as docs/caching.md, docs/invalidation.md and the reference describe them: lists, linear scans, each rule once.

Slow on purpose, and written from the pages, not from the code that it judges.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

ENTRY_BYTES = 320
"""What an entry costs beside its key, head and body (docs/caching.md)."""


@dataclass
class Response:
    """What somebody was given."""

    size: int
    age: int | None
    is_not_modified: bool


@dataclass
class Stored:
    """An entry."""

    path: str
    size: int
    cost: int
    born: float
    lifetime: float
    fetched: int
    """How many invalidations there had been when its fetch began."""


@dataclass
class SlowOrigin:
    """Everything, at its present size; each of its answers has an ETag that is its size."""

    sizes: dict[str, int] = field(default_factory=dict)
    lifetimes: dict[str, int | None] = field(default_factory=dict)
    fetches: int = 0
    sent: int = 0

    def get(self, path: str, now: float, tag: int | None) -> Response:
        del now
        self.fetches += 1
        size = self.sizes[path]
        if size == tag:
            return Response(size, None, is_not_modified=True)
        self.sent += size
        return Response(size, None, is_not_modified=False)


@dataclass
class SlowCache:
    """One node. `entries`: the least recently used first."""

    capacity: int
    head: int
    upstream: "SlowCache | SlowOrigin"
    origin: SlowOrigin
    invalidations: list[str]
    entries: list[Stored] = field(default_factory=list)
    hits: int = 0
    refreshed: int = 0
    misses: int = 0

    def get(self, path: str, now: float, tag: int | None) -> Response:
        entry = self.find(path)
        if entry is not None:
            self.use(entry)
            if any(fnmatchcase(path, pattern) for pattern in self.invalidations[entry.fetched :]):
                self.entries.remove(entry)  # gone: never served, never used to revalidate
                entry = None
        if entry is not None and now - entry.born < entry.lifetime:
            self.hits += 1
            return Response(entry.size, int(now - entry.born), entry.size == tag)
        if entry is not None:
            return self.revalidate(entry, now, tag)
        self.misses += 1
        answer = self.upstream.get(path, now, tag)
        if not answer.is_not_modified:  # a 304 was for whoever asked, and says nothing that could be stored
            self.store(path, answer, now)
        return answer

    def revalidate(self, entry: Stored, now: float, tag: int | None) -> Response:
        answer = self.upstream.get(entry.path, now, entry.size)
        if answer.is_not_modified:
            self.refreshed += 1
            self.use(entry)
            entry.born, entry.fetched = now - (answer.age or 0), len(self.invalidations)
            entry.lifetime = self.lifetime(entry.path) or 0.0
            return Response(entry.size, answer.age or 0, entry.size == tag)
        self.misses += 1
        self.store(entry.path, answer, now)
        return Response(answer.size, answer.age, answer.size == tag)

    def lifetime(self, path: str) -> float | None:
        """max-age between the policy's minimum TTL of 2 and maximum of 50 seconds; the default is 20."""
        said = self.origin.lifetimes[path]
        return 20.0 if said is None else float(min(max(said, 2), 50))

    def store(self, path: str, answer: Response, now: float) -> None:
        if answer.size + ENTRY_BYTES > self.capacity // 8:
            return
        older = self.find(path)
        key = len(f"E1\n{path}")
        new = Stored(path, answer.size, key + self.head + answer.size + ENTRY_BYTES, now - (answer.age or 0), 0.0, 0)
        new.lifetime, new.fetched = self.lifetime(path) or 0.0, len(self.invalidations)
        if older is not None:  # both are there while the body comes
            self.make_room(answer.size)
            older = self.find(path)
        if older is not None:
            self.entries[self.entries.index(older)] = new
            self.make_room(0)
        else:
            self.make_room(new.cost)
            self.entries.append(new)

    def make_room(self, wanted: int) -> None:
        while self.entries and sum(each.cost for each in self.entries) + wanted > self.capacity:
            self.entries.pop(0)

    def use(self, entry: Stored) -> None:
        self.entries.remove(entry)
        self.entries.append(entry)

    def find(self, path: str) -> Stored | None:
        return next((each for each in self.entries if each.path == path), None)
