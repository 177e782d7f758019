"""Clients that hold connections and say nothing whole: known ones get through beside them, and they are gone within seconds."""

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from tests.integration.sync_harness import HOST, Node, running, until
from tests.integration.sync_process import ControlPlaneProcess, control_plane_process

USUAL_DESCRIPTORS = 1_024
"""The soft limit that a process has where nobody has raised it."""
SOON_SECONDS = 3.0
"""Shorter than strangers may stay, so that who is served is served beside them."""
CUT_OFF_SECONDS = 30.0

HALF_HEAD = b"GET /2020-05-31/distribution HTTP/1.1\r\nHost: x\r\nX-Half"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""A client's whole preface (RFC 9113 section 3.4): an HTTP/2 connection on which nothing is asked."""


def call(method: str) -> bytes:
    """The head of a call and nothing behind it: one HEADERS frame, its fields literal without indexing (RFC 7541 section 6.2.2)."""
    pairs = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode()), (b":authority", b"x")]
    pairs += [(b"te", b"trailers"), (b"content-type", b"application/grpc")]
    block = b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs)
    return len(block).to_bytes(3, "big") + b"\x01\x04\x00\x00\x00\x01" + block


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlaneProcess]:
    """A control plane that starts with the usual limit; this process keeps room for the strangers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL_DESCRIPTORS, hard))
    try:
        with control_plane_process(tmp_path, "--lease-seconds", "3") as process:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * USUAL_DESCRIPTORS)), hard))
            yield process
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def strangers(number: int, port: int, words: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections on which this was said, and nothing else is."""
    readers: list[asyncio.StreamReader] = []
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(number):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(words)
            readers.append(reader)
            writers.append(writer)
        yield readers
    finally:
        for writer in writers:
            writer.close()


async def end_of(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has closed."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(4096):
            pass


async def test_half_heads_do_not_shut_the_management_api_or_the_admin_port(plane: ControlPlaneProcess) -> None:
    async with strangers(1_100, plane.api_port, HALF_HEAD), strangers(1_100, plane.admin_port, HALF_HEAD):
        async with asyncio.timeout(SOON_SECONDS):
            assert await asyncio.to_thread(plane.get, "/healthz") == "ok\n"
            assert await asyncio.to_thread(plane.create_distribution)


@pytest.mark.parametrize(
    "words",
    [b"", PREFACE, PREFACE + call("/cdn.v1.ControlPlane/Sync"), PREFACE + call("/grpc.health.v1.Health/Watch")],
    ids=["silent", "no call", "no hello", "no request"],
)
async def test_a_node_gets_its_lease_beside_connections_without_a_hello(
    plane: ControlPlaneProcess, words: bytes
) -> None:
    node = Node("edge-1", plane.grpc_port)
    async with strangers(1_300, plane.grpc_port, words), running(node):
        await until(lambda: node.session.lease_state() == "held", "the lease", SOON_SECONDS)


async def still_open(after_seconds: float, kinds: dict[str, tuple[int, bytes]]) -> list[str]:
    """The kinds of strangers, as a port and what was said there, that are not cut off until then."""

    async def is_cut_off(port: int, words: bytes) -> bool:
        async with strangers(1, port, words) as (reader,):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(end_of(reader), after_seconds)
                return True
        return False

    ends = await asyncio.gather(*(is_cut_off(port, words) for port, words in kinds.values()))
    return [kind for kind, is_over in zip(kinds, ends, strict=True) if not is_over]


async def test_clients_that_do_not_come_to_the_end_of_a_head_are_cut_off(plane: ControlPlaneProcess) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    kinds = {
        "silent at the API": (plane.api_port, b""),
        "silent at the admin port": (plane.admin_port, b""),
        "half a head at the API": (plane.api_port, HALF_HEAD),
        "half a head at the admin port": (plane.admin_port, HALF_HEAD),
        "half a second head": (plane.admin_port, request + HALF_HEAD),
        "a body that does not come": (plane.admin_port, b"POST" + request[3:-2] + b"Content-Length: 9\r\n\r\n1"),
    }
    assert await still_open(CUT_OFF_SECONDS, kinds) == []


async def test_a_head_that_comes_byte_by_byte_has_its_time_as_a_whole(plane: ControlPlaneProcess) -> None:
    reader, writer = await asyncio.open_connection(HOST, plane.admin_port)
    writer.write(HALF_HEAD)
    ended = asyncio.create_task(end_of(reader))
    deadline = time.monotonic() + CUT_OFF_SECONDS
    while not ended.done():
        assert time.monotonic() < deadline
        writer.write(b"x")
        await asyncio.wait([ended], timeout=0.05)
    writer.close()


CALLS = (
    "/cdn.v1.ControlPlane/Sync",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


async def test_connections_for_nodes_on_which_nothing_is_asked_are_closed(plane: ControlPlaneProcess) -> None:
    said = {"silent": b"", "half a preface": PREFACE[:10], "no call": PREFACE}
    said |= {method: PREFACE + call(method) for method in CALLS}
    assert await still_open(CUT_OFF_SECONDS, {kind: (plane.grpc_port, words) for kind, words in said.items()}) == []


async def test_nobody_watches_the_health_for_ever(plane: ControlPlaneProcess) -> None:
    async with grpc.aio.insecure_channel(f"{HOST}:{plane.grpc_port}") as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest())
        async with asyncio.timeout(CUT_OFF_SECONDS):
            first = await watch.read()
            assert isinstance(first, health_pb2.HealthCheckResponse)
            assert first.status == health_pb2.HealthCheckResponse.SERVING
            assert await watch.code() is grpc.StatusCode.DEADLINE_EXCEEDED
