"""The objects of the lab's S3-like buckets, in memory within a byte budget, with a version number for every change.

Versions are a decimal counter per key, so that a freshness checker can order what viewers saw. Only the current content is kept;
of earlier versions only what they were. Pure values and one store; the S3 words on the wire are in `bucket_api`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5

from origin.conditions import http_date
from origin.errors import StorageFullError
from origin.messages import Headers, Response

DEFAULT_BUDGET_BYTES = 256 << 20
MAX_OBJECT_BYTES = 64 << 20
MAX_HISTORY = 100
MAX_BUCKETS = 100
# What a key or a version costs besides its content, so that many tiny ones fill the budget too.
_KEY_OVERHEAD_BYTES = 1_024
_VERSION_OVERHEAD_BYTES = 512


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key: an object, or the marker that a deletion leaves."""

    number: int
    modified_at: float
    entity_tag: str = ""
    size_bytes: int = 0
    is_delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The current object of a key. `headers` are those of the PUT that are given back: type, caching, user metadata."""

    version: Version
    content: bytes
    headers: Headers
    response: Response
    """The whole answer to a GET, made once."""

    @property
    def cost_bytes(self) -> int:
        """What it takes of the budget."""
        return len(self.content) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(slots=True)
class _Key:
    history: list[Version] = field(default_factory=list)
    current: StoredObject | None = None

    def next_number(self) -> int:
        return self.history[-1].number + 1 if self.history else 1


@dataclass(slots=True)
class Bucket:
    """One bucket; a key stays known after its object is deleted, so that its counter never goes back."""

    name: str
    _keys: dict[str, _Key] = field(default_factory=dict)
    _sorted: list[str] = field(default_factory=list)

    def get(self, key: str) -> StoredObject | None:
        """The current object."""
        known = self._keys.get(key)
        return known.current if known is not None else None

    def latest(self, key: str) -> Version | None:
        """The last version, which may be a delete marker."""
        known = self._keys.get(key)
        return known.history[-1] if known is not None and known.history else None

    def history(self, key: str) -> tuple[Version, ...]:
        """The versions that are remembered, newest first."""
        known = self._keys.get(key)
        return tuple(reversed(known.history)) if known is not None else ()

    def keys(self, prefix: str, after: str = "") -> Iterator[str]:
        """All known keys with the prefix and greater than `after`, in order, those with deleted objects too."""
        start = bisect_left(self._sorted, max(prefix, after))
        for position in range(start, len(self._sorted)):
            key = self._sorted[position]
            if not key.startswith(prefix):
                return
            if key > after:
                yield key

    def is_empty(self) -> bool:
        """Whether no key has an object."""
        return all(known.current is None for known in self._keys.values())

    def _known(self, key: str) -> _Key:
        if key not in self._keys:
            self._keys[key] = _Key()
            insort(self._sorted, key)
        return self._keys[key]


class BucketStore:
    """All buckets, under one budget."""

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._buckets: dict[str, Bucket] = {}

    def bucket(self, name: str) -> Bucket | None:
        """A bucket that exists."""
        return self._buckets.get(name)

    def create(self, name: str) -> Bucket:
        """The bucket, made if it is not there."""
        if name not in self._buckets:
            if len(self._buckets) >= MAX_BUCKETS:
                raise StorageFullError(f"more than {MAX_BUCKETS} buckets")
            self._buckets[name] = Bucket(name)
        return self._buckets[name]

    def remove(self, name: str) -> None:
        """Forget a bucket and all that was known of its keys."""
        bucket = self._buckets.pop(name)
        for key, known in bucket._keys.items():
            self.used_bytes -= _key_cost(key, known)

    def put(self, bucket_name: str, key: str, content: bytes, headers: Headers, now: float) -> StoredObject:
        """Store a new version. StorageFullError, with nothing changed, if the budget does not hold it."""
        bucket = self.create(bucket_name)
        before = bucket._keys.get(key)
        number = before.next_number() if before is not None else 1
        tag = f'"{md5(content, usedforsecurity=False).hexdigest()}"'
        stored = _stored(Version(number, now, tag, len(content)), content, headers)
        released = before.current.cost_bytes if before is not None and before.current is not None else 0
        key_cost = 0 if before is not None else _KEY_OVERHEAD_BYTES + len(key)
        self._take(stored.cost_bytes + key_cost + _VERSION_OVERHEAD_BYTES - released)
        known = bucket._known(key)
        known.current = stored
        self._append(known, stored.version)
        return stored

    def delete(self, bucket: Bucket, key: str, now: float) -> Version | None:
        """Delete the current object, which leaves a marker; None if the key was never known, which costs nothing."""
        known = bucket._keys.get(key)
        if known is None:
            return None
        marker = Version(known.next_number(), now, is_delete_marker=True)
        if known.current is not None:
            self.used_bytes -= known.current.cost_bytes
            known.current = None
        # Taken even beyond the budget: a deletion must always be possible, and the next one of this key replaces an old version.
        self.used_bytes += _VERSION_OVERHEAD_BYTES
        self._append(known, marker)
        return marker

    def _append(self, known: _Key, version: Version) -> None:
        known.history.append(version)
        if len(known.history) > MAX_HISTORY:
            del known.history[0]
            self.used_bytes -= _VERSION_OVERHEAD_BYTES

    def _take(self, count: int) -> None:
        if self.used_bytes + count > self.budget_bytes:
            raise StorageFullError(f"the budget of {self.budget_bytes} bytes does not hold {count} more")
        self.used_bytes += count


def _stored(version: Version, content: bytes, headers: Headers) -> StoredObject:
    identity = ("ETag", version.entity_tag), ("x-amz-version-id", str(version.number))
    modified = ("Last-Modified", http_date(version.modified_at))
    response = Response(200, (*headers, *identity, modified), content, accepts_ranges=True)
    return StoredObject(version, content, headers, response)


def _key_cost(key: str, known: _Key) -> int:
    content = known.current.cost_bytes if known.current is not None else 0
    return content + _KEY_OVERHEAD_BYTES + len(key) + _VERSION_OVERHEAD_BYTES * len(known.history)
