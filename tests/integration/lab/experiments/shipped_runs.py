"""Runs of shipped scenarios as a person makes them, by the command line, and what they came to."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.runner import Runner
from lab.scenarios.reader import find_scenario
from lab.scenarios.shipped import shipped_scenarios
from proto.host_clock import host_seconds

ROOT: Final = Path(__file__).parents[4]
CI_TAG: Final = "ci"
"""Scenarios with it are run for every change (`make test-scenarios`), on processes; the quick start, which has a test of its own, as well, and the others at night."""
CONTAINERS_TAG: Final = "containers"
"""Those that are run for every change in containers, too."""
BESIDE_VIEWERS_SECONDS: Final = 150.0
"""To bring a lab up, to judge and to take it down, on a machine that is busy with other things."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    name: str
    runner: Runner
    seconds: float
    status: int
    outcome: str
    """valid, invalid or unknown; empty: there is no verdict."""
    complaints: tuple[str, ...]
    """Of each check that is not valid, or the end of what was printed."""

    @property
    def is_as_expected(self) -> bool:
        """The verdict is the one that the scenario expects."""
        return self.status == 0

    def __str__(self) -> str:
        head = f"{self.name} on {self.runner.value}: {self.outcome or 'no verdict'} in {self.seconds:.0f} s, exit status {self.status}"
        return "\n".join((head, *(f"  {each}" for each in self.complaints)))


def scenarios_with(tag: str) -> tuple[str, ...]:
    """Names."""
    return tuple(name for name in shipped_scenarios() if tag in find_scenario(name).tags)


def run_scenario(name: str, runner: Runner, folder: Path, loopback: str) -> Ended:
    """In folders of its own below `folder`. Bounded in time; a lab that is left behind is taken down."""
    state = ("--state", str(folder / "state"))
    run = folder / "run"
    command = ("run", name, "--runner", runner.value, "--loopback", loopback, "--run", str(run))
    began_at = host_seconds()
    try:
        status, output = _cdnlab(
            *command, *state, seconds=find_scenario(name).duration_seconds + BESIDE_VIEWERS_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        _cdnlab("down", *state, seconds=BESIDE_VIEWERS_SECONDS)
        status, output = -1, f"not over in {error.timeout:g} s"
    outcome, complaints = _verdict_of(run, output)
    return Ended(name, runner, host_seconds() - began_at, status, outcome, complaints)


def _cdnlab(*words: str, seconds: float) -> tuple[int, str]:
    command = [sys.executable, "-c", "from lab.cli import main; main()", *words]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, output


def _verdict_of(run: Path, output: str) -> tuple[str, tuple[str, ...]]:
    path = run / "summary.json"
    if not path.exists():
        return "", tuple(output.splitlines()[-5:])
    verdict: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["verdict"]
    checks = [check for check in verdict["checks"] if check["outcome"] != "valid"]
    return verdict["outcome"], tuple(
        f"{check['name']} is {check['outcome']}: {'; '.join(str(each) for each in check['evidence'][:6])}"
        for check in checks
    )
