"""TCP over relays, with real sockets at both ends: everything that peers do, and what the link adds to it."""

import asyncio
import contextlib
import gc
import os
import socket
import time
from dataclasses import replace
from typing import cast

import pytest

from lab.wan.configuration import Bounds, ClientAddress
from lab.wan.links import Path
from lab.wan.sockets import connect_stream, hand_over
from lab.wan.toxics import read_toxic
from tests.integration.lab.wan.wires import FAR, HERE, NEAR, PLACES, End, Server, link, loopback, net, on_uvloop, until

PLAIN = Path()
MS = 0.001
LATE = 0.15
"""Seconds that a busy machine may add; a bound below is the link's own."""


@on_uvloop
async def test_bytes_go_both_ways_and_each_side_ends_by_itself() -> None:
    async with net(link("near", Path(0.005))) as it:
        client, server = await it.pair()
        client.writer.write(b"question")
        client.writer.write_eof()
        assert await server.read_all() == b"question"  # half closed: the answer is still to come
        server.writer.write(b"answer")
        server.writer.close()
        assert await client.read_all() == b"answer"
        client.writer.close()
        await it.all_gone()


@on_uvloop
async def test_a_server_may_speak_first_and_end_first() -> None:
    async with net(link("near", PLAIN)) as it:
        client, server = await it.pair()
        server.writer.write(b"220 hello")
        server.writer.write_eof()
        assert await client.read_all() == b"220 hello"
        client.writer.write(b"bye")
        client.writer.close()
        assert await server.read_all() == b"bye"
        await it.all_gone()


@on_uvloop
async def test_the_link_is_told_by_who_connects() -> None:
    async with net(link("near", Path(10 * MS)), link("far", Path(40 * MS), Path(60 * MS))) as it:
        for group, crossing in (NEAR, 20 * MS), (FAR, 100 * MS):
            began_at = time.monotonic()
            client, server = await it.pair(group)
            for round_trips in 2, 1:  # the first one has a handshake before it
                client.writer.write(b"?")
                assert await server.read(1) == b"?"
                server.writer.write(b"!")
                assert await client.read(1) == b"!"
                assert round_trips * crossing - MS <= time.monotonic() - began_at <= round_trips * crossing + LATE
                began_at = time.monotonic()


@on_uvloop
async def test_a_server_that_speaks_first_waits_for_the_handshake_too() -> None:
    async with net(link("near", Path(30 * MS))) as it:
        began_at = time.monotonic()
        client, server = await it.pair()
        server.writer.write(b"!")
        assert await client.read(1) == b"!"
        assert time.monotonic() - began_at >= 4 * 30 * MS - MS


@on_uvloop
async def test_who_is_at_no_place_or_has_no_link_is_reset() -> None:
    async with net(link("near", PLAIN)) as it:
        for source in loopback(FAR), "127.0.0.1":
            reader, writer = await it.connect_from(source)
            assert await End(reader, writer).is_reset()
        assert it.relays.counters.refused_unlinked_total == 2
        assert it.server.connections.empty()


@on_uvloop
async def test_a_proxy_may_say_where_its_clients_are() -> None:
    async with net(link("near", PLAIN), link("far", Path(30 * MS)), client_place="far") as it:
        began_at = time.monotonic()
        client, server = await it.pair(NEAR)
        server.writer.write(b"!")
        assert await client.read(1) == b"!"
        assert time.monotonic() - began_at >= 4 * 30 * MS - MS


@on_uvloop
async def test_the_server_sees_the_clients_address_where_the_relay_is_bound_to_it() -> None:
    async with net(link("near", PLAIN), client_address=ClientAddress.BOUND) as it:
        client, server = await it.pair()
        assert server.writer.get_extra_info("peername")[0] == client.writer.get_extra_info("sockname")[0]


@on_uvloop
async def test_the_server_sees_at_which_place_the_client_is_where_that_has_an_address_for_it() -> None:
    """Of two places one has; from the other relays connect as they do for everybody."""
    of_near, of_all = loopback(HERE), loopback(HERE)
    places = tuple(replace(place, outgoing_address=of_near) if place.name == "near" else place for place in PLACES)
    async with net(link("near", PLAIN), link("far", PLAIN), places=places, outgoing_address=of_all) as it:
        seen = [(await it.pair(group))[1].writer.get_extra_info("peername")[0] for group in (NEAR, FAR)]
        assert seen == [of_near, of_all]


