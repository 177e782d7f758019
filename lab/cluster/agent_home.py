"""Which folder the agent of a lab in containers works in, for a command that has come from anywhere: one for each lab, so that each lab has one agent.

A lab that a command has brought up has the folder of that command, which its containers name. One of `docker compose up` by hand has none; its agent gets
one among the files of this user (XDG Base Directory Specification: $XDG_STATE_HOME), by project and engine. The agent takes it away when the lab is gone.
"""

import os
from pathlib import Path

from lab.cluster.compose import ComposeCluster
from lab.cluster.state_file import ContainersRecord, StateDir
from lab.errors import LabError

_ENGINE_CHARACTERS = 12
"""Of an engine's id, which has 36 or more."""


def home_of(lab: ComposeCluster) -> StateDir:
    """LabError when the engine does not answer."""
    owner = lab.folder
    if owner and _is_of(StateDir(Path(owner)), lab.project):
        return StateDir(Path(owner))
    engine = "".join(each for each in lab.engine_id if each.isalnum())[:_ENGINE_CHARACTERS]
    return StateDir(_files_of_this_user() / f"{lab.project}-{engine}")


def make_home(lab: ComposeCluster) -> StateDir:
    """The same, with a record in it: an agent can be started there. LabError when it cannot be written."""
    home = home_of(lab)
    if home.read() is not None:
        return home
    topology = lab.facts.topology
    home.check_is_ours()
    home.make()
    with home.locked():
        if home.read() is None:
            home.write(ContainersRecord(topology, lab.project, None, is_agents_own=True))
    return home


def _is_of(state: StateDir, project: str) -> bool:
    """Whether the folder is on this machine, and its lab still this one."""
    try:
        record = state.read()
    except LabError:
        return False
    return isinstance(record, ContainersRecord) and record.project == project


def _files_of_this_user() -> Path:
    """Relative ones are to be ignored, says the specification."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".local" / "state") / "cdnlab"
