"""Every command in bad surroundings: what it prints to is full, closed or of another encoding, its folder is gone or no folder, its files are odd.

None of them ends in a traceback, and whatever is wrong is said in a message that begins with the program's name.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from lab.cli import app
from lab.cluster.processes import ProcessCluster
from lab.cluster.state_file import StateDir
from tests.depth import examples
from tests.integration.lab_harness import ROOT, SLOT_OF_A_MODULE, CommandLine, environment, small, taken_down

SECONDS, ALL_SECONDS = 60, 110
# Words with which each command gets as far as it can without changing the lab that the others use.
LINES = {
    "backup": "copy",
    "completion": "bash",
    "down": "--state nowhere",
    "explain": "/",
    "cut": "nobody",
    "faults clear": "--all",
    "faults inject": "pause nobody",
    "faults list": "",
    "faults show": "",
    "invalidate": "NOBODY /x",
    "kill": "nobody",
    "load": "nonsense",
    "load-plan": "",
    "logs": "control-plane",
    "pause": "nobody",
    "predict": "nothing.csv",
    "query": "latest --tables",
    "quickstart": "nothing.yaml",
    "regress": "nothing nothing",
    "report": "latest",
    "restart": "nobody",
    "restore": "nothing",
    "run": "nothing.yaml",
    "scenarios": "",
    "serve": "nonsense",
    "shrink": "nothing",
    "slow": "nobody",
    "start": "nobody",
    "status": "",
    "stop": "nobody",
    "time forward": "nonsense",
    "time show": "",
    "up": "nothing.yaml",
    "wan check": "",
}
NO_STATE = ("completion", "faults list", "query", "report")
ODD_TOPOLOGIES = {
    "binary": b"\xff\xfe\x00",
    "empty": b"",
    "latin-1": "name: caf\u00e9".encode("latin-1"),
    "list": b"[]",
    "deep": b"a: " + b"[" * 5000,
    "tag": b"!!python/object:os.system {}",
}


def commands(group: object = None, before: str = "") -> Iterator[str]:
    """All that there are, as they are typed."""
    for name, command in (group or get_command(app)).commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} ")
        else:
            yield before + name


def test_no_command_is_forgotten() -> None:
    assert isinstance(app, typer.Typer)
    assert sorted(commands()) == sorted(LINES)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A small lab that is up."""
    with taken_down(CommandLine(tmp_path_factory.mktemp("running"))) as command:
        done = command.run("up", command.topology(small(SLOT_OF_A_MODULE)), "--detach")
        assert done.status == 0, done.err
        yield command


def in_shell(command: CommandLine, line: str, **changed: str) -> tuple[int, str]:
    """What bash makes of a line with `cdnlab` in it: the exit status of the first command of a pipe, and all that was said on standard error."""
    program = f'cdnlab() {{ {shlex.quote(sys.executable)} -m lab.cli "$@"; }}; {line}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", program],
        cwd=command.folder,
        env={**environment(), **changed},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stderr.decode("utf-8", "replace")


def check_it_is_told(line: str, status: int, told: str) -> None:
    """One message, or nothing; nothing that a program says when it falls over."""
    assert status in (0, 1, 2, 141), f"{line}: {status} {told}"
    for word in ("Traceback", "Exception ignored", "Error: [Errno", "rich."):
        assert word not in told, f"{line}: {told}"
    if status in (1, 2) and told:
        assert told.startswith(("cdnlab: ", "Usage: ")), f"{line}: {told}"


def forked(command: CommandLine, lines: list[str], surroundings: str) -> list[tuple[str, int, str]]:
    """Each line, its exit status, and what it said on standard error."""
    cases = [{"line": line, "surroundings": surroundings} for line in lines]
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.lab.commands.forked_commands"],
        cwd=command.folder,
        env=environment(),
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=ALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(line, each["status"], each["told"]) for line, each in zip(lines, json.loads(done.stdout), strict=True)]


