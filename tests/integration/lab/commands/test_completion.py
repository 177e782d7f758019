"""Completion in a real bash: what it inserts at a Tab, and what it knows of a lab that runs."""

import os
import pty
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster.processes import ProcessCluster
from tests.integration.lab_harness import SLOT_OF_A_MODULE, CommandLine, environment, small, taken_down

SECONDS = 30

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """A small lab that is up, and a `cdnlab` to be found in PATH."""
    with taken_down(CommandLine(tmp_path_factory.mktemp("running"))) as command:
        done = command.run("up", command.topology(small(SLOT_OF_A_MODULE)), "--detach")
        assert done.status == 0, done.err
        install(command.folder)
        (command.folder / "runs" / "20260101-000000-api").mkdir(parents=True)
        yield command


def install(folder: Path) -> None:
    program = folder / "bin" / "cdnlab"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m lab.cli "$@"\n')
    program.chmod(0o755)


def with_path(folder: Path) -> dict[str, str]:
    return {**environment(), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "> "}


def completed(command: CommandLine, words: list[str]) -> list[str]:
    """What bash would offer in place of the last word."""
    script = (
        'source <(cdnlab completion bash); COMP_WORDS=(cdnlab "$@"); COMP_CWORD=$#; '
        '_cdnlab_completion cdnlab; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words],
        cwd=command.folder,
        env=with_path(command.folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sta", ["status", "start"]),
        ("faults in", ["inject"]),
        ("logs edge-", ["edge-iad89-p1-1", "edge-iad89-p1-2"]),
        ("explain --edge reg", ["regional-us-east-1-1"]),
        ("faults inject http-d", ["http-delay", "http-drop"]),
        ("faults inject pause orig", ["origin-1"]),
        ("kill role:e", ["role:edge"]),
        ("faults inject http-status origin-1 st", ["status="]),
        ("load w", ["website"]),
        ("report 2026", ["20260101-000000-api"]),
        ("shrink 2026", ["20260101-000000-api"]),
        ("run quick", ["quickstart"]),
        ("run edge-", ["edge-cut-off", "edge-loss"]),
        ("query latest --schema origin", ["origin_requests"]),
        ("completion f", ["fish"]),
        ("status --js", ["--json"]),
        ("logs --state nowhere edge-", []),
    ],
)
def test_words_are_completed(running: CommandLine, words: str, expected: list[str]) -> None:
    assert completed(running, words.split()) == expected


def test_distributions_and_their_names_are_completed(running: CommandLine) -> None:
    (distribution,) = ProcessCluster.attach(running.state_dir).status().distributions
    assert completed(running, ["invalidate", ""]) == [distribution.id]
    assert completed(running, ["explain", distribution.domain_name[:4]]) == [f"{distribution.domain_name}/"]


def test_at_a_tab_bash_writes_the_rest_of_the_word(running: CommandLine) -> None:
    """Interactive, at a terminal: a Tab in `cdnlab logs con`."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=running.folder,
        env=with_path(running.folder),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as bash:
        os.close(theirs)
        try:
            os.write(ours, b"source <(cdnlab completion bash); echo rea''dy\n")
            wait_for(ours, b"ready")
            os.write(ours, b"cdnlab logs con\t")
            wait_for(ours, b"logs control-plane")
        finally:
            bash.kill()
    os.close(ours)


def wait_for(terminal: int, wanted: bytes) -> None:
    told, deadline = b"", time.monotonic() + SECONDS
    while wanted not in told:
        assert time.monotonic() < deadline, told
        told += os.read(terminal, 65_536)


@pytest.mark.parametrize(("shell", "words"), [("bash", "complete "), ("zsh", "#compdef cdnlab"), ("fish", "complete ")])
def test_each_shell_has_a_script(shell: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", "completion", shell],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "") and words in done.stdout
