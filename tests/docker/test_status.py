"""`cdnlab status` on the compose lab: the same stable JSON as on a lab of processes, from the containers' labels."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.docker.compose_lab import PROJECT, ROOT, ComposeLab, Distribution

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def status(folder: Path) -> dict[str, Any]:
    """Run where no lab of processes was started, so the containers are what it finds."""
    done = subprocess.run(
        [sys.executable, "-m", "lab.cli", "status", "--json"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COMPOSE_PROJECT_NAME": PROJECT},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_every_node_is_there_with_its_container(lab: ComposeLab, distribution: Distribution, tmp_path: Path) -> None:
    document = status(tmp_path)

    assert document["zone"] == "cdn.localhost"
    assert document["api"]["endpoint"].removeprefix("http://") == lab.published("control-plane", "4566/tcp")
    told = next(each for each in document["distributions"] if each["id"] == distribution.id)
    assert (told["domain_name"], told["status"]) == (distribution.domain_name, "Deployed")
    assert told["url"].startswith(f"http://{distribution.domain_name}") and document["agent"] is None
    containers = lab.nodes()
    for node in document["nodes"]:
        labels = containers[node["id"]].labels
        assert [node["role"], node["region"], node["pop"] or ""] == [
            labels[f"cdnlab.{label}"] for label in ("role", "region", "pop")
        ]
        assert node["container"] in (
            containers[node["id"]].name,
            containers[node["id"]].id,
            containers[node["id"]].short_id,
        )
    roles = Counter(node["role"] for node in document["nodes"])
    assert roles == {"control_plane": 1, "edge": 6, "regional": 2, "dns_router": 1, "origin": 2, "wan": 1}


def test_a_dead_node_is_not_called_alive(lab: ComposeLab, distribution: Distribution, tmp_path: Path) -> None:
    states = {node["id"]: node["state"] for node in status(tmp_path)["nodes"]}
    victim = lab.nodes("edge")["edge-nrt57-p1-2"]
    victim.kill()
    try:
        after = {node["id"]: node["state"] for node in status(tmp_path)["nodes"]}
    finally:
        victim.start()
        lab.wait_healthy("edge-nrt57-p1-2")
    assert {node for node in states if states[node] != after[node]} == {"edge-nrt57-p1-2"}