SURROUNDINGS = ["full", "closed", "pipe", "ascii", "folder-gone"]


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_what_is_around_it_is_of_no_use(running: CommandLine, surroundings: str) -> None:
    """A full disk or a closed pipe to print to, nothing to print to, an encoding that has few letters, a folder that is gone."""
    lines = [f"{command} {words}" for command, words in LINES.items()] + ["--help", "--version", "status --help"]
    if surroundings != SURROUNDINGS[0] and examples(1) == 1:  # all of them at night
        lines = lines[SURROUNDINGS.index(surroundings) :: len(SURROUNDINGS) - 1]
    for line, status, told in forked(running, lines, surroundings):
        check_it_is_told(line, status, told)
    assert ProcessCluster.attach(running.state_dir).status().is_whole


def test_the_state_folder_is_none(running: CommandLine) -> None:
    words = {command: words.replace("--state nowhere", "") for command, words in LINES.items()}
    folders = ("/dev/null/x", "x" * 300)[: 1 if examples(1) == 1 else None]  # both at night
    lines = [f"{each} {words[each]} --state {folder}" for each in LINES if each not in NO_STATE for folder in folders]
    for line, status, told in forked(running, lines, "none"):
        check_it_is_told(line, status, told)
        assert status in (1, 2) and told, line


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ("> /dev/full", (1, "cdnlab: cannot write: No space left on device\n")),
        ("> /dev/full 2> /dev/full", (1, "")),
        (">&-", (0, "")),
        (">&- 2>&- <&-", (0, "")),
        ("| true", (141, "")),
    ],
)
def test_a_shell_is_told_the_same(running: CommandLine, streams: str, expected: tuple[int, str]) -> None:
    """Without forks: the real program, with what bash makes of its streams."""
    assert in_shell(running, f"cdnlab faults list {streams}") == expected


@pytest.mark.parametrize("odd", ODD_TOPOLOGIES)
@pytest.mark.parametrize("command", ["up", "quickstart"])
def test_the_topology_is_odd(tmp_path: Path, command: str, odd: str) -> None:
    (tmp_path / "odd.yaml").write_bytes(ODD_TOPOLOGIES[odd])
    line = f"cdnlab {command} odd.yaml"
    status, told = in_shell(CommandLine(tmp_path), line)
    check_it_is_told(line, status, told)
    assert status == 2 and told.startswith("cdnlab: odd.yaml")
    assert os.listdir(tmp_path) == ["odd.yaml"]


def test_results_that_cannot_be_written_are_known_before_viewers_come(running: CommandLine) -> None:
    (running.folder / "no-folder").write_text("")
    done = running.run("load", "website", "--run", "no-folder/x")
    assert (done.status, done.out) == (1, "")
    assert (
        done.err
        == "cdnlab: the results cannot be written to no-folder/x: Not a directory; give another folder with --run\n"
    )


@pytest.mark.parametrize("most_bytes", [0, 1000, 20_000])
def test_a_full_disk_leaves_no_process(tmp_path: Path, most_bytes: int) -> None:
    """No file grows beyond so many bytes, which is refused as a full disk refuses it, with another number."""
    command = CommandLine(tmp_path)
    with taken_down(command):
        line = f"ulimit -f {most_bytes // 1000}; cdnlab up {command.topology()} --detach --no-demo"
        status, told = in_shell(command, line)
        check_it_is_told(line, status, told)
        record = StateDir(command.state_dir).read_processes()
        is_up = record is not None and bool(record.running)
        assert is_up == (status == 0)
        assert is_up or told.startswith("cdnlab: ")


def test_the_tests_of_containers_need_an_engine_and_say_so_in_a_line() -> None:
    """`make docker-test` on a machine without one."""
    for nobody in ("unix:///nowhere/docker.sock", "tcp://127.15.0.9:1"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "docker", "tests/docker"],
            cwd=ROOT,
            env={**environment(), "DOCKER_HOST": nobody},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 1 and done.stderr == ""
        told = [line for line in done.stdout.splitlines() if line]
        assert len(told) == 2 and "these tests need a Docker engine" in told[1]
