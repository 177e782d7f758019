"""One folder for the agent of each lab in containers, from wherever it is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from lab.cluster.agent_home import home_of, make_home
from lab.cluster.compose import ComposeCluster
from lab.cluster.ending import remove_home
from lab.cluster.interface import LabFacts
from lab.cluster.state_file import ContainersRecord, StateDir

FACTS = LabFacts("small", "cdn.localhost", "http://127.0.0.1:1", "", 80, 2.0, ())


@dataclass
class Containers:
    """As much of a lab in containers as says where its agent is."""

    folder: str = ""
    project: str = "cdnlab"
    engine_id: str = "b49bb55c-d08b-43ab"
    is_up: bool = True
    facts: LabFacts = FACTS

    @property
    def cluster(self) -> ComposeCluster:
        return cast(ComposeCluster, self)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "files"))
    return tmp_path / "files" / "cdnlab"


def test_a_lab_that_nobody_s_command_brought_up_has_one_by_project_and_engine(files: Path) -> None:
    home = make_home(Containers().cluster)
    assert home.path == files / "cdnlab-b49bb55cd08b"
    assert home.read() == ContainersRecord("small", "cdnlab", None, is_agents_own=True)
    assert make_home(Containers().cluster).path == home.path
    others = [Containers(project="cdnlab-b"), Containers(engine_id="0123456789abc")]
    assert len({home_of(each.cluster).path for each in others} | {home.path}) == 3


def test_a_lab_of_a_command_has_that_command_s_folder(tmp_path: Path, files: Path) -> None:
    state = StateDir(tmp_path / "lab" / ".cdnlab")
    state.make()
    state.write(ContainersRecord("small", "cdnlab", None))
    lab = Containers(folder=str(state.path)).cluster
    assert make_home(lab).path == state.path and not files.exists()
    remove_home(state, lab)
    assert state.file.exists(), "it is the command's to remove"


@pytest.mark.parametrize(
    "text", ["", "{", '{"version": 99}', '{"version": 2, "topology": "x", "project": "other", "starter": null}']
)
def test_a_folder_that_has_another_lab_by_now_is_not_used(tmp_path: Path, files: Path, text: str) -> None:
    """Nor one of another machine, which is not there."""
    state = StateDir(tmp_path / "lab")
    if text:
        state.make()
        state.file.write_text(text)
    assert home_of(Containers(folder=str(state.path)).cluster).path.parent == files


@pytest.mark.parametrize("given", ["", "relative/path"])
def test_without_a_usable_place_it_is_the_default_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_of(Containers().cluster).path.parent == tmp_path / ".local" / "state" / "cdnlab"


def test_it_goes_with_the_lab_and_not_before(files: Path) -> None:
    lab = Containers()
    home = make_home(lab.cluster)
    remove_home(home, lab.cluster)
    assert home.read() is not None
    lab.is_up = False
    remove_home(home, lab.cluster)
    assert list(files.iterdir()) == []
