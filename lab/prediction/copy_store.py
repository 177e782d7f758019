"""The memory store of an edge node without bodies: the same budget, the same order of steps, the same eviction policies. Pure.

What `MemoryStore` and its writer do for one response that comes whole, in one go (edge_node/storage/memory.py); a property test compares the two.
"""

from functools import lru_cache
from hashlib import blake2b

from edge_node.caching.entry import ENTRY_OVERHEAD_BYTES
from edge_node.storage.eviction.protocol import EvictionPolicy
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.eviction.wtinylfu import WTinyLfu
from edge_node.storage.memory import LARGEST_SHARE_OF_BUDGET
from lab.prediction.stored_copy import StoredCopy


@lru_cache(maxsize=1 << 18)
def _steady_hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


def _policy_of(name: str, capacity_bytes: int) -> EvictionPolicy[StoredCopy]:
    """W-TinyLFU counts by a hash that is salted in each edge node, and by the same one each time here: so that a prediction repeats."""
    kind = POLICIES[name]
    return WTinyLfu(capacity_bytes, _steady_hash) if kind is WTinyLfu else kind(capacity_bytes)


class CopyStore:
    """Copies under a byte budget."""

    __slots__ = ("_policy", "_touch", "capacity_bytes", "copies", "evictions", "largest_body_bytes", "used_bytes")

    def __init__(self, capacity_bytes: int, policy: str) -> None:
        self.capacity_bytes = capacity_bytes
        self.largest_body_bytes = capacity_bytes // LARGEST_SHARE_OF_BUDGET
        self.used_bytes = 0
        self.evictions = 0
        self.copies: dict[bytes, StoredCopy] = {}
        self._policy = _policy_of(policy, capacity_bytes)
        self._touch = self._policy.touch

    def lookup(self, key: bytes) -> StoredCopy | None:
        """The copy for a key; counts as a use."""
        copy = self.copies.get(key)
        if copy is not None:
            evicted = self._touch(copy)
            if evicted is not None:
                self._forget(evicted)
        return copy

    def admits(self, size_bytes: int) -> bool:
        """Whether a body of this length is stored at all."""
        return size_bytes + ENTRY_OVERHEAD_BYTES <= self.largest_body_bytes

    def put(self, copy: StoredCopy) -> None:
        """Store it, if it is admitted. While its body comes, an older copy of the same object is there as well, and both count."""
        if not self.admits(copy.size_bytes):
            return
        if copy.key in self.copies:
            self.used_bytes += copy.size_bytes
            self._make_room(0)
            self.used_bytes -= copy.size_bytes
        self.commit(copy)

    def commit(self, copy: StoredCopy) -> None:
        """Insert a copy, or put it in the place of the one of the same key, and evict down to the budget."""
        replaced = self.copies.get(copy.key)
        if replaced is None:
            self._make_room(copy.cost_bytes)
            copy.uses = 0  # also of one that left a moment ago, because it was used itself (W-TinyLFU)
            self._policy.admit(copy)
        elif replaced is not copy:
            self._policy.replace(replaced, copy)
            self.used_bytes -= replaced.cost_bytes
        else:  # confirmed where it is
            return
        self.copies[copy.key] = copy
        self.used_bytes += copy.cost_bytes
        self._make_room(0)

    def remove(self, copy: StoredCopy) -> None:
        """Forget one copy, if it is still there."""
        if self.copies.get(copy.key) is copy:
            del self.copies[copy.key]
            self._policy.remove(copy)
            self.used_bytes -= copy.cost_bytes

    def _make_room(self, wanted_bytes: int) -> None:
        while self.used_bytes + wanted_bytes > self.capacity_bytes:
            victim = self._policy.evict()
            if victim is None:
                return
            self._forget(victim)

    def _forget(self, victim: StoredCopy) -> None:
        del self.copies[victim.key]
        self.used_bytes -= victim.cost_bytes
        self.evictions += 1
