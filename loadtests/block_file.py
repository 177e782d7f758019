"""The file of a Locust process with its blocks of requests (request_block.py). What was written is the kernel's, and outlives the process; a last block may be cut.

Bounded as a file of lines is (proto/history_file.py): what is beyond is dropped and counted.
"""

from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

from loadtests.request_block import NUMBERS, NoBlockError, pack, read_block
from proto.history_file import LARGEST_BYTES


class BlockFile:
    """Not for several threads."""

    def __init__(self, path: Path, prefix: str, largest_bytes: int = LARGEST_BYTES) -> None:
        """`prefix`: of the ids of its rows. Goes on with a file that is there, behind its last whole block. OSError when it cannot be opened."""
        cut_torn_block(path)
        self._file = FileIO(path, "a")
        self._largest_bytes = largest_bytes
        self._prefix = prefix
        self._next_number = 1
        self._blocks: list[bytes] = []
        self._waiting_bytes = 0
        """Of the blocks."""
        self.dropped_rows = 0

    def add(self, numbers: Sequence[int], pieces: Sequence[str]) -> None:
        """Rows, as a block has them (request_block.pack); they are written by `flush`."""
        rows = len(numbers) // NUMBERS
        if not rows:
            return
        block = b""
        if self._waiting_bytes < self._largest_bytes >> 6 and self._file.tell() < self._largest_bytes:
            block = pack(self._prefix, self._next_number, numbers, pieces)
        if block:
            self._blocks.append(block)
            self._waiting_bytes += len(block)
        else:
            self.dropped_rows += rows
        self._next_number += rows

    def flush(self) -> None:
        """Hands everything to the kernel; what it does not take waits for the next time."""
        if not self._blocks:
            return
        unwritten = b"".join(self._blocks)
        with suppress(OSError):
            unwritten = unwritten[self._file.write(unwritten) :]
        self._blocks = [unwritten] if unwritten else []
        self._waiting_bytes = len(unwritten)

    @property
    def is_behind(self) -> bool:
        """Whether something that was added is not the kernel's."""
        return bool(self._waiting_bytes)

    def close(self) -> None:
        """After a last flush."""
        self.flush()
        self._file.close()


def cut_torn_block(path: Path) -> int:
    """Of a process that was killed while it wrote, and whatever stands behind it. How many rows are lost."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        whole = 0
        try:
            while read_block(file) is not None:
                whole = file.tell()
        except NoBlockError as error:
            file.truncate(whole)
            return error.rows
    return 0