@on_uvloop
async def test_a_server_at_no_place_is_connected_to_from_the_address_for_all() -> None:
    """As is one that somebody has made a proxy for over the API: it may know no way to the others."""
    of_near, of_all = loopback(HERE), loopback(HERE)
    places = tuple(replace(place, outgoing_address=of_near) if place.name == "near" else place for place in PLACES)
    async with net(places=places, outgoing_address=of_all, place="") as it:
        _, server = await it.pair(NEAR)
        assert server.writer.get_extra_info("peername")[0] == of_all


@on_uvloop
async def test_the_server_hears_the_clients_address_before_everything_else() -> None:
    outgoing = loopback(0)
    async with net(link("near", PLAIN), client_address=ClientAddress.PROXY_V2, outgoing_address=outgoing) as it:
        client, server = await it.pair()
        client.writer.write(b"hello")
        header = await server.read(28)
        host, port = client.writer.get_extra_info("sockname")
        listening_host, listening_port = client.writer.get_extra_info("peername")
        assert header[:16] == bytes.fromhex("0D0A0D0A000D0A515549540A2111000C")
        assert header[16:24] == socket.inet_aton(host) + socket.inet_aton(listening_host)
        assert header[24:] == port.to_bytes(2, "big") + listening_port.to_bytes(2, "big")
        assert await server.read(5) == b"hello"
        assert server.writer.get_extra_info("peername")[0] == outgoing


@pytest.mark.parametrize("delay", [0.0, 0.01])
@on_uvloop
async def test_a_reset_in_the_middle_reaches_the_other_side(delay: float) -> None:
    async with net(link("near", Path(delay))) as it:
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        client.reset()
        assert await server.is_reset()
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        server.reset()
        assert await client.is_reset()
        await it.all_gone()


@on_uvloop
async def test_a_server_that_refuses_is_a_reset_after_a_round_trip() -> None:
    with socket.create_server((loopback(0), 0)) as closed:
        address = "{}:{}".format(*closed.getsockname())
    async with net(link("near", Path(20 * MS)), upstream=address) as it:
        began_at = time.monotonic()
        assert await End(*await it.connect()).is_reset()
        assert time.monotonic() - began_at >= 40 * MS - MS
        await it.all_gone()
        assert it.relays.counters.refused_by_server_total == 1


@on_uvloop
async def test_who_says_nothing_is_connected_and_nothing_else() -> None:
    async with net(link("near", PLAIN)) as it:
        client, server = await it.pair()
        assert it.relays.counters.connections == 1
        client.writer.close()
        assert await server.read_all() == b""
        server.writer.close()
        await it.all_gone()


@on_uvloop
async def test_tiny_writes_arrive_whole() -> None:
    async with net(link("near", Path(2 * MS, MS))) as it:
        client, server = await it.pair()
        for number in range(300):
            client.writer.write(bytes([number % 256]))
            await asyncio.sleep(0)
        client.writer.write_eof()
        assert await server.read_all() == bytes(number % 256 for number in range(300))


@on_uvloop
async def test_a_large_body_arrives_whole_over_a_path_that_delays_limits_and_loses() -> None:
    path = Path(3 * MS, MS, bytes_per_second=20e6, loss=0.0002)
    async with net(link("near", path)) as it:
        client, server = await it.pair()
        data = bytes(range(256)) * 8_000
        client.writer.write(data)
        client.writer.write_eof()
        assert await server.read_all() == data
        server.writer.close()
        await it.all_gone()


