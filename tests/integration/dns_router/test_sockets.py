"""The router's sockets: UDP and TCP on one port, connections that behave badly, and starting and stopping the program."""

import asyncio
import contextlib
import random
import shutil
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from dns_router.configuration import KINDS
from dns_router.counters import Counters
from dns_router.listeners import StreamListener
from dns_router.responder import Responder
from proto.cdn.v1 import sync_pb2
from proto.resource_files import ResourceFiles
from proto.served_configuration import Configuration, from_snapshot
from proto.state_files import StateFiles
from tests.builders import IDLE_NODE_MIB
from tests.router_builders import (
    TWO_EDGES_EACH,
    US,
    addresses_in,
    client_subnet_of,
    directory,
    directory_message,
    distribution,
    edge,
    query_with_subnet,
    routing_table,
    snapshot,
    zone,
)
from tests.router_process import ROOT, RouterProcess, command, eventually, router

D1 = "d1.cdn.localhost"
MANY_EDGES = tuple(edge(f"127.0.1.{number}", US) for number in range(1, 101))


def prepare_state(folder: Path, table_answers: int = 3, *nodes: sync_pb2.Node) -> None:
    """What a router leaves on disk, so that one can be started without a control plane."""
    files = StateFiles(folder / "state")
    table = routing_table(maximum_answers=table_answers)
    ResourceFiles(files).write_anew(from_snapshot(snapshot(distribution(), table=table), Configuration(), KINDS))
    files.write("directory", directory_message(*(nodes or TWO_EDGES_EACH)).SerializeToString())


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RouterProcess]:
    prepare_state(tmp_path)
    async with router(tmp_path) as started:
        yield started


async def test_the_client_subnet_is_honoured_over_udp_and_tcp(node: RouterProcess) -> None:
    for send in (node.udp, node.tcp):
        response = await send(query_with_subnet(D1, "10.3.7.0/24"))
        assert set(addresses_in(response)) == {"127.0.3.1", "127.0.3.2"}
        assert client_subnet_of(response) == "10.3.7.0/24 scope/16"


async def test_load_spreads_over_the_edges_of_a_region(node: RouterProcess) -> None:
    firsts = {addresses_in(await node.udp(dns.message.make_query(D1, "A")))[0] for _ in range(40)}
    assert firsts == {"127.0.1.1", "127.0.1.2"}


async def test_what_does_not_fit_udp_is_fetched_over_tcp(tmp_path: Path) -> None:
    prepare_state(tmp_path, 100, *MANY_EDGES)
    async with router(tmp_path) as node:
        asked = dns.message.make_query(D1, "A")
        assert (await node.udp(asked)).flags & dns.flags.TC
        assert len(addresses_in(await node.tcp(asked))) == 100


async def test_over_ipv6_the_router_listens_and_answers(tmp_path: Path) -> None:
    prepare_state(tmp_path)
    try:
        async with router(tmp_path, listen="[::1]:0") as node:
            assert addresses_in(await node.udp(dns.message.make_query(D1, "A")))
            assert addresses_in(await node.tcp(dns.message.make_query(D1, "A")))
    except AssertionError as error:
        if "cannot listen on [::1]" in str(error):
            pytest.skip("this machine has no IPv6 loopback")
        raise


@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
async def test_dig_understands_the_answers(node: RouterProcess) -> None:
    for extra in ([], ["+tcp"]):
        arguments = ["dig", f"@{node.host}", "-p", str(node.port), D1, "+short", "+subnet=10.2.0.0/16", *extra]
        process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
        output, _ = await asyncio.wait_for(process.communicate(), 15)
        assert set(output.decode().split()) == {"127.0.2.1", "127.0.2.2"}


# TCP connections, pipelined and otherwise (RFC 7766)


def framed(message: dns.message.Message) -> bytes:
    wire = message.to_wire()
    return struct.pack("!H", len(wire)) + wire


async def read_message(reader: asyncio.StreamReader) -> dns.message.Message:
    length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 10), "big")
    return dns.message.from_wire(await asyncio.wait_for(reader.readexactly(length), 10))


@contextlib.asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_pipelined_queries_are_answered_in_order_on_one_connection(node: RouterProcess) -> None:
    queries = [dns.message.make_query(D1, "A", id=number) for number in range(200)]
    async with connected(node.host, node.port) as (reader, writer):
        writer.write(b"".join(framed(query) for query in queries))
        assert [(await read_message(reader)).id for _ in queries] == list(range(200))


async def test_a_query_that_arrives_byte_by_byte_is_answered(node: RouterProcess) -> None:
    async with connected(node.host, node.port) as (reader, writer):
        for byte in framed(dns.message.make_query(D1, "A", id=5)) + framed(dns.message.make_query(D1, "A", id=6)):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert [(await read_message(reader)).id for _ in range(2)] == [5, 6]


async def test_a_client_that_closes_its_side_still_gets_its_answer(node: RouterProcess) -> None:
    async with connected(node.host, node.port) as (reader, writer):
        writer.write(framed(dns.message.make_query(D1, "A", id=5)))
        writer.write_eof()
        assert (await read_message(reader)).id == 5
        assert await asyncio.wait_for(reader.read(), 10) == b""


@pytest.mark.parametrize("junk", [b"\0\0", b"\0\3abc", b"\0\x0c\0\1\x80\0" + b"\0" * 8])
async def test_what_is_not_a_query_ends_the_connection(node: RouterProcess, junk: bytes) -> None:
    async with connected(node.host, node.port) as (reader, writer):
        writer.write(junk)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert addresses_in(await node.udp(dns.message.make_query(D1, "A")))


