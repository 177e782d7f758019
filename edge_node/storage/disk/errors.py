"""What can go wrong with the disk that the owner of a store has to know of. A full disk and a damaged record are counted, not raised."""


class DiskStoreError(Exception):
    """Of a disk store."""


class DiskStoreLockedError(DiskStoreError):
    """Another process has the folder open."""


class DiskCorruptionError(DiskStoreError):
    """A block of a body is not what was written; the record is gone by the time this is raised, and none of the block was handed out."""


class DiskRemovalError(DiskStoreError):
    """What had to be forgotten may be found after a restart: the file can be neither written, emptied nor removed."""
