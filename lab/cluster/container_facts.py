"""A container read as a node of the lab: from its labels, from the flags that it was started with, from its networks.

Addresses come from the flags: what it advertises, else where it listens, with the container's own address for 0.0.0.0. With relays between the containers,
what they advertise is a relay's, and this machine takes their own. What the machine
publishes (control plane, DNS) is asked there, which works on every machine; the containers' own addresses are reachable on Linux.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

from lab.cluster.interface import LabFacts, Limits, PopulationRecord
from lab.cluster.status import RunningNode
from lab.topology.layout import SEED, Role

NODE_LABEL = "cdnlab.node"
LAB_LABEL = "cdnlab.lab"
"""On everything that belongs to a lab, node or not: the name of its topology."""
FOLDER_LABEL = "cdnlab.folder"
"""The state folder of the command that brought it up; not there when somebody ran Compose by hand."""
PROJECT_LABEL = "com.docker.compose.project"
WORKING_FOLDER_LABEL = "com.docker.compose.project.working_dir"
"""Where the Compose file is that was run."""
ADVERTISED_LABEL = "cdnlab.advertised"
"""Where the others find a node, host:port, if that is at a relay."""
VIEWER_PORT_LABEL, LEASE_LABEL, POPULATIONS_LABEL = "cdnlab.viewer-port", "cdnlab.lease-seconds", "cdnlab.populations"
DEFAULT_ZONE = "cdn.localhost"
DEFAULT_VIEWER_PORT, DEFAULT_LEASE_SECONDS = 8080, 5.0
CPU_PERIOD_MICROSECONDS = 100_000
"""Of the kernel, when nobody says another one."""
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
    """Address on this machine by port and protocol, as in `53/udp`."""

    def address(self, *flags: str) -> str:
        """host:port from the first of `flags` that was given; empty when none was."""
        given = next((self.flags[flag] for flag in flags if flag in self.flags), "")
        host, _, port = given.rpartition(":")
        return f"{self.own_address}:{port}" if host in _ANY_HOST else given

    def published_address(self, flag: str, protocol: str = "tcp") -> str:
        """Where the machine publishes the port of `flag`; empty when it does not."""
        port = self.flags.get(flag, "").rpartition(":")[2]
        return self.published.get(f"{port}/{protocol}", "")


def read_facts(identifier: str, attributes: Mapping[str, Any]) -> ContainerFacts:
    """From the engine's description of a container (`docker inspect`)."""
    network = attributes.get("NetworkSettings") or {}
    addresses = (_address(each) for _, each in sorted((network.get("Networks") or {}).items()))
    published = {
        port: f"{bindings[0]['HostIp']}:{bindings[0]['HostPort']}"
        for port, bindings in (network.get("Ports") or {}).items()
        if bindings
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


def _address(attached: Mapping[str, Any]) -> str:
    """In one network; of a container that does not run, the one that it will have."""
    return str(attached.get("IPAddress") or (attached.get("IPAMConfig") or {}).get("IPv4Address") or "")


def read_limits(attributes: Mapping[str, Any]) -> Limits:
    """Of processors there are two ways to say it: the quota of a period, and billionths of processors, which Compose sets."""
    host = attributes.get("HostConfig") or {}
    quota, period = host.get("CpuQuota") or 0, host.get("CpuPeriod") or CPU_PERIOD_MICROSECONDS
    cpus = quota / period if quota > 0 else (host.get("NanoCpus") or 0) / 1e9
    return Limits(cpus=cpus, memory_mib=max(0, host.get("Memory") or 0) >> 20)


def _flags(command: Sequence[str]) -> dict[str, str]:
    """`--name value` pairs of a command line."""
    return {flag: value for flag, value in pairwise(command) if flag.startswith("--") and not value.startswith("--")}


def to_node(facts: ContainerFacts) -> RunningNode:
    """A container as a node of the lab."""
    labels = facts.labels
    role, advertised = Role(labels["cdnlab.role"]), labels.get(ADVERTISED_LABEL, "")
    if advertised:
        http, admin, dns = facts.address("--listen"), facts.address("--admin"), ""
    else:
        http, admin, dns = facts.address("--advertise", "--listen"), facts.address("--advertise-admin", "--admin"), ""
    if role is Role.CONTROL_PLANE:
        http = facts.published_address("--api") or facts.address("--api")
        admin = facts.published_address("--admin") or admin
    elif role is Role.DNS_ROUTER:
        http, dns = "", facts.published_address("--listen", "udp") or http
    elif role is Role.WAN:
        admin = next(iter(facts.published.values()), "")
    place = (labels.get("cdnlab.region", ""), labels.get("cdnlab.pop", ""))
    return RunningNode(labels[NODE_LABEL], role, *place, http, admin, dns, facts.is_running, None, facts.id, advertised)


def place_in_order(node: RunningNode) -> tuple[int, int, str]:
    """Nodes in the order of the topology, role by role: that is how their fixed addresses are numbered (container_layout.py)."""
    host = (node.http if node.role is Role.ORIGIN else node.admin).rpartition(":")[0]
    try:
        number = int(ip_address(host))
    except ValueError:  # a name, or none while it does not run
        number = 0
    return list(Role).index(node.role), number, node.id


def lab_facts(control_plane: ContainerFacts, first_edge: ContainerFacts | None) -> LabFacts:
    """What the labels of the control plane say of the whole lab; a file of before there were such labels is the default lab's."""
    labels, api = control_plane.labels, control_plane.published_address("--api")
    return LabFacts(
        topology=labels.get(LAB_LABEL, ""),
        zone=control_plane.flags.get("--zone", DEFAULT_ZONE),
        endpoint=f"http://{api or control_plane.address('--api')}",
        shared_http=first_edge.published_address("--listen") if first_edge else "",
        viewer_port=int(labels.get(VIEWER_PORT_LABEL, DEFAULT_VIEWER_PORT)),
        lease_seconds=float(labels.get(LEASE_LABEL, DEFAULT_LEASE_SECONDS)),
        populations=read_populations(labels.get(POPULATIONS_LABEL, "")),
        seed=_seed(control_plane.flags.get(SEED, "")),
    )


def _seed(text: str) -> int | None:
    """A program with another one has not started."""
    return int(text) if text.isascii() and text.isdigit() else None


def read_populations(text: str) -> tuple[PopulationRecord, ...]:
    """`REGION SUBNET USERS, REGION SUBNET USERS SOURCE`."""
    parts = [each.split() for each in text.split(",") if each.strip()]
    return tuple(PopulationRecord(region, subnet, int(users), *source) for region, subnet, users, *source in parts)


def populations_label(populations: Sequence[PopulationRecord]) -> str:
    """The same as text."""
    return ", ".join(f"{each.region} {each.client_subnet} {each.users} {each.source}".rstrip() for each in populations)
