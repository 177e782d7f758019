"""Who may be a node when the control plane has certificates: strangers with grpcio, beside real nodes, on real sockets."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from proto.cdn.v1 import sync_pb2, sync_pb2_grpc
from proto.mutual_tls import SERVER_NAME_OPTION, TlsIdentity
from proto.node_session import NodeIdentity, NodeSession
from tests.certificates import OVER, Certificates, channel_credentials
from tests.integration.sync_harness import HOST, Node, free_port, running, until
from tests.integration.sync_process import ControlPlaneProcess, control_plane_process
from tests.peers.control_plane import ScriptedControlPlane

HANDSHAKE_FAILED = grpc.StatusCode.UNAVAILABLE
REFUSED = "cdn_control_refused_nodes_total"
FAILED_HANDSHAKES = "cdn_control_failed_handshakes_total"


class CertifiedNode(Node):
    """A session with a certificate."""

    def __init__(self, node_id: str, port: int, keys: Path) -> None:
        super().__init__(node_id, port)
        identity = NodeIdentity(node_id, sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.1.1:80", "127.0.1.1:81")
        self.session = NodeSession(identity, self.applier, f"{HOST}:{port}", tls=TlsIdentity.read(keys))


@pytest.fixture
def lab(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "lab")


@contextmanager
def secured(folder: Path, lab: Certificates) -> Iterator[ControlPlaneProcess]:
    (folder / "state").mkdir()
    with control_plane_process(folder / "state", "--tls-dir", str(lab.control_plane())) as plane:
        yield plane


def channel(plane: ControlPlaneProcess, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """As a stranger opens one who knows what the control plane's certificate says."""
    address = f"{HOST}:{plane.grpc_port}"
    options = (SERVER_NAME_OPTION, ("grpc.use_local_subchannel_pool", 1))
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


async def say(plane: ControlPlaneProcess, credentials: grpc.ChannelCredentials | None, node: sync_pb2.Node) -> str:
    """Introduce oneself as that node, ahead of every log, and claim an index; `code: details` of the answer, or what was told."""
    hello = sync_pb2.Hello(node=node, log_id="stolen", applied_index=1_000_000)
    async with channel(plane, credentials) as opened:
        call = sync_pb2_grpc.ControlPlaneStub(opened).Sync()
        try:
            await call.write(sync_pb2.NodeMessage(hello=hello))
            told = await asyncio.wait_for(call.read(), 10)
            await call.write(sync_pb2.NodeMessage(acknowledgement=sync_pb2.Acknowledgement(index=1_000_000)))
            await call.done_writing()
            while await asyncio.wait_for(call.read(), 10) is not grpc.aio.EOF:
                pass  # all has been heard that was said
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        finally:
            call.cancel()
    return f"told: {told}"


def edge(node_id: str) -> sync_pb2.Node:
    return sync_pb2.Node(id=node_id, role=sync_pb2.ROLE_EDGE, http_address="127.0.9.9:80", admin_address="127.0.9.9:81")


def strangers(lab: Certificates, folder: Path) -> dict[str, grpc.ChannelCredentials | None]:
    """Those who do not get past the handshake."""
    mine, others = lab.node("edge-1"), Certificates(folder / "other").node("edge-1")
    return {
        "plain text": None,
        "no certificate": grpc.ssl_channel_credentials((mine / "ca.pem").read_bytes()),
        "another lab's certificate": channel_credentials(others, trusting=mine),
        "an expired certificate": channel_credentials(lab.node("edge-1", lifetime=OVER), trusting=mine),
        "another lab's control plane": channel_credentials(
            Certificates(folder / "another").control_plane(), trusting=mine
        ),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "plain text",
        "no certificate",
        "another lab's certificate",
        "an expired certificate",
        "another lab's control plane",
    ],
)
async def test_without_a_certificate_of_the_lab_nobody_gets_past_the_handshake(
    tmp_path: Path, lab: Certificates, kind: str
) -> None:
    credentials = strangers(lab, tmp_path)[kind]
    with secured(tmp_path, lab) as plane:
        assert (await say(plane, credentials, edge("edge-1"))).startswith("UNAVAILABLE: ")
        assert plane.get("/status")["nodes"] == []
        await until(lambda: f"{FAILED_HANDSHAKES} 0.0" not in plane.get("/metrics"), "it is counted")


async def test_another_control_plane_of_the_lab_may_pass_on_what_a_node_says(tmp_path: Path, lab: Certificates) -> None:
    """It has asked the node for its certificate itself (tests/integration/control_plane/test_replicas.py)."""
    with secured(tmp_path, lab) as plane:
        credentials = channel_credentials(lab.control_plane())
        assert (await say(plane, credentials, edge("edge-1"))).startswith("told: ")


