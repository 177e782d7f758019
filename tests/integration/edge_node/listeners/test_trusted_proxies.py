"""An edge behind relays: what it does for a viewer, and what it says of it, by the address in the PROXY header."""

import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
import pytest_asyncio

from proto.cdn.v1 import configuration_pb2
from tests.builders import geo_table_message
from tests.peers.nodes import EdgeLab, own_address, until
from tests.peers.origin import cacheable
from tests.peers.viewer import Viewer, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")


def header(address: str, port: int) -> bytes:
    family = b"\x11" if ip_address(address).version == 4 else b"\x21"
    block = ip_address(address).packed * 2 + port.to_bytes(2, "big") + b"\x1f\x90"
    return SIGNATURE + b"\x21" + family + len(block).to_bytes(2, "big") + block


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("trusted")) as lab:
        await lab.start("edge-1", trusted_proxies="127.0.0.1/32")
        yield lab


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
async def test_log_and_origin_see_the_viewer_and_not_the_relay(lab: EdgeLab, address: str) -> None:
    site = await lab.site()
    site.script("/a", cacheable(b"a"))
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(header(address, 40_001) + request_bytes(site.host, "/a"))
        assert (await viewer.read()).result == "Miss"
        for _ in range(3):  # hits, the last ones on the fast path
            await viewer.ask(site.host, "/a")
            assert (await viewer.read()).result == "Hit"
    (request,) = site.asked("/a")
    assert request["x-forwarded-for"] == address

    def records() -> list[list[str]]:
        return [fields for fields in lab.edge.access_log() if site.host in fields]

    await until(lambda: len(records()) == 4, "four records in the access log")
    assert {(fields[4], fields[26]) for fields in records()} == {(address, "40001")}


async def test_the_viewers_country_decides_and_not_the_relays(lab: EdgeLab) -> None:
    lab.control.append(geo_table_message({"203.0.113.0/24": "DE", "198.51.100.0/24": "FR"}))
    site = lab.make_site()
    only = configuration_pb2.GeoRestriction(type=configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST, countries=["DE"])
    site.message.geo_restriction.CopyFrom(only)
    await lab.put(site)
    site.script("/a", cacheable(b"a"))
    for address, status in ("203.0.113.9", 200), ("198.51.100.7", 403):
        async with Viewer(lab.edge.http) as viewer:
            await viewer.send(header(address, 40_001) + request_bytes(site.host, "/a"))
            assert (await viewer.read_head()).status == status


async def test_others_are_who_they_are(lab: EdgeLab) -> None:
    site = await lab.site()
    site.script("/b", cacheable(b"b"))
    async with Viewer(lab.edge.http, source=own_address()) as viewer:
        await viewer.send(request_bytes(site.host, "/b"))
        assert (await viewer.read_head()).status == 200


async def test_a_relay_that_says_nothing_of_its_viewer_gets_no_answer(lab: EdgeLab) -> None:
    site = await lab.site()
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/a"))
        with contextlib.suppress(ConnectionResetError):
            assert await viewer.reader.read() == b""
