"""Connections from trusted addresses: a header first, and in time; then they are the viewer's, as any other."""

from ipaddress import ip_network

import pytest

from edge_node.listeners.http1 import ViewerConnection
from edge_node.listeners.trusted_proxies import HEADER_SECONDS, ProxiedConnection, accepting, is_trusted
from tests.edge_wires import EchoService, FakeListener, FakeTransport, statuses, turn

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
HEADER = SIGNATURE + bytes.fromhex("21 11 000C C6336405 7F000001 9C41 1F90")
LOCAL = SIGNATURE + bytes.fromhex("20 00 0000")
OF_THE_PEER = (ip_network("192.0.2.0/24"),)
"""The transport's peer is 192.0.2.7."""


def connect(*networks: str) -> tuple[FakeTransport, FakeListener, EchoService]:
    service = EchoService()
    listener = FakeListener(service, service)
    protocol = accepting(listener, [ip_network(network) for network in networks])()
    return FakeTransport(protocol), listener, service


def viewer_of(transport: FakeTransport) -> ViewerConnection:
    assert isinstance(transport.protocol, ViewerConnection)
    return transport.protocol


def responses(transport: FakeTransport) -> int:
    return transport.written.count(b"HTTP/1.1 200")


@pytest.mark.parametrize("piece", [1_000, 1])
async def test_the_viewer_is_who_the_header_says(piece: int) -> None:
    transport, listener, service = connect("192.0.2.0/24")
    data = HEADER + GET + GET
    for start in range(0, len(data), piece):
        transport.feed(data[start : start + piece])
    facts = viewer_of(transport).facts
    assert (facts.address, facts.port) == ("198.51.100.5", 40_001)
    assert responses(transport) == 2 and [head.target for head in service.heads] == [b"/a", b"/a"]
    assert list(listener.open) == [viewer_of(transport)]


async def test_a_local_connection_is_the_senders_own() -> None:
    transport, _, _ = connect("192.0.2.0/24")
    transport.feed(LOCAL + GET)
    assert viewer_of(transport).facts.address == "192.0.2.7"
    assert responses(transport) == 1


@pytest.mark.parametrize(
    "data", [GET, b"PROXY TCP4 198.51.100.5 127.0.0.1 1 2\r\n" + GET, HEADER[:12] + b"\x31" + HEADER[13:]]
)
async def test_a_trusted_connection_without_a_right_header_is_closed_without_an_answer(data: bytes) -> None:
    transport, listener, service = connect("192.0.2.0/24")
    transport.feed(data)
    await turn()
    assert transport.is_lost and not transport.written and not service.heads and not listener.open


async def test_who_says_nothing_or_not_all_is_closed_in_time() -> None:
    for said in b"", HEADER[:-1]:
        transport, listener, _ = connect("192.0.2.0/24")
        transport.feed(said)
        (waiting,) = listener.open
        waiting.check_deadline(HEADER_SECONDS - 0.1)
        assert not transport.is_lost
        waiting.check_deadline(HEADER_SECONDS)
        await turn()
        assert (transport.is_lost, listener.open) == (True, set())


async def test_who_ends_before_its_header_is_gone() -> None:
    transport, listener, _ = connect("192.0.2.0/24")
    transport.feed(HEADER[:5])
    transport.feed_eof()
    await turn()
    assert transport.is_lost and not listener.open


async def test_the_header_of_a_stranger_is_no_request() -> None:
    """Or anybody could say that it is somebody else."""
    for networks in (), ("198.51.100.0/24",):
        transport, _, service = connect(*networks)
        transport.feed(HEADER + GET)
        assert statuses_of_a_refusal(transport) == [400] and not service.heads
        assert viewer_of(transport).facts.address == "192.0.2.7"


def statuses_of_a_refusal(transport: FakeTransport) -> list[int]:
    return [int(line.split()[1]) for line in bytes(transport.written).split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


async def test_a_stranger_is_a_viewer_as_before() -> None:
    transport, listener, _ = connect("198.51.100.0/24", "2001:db8::/32")
    transport.feed(GET)
    assert statuses(transport) == [200] and list(listener.open) == [viewer_of(transport)]


async def test_a_second_header_is_no_request() -> None:
    transport, _, service = connect("192.0.2.0/24")
    transport.feed(HEADER + HEADER + GET)
    assert statuses_of_a_refusal(transport) == [400] and not service.heads


async def test_one_connection_too_many_is_refused_before_its_header() -> None:
    service = EchoService()
    listener = FakeListener(service, service)
    listener.capacity = 0
    transport = FakeTransport(accepting(listener, OF_THE_PEER)())
    await turn()
    assert transport.is_lost


async def test_those_that_wait_leave_when_the_node_does() -> None:
    transport, listener, _ = connect("192.0.2.0/24")
    (waiting,) = listener.open
    assert isinstance(waiting, ProxiedConnection) and waiting.shed_rank(0.0) is not None
    waiting.drain()
    await turn()
    assert transport.is_lost and not listener.open


def test_networks_of_ipv4_hold_for_addresses_that_come_by_ipv6() -> None:
    networks = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
    assert (
        is_trusted("127.9.9.9", networks) and is_trusted("::ffff:127.0.0.1", networks) and is_trusted("::1", networks)
    )
    assert not is_trusted("192.0.2.1", networks) and not is_trusted("fe80::1%lo", networks)
