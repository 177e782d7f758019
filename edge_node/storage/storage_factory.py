"""The stores that a node is told to have, opened and put together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_node.caching.entry_codec import is_strict_entry
from edge_node.caching.invalidations import InvalidationLog
from edge_node.caching.key import CacheKey
from edge_node.policy.traits import TraitsTable
from edge_node.settings import Settings
from edge_node.storage.disk.boot import read_boot_id
from edge_node.storage.disk.space import DiskStatistics
from edge_node.storage.disk.store import DiskStore
from edge_node.storage.eviction.choice import POLICIES
from edge_node.storage.memory import MemoryStore
from edge_node.storage.protocol import Store
from edge_node.storage.tiered import TieredStore

CACHE_FOLDER = "cache"
EPOCH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Stores:
    """What answers come from."""

    store: Store
    disk: DiskStatistics | None
    """None: there is no disk tier."""
    flush: Callable[[], None]
    """Writes what waits; to be called every 100 ms or so."""
    close: Callable[[], None]
    strict_keys: Callable[[], Iterator[CacheKey]]
    """What the index of variants has to know of the process before; to be read once, before anything is stored."""


def open_stores(settings: Settings, traits: TraitsTable, invalidations: InvalidationLog) -> Stores:
    """Open them; raises DiskStoreError when the folder on disk cannot be used."""
    memory = MemoryStore(settings.cache_bytes, POLICIES[settings.eviction_policy])
    if not settings.disk_bytes:
        return Stores(memory, None, lambda: None, lambda: None, lambda: iter(()))
    disk = DiskStore(settings.state_dir / CACHE_FOLDER, settings.disk_bytes, read_boot_id(), is_noted=is_strict_entry)
    tiered = TieredStore(memory, disk, traits, lambda: invalidations.epoch.to_bytes(EPOCH_BYTES, "big"))
    return Stores(tiered, disk.statistics, tiered.flush, tiered.close, tiered.strict_keys)
