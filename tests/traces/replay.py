"""The smallest store around an eviction policy: a table, a budget, and nothing else of the edge node."""

from collections.abc import Iterable

from edge_node.storage.eviction.protocol import EvictionPolicy


class Cached:
    """A cached object of a given cost."""

    __slots__ = ("cost_bytes", "key", "newer", "older", "queue", "uses")

    def __init__(self, key: bytes, cost_bytes: int = 1) -> None:
        self.key = key
        self.cost_bytes = cost_bytes
        self.newer: Cached | None = None
        self.older: Cached | None = None
        self.uses = 0
        self.queue = 0


def key_of(object_id: int) -> bytes:
    """The bytes that libCacheSim hashes for an object of this number."""
    return object_id.to_bytes(8, "little")


def number_of(node: Cached) -> int:
    """The number whose key a node has."""
    return int.from_bytes(node.key, "little")


def hits_of(policy: EvictionPolicy[Cached], capacity: int, trace: Iterable[int]) -> int:
    """The hits of a trace of objects that cost one byte each."""
    cached: dict[int, Cached] = {}
    hits = 0
    for object_id in trace:
        node = cached.get(object_id)
        if node is not None:
            hits += 1
            victim = policy.touch(node)
            if victim is not None:
                del cached[number_of(victim)]
            continue
        while len(cached) >= capacity:
            victim = policy.evict()
            assert victim is not None, "the policy lost an object"
            del cached[number_of(victim)]
        cached[object_id] = node = Cached(key_of(object_id))
        policy.admit(node)
    return hits