@dataclass
class InProcess:
    """A stream listener in this event loop, with limits that a test can reach."""

    counters: Counters
    address: tuple[str, int]


@contextlib.asynccontextmanager
async def stream_listener(
    *, idle_seconds: float = 30, maximum_connections: int = 4, answers: int = 3
) -> AsyncIterator[InProcess]:
    counters = Counters()
    responder = Responder(counters, random.Random(1))
    responder.zone = zone(table=routing_table(maximum_answers=answers))
    responder.directory = directory(*MANY_EDGES)
    listener = StreamListener(responder, counters, idle_seconds=idle_seconds, maximum_connections=maximum_connections)
    server = await asyncio.get_running_loop().create_server(listener.new_connection, "127.13.2.1", 0)
    try:
        yield InProcess(counters, server.sockets[0].getsockname())
    finally:
        server.close()
        listener.close()
        await eventually(lambda: _is_zero(counters))


async def _is_zero(counters: Counters) -> bool:
    return counters.open_connections == 0


async def test_a_connection_is_closed_when_no_whole_query_comes_in_time() -> None:
    async with stream_listener(idle_seconds=0.3) as served, connected(*served.address) as (reader, writer):
        writer.write(framed(dns.message.make_query(D1, "A", id=1)))
        assert (await read_message(reader)).id == 1
        writer.write(b"\x7f\xff")

        async def is_closed_under_trickling_bytes() -> bool:
            # Not activity: only a whole query restarts the clock.
            writer.write(b"\0")
            return served.counters.open_connections == 0

        await eventually(is_closed_under_trickling_bytes)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_beyond_the_limit_of_connections_new_ones_are_closed_at_once() -> None:
    async with stream_listener(maximum_connections=2) as served, contextlib.AsyncExitStack() as stack:
        held = [await stack.enter_async_context(connected(*served.address)) for _ in range(2)]
        await eventually(lambda: _has_open(served, 2))
        async with connected(*served.address) as (reader, _):
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
        reader, writer = held[0]
        writer.write(framed(dns.message.make_query(D1, "A", id=3)))
        assert (await read_message(reader)).id == 3, "the others are not disturbed"


async def _has_open(served: InProcess, count: int) -> bool:
    return served.counters.open_connections == count


async def test_a_client_that_does_not_read_is_not_read_from_either_and_loses_its_connection() -> None:
    # 1.6 KB of answer for 36 bytes of question: without backpressure 20 MB of questions would become 900 MB in memory.
    request = framed(dns.message.make_query(D1, "A")) * 1000
    async with stream_listener(answers=100, idle_seconds=1) as served:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.connect(served.address)
            client.setblocking(False)
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 20_000_000 and served.counters.open_connections <= 1:
                    with contextlib.suppress(BlockingIOError):
                        sent += client.send(request)
                    await asyncio.sleep(0)
            assert sent < 20_000_000
            await eventually(lambda: _is_zero(served.counters))


# The program


async def run_to_end(arguments: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stderr=subprocess.PIPE)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return process.returncode, errors.decode()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.13.3.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        address = f"127.13.3.1:{taken.getsockname()[1]}"
        arguments = command(tmp_path, listen=address, control_plane_address="127.13.254.254:9")
        assert await run_to_end(arguments) == (1, f"cannot listen on {address}: address already in use\n")


async def test_a_state_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    arguments = command(tmp_path / "file", listen="127.13.3.1:0", control_plane_address="127.13.254.254:9")
    code, errors = await run_to_end(arguments)
    assert code == 1 and errors == f"cannot use the state folder {tmp_path / 'file'}: File exists\n"


@pytest.mark.parametrize("bad", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "::1:53", ":53", "127.0.0.1:-1"])
async def test_bad_flags_exit_with_two(tmp_path: Path, bad: str) -> None:
    code, errors = await run_to_end(command(tmp_path, listen=bad, control_plane_address="127.13.254.254:9"))
    assert code == 2 and "--listen" in errors


async def test_sigint_stops_it_cleanly_too(node: RouterProcess) -> None:
    node.process.send_signal(2)
    assert await asyncio.to_thread(node.process.wait, 15) == 0
    assert "Traceback" not in node.log() and "stopping" in node.log().splitlines()[-1]


async def test_it_is_small_when_idle(tmp_path: Path) -> None:
    prepare_state(tmp_path)
    async with router(tmp_path, is_cold=True) as node:
        await node.get("/metrics")
        await node.udp(dns.message.make_query(D1, "A"))
        assert resident_kib(node.process.pid) <= IDLE_NODE_MIB * 1024


def resident_kib(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


# The admin port


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /healthz?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        (b"POST /status HTTP/1.1\r\nHost: [::1]:9\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 431),
    ],
)
async def test_the_admin_port_answers_only_what_it_should(
    node: RouterProcess, request_bytes: bytes, expected: int
) -> None:
    assert (await node.http(request_bytes))[0] == expected


async def test_clients_that_hold_the_admin_port_with_half_a_head_make_room_for_one_that_asks(
    node: RouterProcess,
) -> None:
    async with contextlib.AsyncExitStack() as held:
        for _ in range(100):
            _, writer = await asyncio.open_connection(node.admin_host, node.admin_port)
            held.callback(writer.close)
            writer.write(b"GET /healthz HTTP/1.1\r\nX-Half")
        assert await node.get("/healthz") == (200, "ok\n")
