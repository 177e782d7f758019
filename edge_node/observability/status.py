"""Parts of what `/status` says of a node (docs/contracts.md)."""

from edge_node.storage.disk.disk_budget import DiskStatistics
from edge_node.storage.protocol import StoreStatistics


def store_documents(store: StoreStatistics, disk: DiskStatistics | None) -> dict[str, object]:
    """How full memory is, and the disk tier, where there is one."""
    return {
        "store": {
            "bytes": store.used_bytes,
            "capacity_bytes": store.capacity_bytes,
            "entries": store.entries,
            "evictions": store.evictions,
        },
        "disk": None
        if disk is None
        else {"bytes": disk.used_bytes, "capacity_bytes": disk.capacity_bytes, "entries": disk.records},
    }
