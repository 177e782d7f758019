"""System calls on the files of a store, and who holds them open. What the bytes mean is `format.py`'s.

Rules that live here. What this process looks at is read with `pread`, not through a mapping: touching a mapped page that somebody truncated away is a signal that ends
the process. Mapped bytes are given to `write(2)` alone (`mapping.py`). A file that left the store stays readable for those who hold it open, and its bytes count until
the last of them lets go.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from edge_node.storage.disk.errors import DiskStoreLockedError
from edge_node.storage.disk.mapping import WINDOW_BYTES, Windows
from edge_node.storage.disk.proof import FileState

MOST_IDLE_FILES = 128
"""Descriptors that are kept for files which nobody reads just now."""


class DiskFiles:
    """The calls that touch the disk; a test replaces it to record or to fail them. Each may raise OSError."""

    def create(self, path: Path) -> int:
        """A descriptor of a new empty file."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """A descriptor of a file that is there."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """At most `length` bytes."""
        return os.pread(descriptor, length, offset)

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """How many bytes were read: at most as many as the buffer has room for."""
        return os.preadv(descriptor, (buffer,), offset)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """How many bytes were written: fewer than given on a disk that fills up."""
        return os.pwrite(descriptor, data, offset)

    def state(self, descriptor: int) -> FileState:
        """Which file it is, and when it was changed last."""
        found = os.fstat(descriptor)
        return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def now_ns(self) -> int:
        """By the clock that the times of files are of."""
        return time.time_ns()

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file."""
        os.ftruncate(descriptor, length)

    def close(self, descriptor: int) -> None:
        """Release it."""
        os.close(descriptor)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def rename(self, path: Path, new_path: Path) -> None:
        """In one step, of a file or a folder."""
        path.rename(new_path)

    def make_folder(self, path: Path) -> None:
        """Unless there is one."""
        path.mkdir(parents=True, exist_ok=True)

    def remove_folder(self, path: Path) -> None:
        """An empty one."""
        path.rmdir()

    def list_folder(self, path: Path) -> list[tuple[str, int]]:
        """Names and sizes of the files in it, by name."""
        with os.scandir(path) as found:
            return sorted((entry.name, entry.stat().st_size) for entry in found if entry.is_file())

    def hold(self, windows: Windows, descriptor: int) -> OpenFile:
        """An open file of this descriptor, which is closed with it."""
        return OpenFile(self, windows, descriptor)

    def list_folders(self, path: Path) -> list[str]:
        """Names of the folders in it."""
        with os.scandir(path) as found:
            return sorted(entry.name for entry in found if entry.is_dir())


class OpenFile:
    """An open file of the store. It closes itself when nobody holds it any more."""

    __slots__ = ("__weakref__", "_descriptor", "_files", "_mapped_bytes", "_when_closed", "_windows", "now_ns")

    def __init__(self, files: DiskFiles, windows: Windows, descriptor: int) -> None:
        self._files = files
        self._windows = windows
        self._descriptor = descriptor
        self._mapped_bytes = 0
        """The size of the file when a window of it was asked for last; 0: it has none."""
        self.now_ns = files.now_ns
        self._when_closed: Callable[[], None] | None = None

    def read(self, length: int, offset: int) -> bytes:
        """At most `length` bytes; less past the end."""
        return self._files.read(self._descriptor, length, offset)

    def read_into(self, buffer: memoryview, offset: int) -> memoryview:
        """As much of the buffer as could be filled; less past the end."""
        return buffer[: self._files.read_into(self._descriptor, buffer, offset)]

    def state(self) -> FileState:
        """Which file it is, and when it was changed last."""
        return self._files.state(self._descriptor)

    def is_in(self, state: FileState) -> bool:
        """Whether it is that file, and was not changed. Asked for each piece that is sent, and right after much was copied, when all code is slow: it makes nothing."""
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        return (
            found.st_mtime_ns == state.modified_ns
            and found.st_size == state.length
            and found.st_ino == state.inode
            and found.st_dev == state.device
        )

    def may_map(self, offset: int, file_bytes: int) -> bool:
        """Whether the window that has this byte can be had, of a file of that size."""
        try:
            self._windows.get(self._descriptor, offset // WINDOW_BYTES, file_bytes)
        except OSError:
            return False
        self._mapped_bytes = max(self._mapped_bytes, file_bytes)
        return True

    def write_mapped(self, descriptor: int, offset: int, length: int) -> int:
        """How many bytes from `offset` on, all of one window, another descriptor took. OSError: none; EFAULT when they are not there any more."""
        number, start = divmod(offset, WINDOW_BYTES)
        window = self._windows.get(self._descriptor, number, self._mapped_bytes)
        with memoryview(window) as whole, whole[start : start + length] as part:
            return os.write(descriptor, part)

    def write_all(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """All of it, or OSError."""
        view = memoryview(data)
        while view:
            written = self._files.write(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """As much as the disk takes, or OSError for nothing."""
        return self._files.write(self._descriptor, data, offset)

    def truncate(self, length: int) -> None:
        """Cut the file."""
        self._files.truncate(self._descriptor, length)

    def call_when_closed(self, callback: Callable[[], None]) -> None:
        """For what has to wait until the last reader is done."""
        self._when_closed = callback

    def __del__(self) -> None:
        self._windows.drop(self._descriptor, self._mapped_bytes)
        with contextlib.suppress(OSError):
            self._files.close(self._descriptor)
        if self._when_closed is not None:
            self._when_closed()


class OpenFiles:
    """The open files by number: those in use, and a bounded number of idle ones, the most recently used."""

    def __init__(self, files: DiskFiles) -> None:
        self._files = files
        self._windows = Windows()
        self._idle: OrderedDict[int, OpenFile] = OrderedDict()
        self._all: WeakValueDictionary[int, OpenFile] = WeakValueDictionary()

    def get(self, number: int, folder: Path, name: object) -> OpenFile:
        """The file of that name, opened unless it is; OSError as by `open`."""
        file = self._idle.get(number)
        if file is not None:
            self._idle.move_to_end(number)
            return file
        file = self._all.get(number) or self.hold(self._open(folder / str(name)))
        self.add(number, file)
        return file

    def hold(self, descriptor: int) -> OpenFile:
        """An open file of this descriptor, which is closed with it."""
        return self._files.hold(self._windows, descriptor)

    def add(self, number: int, file: OpenFile) -> None:
        """Keep a file that is open."""
        self._all[number] = self._idle[number] = file
        while len(self._idle) > MOST_IDLE_FILES:
            self._idle.popitem(last=False)

    def forget(self, number: int) -> OpenFile | None:
        """Keep it open no longer; who still reads it is in what is returned."""
        self._idle.pop(number, None)
        return self._all.pop(number, None)

    def close(self) -> None:
        """Keep none."""
        self._idle.clear()

    def _open(self, path: Path) -> int:
        try:
            return self._files.open(path)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._idle.clear()  # our own idle ones are the first to give up
            self._windows.drop_all()
            return self._files.open(path)


class FolderLock:
    """One process has the folder: an advisory lock on a file in it, which ends with the process however it ends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise DiskStoreLockedError(f"{path.parent} is in use by another process") from error

    def release(self) -> None:
        """Allowed twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
