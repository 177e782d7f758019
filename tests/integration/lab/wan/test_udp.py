"""UDP over relays: DNS' way."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import cast

import dns.asyncquery
import dns.message
import pytest

from lab.wan.configuration import Bounds, ClientAddress, Place, PlacedLink, Transport
from lab.wan.links import Path
from tests.integration.lab.wan.wires import HERE, NEAR, PLACES, Net, link, loopback, net, on_uvloop, until

MS = 0.001
BOUNDS = Bounds()


class Responder(asyncio.DatagramProtocol):
    """Answers each query with itself, marked as a response, and keeps who has asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(addr)
        self.transport.sendto(data[:2] + b"\x84" + data[3:], addr)


@contextlib.asynccontextmanager
async def dns_net(
    *links: PlacedLink,
    client_address: ClientAddress = ClientAddress.HIDDEN,
    bounds: Bounds = BOUNDS,
    places: Sequence[Place] = PLACES,
) -> AsyncIterator[tuple[Net, Responder]]:
    responder = Responder()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: responder, local_addr=(loopback(HERE), 0))
    address = "{}:{}".format(*transport.get_extra_info("sockname"))
    try:
        async with net(
            *links,
            upstream=address,
            transport=Transport.UDP,
            client_address=client_address,
            bounds=bounds,
            places=places,
        ) as it:
            yield it, responder
    finally:
        transport.close()


async def ask(it: Net, source: str, seconds: float = 5.0) -> dns.message.Message:
    host, port = it.listen
    query = dns.message.make_query("d1.cdn.localhost", "A")
    return await dns.asyncquery.udp(query, host, seconds, port, source=source)


@on_uvloop
async def test_a_query_and_its_answer_cross_the_link() -> None:
    async with dns_net(link("near", Path(20 * MS), Path(30 * MS))) as (it, _):
        began_at = time.monotonic()
        await ask(it, loopback(NEAR))
        assert time.monotonic() - began_at >= 50 * MS - MS


@on_uvloop
async def test_the_server_sees_who_asks_where_the_relay_is_bound_to_the_client() -> None:
    """Or a router could not tell where a resolver is."""
    async with dns_net(link("near", Path()), client_address=ClientAddress.BOUND) as (it, responder):
        source = loopback(NEAR)
        await ask(it, source)
        assert [address for address, _ in responder.asked] == [source]


@on_uvloop
async def test_the_server_sees_at_which_place_it_was_asked() -> None:
    """Where the relay cannot have the client's address, as between containers."""
    of_near = loopback(HERE)
    places = tuple(replace(place, outgoing_address=of_near) if place.name == "near" else place for place in PLACES)
    async with dns_net(link("near", Path()), places=places) as (it, responder):
        await ask(it, loopback(NEAR))
        assert [address for address, _ in responder.asked] == [of_near]


@on_uvloop
async def test_a_cut_and_a_stranger_get_no_answer() -> None:
    async with dns_net(link("near", Path(), Path(is_cut=True))) as (it, responder):
        with pytest.raises(dns.exception.Timeout):
            await ask(it, loopback(NEAR), 0.1)
        assert len(responder.asked) == 1 and it.relays.counters.datagrams_dropped_total == 1
        with pytest.raises(dns.exception.Timeout):
            await ask(it, "127.0.0.1", 0.1)
        assert len(responder.asked) == 1 and it.relays.counters.refused_unlinked_total == 1


@on_uvloop
async def test_flows_are_bounded_and_the_oldest_makes_room() -> None:
    async with dns_net(link("near", Path()), bounds=Bounds(flows=3)) as (it, responder):
        for _ in range(10):
            await ask(it, loopback(NEAR))
        assert it.relays.counters.flows == 3 and len(responder.asked) == 10


@on_uvloop
async def test_a_server_that_is_gone_is_silence_and_no_harm() -> None:
    async with dns_net(link("near", Path())) as (it, responder):
        responder.transport.close()
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(dns.exception.Timeout):
                await ask(it, loopback(NEAR), 0.05)


@on_uvloop
async def test_one_port_may_have_both() -> None:
    async with net(link("near", Path()), transport=Transport.BOTH) as it:
        client, server = await it.pair()
        client.writer.write(b"a")
        assert await server.read(1) == b"a"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.bind((loopback(NEAR), 0))
            sending.sendto(b"a", it.listen)
            await until(lambda: it.relays.counters.flows == 1, "a flow")