async def test_a_node_with_its_own_certificate_is_a_node(tmp_path: Path, lab: Certificates) -> None:
    """Its certificate is all that those who are refused lack."""
    with secured(tmp_path, lab) as plane:
        assert (await say(plane, channel_credentials(lab.node("edge-1")), edge("edge-1"))).startswith("told: directory")
        assert [node["id"] for node in plane.get("/status")["nodes"]] == ["edge-1"]
        assert f"{FAILED_HANDSHAKES} 0.0" in plane.get("/metrics")


@pytest.mark.parametrize(
    ("node_id", "role"), [("edge-2", "edge"), ("edge-1", "regional")], ids=["another name", "another role"]
)
async def test_a_certificate_speaks_for_its_own_node_only_and_disturbs_nobody(
    tmp_path: Path, lab: Certificates, node_id: str, role: str
) -> None:
    keys = lab.node(node_id, role)
    with secured(tmp_path, lab) as plane:
        real = CertifiedNode("edge-1", plane.grpc_port, lab.node("edge-1"))
        async with running(real):
            await until(lambda: real.session.lease_state() == "held", "the lease")
            before = plane.get("/status")
            for _ in range(2):
                answer = await say(plane, channel_credentials(keys), edge("edge-1"))
                assert answer == (
                    f"PERMISSION_DENIED: the certificate is of cdnlab://cdn.localhost/{role}/{node_id}, "
                    "not of cdnlab://cdn.localhost/edge/edge-1"
                )
            after = plane.get("/status")
            assert after["log_id"] == before["log_id"], "a log that is said to be longer does not renew this one"
            (line,) = after["nodes"]
            assert (line["id"], line["http"], line["connected"], line["state"]) == (
                "edge-1",
                "127.0.1.1:80",
                True,
                "live",
            )
            assert line["acknowledged_index"] == before["nodes"][0]["acknowledged_index"] == before["head_index"]
            assert real.session.reconnects_total == 0
        assert f"{REFUSED} 2.0" in plane.get("/metrics")
        assert plane.log().count("refused a node") == 1


async def test_nobody_acknowledges_for_a_node_that_is_silent(tmp_path: Path, lab: Certificates) -> None:
    """F6 of the attack: the receipt of an invalidation said `acknowledged` for a node that had not."""
    with secured(tmp_path, lab) as plane:
        real = CertifiedNode("edge-1", plane.grpc_port, lab.node("edge-1"))
        async with running(real):
            await until(lambda: real.session.lease_state() == "held", "the lease")
            real.applier.is_wedged = True
            await asyncio.to_thread(plane.create_distribution)
            index = plane.get("/status")["head_index"]
            answer = await say(plane, channel_credentials(lab.node("edge-2")), edge("edge-1"))
            assert answer.startswith("PERMISSION_DENIED")
            (line,) = plane.get("/status")["nodes"]
            assert line["acknowledged_index"] < index


async def test_health_and_reflection_are_for_nodes_only(tmp_path: Path, lab: Certificates) -> None:
    keys = lab.node("edge-1")
    with secured(tmp_path, lab) as plane:
        for credentials in (None, grpc.ssl_channel_credentials((keys / "ca.pem").read_bytes())):
            for ask in (_health, _services):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await ask(plane, credentials)
                assert caught.value.code() is HANDSHAKE_FAILED
        assert await _health(plane, channel_credentials(keys)) == health_pb2.HealthCheckResponse.SERVING
        assert "cdn.v1.ControlPlane" in await _services(plane, channel_credentials(keys))


async def _health(plane: ControlPlaneProcess, credentials: grpc.ChannelCredentials | None) -> int:
    async with channel(plane, credentials) as opened:
        check = opened.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return (await check(health_pb2.HealthCheckRequest(), timeout=10)).status


async def _services(plane: ControlPlaneProcess, credentials: grpc.ChannelCredentials | None) -> list[str]:
    async with channel(plane, credentials) as opened:
        ask = opened.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)
        return [service.name async for answer in call for service in answer.list_services_response.service]


