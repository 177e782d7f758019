"""Runs of scenarios as people start them, by `cdnlab run` and by `chaos run`, in folders of their own; and what they have left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.lab_harness import CommandLine, environment
from tests.unit.lab.scenarios.scenario_texts import action, document, dumped, probe

SECONDS = 100
WHOLE = probe("lab_is_whole", within="20s")
FIRST = action("put", path="/bucket/news/front.txt")
PROGRAMS = {"cdnlab": "import lab.cli; lab.cli.main()", "chaos": "from chaostoolkit.cli import cli; cli()"}


@dataclass(frozen=True, slots=True)
class Runs:
    """One lab, one run at a time."""

    command: CommandLine
    interpreter: Path = Path(sys.executable)
    """With which the lab's programs are started."""

    @property
    def folder(self) -> Path:
        """Of the results."""
        return self.command.folder / "run"

    def write(self, *method: dict[str, Any], **extension: Any) -> None:
        """The scenario, on the small topology; its hypothesis is that every node is live."""
        probes = extension.pop("probes", (WHOLE,))
        options = {"topology": self.command.topology(), "duration": "2s", "load": [{"profile": "website"}]} | extension
        (self.command.folder / "mine.yaml").write_text(dumped(document(*method, probes=probes, **options)))

    def start(self, program: str, *words: str) -> "subprocess.Popen[str]":
        """`cdnlab run` or `chaos run`."""
        told = {
            "cdnlab": ["run", "mine.yaml", "--state", ".cdnlab", "--run", "run"],
            "chaos": ["--no-version-check", "--no-log-file", "run", "--journal-path", "journal.json", "mine.yaml"],
        }[program]
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.executable = {str(self.interpreter)!r}; {PROGRAMS[program]}",
                *told,
                *words,
            ],
            cwd=self.command.folder,
            env={**environment(), "CDNLAB_STATE": ".cdnlab", "CDNLAB_RUN": "run"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, program: str, *words: str) -> tuple[int, str]:
        """To its end: exit status and what was said."""
        with ended(self.start(program, *words)) as process:
            output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    def journal(self, program: str) -> dict[str, Any]:
        path = self.folder / "journal.json" if program == "cdnlab" else self.command.folder / "journal.json"
        journal: dict[str, Any] = json.loads(path.read_text())
        return journal

    def checks(self) -> dict[str, str]:
        """Outcomes by name, with the verdict as `verdict`."""
        told = json.loads((self.folder / "summary.json").read_text())["verdict"]
        return {each["name"]: each["outcome"] for each in told["checks"]} | {"verdict": told["outcome"]}

    def left_behind(self) -> list[str]:
        """Command lines of processes that name one of our folders: nodes, the agent and Locust alike."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode() if entry.name.isdigit() else ""
            except OSError:
                continue
            if str(self.command.folder) in line and int(entry.name) != os.getpid():
                found.append(line)
        return found + [str(path) for path in (self.command.state_dir,) if path.exists()]


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Whatever happens inside."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 40) -> None:
    """While the process goes on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def viewers_came(runs: Runs) -> Callable[[], bool]:
    """A condition: they have sent requests for a second."""
    return lambda: (runs.folder / "load.jsonl").exists() and (runs.folder / "load.jsonl").stat().st_size > 0


def yaml_of(path: Path) -> Any:
    """What a file says."""
    return yaml.safe_load(path.read_text())
