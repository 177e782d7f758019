"""The eviction policies by the names that settings use. To add one is to write its class and its line here."""

from typing import Any, Final

from edge_node.storage.eviction.fifo import Fifo
from edge_node.storage.eviction.lru import Lru
from edge_node.storage.eviction.protocol import EvictionPolicy
from edge_node.storage.eviction.s3fifo import S3Fifo
from edge_node.storage.eviction.sieve import Sieve
from edge_node.storage.eviction.wtinylfu import WTinyLfu

DEFAULT_POLICY: Final = "s3fifo"
"""High hit ratios on traces of every kind that its paper and SIEVE's look at, no work at a hit but a count, and resistant to scans, which SIEVE is not."""

POLICIES: dict[str, type[EvictionPolicy[Any]]] = {
    "lru": Lru,
    "fifo": Fifo,
    "sieve": Sieve,
    "s3fifo": S3Fifo,
    "wtinylfu": WTinyLfu,
}
"""For a store of entries: `policy: EvictionPolicy[Entry] = POLICIES[name](capacity_bytes)`."""
