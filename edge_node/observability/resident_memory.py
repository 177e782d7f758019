"""Gives back the pages of programs and libraries that only the start has needed, so that an idle node keeps resident what it uses.

A start touches nearly all of gRPC's library, of OpenSSL's and of the interpreter, since each touched page brings its neighbours along (64 KiB on Linux, "fault-around").
These pages are unchanged file contents: the kernel keeps them in its page cache, and one that is needed again is mapped again in a microsecond. What the process has
written is never touched: such mappings are left out as a whole. Done once, in 7 ms, most of which the kernel takes to say what is mapped.
"""

import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path

START_SETTLES_SECONDS = 2.0
"""By then the control plane has been heard and the first lease is there, as a rule; later pages are those that the node goes on using."""
_MAPS = Path("/proc/self/smaps")
_MADV_DONTNEED = 4
"""madvise(2), Linux: unmap the pages; for an unchanged private mapping of a file they come from the file again."""
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+) ([0-9]+)")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A range of addresses with the contents of a file, by its device and number."""

    start: int
    end: int
    file: tuple[str, int]


def unchanged_mappings(maps: str) -> list[Mapping]:
    """Of programs and libraries, what cannot be written and in which the process has no page of its own; from proc(5), smaps.

    Read-only files without code are left out: another thread may unmap one (the loader's cache, for example), and its place be somebody's memory a moment later.
    Libraries of extension modules stay until the end.
    """
    found: list[Mapping] = []
    with_code: set[tuple[str, int]] = set()
    candidate: Mapping | None = None
    for line in maps.splitlines():
        if (head := _MAPPING.match(line)) is not None:
            start, end, permissions, device, inode = head.groups()
            mapping = Mapping(int(start, 16), int(end, 16), (device, int(inode)))
            candidate = mapping if permissions in ("r-xp", "r--p") and inode != "0" else None
            if permissions == "r-xp":
                with_code.add(mapping.file)
        elif line.startswith("Anonymous:"):  # pages of its own, for example relocated addresses: those would be lost
            if candidate is not None and int(line.split()[1]) == 0:
                found.append(candidate)
            candidate = None
    return [mapping for mapping in found if mapping.file in with_code]


def release_program_pages() -> int:
    """How many mappings were released; 0 where this cannot be done, which costs memory and nothing else."""
    if sys.platform != "linux":
        return 0
    try:
        mappings = unchanged_mappings(_MAPS.read_text(encoding="utf-8", errors="replace"))
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(madvise(each.start, each.end - each.start, _MADV_DONTNEED) == 0 for each in mappings)
