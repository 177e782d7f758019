"""Starts a lab's agent: with the lab, and when a command finds it gone."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lab.cluster.agent_record import AgentFolder
from lab.cluster.launching import environment, launch
from lab.cluster.process_identity import identify
from lab.cluster.state_file import LabRecord, StateDir
from lab.cluster.sweep import Mark
from lab.errors import LabError


def agent_command(state_dir: Path) -> Sequence[str]:
    return (sys.executable, "-m", "lab.agent", "--state", str(state_dir))


def start_agent(state: StateDir) -> None:
    """Returns at once. It carries the lab's mark, so that it is found even when nobody has come to write it down; LabError without a lab."""
    with state.locked():
        record = state.read()
        if record is None:
            raise LabError(f"no lab is in {state.path}: its agent cannot be started")
        folder = AgentFolder(state.path)
        folder.make()
        token = record.token if isinstance(record, LabRecord) else ""
        marked = environment() | Mark(str(state.path), token).environment()
        try:
            with folder.log.open("ab") as log:
                child = launch(agent_command(state.path), log, marked)
        except OSError as error:
            raise LabError(f"the agent of the lab cannot be started: {error.strerror}") from error
        folder.write_started(identify(child.pid))
