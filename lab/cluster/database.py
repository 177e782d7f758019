"""The control plane's database in a lab of processes: copied while it runs, and another one put in its place.

What is in the file is the control plane's own business: its program `control_plane.backup` is asked to do either.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.interface import RETURN_SECONDS, Say, say_nothing
from lab.cluster.launching import environment, importable_from
from lab.cluster.processes import ProcessCluster
from lab.errors import LabError
from lab.topology.layout import CONTROL_PLANE_ID

PROGRAM = "control_plane.backup"
PROGRAM_SECONDS = 60.0
LEASES = 3
"""A restored control plane first waits for one lease and a little; nodes need another one at most to find it."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a copy holds."""

    log_id: str
    head_index: int
    distributions: int

    def __str__(self) -> str:
        return f"{self.distributions} distribution{'' if self.distributions == 1 else 's'}, log {self.log_id} up to index {self.head_index}"


def take_backup(lab: ProcessCluster, file: Path) -> Contents:
    """Copies the database as it is now; the control plane may run. LabError when that cannot be done, with nothing written."""
    return _run("take", file, lab)


def put_in_place(lab: ProcessCluster, file: Path, say: Say = say_nothing) -> Contents:
    """Stops the control plane, puts a copy of `file` in place of its database, and starts it again; every node that runs is live when this returns.

    LabError when the file cannot be used, with nothing stopped; or when a node does not come back.
    """
    _run("check", file)
    say("the control plane is stopped; it returns when every lease from before is over")
    with _without_control_plane(lab):
        contents = _run("put", file, lab)
    timeout_seconds = RETURN_SECONDS + LEASES * lab.facts.lease_seconds
    try:
        for node in lab.record.running:
            lab.wait_until_live(node.id, timeout_seconds)
    except LabError as error:
        raise LabError(f"the backup is in place, but not every node has come back: {error}") from error
    return contents


@contextmanager
def _without_control_plane(lab: ProcessCluster) -> Iterator[None]:
    lab.stop(CONTROL_PLANE_ID)
    try:
        yield
    finally:
        lab.start(CONTROL_PLANE_ID)


def _state_folder(lab: ProcessCluster) -> str:
    command = lab.node(CONTROL_PLANE_ID).command
    return command[command.index("--state-dir") + 1]


def _run(what: str, file: Path, lab: ProcessCluster | None = None) -> Contents:
    folder = ["--state-dir", _state_folder(lab)] if lab else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", PROGRAM, what, *folder, "--file", str(file.resolve())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=importable_from(),
            env=environment(),
            timeout=PROGRAM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the database could not be copied within {PROGRAM_SECONDS:g} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise LabError(lines[-1] if lines else f"{PROGRAM} ended with status {done.returncode}")
    return Contents(**json.loads(done.stdout))
