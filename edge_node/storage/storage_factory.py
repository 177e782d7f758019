"""The stores that a node is told to have, opened and put together."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edge_node.caching.entry_codec import is_strict_entry
from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.caching.key import CacheKey
from edge_node.storage.disk.disk_budget import DiskStatistics
from edge_node.storage.disk.faulty_files import FaultyDisk, FaultyDiskFiles
from edge_node.storage.disk.store import DiskStore
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.storage.eviction.registry import POLICIES
from edge_node.storage.memory import MemoryStore
from edge_node.storage.protocol import Store
from edge_node.storage.tiered import TieredStore
from proto.host_clock import read_boot_id

CACHE_FOLDER: Final = "cache"
EPOCH_BYTES: Final = 8


class StorageSettings(Protocol):
    """What is read of the settings, which know the names of the eviction policies and so cannot be imported here."""

    @property
    def state_dir(self) -> Path:
        """Where the folder of the disk tier goes."""

    @property
    def cache_bytes(self) -> int:
        """Of memory."""

    @property
    def eviction_policy(self) -> str:
        """What leaves memory first."""

    @property
    def disk_bytes(self) -> int:
        """Of the disk tier; 0: there is none."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What answers come from."""

    store: Store
    disk: DiskStatistics | None
    """None: there is no disk tier."""
    flush: Callable[[], None]
    """Writes what waits; to be called every 100 ms or so."""
    close: Callable[[], None]
    strict_keys: Callable[[], Iterator[CacheKey]]
    """What the index of variants has to know of the process before; to be read once, before anything is stored."""


def open_storage(
    settings: StorageSettings,
    template: EntryTemplates,
    invalidations: InvalidationLog,
    faulty_disk: FaultyDisk | None = None,
) -> Storage:
    """Open them; raises DiskStoreError when the folder on disk cannot be used. `faulty_disk`: of a node that allows faults."""
    memory = MemoryStore(settings.cache_bytes, POLICIES[settings.eviction_policy])
    if not settings.disk_bytes:
        return Storage(memory, None, lambda: None, lambda: None, lambda: iter(()))
    files = None if faulty_disk is None else FaultyDiskFiles(faulty_disk)
    disk = DiskStore(settings.state_dir / CACHE_FOLDER, settings.disk_bytes, read_boot_id(), files, is_strict_entry)
    tiered = TieredStore(memory, disk, template, lambda: invalidations.epoch.to_bytes(EPOCH_BYTES, "big"))
    return Storage(tiered, disk.statistics, tiered.flush, tiered.close, tiered.strict_keys)
