"""`cdnlab up --runner docker`: any topology in containers, beside the lab of `docker compose up`; and nothing left of it, whatever happens meanwhile."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.docker.compose_lab import ROOT, StartedLab, wait_until
from tests.integration.lab_harness import SMALL_NODES, Finished

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

TOPOLOGY = """\
name: small
loopback: 127.7.0.0/16
lease_seconds: 2
regions: [{name: us-east-1, airport: IAD}]
pops: [{name: IAD89-P1, region: us-east-1, edges: 2}]
regional_caches: [{region: us-east-1}]
routers: [{region: us-east-1}]
origins: [{name: origin-1, region: us-east-1}]
populations: [{region: us-east-1, client_subnet: 10.1.0.0/16, users: 4}]
"""
PROJECT = "cdnlab-small-7"
COMMAND_SECONDS = 180
EXIT_INTERRUPTED = 130


class CommandLine:
    """`cdnlab` in a folder of its own, with the engine in reach."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state_dir = folder, folder / ".cdnlab"
        self.topology = folder / "small.yaml"
        self.topology.write_text(TOPOLOGY)

    def start(self, *arguments: str, folder: Path | None = None) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "lab.cli", *arguments],
            cwd=folder or self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COMPOSE_PROJECT_NAME": PROJECT, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, folder: Path | None = None) -> Finished:
        with self.start(*arguments, folder=folder) as process:
            try:
                out, err = process.communicate(timeout=COMMAND_SECONDS)
            finally:
                process.kill()
        return Finished(process.returncode, out, err)


@pytest.fixture
def cdnlab(started_lab: StartedLab, tmp_path: Path) -> Iterator[CommandLine]:
    """After the other lab, so that the images are built."""
    command = CommandLine(tmp_path)
    try:
        yield command
    finally:
        command.run("down")
        assert remains(started_lab.lab.engine) == []


def remains(engine: docker.DockerClient) -> list[str]:
    """Of the project: containers, networks, volumes."""
    label = f"com.docker.compose.project={PROJECT}"
    return [
        *(str(each.name) for each in engine.containers.list(all=True, filters={"label": label})),
        *(str(each.name) for each in engine.networks.list(filters={"label": label})),
        *(str(each.name) for each in engine.volumes.list(filters={"label": label})),
    ]


def test_a_topology_in_containers_from_up_to_down(cdnlab: CommandLine, tmp_path: Path) -> None:
    up = cdnlab.run("up", str(cdnlab.topology), "--runner", "docker", "--detach")
    assert up.status == 0, up.err
    assert "small: 7 nodes are live" in up.out and "hit through both tiers verified" in up.out
    document = json.loads(cdnlab.run("status", "--json").out)
    assert {node["id"]: node["state"] for node in document["nodes"]} == dict.fromkeys([*SMALL_NODES, "wan"], "live")
    assert all(node["container"] for node in document["nodes"])
    check_commands(cdnlab, document["distributions"][0]["id"])
    check_who_is_in_the_way(cdnlab, tmp_path / "elsewhere")
    down = cdnlab.run("down")
    assert re.match(r"8 containers ended in .* s; nothing is left behind", down.out), down
    assert not cdnlab.state_dir.exists()


def check_commands(cdnlab: CommandLine, distribution: str) -> None:
    """What works on processes works here."""
    assert "hit (fresh)" in cdnlab.run("explain", "/images/1.svg").out
    assert "Completed" in cdnlab.run("invalidate", distribution, "/images/*").out
    assert "listening on" in cdnlab.run("logs", "edge-iad89-p1-1").out
    load = cdnlab.run("load", "website", "--duration", "3")
    assert load.status == 0 and " 0 failures" in load.out, load
    refused = cdnlab.run("serve", "http://127.0.0.1:3000")
    assert refused.status == 1 and "127.0.0.1 is the container itself" in refused.err
    refused = cdnlab.run("serve", "http://192.0.2.1:3000")
    assert refused.status == 1 and "to 192.0.2.1 there is no way" in refused.err


def check_who_is_in_the_way(cdnlab: CommandLine, elsewhere: Path) -> None:
    """Here and elsewhere, by processes and by containers."""
    again = cdnlab.run("up", str(cdnlab.topology), "--runner", "docker")
    assert again.status == 1 and "a lab is running already: small, in containers" in again.err
    elsewhere.mkdir()
    for runner in ("docker", "processes"):
        refused = cdnlab.run("up", str(cdnlab.topology), "--runner", runner, folder=elsewhere)
        assert refused.status == 1 and f"cdnlab down --state {cdnlab.state_dir}" in refused.err, refused
    told = cdnlab.run("down", folder=elsewhere)
    assert f"`cdnlab down --state {cdnlab.state_dir}` ends it" in told.out
    assert "`docker compose --project-name cdnlab-test down` ends it" in told.out
    assert not (elsewhere / ".cdnlab").exists()


def test_without_distance_there_are_no_relays(cdnlab: CommandLine) -> None:
    """`--no-relays`: a place is a network, as it is without an internet."""
    up = cdnlab.run("up", str(cdnlab.topology), "--runner", "docker", "--detach", "--no-relays")
    assert up.status == 0, up.err
    assert "small: 6 nodes are live" in up.out and "hit through both tiers verified" in up.out
    document = json.loads(cdnlab.run("status", "--json").out)
    assert {node["id"] for node in document["nodes"]} == SMALL_NODES
    assert "hit (fresh)" in cdnlab.run("explain", "/images/1.svg").out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_start_leaves_nothing(
    cdnlab: CommandLine, started_lab: StartedLab, number: signal.Signals
) -> None:
    process = cdnlab.start("up", str(cdnlab.topology), "--runner", "docker", "--detach")
    with process:
        wait_until(lambda: len(remains(started_lab.lab.engine)) > 3, COMMAND_SECONDS, "something is created")
        process.send_signal(number)
        process.communicate(timeout=60)
    if number is signal.SIGINT:
        assert process.returncode == EXIT_INTERRUPTED
        assert remains(started_lab.lab.engine) == []
    down = cdnlab.run("down")
    assert (down.status, down.err) == (0, "")
    assert remains(started_lab.lab.engine) == []


def test_the_quick_start_in_containers_has_a_valid_verdict(cdnlab: CommandLine) -> None:
    began = time.monotonic()
    done = cdnlab.run("quickstart", str(cdnlab.topology), "--runner", "docker", "--duration", "20")
    print(f"quickstart: {time.monotonic() - began:.1f} s")
    assert done.status == 0 and "Verdict: valid" in done.out, done.out + done.err
    assert not cdnlab.state_dir.exists()
