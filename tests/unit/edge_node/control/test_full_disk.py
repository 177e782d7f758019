"""A disk that is full on purpose, for what a node keeps in its state folder: nothing half is left, what was there stays, and it is said."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_node.control.client import ClientFiles
from edge_node.control.injected_faults import kinds_of
from edge_node.storage.disk.faulty_files import DISK_FULL, FaultyDisk
from tests.fault_builders import Faults


async def test_nothing_is_written_while_there_is_no_room(tmp_path: Path) -> None:
    faults = Faults(kinds_of(0))
    files = ClientFiles.in_folder(tmp_path, FaultyDisk(faults.port))
    inside = files.kept.inside("resources")
    files.kept.write("a", b"old")
    files.journal.replace(b"old journal")
    fault = faults.begin(DISK_FULL)
    writes: tuple[Callable[[], None], ...] = (
        lambda: files.kept.write("a", b"new"),
        lambda: inside.write("b", b"new"),
        lambda: files.journal.replace(b"new journal"),
        lambda: files.journal.write_at(0, b"new"),
    )
    for write in writes:
        with pytest.raises(OSError) as error:
            write()
        assert error.value.errno == errno.ENOSPC
    assert (files.kept.read("a"), inside.read("b"), files.journal.read()) == (b"old", None, b"old journal")
    assert files.kept.statistics.to_json() == {"refused_total": 0, "write_failures_total": 1, "unwritten": ["a"]}
    assert faults.times(DISK_FULL) == len(writes)
    files.journal.remove()  # what takes no room goes on
    faults.end(fault)
    files.kept.write("a", b"new")
    files.journal.replace(b"new journal")
    assert (files.kept.read("a"), files.journal.read()) == (b"new", b"new journal")
    files.journal.close()


def test_a_node_without_a_disk_tier_takes_no_faults_of_one() -> None:
    names = {kind.name for kind in kinds_of(0)}
    assert DISK_FULL in names and not {"disk-slow", "disk-read-error", "disk-bit-flip"} & names
    assert {"disk-slow", "disk-read-error", "disk-bit-flip"} < {kind.name for kind in kinds_of(8 << 20)}
