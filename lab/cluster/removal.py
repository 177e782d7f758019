"""Removes a lab's containers, its networks and its volumes from the engine: by label and project, so never anybody else's."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from lab.cluster.container_facts import LAB_LABEL, PROJECT_LABEL
from lab.cluster.engine import engine_errors, is_conflict
from lab.cluster.interface import Stopped
from lab.errors import LabError

# Removals wait for the engine, not for the processor.
_AT_ONCE = 8
# A container that somebody else is removing too (409), or that was just being created, is gone or there at the next look.
_LOOKS = 50
_POLL_SECONDS = 0.2
# What an interrupted Compose had asked for may still come.
_EMPTY_LOOKS = 2


class _Removable(Protocol):
    @property
    def name(self) -> str | None: ...


def remove_project(client: docker.DockerClient, project: str, *, with_volumes: bool) -> Stopped:
    """Everything of one lab, also what an interrupted start left half made; how much of it ran."""
    began = time.monotonic()
    label = [f"{PROJECT_LABEL}={project}", LAB_LABEL]
    running = _remove_containers(client, label)
    with engine_errors(f"the networks of {project} cannot be removed"):
        for network in client.networks.list(filters={"label": label}):
            _remove(network, network.remove)
        if with_volumes:
            for volume in client.volumes.list(filters={"label": label}):
                _remove(volume, volume.remove)
    return Stopped(running, 0, time.monotonic() - began, "containers")


def _remove_containers(client: docker.DockerClient, label: Sequence[str]) -> int:
    running: set[str] = set()
    empty_looks = 0
    for _ in range(_LOOKS):
        with engine_errors("the lab's containers cannot be listed"):
            left = client.containers.list(all=True, filters={"label": list(label)}, ignore_removed=True)
        empty_looks = 0 if left else empty_looks + 1
        if empty_looks == _EMPTY_LOOKS:
            return len(running)
        running |= {str(each.id) for each in left if each.status == "running"}
        with engine_errors("the lab's containers cannot be removed"), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(_remove_container, left))
        time.sleep(_POLL_SECONDS)
    names = ", ".join(sorted(str(each.name) for each in left))
    raise LabError(
        f"the engine does not remove these containers: {names}; see `docker ps --all`, then `cdnlab down` again"
    )


def _remove_container(container: Container) -> None:
    """Its anonymous volumes with it. Gone already, or just being removed by somebody else: looked at again."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if not is_conflict(error):
            raise


def _remove(what: _Removable, remove: Callable[[], None]) -> None:
    """A network or a volume: LabError when somebody's container still uses it."""
    try:
        remove()
    except NotFound:
        return
    except APIError as error:
        if error.response is not None and error.response.status_code in (403, 409):
            raise LabError(
                f"{what.name} is used by a container that is not the lab's: `docker ps --all` shows it; end that one, then `cdnlab down` again"
            ) from error
        raise
