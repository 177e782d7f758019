"""Brings a topology up in containers: writes the Compose file into the state folder, and has `docker compose` run it.

The record is written first, so that whatever an interrupted start has created is found by its project and removed.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path

from lab.cluster.claim import claim
from lab.cluster.compose import ComposeCluster
from lab.cluster.compose_file import Surroundings, compose_file
from lab.cluster.compose_mounts import mounted_files
from lab.cluster.container_facts import LAB_LABEL
from lab.cluster.container_layout import ContainerLayout, published_variable
from lab.cluster.engine import ACTION_SECONDS, connect, engine_errors
from lab.cluster.interface import Say
from lab.cluster.launching import importable_from
from lab.cluster.log_tail import last_lines
from lab.cluster.other_labs import find_other_labs
from lab.cluster.process_identity import identify
from lab.cluster.readiness import wait_until_ready
from lab.cluster.sockets import describe_taken, why_not_free
from lab.cluster.state_file import ContainersRecord, StateDir
from lab.cluster.sweep import Mark
from lab.errors import LabError
from lab.interrupts import uninterrupted
from lab.topology.layout import WAN_ID, Listener, Role
from lab.topology.model import DEFAULT_LOOPBACK, Topology

TEMPLATE = Path(__file__).parent / "files" / "compose.yaml.template"
# The first build compiles the edges and installs packages.
BUILD_SECONDS = 1200.0
UP_SECONDS = 180.0
HEALTHY_SECONDS = 120
LIVE_SECONDS = 30.0
_SHOWN_LINES = 12
_KEPT_LINES = "400"
_END_SECONDS = 10.0
_NO_DOCKER = (
    "needs a Docker engine (25 or later) and Compose (2.24 or later) on this machine; without one: --runner processes"
)


@dataclass(frozen=True, slots=True)
class _Compose:
    """`docker compose` with one file and one project. What it says goes to a log, of which errors show the end."""

    folder: Path
    project: str
    mark: Mark
    """So that it does not go on for long when we are killed: `up` and `down` end what carries it."""

    def run(self, *arguments: str, timeout_seconds: float) -> None:
        """LabError when it fails or takes too long; it does not outlive an interruption."""
        log_path = self.folder / "compose.log"
        command = ["docker", "compose", "--project-name", self.project, "--file", str(self.folder / "compose.yaml")]
        with log_path.open("ab") as log:
            status = _run([*command, *arguments], log.fileno(), self.mark, timeout_seconds)
        if status != 0:
            lines = "\n".join(f"  | {line}" for line in last_lines(log_path, _SHOWN_LINES))
            raise LabError(
                f"docker compose {arguments[0]} {_how_it_ended(status, timeout_seconds)}\n{lines}\nwhole log: {log_path}"
            )


def _how_it_ended(status: int | None, timeout_seconds: float) -> str:
    return f"has not ended within {timeout_seconds:g} s" if status is None else f"failed with status {status}"


def _run(command: Sequence[str], log: int, mark: Mark, timeout_seconds: float) -> int | None:
    """None when the time was over. In a session of its own: a Ctrl-C at the terminal is for us, who then end it in order."""
    environment = {**os.environ, "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "plain", **mark.environment()}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with uninterrupted():
                _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bring_up_containers(topology: Topology, state_dir: Path, say: Say) -> ComposeCluster:
    """Returns when every node is live. LabError, and nothing left of it in the engine, when that fails."""
    layout = ContainerLayout(topology)
    state = StateDir(state_dir)
    project = project_name(topology)
    if shutil.which("docker") is None:
        raise LabError(_NO_DOCKER)
    claim(
        state, ContainersRecord(topology.name, project, identify(os.getpid())), lambda: check_is_free(layout, project)
    )
    with _removed_if_it_fails(state, topology.name, project):
        folder = write_files(state.path / "compose", layout, project, str(state.path))
        compose = _Compose(folder, project, Mark(str(state.path), ""))
        say("building the image; the first time takes some minutes, as it compiles the edges")
        compose.run("build", "--quiet", "control-plane", "prometheus", timeout_seconds=BUILD_SECONDS)
        names = [node.id for node in layout.nodes]
        flags = ("--no-build", "--detach", "--wait", "--wait-timeout", str(HEALTHY_SECONDS))
        compose.run("up", *flags, *names, "prometheus", timeout_seconds=UP_SECONDS)
        say(f"{len(names)} containers started")
        lab = ComposeCluster.of(project, state)
        wait_until_ready(lab.status, lambda: None, LIVE_SECONDS)
        with state.locked():
            state.write(ContainersRecord(topology.name, project, None))
    return lab


@contextmanager
def _removed_if_it_fails(state: StateDir, lab_name: str, project: str) -> Iterator[None]:
    """What the containers have said is kept beside the Compose file, for their logs go with them."""
    try:
        yield
    except BaseException:
        with uninterrupted(), suppress(LabError), ComposeCluster.of(project) as lab:
            _keep_logs(lab, state.path / "compose" / "nodes.log")
            lab.take_down()
            with state.locked():
                state.write(ContainersRecord(lab_name, project, None))
        raise


def _keep_logs(lab: ComposeCluster, path: Path) -> None:
    with suppress(LabError, OSError), path.open("w", encoding="utf-8") as file:
        for each in lab.status().nodes:
            lines = lab.logs(each.node.id, int(_KEPT_LINES))
            file.writelines(f"{each.node.id}: {line}\n" for line in lines)


def project_name(topology: Topology) -> str:
    """Not the one of `docker compose up`, whose volumes are another lab's; labs on other loopback ranges have others, too."""
    if topology.loopback == DEFAULT_LOOPBACK:
        return f"cdnlab-{topology.name}"
    return f"cdnlab-{topology.name}-{int(IPv4Network(topology.loopback).network_address) >> 16 & 0xFF}"


