"""Holds a node's state folder for one process, and learns from it which processes have ended: DESIGN section 4, rule 5.

A lock on the file `process` ends with the process that holds it, however it ends, and never before. Whoever gets the lock therefore knows that every process which has
written its number into the file is gone. A copy of the folder has the numbers and proves nothing, since the original may still be in use. So the file also says which
file it is (device and inode) and of which boot of which machine: a copy is another file. Where that does not fit, nothing is proven, which costs receipts the time of a
lease.

Shared by edge_node and dns_router, as `node_session.py` is.
"""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proto.process_identity import MOST_PREDECESSORS, ProcessIdentity

PROCESS_FILE: Final = "process"
_LONGEST_BYTES: Final = 4096


class FolderInUseError(Exception):
    """Another process holds the folder; the message says which."""


@dataclass(frozen=True, slots=True)
class _Written:
    """The content of the file."""

    boot_id: str
    device: int
    inode: int
    process_id: int
    """Of the operating system, for people."""
    numbers: tuple[int, ...]
    """Of processes of the node, the latest first."""


class HeldFolder:
    """A folder that belongs to this process. `release` gives it back, as does the end of the process."""

    def __init__(self, folder: Path, boot_id: str) -> None:
        """FolderInUseError when another process holds it, OSError when it cannot be used."""
        self._descriptor = os.open(folder / PROCESS_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(folder)
            self.identity = self._take_over(boot_id)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Allowed twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            written = _parse(os.pread(self._descriptor, _LONGEST_BYTES, 0))
            holder = f"process {written.process_id}" if written else "another process"
            raise FolderInUseError(
                f"the state folder {folder} is in use by {holder}: one node, one folder, one process"
            ) from error

    def _take_over(self, boot_id: str) -> ProcessIdentity:
        """Who this process is; written down before anybody is told."""
        found = _parse(os.pread(self._descriptor, _LONGEST_BYTES, 0))
        file = os.fstat(self._descriptor)
        place = (boot_id, file.st_dev, file.st_ino)
        is_original = found is not None and boot_id and (found.boot_id, found.device, found.inode) == place
        ended = found.numbers[:MOST_PREDECESSORS] if found is not None and is_original else ()
        identity = ProcessIdentity(int.from_bytes(os.urandom(8)) >> 1 | 1, ended)
        content = _serialize(_Written(*place, os.getpid(), (identity.number, *ended)))
        with contextlib.suppress(OSError):  # a full disk: the next process proves nothing of this one
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))  # killed before: the file says nothing, and proves nothing
        return identity


def _serialize(written: _Written) -> bytes:
    return json.dumps(
        {
            "boot_id": written.boot_id,
            "device": written.device,
            "inode": written.inode,
            "process_id": written.process_id,
            "numbers": written.numbers,
        }
    ).encode()


def _parse(content: bytes) -> _Written | None:
    try:
        said = json.loads(content)
        numbers = tuple(int(number) for number in said["numbers"])
        return _Written(str(said["boot_id"]), int(said["device"]), int(said["inode"]), int(said["process_id"]), numbers)
    except (ValueError, KeyError, TypeError):
        return None
