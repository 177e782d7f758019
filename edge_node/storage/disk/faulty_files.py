"""A disk that is full, slow or broken, on purpose: the system calls of `files.py` in a process that allows faults.

Rules that live here. What is asked of the disk fails before it is done, so that a fault leaves nothing behind that the store would not find after a real one. Bytes
that come back wrong do so from each read anew: on the disk they are right. While reads are in doubt no page is sent from the mapping, where no fault can reach it, and
what was proven has to be proven again, as after a start.

Everything here blocks the event loop, as a slow disk does.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge_node.storage.disk.files import DiskFiles, OpenFile
from edge_node.storage.disk.mapping import Windows
from edge_node.storage.disk.proof import FileState
from proto.fault_port import FaultPort
from proto.injected_faults import FaultKind, FaultParameter, ValueKind

DISK_FULL: Final = "disk-full"
DISK_SLOW: Final = "disk-slow"
DISK_READ_ERROR: Final = "disk-read-error"
DISK_BIT_FLIP: Final = "disk-bit-flip"

MOST_PAUSE_SECONDS: Final = 0.25
"""All of the node stands still meanwhile, and a request may need several operations."""

_PROBABILITY: Final = FaultParameter("probability", ValueKind.NUMBER, 0.000001, 1, 1.0)
STATE_FOLDER_KINDS: Final = (FaultKind(DISK_FULL),)
"""Of every node."""
DISK_TIER_KINDS: Final = (
    FaultKind(DISK_SLOW, (FaultParameter("by", ValueKind.NUMBER, 0.001, MOST_PAUSE_SECONDS, 0.05),)),
    FaultKind(DISK_READ_ERROR, (_PROBABILITY,)),
    FaultKind(DISK_BIT_FLIP, (_PROBABILITY,)),
)
"""Of a node with a disk tier."""


class FaultyDisk:
    """What is the matter with the disk now."""

    def __init__(
        self,
        faults: FaultPort,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._faults = faults
        self._pause = pause

    def operate(self) -> None:
        """Before anything is done: it may take a while."""
        slow = self._faults.in_force(DISK_SLOW)
        if slow is not None:
            slow.times += 1
            self._pause(float(slow.parameters["by"]))

    def take_room(self) -> None:
        """Before something is written: OSError where there is no room."""
        full = self._faults.in_force(DISK_FULL)
        if full is not None:
            full.times += 1
            raise _error(errno.ENOSPC)

    def read(self) -> None:
        """Before something is read: OSError where it cannot be."""
        if self._is_turn_of(DISK_READ_ERROR):
            raise _error(errno.EIO)

    def flipped_bit(self, length: int) -> int | None:
        """Which bit of so many bytes that were read is wrong; None: they are right."""
        fault = self._faults.in_force(DISK_BIT_FLIP)
        if fault is None or not length or not self._is_turn_of(DISK_BIT_FLIP):
            return None
        return int(fault.dice() * 8 * length)

    @property
    def are_reads_in_doubt(self) -> bool:
        """Whether what was right once need not be."""
        return any(self._faults.in_force(kind) is not None for kind in (DISK_READ_ERROR, DISK_BIT_FLIP))

    def _is_turn_of(self, kind: str) -> bool:
        fault = self._faults.in_force(kind)
        if fault is None or fault.dice() >= float(fault.parameters["probability"]):
            return False
        fault.times += 1
        return True


def faulty_disk_of(faults: FaultPort | None) -> FaultyDisk | None:
    """Of a node; None where none may be injected."""
    return None if faults is None else FaultyDisk(faults)


class FaultyDiskFiles(DiskFiles):
    """See DiskFiles."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk

    def create(self, path: Path) -> int:
        """See DiskFiles."""
        self._disk.operate()
        self._disk.take_room()
        return super().create(path)

    def open(self, path: Path) -> int:
        """See DiskFiles."""
        self._disk.operate()
        return super().open(path)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """See DiskFiles."""
        self._disk.operate()
        self._disk.read()
        data = super().read(descriptor, length, offset)
        bit = self._disk.flipped_bit(len(data))
        if bit is None:
            return data
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        return bytes(wrong)

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """See DiskFiles."""
        self._disk.operate()
        self._disk.read()
        length = super().read_into(descriptor, buffer, offset)
        bit = self._disk.flipped_bit(length)
        if bit is not None:
            buffer[bit // 8] ^= 1 << bit % 8
        return length

    def write(self, descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """See DiskFiles."""
        self._disk.operate()
        self._disk.take_room()
        return super().write(descriptor, data, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        """See DiskFiles."""
        self._disk.operate()
        super().truncate(descriptor, length)

    def unlink(self, path: Path) -> None:
        """See DiskFiles."""
        self._disk.operate()
        super().unlink(path)

    def rename(self, path: Path, new_path: Path) -> None:
        """See DiskFiles."""
        self._disk.operate()
        super().rename(path, new_path)

    def make_folder(self, path: Path) -> None:
        """See DiskFiles."""
        self._disk.operate()
        self._disk.take_room()
        super().make_folder(path)

    def hold(self, windows: Windows, descriptor: int) -> OpenFile:
        """See DiskFiles."""
        return _DoubtfulFile(self, windows, descriptor, self._disk)


class _DoubtfulFile(OpenFile):
    """See OpenFile."""

    __slots__ = ("_disk",)

    def __init__(self, files: DiskFiles, windows: Windows, descriptor: int, disk: FaultyDisk) -> None:
        super().__init__(files, windows, descriptor)
        self._disk = disk

    def is_in(self, state: FileState) -> bool:
        """See OpenFile. Asked for each piece that is sent from the mapping, and before there is one."""
        self._disk.operate()
        return not self._disk.are_reads_in_doubt and super().is_in(state)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
