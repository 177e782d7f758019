"""Starts a lab's agent: with the lab, and when a command finds it gone."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.cluster.agent_record import AgentFolder
from lab.cluster.launching import environment, importable_from
from lab.cluster.process_identity import identify
from lab.cluster.state_file import ContainersRecord, LabRecord, Record, StateDir
from lab.cluster.sweep import Mark
from lab.errors import LabError

_IN_BACKGROUND = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
_SPAWN_SECONDS = 10.0


def agent_command(state_dir: Path, record: Record) -> Sequence[str]:
    """The agent for this kind of lab: each imports what its own needs."""
    module = "lab.agent.containers" if isinstance(record, ContainersRecord) else "lab.agent"
    return (sys.executable, "-m", module, "--state", str(state_dir))


def start_agent(state: StateDir) -> None:
    """Returns at once. It carries the lab's mark, so that it is found even when nobody has come to write it down; LabError without a lab."""
    with state.locked():
        record = state.read()
        if record is None:
            raise LabError(f"no lab is in {state.path}: its agent cannot be started")
        folder = AgentFolder(state.path)
        folder.make()
        token = record.token if isinstance(record, LabRecord) else ""
        marked = environment() | _of_the_engine(os.environ) | Mark(str(state.path), token).environment()
        folder.write_started(identify(_spawn(agent_command(state.path, record), folder.log, marked)))


def _of_the_engine(own: Mapping[str, str]) -> dict[str, str]:
    """Which Docker engine is meant, where the lab is in containers."""
    return {name: value for name, value in own.items() if name.startswith("DOCKER_")}


def _spawn(command: Sequence[str], log: Path, marked: Mapping[str, str]) -> int:
    """The pid. By way of a shell, so that it is nobody's child: whoever has started it need not wait for its end."""
    shell = ["sh", "-c", _IN_BACKGROUND, "sh", str(log), *command]
    try:
        done = subprocess.run(
            shell,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=importable_from(),
            env=marked,
            start_new_session=True,
            timeout=_SPAWN_SECONDS,
            check=True,
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise LabError(f"the agent of the lab cannot be started: {error}") from error
