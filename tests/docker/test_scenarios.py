"""Scenarios that are run for every change, in containers: each must end with the verdict that it expects, and leave nothing behind."""

from pathlib import Path

import docker
import pytest

from lab.runner import Runner
from tests.integration.lab.experiments.shipped_runs import CONTAINERS_TAG, run_scenario, scenarios_with

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LOOPBACK = "127.57.0.0/16"
"""Beside the compose lab of the other tests, which has the first one."""


@pytest.mark.parametrize("name", scenarios_with(CONTAINERS_TAG))
def test_the_verdict_is_the_expected_one(name: str, engine: docker.DockerClient, tmp_path: Path) -> None:
    before = {str(each.id) for each in engine.containers.list(all=True)}
    ended = run_scenario(name, Runner.DOCKER, tmp_path, LOOPBACK)
    assert ended.is_as_expected, str(ended)
    assert {str(each.id) for each in engine.containers.list(all=True)} <= before
