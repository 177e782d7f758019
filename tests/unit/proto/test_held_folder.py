"""One process for each state folder, and what the next one may say of those before it: over real files and real processes."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proto.held_folder import PROCESS_FILE, FolderInUseError, HeldFolder
from proto.process_identity import MOST_PREDECESSORS, ProcessIdentity

BOOT = "boot-1"
ANOTHER_PROCESS = """
import sys
from pathlib import Path
from proto.held_folder import HeldFolder
folder = HeldFolder(Path(sys.argv[1]), sys.argv[2])
print(folder.identity.number, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """That holds the folder, and its number."""
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(folder), BOOT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def held_and_released(folder: Path, boot_id: str = BOOT) -> ProcessIdentity:
    held = HeldFolder(folder, boot_id)
    held.release()
    return held.identity


def test_the_first_process_of_a_folder_follows_nobody_and_has_a_number_that_a_database_takes(tmp_path: Path) -> None:
    identity = held_and_released(tmp_path)
    assert identity.predecessors == () and 0 < identity.number < 2**63


def test_whoever_has_the_folder_next_knows_who_has_ended_the_latest_first_and_not_without_bound(tmp_path: Path) -> None:
    numbers = [held_and_released(tmp_path).number for _ in range(MOST_PREDECESSORS + 3)]
    assert len(set(numbers)) == len(numbers)
    assert held_and_released(tmp_path).predecessors == tuple(reversed(numbers))[:MOST_PREDECESSORS]


def test_while_a_process_lives_nobody_else_gets_its_folder_and_is_told_who_has_it(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, _):
        with pytest.raises(FolderInUseError, match=rf"{tmp_path} is in use by process {process.pid}"):
            HeldFolder(tmp_path, BOOT)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(FolderInUseError):
            HeldFolder(tmp_path, BOOT)
        os.kill(process.pid, signal.SIGCONT)


def test_a_process_that_was_killed_is_known_to_have_ended(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, number):
        process.kill()
        process.wait()
        assert held_and_released(tmp_path).predecessors == (number,)


def copied(folder: Path, target: Path) -> None:
    shutil.copytree(folder, target)


def hard_linked_and_rewritten(folder: Path, target: Path) -> None:
    """As `rsync` and `sed -i` leave it: the same bytes in a new file of the old name."""
    target.mkdir()
    (target / "new").write_bytes((folder / PROCESS_FILE).read_bytes())
    (target / "new").rename(target / PROCESS_FILE)


@pytest.mark.parametrize("copy", [copied, hard_linked_and_rewritten])
def test_a_copy_of_the_folder_proves_nothing_of_the_process_that_still_has_the_original(tmp_path: Path, copy) -> None:  # type: ignore[no-untyped-def]
    original, target = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    with another_process(original):
        copy(original, target)
        assert held_and_released(target).predecessors == ()


def test_a_folder_that_was_moved_is_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    number = held_and_released(tmp_path / "before").number
    (tmp_path / "before").rename(tmp_path / "after")
    assert held_and_released(tmp_path / "after").predecessors == (number,)


@pytest.mark.parametrize("boot_id", ["boot-2", ""])
def test_on_another_boot_or_an_unknown_one_nothing_is_proven(tmp_path: Path, boot_id: str) -> None:
    held_and_released(tmp_path)
    assert held_and_released(tmp_path, boot_id).predecessors == ()


def test_two_unknown_boots_are_not_the_same_one(tmp_path: Path) -> None:
    held_and_released(tmp_path, "")
    assert held_and_released(tmp_path, "").predecessors == ()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"{}", b'{"numbers": 7}', b"\xff\xfe", b'{"boot_id":"boot-1"}' * 300],
    ids=["empty", "cut", "null", "list", "no fields", "wrong type", "no text", "long"],
)
def test_a_file_that_says_nothing_proves_nothing_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PROCESS_FILE).write_bytes(content)
    first = held_and_released(tmp_path)
    assert first.predecessors == ()
    assert held_and_released(tmp_path).predecessors == (first.number,)
    assert json.loads((tmp_path / PROCESS_FILE).read_bytes())["boot_id"] == BOOT


def test_a_full_disk_keeps_nobody_from_starting_and_proves_nothing_of_whom_it_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = held_and_released(tmp_path)

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        unwritten = held_and_released(tmp_path)
    assert unwritten.predecessors == (first.number,)
    assert held_and_released(tmp_path).predecessors == (first.number,)


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HeldFolder(tmp_path / "missing", BOOT)
