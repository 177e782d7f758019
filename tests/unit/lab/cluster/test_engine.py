"""A lab in containers whose engine refuses, is slow, or is gone: each time one message that says what to do, and nothing of others is touched."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster.compose import ComposeCluster, find_projects
from lab.cluster.engine import connect
from lab.cluster.state_file import ContainersRecord, StateDir
from lab.errors import LabError
from tests.fake_engine import FakeContainer, FakeEngine, running_engine

PROJECT = "cdnlab-small"
EDGE = "edge-iad89-p1-1"
OURS = {"com.docker.compose.project": PROJECT, "cdnlab.lab": "small"}
FOREIGN = {"com.docker.compose.project": "shop", "cdnlab.lab": "small"}


def node(node_id: str) -> FakeContainer:
    return FakeContainer(node_id, {**OURS, "cdnlab.node": node_id, "cdnlab.role": "edge", "cdnlab.folder": "/f"})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    fake = FakeEngine(
        containers={
            EDGE: node(EDGE),
            "prometheus": FakeContainer("prometheus", OURS),
            "shop-web": FakeContainer("shop-web", {"com.docker.compose.project": "shop"}),
            "mine": FakeContainer("mine", {"com.docker.compose.project": PROJECT}),
        },
        networks={"backbone": OURS, "shop": FOREIGN},
        volumes={"state": OURS, "shop-data": FOREIGN},
    )
    with running_engine(fake) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        yield fake


@pytest.fixture
def lab(engine: FakeEngine) -> Iterator[ComposeCluster]:
    with ComposeCluster.of(PROJECT) as found:
        yield found


def test_taking_it_down_removes_what_has_its_labels_and_nothing_else(lab: ComposeCluster, engine: FakeEngine) -> None:
    stopped = lab.take_down()
    assert (stopped.stopped, stopped.what) == (2, "containers")
    assert set(engine.containers) == {"shop-web", "mine"}
    assert (set(engine.networks), set(engine.volumes)) == ({"shop"}, {"shop-data"})


def test_the_folder_that_it_was_brought_up_from_goes_with_it(engine: FakeEngine, tmp_path: Path) -> None:
    state = StateDir(tmp_path / ".cdnlab")
    state.make()
    state.write(ContainersRecord("small", PROJECT, None))
    with ComposeCluster.of(PROJECT, state) as lab:
        engine.refusals[f"/containers/{EDGE}"] = [500]
        with pytest.raises(LabError):
            lab.take_down()
        assert state.read() is not None, "an engine that fails can be asked again"
        lab.take_down()
    assert not state.path.exists() and EDGE not in engine.containers


def test_volumes_stay_where_they_are_not_the_command_s(lab: ComposeCluster, engine: FakeEngine) -> None:
    lab.remove(with_volumes=False)
    assert set(engine.volumes) == {"state", "shop-data"}


@pytest.mark.parametrize("status", [409, 404])
def test_what_somebody_else_is_removing_is_looked_at_again(
    lab: ComposeCluster, engine: FakeEngine, status: int
) -> None:
    """409: removal is already in progress. 404: it was gone when we came."""
    engine.refusals[f"/containers/{EDGE}"] = [status]
    assert lab.take_down().stopped == 2
    assert EDGE not in engine.containers


def test_a_container_that_the_engine_cannot_remove_is_said(lab: ComposeCluster, engine: FakeEngine) -> None:
    engine.refusals[f"/containers/{EDGE}"] = [500]
    with pytest.raises(LabError, match=r"containers cannot be removed: the Docker engine says: refused: "):
        lab.take_down()


@pytest.mark.parametrize("status", [403, 409])
def test_a_network_that_somebody_else_uses_is_named(lab: ComposeCluster, engine: FakeEngine, status: int) -> None:
    engine.refusals["/networks/backbone"] = [status]
    with pytest.raises(LabError, match=r"^backbone is used by a container that is not the lab's: `docker ps --all`"):
        lab.take_down()


def test_who_does_not_run_cannot_be_killed_and_the_engine_s_conflict_says_so(
    lab: ComposeCluster, engine: FakeEngine
) -> None:
    lab.kill(EDGE)
    assert engine.containers[EDGE].state == "exited"
    with pytest.raises(LabError, match=f"^{EDGE} is not running$"):
        lab.kill(EDGE)


def test_a_container_that_goes_away_meanwhile_is_said(lab: ComposeCluster, engine: FakeEngine) -> None:
    engine.refusals[f"/containers/{EDGE}/restart"] = [404]
    with pytest.raises(LabError, match=f"^{EDGE} cannot be restarted: its container is gone; `cdnlab down` and"):
        lab.restart(EDGE)


def test_what_the_engine_says_is_passed_on(lab: ComposeCluster, engine: FakeEngine) -> None:
    engine.containers[EDGE].state = "exited"
    engine.refusals[f"/containers/{EDGE}/start"] = [500]
    with pytest.raises(LabError, match=f"^{EDGE} cannot be started: the Docker engine says: refused: "):
        lab.start(EDGE)


def test_an_engine_that_is_too_slow_does_not_answer(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.cluster.compose.ACTION_SECONDS", 1)
    with ComposeCluster.of(PROJECT) as lab:
        engine.delay_seconds = 1.3
        with pytest.raises(LabError, match=r"containers cannot be listed: the Docker engine does not answer \(Read"):
            lab.status()
    engine.delay_seconds = 0


def test_an_engine_that_has_gone_away_does_not_answer(lab: ComposeCluster, engine: FakeEngine) -> None:
    engine.is_gone = True
    with pytest.raises(LabError, match=r"containers cannot be listed: the Docker engine does not answer"):
        lab.status()


def test_without_an_engine_no_lab_is_in_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.15.0.9:1")
    assert find_projects() == []
    with pytest.raises(
        LabError, match=f"no Docker engine answers, and the lab is in its containers .project {PROJECT}"
    ):
        ComposeCluster.of(PROJECT)


def test_several_labs_are_told_apart_by_the_variable_of_compose(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = node("edge-2")
    other.labels["com.docker.compose.project"] = "cdnlab"
    engine.containers["edge-2"] = other
    with pytest.raises(
        LabError, match=r"several labs run in containers \(cdnlab, cdnlab-small\): choose with COMPOSE_"
    ):
        ComposeCluster.find()
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", PROJECT)
    found = ComposeCluster.find()
    assert found is not None and found.project == PROJECT
    found.close()


def test_where_nobody_listens_there_is_no_engine_and_no_socket_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here, and one about an open socket comes whenever the collector finds it: in somebody else's test."""
    left = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(left))
    for path in (left, tmp_path / "missing.sock"):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        assert connect() is None
    gc.collect()
