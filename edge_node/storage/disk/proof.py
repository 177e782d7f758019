"""Which blocks of a body were found right since the start, and of which state of its file that is known.

Rules that live here. A checksum is proven once: by `pread`, before the first use of its block. What is known ends with the first sign that the file is another one,
or was changed through the file system: another device, inode, size or time of modification. A time so young that a later change could bear it, too, proves nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SETTLE_NANOSECONDS: Final = 100_000_000
"""Kernels before 6.13 note the time of a change to the tick, which is 10 ms at most; file systems of other kinds are not for caches."""


class FileState(NamedTuple):
    """What tells a file, and that it was not written to."""

    device: int
    inode: int
    length: int
    modified_ns: int


class Proof:
    """Of the blocks of one body: a byte of memory for each block of 64 KiB, from the first answer on until the record leaves."""

    __slots__ = ("_proven", "state")

    def __init__(self, blocks: int) -> None:
        self._proven = bytearray(blocks)
        self.state: FileState | None = None
        """In which the file was when the blocks were proven."""

    def forget(self) -> None:
        """The file is not the one that it was."""
        self._proven = bytearray(len(self._proven))
        self.state = None

    def end_of_proven(self, first: int, end: int) -> int:
        """The first block from `first` on that is not proven; `end` when all before it are."""
        found = self._proven.find(0, first, end)
        return found if found >= 0 else end

    def add(self, first: int, end: int, before: FileState, now_ns: int) -> None:
        """Blocks from `first` to before `end` were found right; `before` they were read the file was in this state, and now it is so late."""
        if before.modified_ns + SETTLE_NANOSECONDS > now_ns:
            return
        if self.state != before:
            self.forget()
            self.state = before
        self._proven[first:end] = b"\x01" * (end - first)