@on_uvloop
async def test_connections_share_the_bandwidth_of_a_link_alike_and_other_links_have_their_own() -> None:
    path = Path(bytes_per_second=2e6, queue_bytes=20_000)
    async with net(link("near", path), link("far", PLAIN)) as it:
        pairs = [await it.pair() for _ in range(2)]
        began_at = time.monotonic()
        for client, _ in pairs:
            client.writer.write(bytes(300_000))
        far_client, far_server = await it.pair(FAR)
        far_client.writer.write(bytes(300_000))
        await far_server.read(300_000)
        far_seconds = time.monotonic() - began_at
        done = []
        for _, server in pairs:
            await server.read(300_000)
            done.append(time.monotonic() - began_at)
        assert done[1] >= 600_000 / 2e6 - 5 * MS
        assert done[0] >= 0.75 * done[1]  # neither was served before the other
        assert far_seconds < done[0]


@on_uvloop
async def test_a_reader_that_does_not_read_stops_its_sender_and_nobody_else() -> None:
    window = 200_000
    async with net(link("near", Path(MS)), bounds=Bounds(window_bytes=window)) as it:
        client, server = await it.pair()
        server.writer.transport.pause_reading()  # type: ignore[attr-defined]
        chunk, sent, memory = bytes(65_536), 0, it.relays.context.shared.memory
        sending = client.writer.get_extra_info("socket").dup()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        idle_turns = 0
        while idle_turns < 100:
            try:
                sent += sending.send(chunk)
                idle_turns = 0
            except BlockingIOError:
                idle_turns += 1
                await asyncio.sleep(0.002)
            assert memory.used_bytes <= window + 262_144
        sending.close()
        assert memory.used_bytes >= window
        other_client, other_server = await it.pair()
        other_client.writer.write(b"a")
        assert await other_server.read(1) == b"a"
        server.writer.transport.resume_reading()  # type: ignore[attr-defined]
        client.writer.write_eof()
        assert len(await server.read_all()) == sent


@on_uvloop
async def test_who_sends_into_a_cut_from_the_beginning_is_stopped_as_well() -> None:
    window = 100_000
    async with net(link("near", Path(MS, is_cut=True)), bounds=Bounds(window_bytes=window)) as it:
        _, writer = await it.connect()
        data, memory = bytes(20_000_000), it.relays.context.shared.memory
        writer.write(data)
        for _ in range(50):
            await asyncio.sleep(0.002)
            assert memory.used_bytes <= window + 262_144
        it.change("near", PLAIN)
        server = End(*await it.server.next())
        assert await server.read(len(data)) == data


@on_uvloop
async def test_memory_of_all_connections_is_bounded() -> None:
    bounds = Bounds(window_bytes=1 << 20, memory_bytes=1 << 20)
    async with net(link("near", Path(0.03)), bounds=bounds) as it:
        pairs = [await it.pair() for _ in range(4)]
        for client, _ in pairs:
            client.writer.write(bytes(2 << 20))
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, it.relays.context.shared.memory.used_bytes)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(server.read(2 << 20) for _, server in pairs))
        watching.cancel()
        assert 1 << 20 <= most <= (1 << 20) + 4 * 262_144


@on_uvloop
async def test_one_connection_too_many_is_reset_and_there_is_room_again() -> None:
    async with net(link("near", PLAIN), bounds=Bounds(connections=1)) as it:
        client, server = await it.pair()
        assert await End(*await it.connect()).is_reset()
        client.reset()
        assert await server.is_reset()
        await it.all_gone()
        await it.pair()


@on_uvloop
async def test_a_cut_in_one_direction_holds_back_that_direction() -> None:
    whole = Path(5 * MS)
    async with net(link("near", whole)) as it:
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        it.change("near", Path(5 * MS, is_cut=True), whole)
        client.writer.write(b"question")
        server.writer.write(b"news")
        assert await client.read(4) == b"news"
        assert not server.reader._buffer  # type: ignore[attr-defined]
        mended_at = time.monotonic()
        it.change("near", whole, whole)
        assert await server.read(8) == b"question"
        assert time.monotonic() - mended_at < 1.0 + LATE


@on_uvloop
async def test_who_connects_over_a_cut_is_connected_when_it_is_mended() -> None:
    cut = Path(5 * MS, is_cut=True)
    async with net(link("near", cut)) as it:
        reader, writer = await it.connect()
        writer.write(b"a")
        await until(lambda: it.relays.counters.connections == 1, "the connection")
        assert it.server.connections.empty()
        it.change("near", Path(5 * MS))
        server = End(*await it.server.next())
        assert await server.read(1) == b"a"
        End(reader, writer).reset()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@on_uvloop
