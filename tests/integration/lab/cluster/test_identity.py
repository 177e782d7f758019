"""A lab of processes keeps strangers out: its nodes are live with certificates, and nobody else reads a secret."""

import asyncio
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lab.clients.http_client import ask, get_json
from lab.clients.management_api import ManagementApi
from lab.cluster.processes import ProcessCluster
from lab.topology.layout import CONTROL_PLANE_ID, SECRET_ACCESS_KEY, Role
from proto.cdn.v1 import sync_pb2, sync_pb2_grpc
from proto.mutual_tls import SERVER_NAME_OPTION
from tests.certificates import Certificates, channel_credentials
from tests.integration.lab_harness import SLOT_OF_A_MODULE, small_topology

EDGE, OTHER_EDGE = "edge-iad89-p1-1", "edge-iad89-p1-2"
SYNCHRONIZED = (EDGE, OTHER_EDGE, "regional-us-east-1-1", "dns-1")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCluster]:
    with ProcessCluster.up(small_topology(SLOT_OF_A_MODULE), tmp_path_factory.mktemp("lab") / "state") as running:
        yield running


def control_status(lab: ProcessCluster) -> dict[str, Any]:
    return get_json(lab.node(CONTROL_PLANE_ID).admin, "/status")


def streams_of_edges(lab: ProcessCluster) -> list[str]:
    """How many each edge has had."""
    pages = [ask(lab.node(node_id).admin, "/metrics").body.decode() for node_id in (EDGE, OTHER_EDGE)]
    return [line for page in pages for line in page.splitlines() if line.startswith("cdn_sync_reconnects_total ")]


def test_every_node_that_follows_the_control_plane_has_a_certificate_of_its_own(lab: ProcessCluster) -> None:
    assert lab.status().is_whole
    assert "(with certificates)" in "\n".join(lab.logs(CONTROL_PLANE_ID, 50, is_followed=False))
    keys = {node_id: (lab.state.path / "tls" / node_id / "key.pem").read_bytes() for node_id in SYNCHRONIZED}
    assert len(set(keys.values())) == len(SYNCHRONIZED)
    assert {path.name for path in (lab.state.path / "tls").iterdir()} == {CONTROL_PLANE_ID, *SYNCHRONIZED}


@pytest.mark.parametrize("stranger", ["plain text", "no certificate", "a certificate of its own", "another node's"])
async def test_a_stranger_who_says_that_it_is_a_live_edge_gets_nothing_and_changes_nothing(
    lab: ProcessCluster, tmp_path: Path, stranger: str
) -> None:
    """F6 of the attack, on a lab as people run it."""
    before, streams = control_status(lab), streams_of_edges(lab)
    assert len(streams) == 2
    answer = await _say_hello(lab, _credentials(lab, tmp_path, stranger), before)
    assert answer.code() is (grpc.StatusCode.PERMISSION_DENIED if "node" in stranger else grpc.StatusCode.UNAVAILABLE)
    after = control_status(lab)
    assert (after["log_id"], after["head_index"]) == (before["log_id"], before["head_index"])
    assert _known(after) == _known(before), "no other stream, address, place or index, and nobody new"
    assert streams_of_edges(lab) == streams
    assert lab.status().is_whole


def _known(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the nodes, what does not change while nothing happens."""
    passing = {"last_seen", "lease_remaining_seconds", "directory_version"}
    return [{name: value for name, value in node.items() if name not in passing} for node in status["nodes"]]


def _credentials(lab: ProcessCluster, folder: Path, stranger: str) -> grpc.ChannelCredentials | None:
    """Whatever somebody can have: the lab's authority is no secret, and a node's keys may be stolen."""
    of_a_node = lab.state.path / "tls" / OTHER_EDGE
    match stranger:
        case "no certificate":
            return grpc.ssl_channel_credentials((of_a_node / "ca.pem").read_bytes())
        case "a certificate of its own":
            return channel_credentials(Certificates(folder).node(EDGE), trusting=of_a_node)
        case "another node's":
            return channel_credentials(of_a_node)
        case _:
            return None


async def _say_hello(
    lab: ProcessCluster, credentials: grpc.ChannelCredentials | None, status: dict[str, Any]
) -> grpc.aio.AioRpcError:
    """As the edge, with an index that this log does not have yet: what used to renew the log and void every cache."""
    command = lab.node(CONTROL_PLANE_ID).command
    address = command[command.index("--grpc") + 1]
    node = sync_pb2.Node(id=EDGE, role=sync_pb2.ROLE_EDGE, http_address="127.0.9.9:80", admin_address="127.0.9.9:81")
    hello = sync_pb2.Hello(node=node, log_id=status["log_id"], applied_index=status["head_index"] + 1)
    options = (SERVER_NAME_OPTION,)
    opened = (
        grpc.aio.insecure_channel(address)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options)
    )
    async with opened as channel:
        call = sync_pb2_grpc.ControlPlaneStub(channel).Sync()
        try:
            await call.write(sync_pb2.NodeMessage(hello=hello))
            told = await asyncio.wait_for(call.read(), 10)
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError(f"it was told {told}")


def test_secrets_are_in_files_that_only_their_owner_reads(lab: ProcessCluster) -> None:
    keys = list(lab.state.path.glob("tls/*/key.pem"))
    assert len(keys) == len(SYNCHRONIZED) + 1
    for path in (*keys, lab.state.path / "secret-access-key", lab.state.file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert all(stat.S_IMODE(path.parent.stat().st_mode) == 0o700 for path in keys)
    pem = [path for path in lab.state.path.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert sorted(pem) == sorted(keys), "the key of the authority, which could make more of them, is in no file"


def test_no_secret_is_on_a_command_line_in_an_environment_or_in_the_lab_file(lab: ProcessCluster) -> None:
    pids = [str(node.process.pid) for node in lab.record.nodes if node.process]
    shown = subprocess.run(("ps", "eww", "-p", ",".join(pids)), capture_output=True, text=True, check=True).stdout
    assert all(node.id in shown for node in lab.record.nodes if node.role is not Role.CONTROL_PLANE), "ps shows them"
    secrets = [SECRET_ACCESS_KEY]
    for path in lab.state.path.glob("tls/*/key.pem"):
        secrets += [line for line in path.read_text().splitlines() if "PRIVATE KEY" not in line]
    for where, text in {"ps": shown, "lab.json": lab.state.file.read_text()}.items():
        assert not [secret for secret in secrets if secret in text], where


def test_who_asks_the_lab_for_the_secret_can_use_the_management_api(lab: ProcessCluster) -> None:
    with ManagementApi(lab.status().api) as api:
        assert api.find_distribution("nobody made it") is None
