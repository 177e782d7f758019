"""Whether the disk has room for what the disk tiers of a lab may come to hold. A lab works without (docs/caching.md), so it is said, not refused."""

import shutil
from pathlib import Path

from lab.topology.model import Topology


def disk_room_warning(topology: Topology, state_path: Path) -> str:
    """What to tell the user before the lab starts; empty when there is room, or when nobody can tell."""
    budget_mib = disk_budget_mib(topology)
    free_mib = _free_mib(state_path) if budget_mib else None
    if free_mib is None or budget_mib <= free_mib:
        return ""
    return (
        f"warning: the disk tiers may grow to {budget_mib:,} MiB together, and {state_path} has {free_mib:,} MiB free; on a full disk "
        "nodes keep nothing new there and the control plane refuses changes: lower disk_mib, or give another folder with --state"
    )


def disk_budget_mib(topology: Topology) -> int:
    """Of all nodes together."""
    edges = sum(pop.edges * pop.cache.disk_mib for pop in topology.pops)
    return edges + sum(each.count * each.cache.disk_mib for each in topology.regional_caches)


def full_disk_line(state_path: Path) -> str:
    """What to say of a node that has died, where a full disk may be the cause; empty where it is not."""
    if _free_mib(state_path) != 0:
        return ""
    return f"\nthe disk of {state_path} is full: make room, or give another folder with --state"


def _free_mib(path: Path) -> int | None:
    """Where the folder is, or will be."""
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free >> 20
        except FileNotFoundError:
            continue
        except OSError:
            return None  # what is wrong with the folder is said when it is used
    return None
