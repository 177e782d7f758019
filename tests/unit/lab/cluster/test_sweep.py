"""Which processes carry the mark of a lab, as /proc tells it."""

import os
import subprocess
import sys
from pathlib import Path

from lab.cluster.process_identity import ProcessIdentity
from lab.cluster.sweep import FOLDER_VARIABLE, Mark, MarkedProcess, marked_processes, of_lab, programs

MARK = Mark("/tmp/lab", "t0ken")
PARENT_AND_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


def process(folder: Path, pid: int, environment: str, namespace: str = "mnt:[1]") -> None:
    """A process in a /proc of our own."""
    (folder / str(pid) / "ns").mkdir(parents=True)
    (folder / str(pid) / "ns" / "mnt").symlink_to(namespace)
    (folder / str(pid) / "environ").write_text(environment)
    (folder / str(pid) / "stat").write_text(f"{pid} (a (strange) name) S 17 0 0")


def test_a_program_is_found_by_its_environment_and_its_own_children_with_it() -> None:
    environment = {**os.environ, **MARK.environment()}
    command = [sys.executable, "-c", PARENT_AND_CHILD]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        parent.stdout.readline()
        found = [each for each in marked_processes() if each.mark == MARK]
        assert len(found) == 2 and all(each.process.is_alive for each in found)
        assert [each.pid for each in programs(found)] == [parent.pid]
        parent.stdin.write(b"\n")


def test_who_only_mentions_a_lab_or_lives_in_another_file_system_is_none_of_it(tmp_path: Path) -> None:
    mark = f"PATH=/bin\0{FOLDER_VARIABLE}=/tmp/lab\0"
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "mnt").symlink_to("mnt:[1]")
    process(tmp_path, 11, mark)
    process(tmp_path, 12, mark, "mnt:[2]")
    process(tmp_path, 13, f"TEXT={FOLDER_VARIABLE}=/tmp/lab\0")
    (tmp_path / "14").mkdir()
    (tmp_path / "version").write_text("Linux")
    found = marked_processes(tmp_path)
    assert [(each.process.pid, each.parent, each.mark) for each in found] == [(11, 17, Mark("/tmp/lab", ""))]


def test_without_proc_nothing_is_found(tmp_path: Path) -> None:
    assert marked_processes(tmp_path / "none") == []


def test_a_lab_is_known_by_its_token_when_its_folder_has_been_moved() -> None:
    moved = MarkedProcess(ProcessIdentity(1, "a"), 0, MARK)
    other = MarkedProcess(ProcessIdentity(2, "b"), 0, Mark("/tmp/other", "other"))
    assert of_lab([moved, other], Path("/tmp/moved"), "t0ken") == [moved]
    assert of_lab([moved, other], Path("/tmp/moved"), "") == []
