"""Windows: parts of files mapped into memory, so that the system can write them to a socket without a copy in this process (docs/decisions/0014).

Rules that live here. Nobody in this process touches a mapped byte: a page that somebody truncated away would end it with SIGBUS. Only `write(2)` reads them, and says
EFAULT for such a page. How many windows there are at once is bounded; one that is dropped is unmapped as soon as the call that uses it returns, and all windows of a
file go with the open file.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from typing import Final

WINDOW_BYTES = 32 * 1024 * 1024
"""Mapped at once, on a border of so many bytes: unmapping one takes about 0.3 ms, however large the file is."""

MOST_WINDOWS: Final = 128
"""4 GiB of addresses and 8 MiB of page tables; each also costs a descriptor, since Python keeps one with each mapping."""


class Windows:
    """The windows of all files, the least recently used first."""

    __slots__ = ("_by_place", "_most")

    def __init__(self, most: int = MOST_WINDOWS) -> None:
        self._most = most
        self._by_place: OrderedDict[tuple[int, int], mmap.mmap] = OrderedDict()
        """By descriptor of the open file and number in the file."""

    def __len__(self) -> int:
        return len(self._by_place)

    def get(self, descriptor: int, number: int, file_bytes: int) -> mmap.mmap:
        """Window `number` of an open file of that size; OSError when it cannot be mapped."""
        place = (descriptor, number)
        window = self._by_place.get(place)
        if window is not None:
            self._by_place.move_to_end(place)
            return window
        start = number * WINDOW_BYTES
        try:
            window = mmap.mmap(
                descriptor, min(WINDOW_BYTES, file_bytes - start), mmap.MAP_SHARED, mmap.PROT_READ, offset=start
            )
        except (ValueError, OverflowError) as error:  # the file is shorter by now
            raise OSError(str(error)) from error
        while len(self._by_place) >= self._most:
            self._by_place.popitem(last=False)
        self._by_place[place] = window
        return window

    def drop_all(self) -> None:
        """Of all files: descriptors are short."""
        self._by_place.clear()

    def drop(self, descriptor: int, file_bytes: int) -> None:
        """Those of a file that is about to be closed."""
        for number in range(-(-file_bytes // WINDOW_BYTES)):
            self._by_place.pop((descriptor, number), None)
