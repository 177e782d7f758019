"""The connection between two control planes over real sockets: beside our own server, grpcio's, and peers that stand still, are cut off or are not who they should be."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from control_plane import grpc_client, leader_channel
from control_plane.admission import Admission
from control_plane.grpc_calls import Call, CallHandler
from control_plane.grpc_client import NoCallError
from control_plane.grpc_client_call import ClientCall
from control_plane.grpc_port import ANONYMOUS_SECONDS, GrpcPort
from control_plane.grpc_wire import Status
from control_plane.http2_frames import Kind, frame, settings
from control_plane.leader_channel import LeaderChannel
from control_plane.session_messages import METHOD
from proto.mutual_tls import TlsIdentity
from tests.certificates import Certificates
from tests.integration.control_plane.test_relay import Follower
from tests.integration.sync_harness import HOST, free_port, until

MANY = 300
LARGE = bytes(range(256)) * 4_000
"""A megabyte: many windows."""


class Echo:
    """Says again what it hears, in pieces that it is let; at the end it says why."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._waiting: list[bytes] = []
        self._is_said = False
        call.admit()

    def message_received(self, data: bytes) -> None:
        self._waiting.append(data)
        self.writable()

    def half_closed(self) -> None:
        self._is_said = True
        self.writable()

    def writable(self) -> None:
        while self._waiting and self._call.is_writable:
            self._call.send(self._waiting.pop(0))
        if self._is_said and not self._waiting and self._call.is_writable:
            self._call.finish(Status.ABORTED, "all is said: ä")

    def broken(self) -> None:
        """Nothing is kept."""