async def test_a_connection_that_is_ended_as_soon_as_it_is_made_closes_its_own_descriptor_and_no_other() -> None:
    class Gone(asyncio.Protocol):
        """Of a session whose client has left meanwhile."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            cast("asyncio.Transport", transport).abort()

    async with Server().listening() as server:
        connected = await connect_stream(server.address, "")
        _, writer = await server.next()
        descriptor = connected.fileno()
        transport = await hand_over(connected, Gone())
        await until(lambda: not _is_open(descriptor), "the end of the connection")
        mine = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        is_taken = descriptor in mine  # it is free again, and somebody else's by now
        del connected, transport
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        closed = [each for each in mine if not _is_open(each)]
        for each in set(mine) - set(closed):
            os.close(each)
        writer.close()
        await writer.wait_closed()
        assert is_taken and not closed


@on_uvloop
async def test_who_leaves_during_a_cut_is_known_to_nobody_until_somebody_asks() -> None:
    whole = Path(2 * MS)
    async with net(link("near", whole)) as it:
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        it.change("near", Path(2 * MS, is_cut=True), whole)
        client.reset()
        relay = it.relays.proxies["p"]._tcp
        assert relay is not None
        (session,) = relay._sessions
        server.writer.write(b"news")  # meets nobody, and the answer to that is lost in the cut
        await until(lambda: session.client.is_gone, "the end of the client at the relay")
        it.change("near", whole)
        assert it.relays.counters.connections == 1  # half open (RFC 9293 section 3.5.1)
        server.writer.write(b"are you there?")
        assert await server.is_reset()
        await it.all_gone()


@on_uvloop
async def test_other_toxics_hold_for_connections_that_are_there() -> None:
    async with net(link("near", PLAIN)) as it:
        client, server = await it.pair()
        running = it.relays.proxies["p"]
        running.change_toxics([read_toxic({"type": "latency", "stream": "upstream", "attributes": {"latency": 60}})])
        began_at = time.monotonic()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        assert time.monotonic() - began_at >= 60 * MS - MS
        running.change_toxics([read_toxic({"type": "reset_peer"})])
        assert await client.is_reset() and await server.is_reset()
        await it.all_gone()


@on_uvloop
async def test_toxics_of_a_link_are_for_those_who_take_it() -> None:
    async with net(link("near", PLAIN), link("far", PLAIN)) as it:
        (client, server), (far_client, far_server) = await it.pair(), await it.pair(FAR)
        it.relays.network.links["near--here"].change_toxics([read_toxic({"type": "reset_peer", "stream": "upstream"})])
        assert await client.is_reset() and await server.is_reset()
        far_client.writer.write(b"a")
        assert await far_server.read(1) == b"a"
        assert await End(*await it.connect()).is_reset()
        await it.relays.reset()
        await it.pair()


@on_uvloop
async def test_a_client_that_vanishes_leaves_a_server_that_thinks_it_is_there() -> None:
    async with net(link("near", PLAIN)) as it:
        it.relays.proxies["p"].change_toxics([read_toxic({"type": "half_open", "stream": "upstream"})])
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        client.reset()
        server.writer.write(b"are you there?")
        client, other_server = await it.pair()  # a turn of everybody later
        assert not server.reader.at_eof() and it.relays.counters.connections == 2
        server.writer.close()  # it gives up
        client.writer.close()
        other_server.writer.close()
        await it.all_gone()


@on_uvloop
async def test_a_port_is_free_again_at_once_and_its_connections_are_dropped() -> None:
    async with net(link("near", PLAIN)) as it:
        client, _ = await it.pair()
        running, listen = it.relays.proxies["p"], it.listen
        running.disable()
        with pytest.raises(OSError):  # noqa: PT012  refused
            reader, _ = await it.connect()
            await reader.read()
        with contextlib.suppress(ConnectionResetError):
            assert await client.read_all() == b""
        await running.enable()
        assert it.listen == listen
        await it.pair()
