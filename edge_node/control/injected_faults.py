"""The faults that an edge or a regional cache can be told to suffer, where it was started with `--allow-faults` (docs/faults.md). What they do is elsewhere."""

from edge_node.storage.disk.faulty_files import DISK_TIER_KINDS, STATE_FOLDER_KINDS
from proto.clock_faults import DRIFT_KIND, OFFSET_KIND
from proto.injected_faults import FaultKind

KINDS: tuple[FaultKind, ...] = (OFFSET_KIND, DRIFT_KIND, *STATE_FOLDER_KINDS)


def kinds_of(disk_bytes: int) -> tuple[FaultKind, ...]:
    """Of a node with a disk tier of that size, or without one: nothing is accepted that would hit nothing."""
    return (*KINDS, *DISK_TIER_KINDS) if disk_bytes else KINDS