class Asked:
    """Who has made a call; what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.reason: str | None = None

    def answered(self, message: bytes) -> None:
        self.heard.append(message)

    def may_send(self) -> None:
        """Nothing waits here."""

    def ended(self, reason: str) -> None:
        self.reason = reason


@contextlib.asynccontextmanager
async def our_server(tls: TlsIdentity | None = None) -> AsyncIterator[int]:
    """An echo behind the port for nodes."""
    port, admission = free_port(), Admission("cdn.localhost", is_certified=tls is not None)
    server = GrpcPort(_echo, 100, tls, admission.may_pass_on)
    await server.start(f"{HOST}:{port}")
    try:
        yield port
    finally:
        await server.stop(0.2)


def _echo(call: Call) -> CallHandler:
    return Echo(call)


@contextlib.asynccontextmanager
async def grpcs_server() -> AsyncIterator[int]:
    """The same by grpcio."""

    async def talk(requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
        await context.abort(grpc.StatusCode.ABORTED, "all is said: ä")

    def as_it_is(data: bytes) -> bytes:
        return data

    handler = grpc.stream_stream_rpc_method_handler(talk, as_it_is, as_it_is)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2 * len(LARGE))])
    _, service, method = METHOD.split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = free_port()
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def channel_to(port: int, tls: TlsIdentity | None = None) -> AsyncIterator[tuple[LeaderChannel, Follower]]:
    """Of a follower; nothing of it is left."""
    roles = Follower(port)
    channel = LeaderChannel(roles, tls)
    yield channel, roles
    roles.follow(port)
    await until(lambda: not channel._watching, "the connection is let go of")


async def calls_to(channel: LeaderChannel, port: int, count: int) -> list[tuple[ClientCall, Asked]]:
    asked = [Asked() for _ in range(count)]
    return [(await channel.call(f"{HOST}:{port}", each), each) for each in asked]


@pytest.mark.parametrize("server", [our_server, grpcs_server])
async def test_many_calls_over_one_connection_each_hear_their_own(
    server: Callable[[], contextlib.AbstractAsyncContextManager[int]],
) -> None:
    count = MANY if server is our_server else 50
    async with server() as port, channel_to(port) as (channel, _):
        calls = await calls_to(channel, port, count)
        said: list[Sequence[bytes]] = [(b"%d" % number, b"", LARGE[: number * 100]) for number in range(count)]
        for (call, _), messages in zip(calls, said, strict=True):
            for message in messages:
                call.send(message)
            call.half_close()
        await until(lambda: all(asked.reason for _, asked in calls), "the ends", 30)
        assert [asked.heard for _, asked in calls] == [list(messages) for messages in said]
        assert {asked.reason for _, asked in calls} == {"all is said: ä"}
        assert len(channel._watching) == 1


async def test_a_large_answer_comes_whole_and_one_that_is_held_waits_at_the_server() -> None:
    async with grpcs_server() as port, channel_to(port) as (channel, _):
        (slow, held), (quick, heard) = await calls_to(channel, port, 2)
        slow.hold()
        for call in (slow, quick):
            call.send(LARGE)
        await until(lambda: heard.heard == [LARGE], "one is not kept waiting by the other")
        assert held.heard == []
        slow.release()
        await until(lambda: held.heard == [LARGE], "it comes when it may")


async def test_with_certificates_both_sides_show_theirs(tmp_path: Path) -> None:
    lab = Certificates(tmp_path / "lab")
    plane = TlsIdentity.read(lab.control_plane())
    async with our_server(plane) as port, channel_to(port, plane) as (channel, _):
        calls = await calls_to(channel, port, 40)
        for call, _ in calls:
            call.send(LARGE[:40_000])
        await until(lambda: all(asked.heard for _, asked in calls), "the echoes")
        assert all(asked.heard == [LARGE[:40_000]] for _, asked in calls)


@pytest.mark.parametrize("kind", ["another lab", "a node", "plain text"])
async def test_nobody_else_is_taken_for_a_leader(tmp_path: Path, kind: str) -> None:
    lab = Certificates(tmp_path / "lab")
    other = Certificates(tmp_path / "other")
    keys: dict[str, Callable[[], Path]] = {"another lab": other.control_plane, "a node": partial(lab.node, "edge-1")}
    async with our_server(TlsIdentity.read(keys[kind]()) if kind in keys else None) as port:
        channel = LeaderChannel(Follower(port), TlsIdentity.read(lab.control_plane()))
        with pytest.raises(NoCallError):
            await channel.call(f"{HOST}:{port}", Asked())


async def test_a_node_has_no_more_streams_than_a_node_needs_whatever_it_says(tmp_path: Path) -> None:
    lab = Certificates(tmp_path / "lab")
    async with (
        our_server(TlsIdentity.read(lab.control_plane())) as port,
        channel_to(port, TlsIdentity.read(lab.node("edge-1"))) as (channel, _),
    ):
        with pytest.raises(NoCallError, match="no more calls"):
            await calls_to(channel, port, 17)


class Scripted:
    """A server that takes connections, says what it is told to, and nothing of itself."""

    def __init__(self) -> None:
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.heard += data
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        port = free_port()
        server = await asyncio.start_server(self._take, HOST, port)
        async with server:
            yield port
            for writer in self.writers:
                writer.close()


async def test_who_takes_connections_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_channel, "CONNECT_SECONDS", 0.05)
    async with Scripted().listening() as port, channel_to(port) as (channel, _):
        with pytest.raises(NoCallError, match="does not answer"):
            await channel.call(f"{HOST}:{port}", Asked())


async def test_where_nobody_listens_all_who_wait_are_told_and_the_next_one_tries_again() -> None:
    port = free_port()
    async with channel_to(port) as (channel, _):
        answers = await asyncio.gather(
            *(channel.call(f"{HOST}:{port}", Asked()) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(each, NoCallError) for each in answers)
        server = await asyncio.start_server(_says_settings, HOST, port)
        async with server:
            assert await channel.call(f"{HOST}:{port}", Asked())


async def _says_settings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(settings({}))
    await reader.read()
    writer.close()


async def test_who_waits_for_a_connection_is_told_when_another_one_leads() -> None:
    async with Scripted().listening() as port, channel_to(port) as (channel, roles):
        waiting = asyncio.ensure_future(channel.call(f"{HOST}:{port}", Asked()))
        await until(lambda: channel._opening is not None, "it begins")
        await asyncio.sleep(0)
        roles.follow(free_port())
        with pytest.raises(NoCallError, match="another one"):
            await waiting


async def test_one_who_leaves_while_it_waits_takes_the_connection_from_nobody() -> None:
    async with our_server() as port, channel_to(port) as (channel, _):
        asked = Asked()
        leaving = asyncio.ensure_future(channel.call(f"{HOST}:{port}", Asked()))
        staying = asyncio.ensure_future(channel.call(f"{HOST}:{port}", asked))
        await asyncio.sleep(0)
        leaving.cancel()
        call = await staying
        call.send(b"here")
        await until(lambda: asked.heard == [b"here"], "the echo")


async def test_a_server_that_falls_silent_is_asked_and_then_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_client, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(grpc_client, "PING_SECONDS", 0.0)
    scripted = Scripted()
    async with scripted.listening() as port, channel_to(port) as (channel, _):
        asked = Asked()
        waiting = asyncio.ensure_future(channel.call(f"{HOST}:{port}", asked))
        await until(lambda: bool(scripted.writers), "a connection")
        scripted.writers[0].write(settings({}))
        await waiting
        ping = frame(Kind.PING, 0, 0, bytes(8))
        await until(lambda: ping in scripted.heard, "it asks")
        scripted.writers[0].write(frame(Kind.PING, 1, 0, bytes(8)))
        monkeypatch.setattr(grpc_client, "SILENT_SECONDS", 0.0)
        await until(lambda: asked.reason == "the leader is silent", "it is cut off")


async def test_a_connection_that_is_cut_ends_its_calls_and_the_next_one_gets_another() -> None:
    scripted = Scripted()
    async with scripted.listening() as port, channel_to(port) as (channel, _):
        for number in range(2):
            asked = Asked()
            waiting = asyncio.ensure_future(channel.call(f"{HOST}:{port}", asked))
            await until(lambda number=number: len(scripted.writers) == number + 1, "a connection")  # type: ignore[misc]
            scripted.writers[number].write(settings({}))
            call = await waiting
            call.send(b"half of it comes")
            scripted.writers[number].transport.abort()
            await until(lambda asked=asked: asked.reason == "the leader is gone", "its end")  # type: ignore[misc]


async def test_a_connection_without_calls_is_let_go_before_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_client, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(grpc_client, "IDLE_SECONDS", 0.0)
    async with our_server() as port, channel_to(port) as (channel, _):
        ((call, _),) = await calls_to(channel, port, 1)
        (watching,) = channel._watching
        for _ in range(5):
            await asyncio.sleep(0)
        assert not watching.done()
        call.cancel()
        await until(watching.done, "it is closed")
        assert await calls_to(channel, port, 1)


def test_it_lets_go_sooner_than_the_port_for_nodes() -> None:
    """Else a stream could begin on a connection that is about to end."""
    assert grpc_client.IDLE_SECONDS + 2 * grpc_client.WATCH_SECONDS < ANONYMOUS_SECONDS