def write_files(folder: Path, layout: ContainerLayout, project: str, state_folder: str) -> Path:
    """The Compose file and what it mounts, for people to read and to run again."""
    repository = importable_from()
    around = Surroundings(
        project=project,
        source=layout.topology.source,
        repository=str(repository),
        deploy=str(repository / "deploy"),
        prometheus="prometheus.yml",
        folder=state_folder,
    )
    try:
        folder.mkdir(exist_ok=True)
        text = compose_file(layout, around, TEMPLATE.read_text(encoding="utf-8"))
        (folder / "compose.yaml").write_text(text, encoding="utf-8")
        for name, content in mounted_files(layout).items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{folder} cannot be written: {error.strerror}; give another folder with --state") from error
    return folder


def check_is_free(layout: ContainerLayout, project: str) -> None:
    """LabError when another lab, or somebody else, has the subnets or the ports of this one."""
    client = connect(ACTION_SECONDS)
    if client is None:
        raise LabError(_NO_DOCKER)
    try:
        with engine_errors("the engine's networks cannot be listed"):
            networks = [(str(each.name), each.attrs) for each in client.networks.list()]
    finally:
        client.close()
    wanted = IPv4Network(f"{layout.base}.0.0/16")
    for name, attributes in networks:
        subnets = [each.get("Subnet", "") for each in ((attributes.get("IPAM") or {}).get("Config") or ())]
        labels = attributes.get("Labels") or {}
        if labels.get("com.docker.compose.project") == project:
            continue
        if any(subnet and ip_network(subnet).overlaps(wanted) for subnet in subnets):
            owner = f"the lab {labels[LAB_LABEL]} in containers" if LAB_LABEL in labels else "another network"
            raise LabError(
                f"{owner} has addresses of this lab ({name}, {', '.join(subnets)}): take it down with `cdnlab down`, or give this one others with --loopback 127.1.0.0/16"
            )
    _check_ports(layout)


def _check_ports(layout: ContainerLayout) -> None:
    """Those that are published without any profile, moved as their variables say."""
    published = {"API": "control-plane", "ADMIN": "control-plane", "DNS": "dns-1", "PROMETHEUS": "prometheus"}
    if layout.topology.has_relays:
        published["WAN"] = WAN_ID
    edges = layout.of_role(Role.EDGE)
    published |= {"VIEWER": edges[0].id} | {published_variable(edge): edge.id for edge in edges}
    taken = []
    for name, node_id in published.items():
        port = os.environ.get(f"CDNLAB_{name}_PORT", str(layout.published[name]))
        address = f"{layout.host}:{port}"
        if port.isdigit() and int(port) and (why := why_not_free(Listener(address))):
            taken.append((node_id, address, why))
    if taken:
        raise LabError(describe_taken(taken, find_other_labs()))
