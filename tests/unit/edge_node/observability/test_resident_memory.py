"""What a node gives back after its start: pages that are files' contents, and none that the process has written."""

import ctypes
import mmap
import sys
from pathlib import Path

import pytest

from edge_node.observability.resident_memory import Mapping, release_program_pages, unchanged_mappings

SMAPS = """\
55d0c0000000-55d0c0001000 r-xp 00000000 fe:00 1311 /usr/bin/a program with spaces
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0c0001000-55d0c0002000 r--p 00001000 fe:00 1311 /usr/bin/a program with spaces
Rss:                   4 kB
Anonymous:             4 kB
55d0c0002000-55d0c0003000 rw-p 00002000 fe:00 1311 /usr/bin/a program with spaces
Anonymous:             0 kB
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]
Anonymous:           132 kB
7f1200000000-7f1200100000 r--s 00000000 fe:00 1400 /var/cache/segment
Anonymous:             0 kB
7f1200200000-7f1200300000 r--p 00000000 fe:00 1312 /usr/lib/library.so (deleted)
Anonymous:             0 kB
7f1200300000-7f1200400000 r-xp 00100000 fe:00 1312 /usr/lib/library.so (deleted)
Anonymous:             0 kB
7f1200500000-7f1200600000 r--p 00000000 fe:00 1313 /etc/ld.so.cache
Anonymous:             0 kB
7f1200700000-7f1200800000 r--p 00000000 fe:01 1312 /usr/share/other-device
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
"""


def test_only_private_unchanged_read_only_mappings_of_programs_are_given_back() -> None:
    assert unchanged_mappings(SMAPS) == [
        Mapping(0x55D0C0000000, 0x55D0C0001000, ("fe:00", 1311)),
        Mapping(0x7F1200200000, 0x7F1200300000, ("fe:00", 1312)),
        Mapping(0x7F1200300000, 0x7F1200400000, ("fe:00", 1312)),
    ]


def test_a_mapping_of_which_the_kernel_says_nothing_is_left_alone() -> None:
    assert unchanged_mappings("55d0c0000000-55d0c0001000 r-xp 00000000 fe:00 1311 /usr/bin/x\n") == []
    assert unchanged_mappings("") == []


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_process_goes_on_with_what_it_has_written_and_what_it_has_mapped(tmp_path: Path) -> None:
    path = tmp_path / "contents"
    path.write_bytes(b"file" * mmap.PAGESIZE)
    written = bytearray(b"own" * 100_000)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as copied:
        copied[:6] = b"change"
        assert release_program_pages() > 0
        assert copied[:6] == b"change" and copied[8:12] == b"file"
    assert written == b"own" * 100_000
    assert ctypes.CDLL(None).abs(-3) == 3  # code runs
