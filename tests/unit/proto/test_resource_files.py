"""A disk that refuses something while resources are written: what is found afterwards is whole, and one of what was there (DESIGN section 3)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proto.log_position import LogPosition
from proto.resource_files import ResourceFiles
from proto.served_configuration import Configuration, from_kept, from_snapshot, kept_resource
from proto.state_files import StateFiles
from tests.unit.proto.test_served_configuration import (
    D1,
    D2,
    KINDS,
    after,
    distribution,
    entry,
    policy,
    snapshot,
    values,
)

FIRST = from_snapshot(snapshot(2, (1, policy("P1", 5)), (2, distribution("D1", 1))), Configuration(), KINDS)
SECOND = from_snapshot(snapshot(5, (1, policy("P1", 5)), (4, distribution("D1", 2))), Configuration(), KINDS)


@pytest.fixture
def files(tmp_path: Path) -> ResourceFiles:
    """With FIRST on the disk."""
    files = ResourceFiles(StateFiles(tmp_path))
    files.write_anew(FIRST)
    return files


def found(directory: Path) -> Configuration:
    """By the next process."""
    kept = ResourceFiles(StateFiles(directory)).read()
    assert kept is not None and kept.is_whole
    return from_kept(kept.position, kept.resources, KINDS)


def test_a_snapshot_whose_position_may_be_on_the_disk_stays_whole_whatever_is_tried_next(
    files: ResourceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The position has taken its place, and the disk says that the folder cannot be flushed; the next attempt is killed in its first write."""
    with monkeypatch.context() as patch:
        patch.setattr(StateFiles, "_flush_folder", _refused(after=2))
        with pytest.raises(OSError, match="refused"):
            files.write_anew(SECOND)
    with monkeypatch.context() as patch:
        patch.setattr(StateFiles, "write", _killed)
        with pytest.raises(KeyboardInterrupt):
            files.write_anew(SECOND)
    assert found(tmp_path).position == LogPosition("log", 5, b"s") and values(found(tmp_path)) == values(SECOND)


def test_attempts_that_fail_leave_no_folders_on_a_full_disk(
    files: ResourceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StateFiles, "_flush_folder", _refused(after=0))
    for _ in range(5):
        with pytest.raises(OSError, match="refused"):
            files.write_anew(SECOND)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    assert values(found(tmp_path)) == values(FIRST)


def test_a_resource_that_is_gone_does_not_come_back_by_a_file_that_could_not_be_removed(
    files: ResourceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = after(FIRST, entry(3, distribution("D1", 2), distribution("D2", 1)))
    with monkeypatch.context() as patch:
        patch.setattr(StateFiles, "remove", _refused(after=0))
        files.write(changed)
    gone = after(changed, entry(4, deleted=[D1, D2]))
    files.write(gone)
    assert values(found(tmp_path)) == {"P1": 5} == values(found(tmp_path)), (
        "also after a start that has looked at all of them"
    )


def test_what_is_left_of_another_attempt_is_no_part_of_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = StateFiles(tmp_path).inside("configuration-1")
    left.write("distribution-D9-0123456789abcdef.1", kept_resource(FIRST, D1).SerializeToString())
    with monkeypatch.context() as patch:
        patch.setattr(StateFiles, "remove_folder", lambda *_: None)
        ResourceFiles(StateFiles(tmp_path)).write_anew(FIRST)
    assert values(found(tmp_path)) == values(FIRST)


def _refused(after: int) -> object:
    """A method that works so many times."""
    turns: Iterator[int] = iter(range(after))

    def method(*_: object) -> None:
        if next(turns, None) is None:
            raise OSError("refused")

    return method


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
