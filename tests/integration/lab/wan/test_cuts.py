"""One client cut off from one proxy, at the relays: silence, and what is sent again when it is over. Seen by real sockets."""

import asyncio
import time

import pytest

from lab.wan.cuts import BOTH, Cut, Pair
from lab.wan.links import Path
from lab.wan.toxics import Stream, read_toxic
from tests.integration.lab.wan.test_udp import ask as ask_dns
from tests.integration.lab.wan.test_udp import dns_net
from tests.integration.lab.wan.wires import FAR, NEAR, End, Net, link, loopback, net, on_uvloop, until

MS = 0.001
SILENCE_SECONDS = 0.3
"""Longer than the retransmission after a cut."""


def cut(it: Net, *clients: str, streams: frozenset[Stream] = BOTH, proxy: str = "p") -> None:
    it.relays.change_cuts([Cut("c", (Pair(clients, (proxy,), streams),))])


async def is_silent(end: End) -> bool:
    """Nothing is heard, and no end of the connection either."""
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await end.reader.read(1)
    except TimeoutError:
        return True
    return False


@on_uvloop
async def test_a_client_is_cut_off_and_nobody_else_at_its_place() -> None:
    async with net(link("near", Path(100 * MS))) as it:
        one, other = loopback(NEAR), loopback(NEAR)
        (client, server), (neighbour, neighbours_server) = [
            (End(*await it.connect_from(source)), End(*await it.server.next())) for source in (one, other)
        ]
        client.writer.write(b"question")
        server.writer.write(b"news")
        memory = it.relays.context.shared.memory
        await until(lambda: memory.used_bytes == len("questionnews"), "both are under way")
        cut(it, f"{one}/32")
        neighbour.writer.write(b"hello")
        assert await neighbours_server.read(5) == b"hello"
        assert await is_silent(server) and await is_silent(client)
        healed_at = time.monotonic()
        it.relays.change_cuts([])
        assert await server.read(8) == b"question"
        assert await client.read(4) == b"news"
        assert time.monotonic() - healed_at >= 0.1 + 0.2 - MS, (
            "sent again after the timeout, as after a cut of the link"
        )


@on_uvloop
async def test_one_direction() -> None:
    async with net(link("near", Path(5 * MS))) as it:
        client, server = await it.pair()
        cut(it, "near", streams=frozenset((Stream.UPSTREAM,)))
        client.writer.write(b"question")
        server.writer.write(b"news")
        assert await client.read(4) == b"news"
        assert await is_silent(server)
        it.relays.change_cuts([])
        assert await server.read(8) == b"question"


@pytest.mark.parametrize("stream", [Stream.UPSTREAM, Stream.DOWNSTREAM])
@on_uvloop
async def test_who_connects_meanwhile_reaches_nobody_until_it_is_over(stream: Stream) -> None:
    async with net(link("near", Path(MS)), link("far", Path(MS))) as it:
        cut(it, "near", streams=frozenset((stream,)))
        client = End(*await it.connect(NEAR))
        client.writer.write(b"a")
        assert await is_silent(client) and it.server.connections.empty()
        await it.pair(FAR)
        it.relays.change_cuts([])
        assert await End(*await it.server.next()).read(1) == b"a"


@on_uvloop
async def test_a_reset_into_it_is_lost_and_the_other_side_half_open() -> None:
    async with net(link("near", Path(MS))) as it:
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        cut(it)
        client.reset()
        assert await is_silent(server)
        it.relays.change_cuts([])
        server.writer.write(b"are you there?")
        assert await server.is_reset()


@on_uvloop
async def test_another_proxy_s_cut_is_not_this_one_s() -> None:
    async with net(link("near", Path(MS))) as it:
        cut(it, proxy="q")
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"


@on_uvloop
async def test_datagrams_are_dropped_and_pass_again() -> None:
    async with dns_net(link("near", Path(MS))) as (it, responder):
        source, other = loopback(NEAR), loopback(NEAR)
        await ask_dns(it, source)
        cut(it, f"{source}/32", streams=frozenset((Stream.DOWNSTREAM,)))
        asking = asyncio.create_task(ask_dns(it, source, SILENCE_SECONDS))
        await ask_dns(it, other)
        await until(lambda: len(responder.asked) == 3, "what it says is heard")
        (failed,) = await asyncio.gather(asking, return_exceptions=True)
        assert type(failed).__name__ == "Timeout"
        it.relays.change_cuts([])
        await ask_dns(it, source)


@on_uvloop
async def test_a_reset_of_all_relays_ends_cuts() -> None:
    async with net(link("near", Path(MS))) as it:
        client, server = await it.pair()
        cut(it)
        client.writer.write(b"a")
        assert await is_silent(server)
        await it.relays.reset()
        assert await server.read(1) == b"a"


@on_uvloop
async def test_a_toxic_along_a_link_is_for_those_who_send_that_way() -> None:
    async with net(link("near", Path(MS))) as it:  # the link is near--here: clients at near send forward
        it.relays.network.links["near--here"].change_toxics(
            [read_toxic({"type": "latency", "stream": "forward", "attributes": {"latency": 150}}, tuple(Stream))]
        )
        client, server = await it.pair()
        server.writer.write(b"!")
        began_at = time.monotonic()
        assert await client.read(1) == b"!"
        assert time.monotonic() - began_at < 0.15
        client.writer.write(b"?")
        assert await server.read(1) == b"?"
        assert time.monotonic() - began_at >= 0.15