async def test_a_node_tries_again_until_the_control_plane_is_its_own(
    tmp_path: Path, lab: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """A control plane of another lab is told nothing: the node ends the handshake, and says why."""
    other = Certificates(tmp_path / "other")
    (tmp_path / "foreign").mkdir()
    with control_plane_process(tmp_path / "foreign", "--tls-dir", str(other.control_plane())) as foreign:
        node = CertifiedNode("edge-1", foreign.grpc_port, lab.node("edge-1"))
        with caplog.at_level(logging.INFO):
            async with running(node):
                await until(lambda: node.session.reconnects_total >= 2, "it tries again")
                assert foreign.get("/status")["nodes"] == [] and not node.session.log_id
                foreign.kill()
                own = ControlPlaneProcess(tmp_path / "own", "--tls-dir", str(lab.control_plane()))
                (tmp_path / "own").mkdir()
                own.grpc_port = foreign.grpc_port
                try:
                    await asyncio.to_thread(own.start)
                    await until(lambda: node.session.lease_state() == "held", "the lease")
                finally:
                    own.kill()
        assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
        assert "good for no control plane" not in caplog.text, "nothing is wrong with its own"


@pytest.mark.parametrize("poser", ["another node", "an expired control plane"])
async def test_nobody_poses_as_the_control_plane(tmp_path: Path, lab: Certificates, poser: str) -> None:
    keys = lab.node("edge-2") if poser == "another node" else lab.control_plane(OVER)
    async with ScriptedControlPlane(HOST, credentials=_server_credentials(keys)) as fake:
        node = CertifiedNode("edge-1", int(fake.address.rpartition(":")[2]), lab.node("edge-1"))
        async with running(node):
            await until(lambda: node.session.reconnects_total >= 2, "it tries again")
        assert fake.streams == {} and not node.session.log_id
    async with ScriptedControlPlane(HOST, credentials=_server_credentials(lab.control_plane())) as real:
        node = CertifiedNode("edge-1", int(real.address.rpartition(":")[2]), lab.node("edge-1"))
        async with running(node):
            await until(
                lambda: node.session.log_id == "log-1", "the same server with the right certificate is believed"
            )


def _server_credentials(keys: Path) -> grpc.ServerCredentials:
    """Of a server that asks nobody for a certificate."""
    return grpc.ssl_server_credentials([((keys / "key.pem").read_bytes(), (keys / "certificate.pem").read_bytes())])


async def test_a_node_whose_certificate_has_expired_says_so_once_and_tries_again(
    tmp_path: Path, lab: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    with secured(tmp_path, lab) as plane, caplog.at_level(logging.INFO):
        node = CertifiedNode("edge-1", plane.grpc_port, lab.node("edge-1", lifetime=OVER))
        async with running(node):
            await until(lambda: node.session.reconnects_total >= 3, "it tries again")
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert told == ["the certificate of this node is good for no control plane: certificate has expired"]
        assert plane.get("/status")["nodes"] == []


async def test_with_the_name_of_another_node_it_is_told_why_and_tries_again(
    tmp_path: Path, lab: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    with secured(tmp_path, lab) as plane, caplog.at_level(logging.INFO):
        node = CertifiedNode("edge-1", plane.grpc_port, lab.node("edge-2"))
        async with running(node):
            reason = "PERMISSION_DENIED: the certificate is of cdnlab://cdn.localhost/edge/edge-2, not of"
            await until(lambda: reason in caplog.text and node.session.reconnects_total >= 2, "it has tried again")


def _listening(*flags: str) -> list[str]:
    return [part for flag in flags for part in (flag, f"{HOST}:{free_port()}")]


def _command(program: str, keys: Path, state: Path) -> list[str]:
    """A program with these keys and everything else in order."""
    first = [sys.executable, "-m", program, "--tls-dir", str(keys), "--state-dir", str(state)]
    node = [
        "--node-id",
        "n",
        "--region",
        "r",
        "--control-plane",
        f"{HOST}:{free_port()}",
        *_listening("--listen", "--admin"),
    ]
    return {
        "control_plane": [*first, "--zone", "z", *_listening("--api", "--grpc", "--admin")],
        "edge_node": [*first, *node, "--role", "edge", "--pop", "P"],
        "dns_router": [*first, *node],
    }[program]


@pytest.mark.parametrize("program", ["control_plane", "edge_node", "dns_router"])
def test_a_missing_or_wrong_file_is_one_clear_message_at_the_start(
    tmp_path: Path, lab: Certificates, program: str
) -> None:
    keys, state = lab.node("n"), tmp_path / "state"
    state.mkdir()
    (keys / "key.pem").write_text("damaged")
    wrong = subprocess.run(_command(program, keys, state), capture_output=True, text=True, timeout=30, check=False)
    (keys / "key.pem").unlink()
    missing = subprocess.run(_command(program, keys, state), capture_output=True, text=True, timeout=30, check=False)
    assert (wrong.returncode, missing.returncode) == (1, 1)
    said = [done.stderr.splitlines()[-1] for done in (wrong, missing)]
    pair = f"{keys / 'certificate.pem'} and {keys / 'key.pem'}"
    assert said[0].startswith(f"--tls-dir: {pair} are not a certificate and its key: ")
    assert said[1] == f"--tls-dir: cannot read {keys / 'key.pem'}: no such file or directory"
    assert "Traceback" not in wrong.stderr + missing.stderr


def test_the_secret_access_key_comes_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("another-secret\n")
    (tmp_path / "state").mkdir()
    with control_plane_process(tmp_path / "state", "--secret-access-key-file", str(secret)) as plane:
        with pytest.raises(Exception, match="SignatureDoesNotMatch"):
            plane.client().list_distributions()
        assert plane.client("another-secret").list_distributions()["DistributionList"]["Quantity"] == 0


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_without_a_secret_in_the_file_it_does_not_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    plane = ControlPlaneProcess(tmp_path, "--secret-access-key-file", str(path))
    assert plane.launch().wait(20) == 1
    assert "secret access key in" in plane.log().splitlines()[-1] and "Traceback" not in plane.log()
