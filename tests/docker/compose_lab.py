"""The compose lab as a test uses it: `docker compose` as a person types it, the engine's API for what is done to single containers.

A project and ports of its own, so that a lab of processes may run beside it. The subnets are those of deploy/compose.yaml,
so no second compose lab may.
"""

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import docker
from docker.errors import APIError
from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "deploy/compose.yaml"
PROJECT = "cdnlab-test"
PROJECT_LABEL = f"com.docker.compose.project={PROJECT}"

IMAGES = ("cdnlab", "cdnlab-prometheus")
BUILD_SECONDS = 600
COMMAND_SECONDS = 120


class CommandFailedError(AssertionError):
    """`docker compose` exited with another status than 0; the text ends with what it said."""


def free_ports() -> dict[str, str]:
    """Every published port left to the engine to choose (port 0)."""
    return dict.fromkeys(re.findall(r"\$\{(CDNLAB_[A-Z0-9_]+_PORT):-", COMPOSE_FILE.read_text()), "0")


class ComposeLab:
    """One project; `remove` leaves nothing of it, whatever state it is in."""

    def __init__(self, engine: docker.DockerClient) -> None:
        self.engine = engine
        self._environment = {**os.environ, **free_ports(), "COMPOSE_ANSI": "never"}

    def compose(
        self,
        *arguments: str,
        timeout_seconds: float = COMMAND_SECONDS,
        folder: Path = ROOT,
        standard_input: str = "",
    ) -> str:
        """Standard output of `docker compose -p cdnlab-test ARGUMENTS`, run where a person would stand."""
        done = subprocess.run(
            ["docker", "compose", "-p", PROJECT, *arguments],
            cwd=folder,
            env=self._environment,
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if done.returncode != 0:
            last_lines = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise CommandFailedError(f"docker compose {' '.join(arguments)}: status {done.returncode}\n{last_lines}")
        return done.stdout

    def build(self) -> None:
        """A build of changed sources takes the tags over; the images that had them are removed, or each run would leave one behind."""
        before = self._built_images()
        self.compose("build", "--quiet", timeout_seconds=BUILD_SECONDS)
        for replaced in before - self._built_images():
            with contextlib.suppress(APIError):  # gone already, or in use by somebody's lab
                self.engine.images.remove(replaced, noprune=False)

    def _built_images(self) -> set[str]:
        images = (image for tag in IMAGES for image in self.engine.images.list(name=tag))
        return {str(image.id) for image in images}

    def up(self) -> float:
        """Seconds until every container is healthy."""
        started = time.monotonic()
        self.compose("up", "--no-build", "--wait", "--wait-timeout", "100")
        return time.monotonic() - started

    def wait_healthy(self, service: str) -> None:
        """After a start; a health check runs twice a second at first."""
        container = self.container(service)

        def is_healthy() -> bool:
            container.reload()
            return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

        wait_until(is_healthy, 30, f"{service} healthy")

    def remove(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "15")

    def container(self, service: str) -> Container:
        (found,) = self.containers(f"com.docker.compose.service={service}")
        return found

    def containers(self, *labels: str) -> list[Container]:
        return self.engine.containers.list(all=True, filters={"label": [PROJECT_LABEL, *labels]})

    def nodes(self, role: str | None = None) -> dict[str, Container]:
        """Running or not, by node id."""
        found = self.containers(f"cdnlab.role={role}" if role else "cdnlab.node")
        return {container.labels["cdnlab.node"]: container for container in found}

    def published(self, service: str, port: str) -> str:
        """host:port on this machine, for example of ("control-plane", "4566/tcp")."""
        container = self.container(service)
        container.reload()
        binding = (container.ports[port] or [])[0]
        return f"{binding['HostIp']}:{binding['HostPort']}"

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "30")

    def remains(self) -> list[str]:
        """Containers, networks and volumes of the project that still exist."""
        return [
            *(str(each.name) for each in self.containers()),
            *(str(each.name) for each in self.engine.networks.list(filters={"label": PROJECT_LABEL})),
            *(str(each.id) for each in self.engine.volumes.list(filters={"label": PROJECT_LABEL})),
        ]


@dataclass(frozen=True, slots=True)
class StartedLab:
    lab: ComposeLab
    seconds_to_healthy: float


@dataclass(frozen=True, slots=True)
class Distribution:
    id: str
    domain_name: str


def address_in(container: Container, network: str) -> str:
    """Its address in one of the lab's networks, as of when it was last looked at; empty when it is not in it."""
    attached = container.attrs["NetworkSettings"]["Networks"].get(f"{PROJECT}_{network}", {})
    return str(attached.get("IPAddress", ""))


def reached_at(container: Container) -> tuple[str, int]:
    """Where a relay listens for a program."""
    host, _, port = container.labels["cdnlab.advertised"].rpartition(":")
    return host, int(port)


def run_in(container: Container, *command: str, user: str = "") -> str:
    """Standard output of a command in a container; a status other than 0 is a failure."""
    status, streams = container.exec_run(list(command), user=user, demux=True)
    output, errors = ((part or b"").decode() for part in cast(tuple[bytes | None, bytes | None], streams))
    assert status == 0, f"{container.name}: {' '.join(command)[:200]}: status {status}\n{output}{errors}"
    return output


def ask_in(container: Container, **question: Any) -> Any:
    """One question to tests/docker/viewer_program.py, run in the container."""
    program = (Path(__file__).parent / "viewer_program.py").read_text()
    return json.loads(run_in(container, "python", "-I", "-c", program, json.dumps(question)))


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds that it took; asked again as fast as it answers, so the condition should cost something."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
    return time.monotonic() - started
