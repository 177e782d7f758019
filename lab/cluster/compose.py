"""A lab in containers, as deploy/compose.yaml runs it: recognised by its labels `cdnlab.*`, observed, never started from here.

Addresses come from the flags that a container was started with: what it advertises, else where it listens, with the container's
own address for 0.0.0.0. The control plane is asked at its published ports, which work on every machine.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import docker
from docker.errors import DockerException
from docker.models.containers import Container
from requests.exceptions import RequestException

from lab.cluster.status import LabStatus, RunningNode, observe
from lab.errors import LabError, UsageError
from lab.topology.layout import Role

ENGINE_TIMEOUT_SECONDS = 2
# The engine's timeout counts from one line of a log to the next, and a quiet node is not a dead engine.
FOLLOW_TIMEOUT_SECONDS = 24 * 3600
NODE_LABEL = "cdnlab.node"
PROJECT_LABEL = "com.docker.compose.project"
# Compose's own variable for "which project".
PROJECT_VARIABLE = "COMPOSE_PROJECT_NAME"
DEFAULT_ZONE = "cdn.localhost"
_ANY_HOST = ("0.0.0.0", "[::]")


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What the engine knows of one node's container."""

    id: str
    labels: Mapping[str, str]
    is_running: bool
    flags: Mapping[str, str]
    own_address: str
    published: Mapping[str, str]

    def address(self, *flags: str) -> str:
        """host:port from the first of `flags` that was given; empty when none was."""
        given = next((self.flags[flag] for flag in flags if flag in self.flags), "")
        host, _, port = given.rpartition(":")
        return f"{self.own_address}:{port}" if host in _ANY_HOST else given

    def published_address(self, flag: str) -> str:
        """Where the machine publishes the port of `flag`, else the container's own address."""
        port = self.flags.get(flag, "").rpartition(":")[2]
        return self.published.get(port) or self.address(flag)


def read_facts(identifier: str, attributes: Mapping[str, Any]) -> ContainerFacts:
    """From the engine's description of a container (`docker inspect`)."""
    network = attributes.get("NetworkSettings") or {}
    addresses = (each.get("IPAddress") for _, each in sorted((network.get("Networks") or {}).items()))
    published = {
        port.partition("/")[0]: f"{bindings[0]['HostIp']}:{bindings[0]['HostPort']}"
        for port, bindings in (network.get("Ports") or {}).items()
        if bindings and port.endswith("/tcp")
    }
    config = attributes.get("Config") or {}
    return ContainerFacts(
        id=identifier,
        labels=config.get("Labels") or {},
        is_running=bool((attributes.get("State") or {}).get("Running")),
        flags=_flags(config.get("Cmd") or ()),
        own_address=next((address for address in addresses if address), ""),
        published=published,
    )


def _flags(command: Sequence[str]) -> dict[str, str]:
    """`--name value` pairs of a command line."""
    return {flag: value for flag, value in pairwise(command) if flag.startswith("--") and not value.startswith("--")}


def to_node(facts: ContainerFacts) -> RunningNode:
    """A container as a node of the lab."""
    labels = facts.labels
    role = Role(labels["cdnlab.role"])
    http, admin, dns = facts.address("--advertise", "--listen"), facts.address("--advertise-admin", "--admin"), ""
    if role is Role.CONTROL_PLANE:
        http, admin = facts.published_address("--api"), facts.published_address("--admin")
    elif role is Role.DNS_ROUTER:
        http, dns = "", http
    place = (labels.get("cdnlab.region", ""), labels.get("cdnlab.pop", ""))
    return RunningNode(labels[NODE_LABEL], role, *place, http, admin, dns, facts.is_running, container=facts.id)


class ComposeLab:
    """The containers of one Compose project."""

    def __init__(self, client: docker.DockerClient, project: str) -> None:
        self._client = client
        self.project = project

    @classmethod
    def find(cls) -> Self | None:
        """The lab that Compose runs, if any; LabError when several do, or when the engine does not answer properly."""
        try:
            client = docker.from_env(timeout=ENGINE_TIMEOUT_SECONDS)
        except DockerException:
            return None  # no engine on this machine, or not ours to use: then no lab runs in it
        try:
            projects = {container.labels.get(PROJECT_LABEL, "") for container in _containers(client)}
        except LabError:
            client.close()
            raise
        wanted = os.environ.get(PROJECT_VARIABLE)
        if wanted in projects or len(projects) == 1:
            return cls(client, wanted if wanted in projects else projects.pop())
        client.close()
        if projects:
            raise LabError(
                f"several labs run in containers ({', '.join(sorted(projects))}): choose with {PROJECT_VARIABLE}"
            )
        return None

    def status(self) -> LabStatus:
        nodes = [to_node(read_facts(each.short_id, each.attrs)) for each in self._nodes().values()]
        nodes.sort(key=lambda node: (list(Role).index(node.role), node.id))
        control_plane = next((node for node in nodes if node.role is Role.CONTROL_PLANE), None)
        return observe(nodes, DEFAULT_ZONE, f"http://{control_plane.http}" if control_plane else "")

    def log_lines(self, node_id: str, count: int, *, is_followed: bool) -> Iterator[str]:
        """The last `count` lines and, if wanted, what follows."""
        nodes = self._nodes()
        if node_id not in nodes:
            raise UsageError(f"no node {node_id!r}: there are {', '.join(sorted(nodes))}")
        try:
            if not is_followed:
                yield from nodes[node_id].logs(tail=count).decode("utf-8", "replace").splitlines()
                return
            self._client.api.timeout = FOLLOW_TIMEOUT_SECONDS
            for line in nodes[node_id].logs(tail=count, stream=True, follow=True):
                yield line.decode("utf-8", "replace").rstrip("\n")
        except (DockerException, RequestException) as error:
            raise LabError(f"the Docker engine failed: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _nodes(self) -> dict[str, Container]:
        ours = [each for each in _containers(self._client) if each.labels.get(PROJECT_LABEL, "") == self.project]
        return {each.labels[NODE_LABEL]: each for each in ours}


def _containers(client: docker.DockerClient) -> list[Container]:
    try:
        return client.containers.list(all=True, filters={"label": NODE_LABEL}, ignore_removed=True)
    except (DockerException, RequestException) as error:
        raise LabError(f"the Docker engine does not answer: {error}") from error
