"""WebSockets through both tiers, as real processes, with an implementation of RFC 6455 at each end that shares nothing with the node (reference 9)."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from tests.builders import NONE, behavior_message, policy_message
from tests.peers.nodes import EdgeLab, Node, Site, until
from tests.peers.viewer import Viewer, request_bytes
from tests.peers.websocket import SUBPROTOCOL, WebSocketOrigin, websocket, websocket_origin

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN_TUNNELS = "cdn_open_tunnels"
ENDED = 'cdn_requests_total{reason="websocket",result="miss"}'


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeLab]:
    async with EdgeLab(tmp_path_factory.mktemp("websockets")) as lab:
        await lab.start("edge-1", "regional-1")
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def origin(lab: EdgeLab) -> AsyncIterator[WebSocketOrigin]:
    async with websocket_origin(lab.origin.host) as origin:
        yield origin


@pytest_asyncio.fixture(loop_scope="module")
async def site(lab: EdgeLab, origin: WebSocketOrigin) -> Site:
    return await lab.site(host=origin.host, port=origin.port)


async def sample_is(node: Node, sample: str, value: float) -> None:
    async with asyncio.timeout(10):
        while await node.metric(sample) != value:
            await asyncio.sleep(0.01)


async def test_messages_of_all_kinds_arrive_as_they_were_sent(lab: EdgeLab, site: Site) -> None:
    rng = random.Random(6455)
    async with websocket(lab.edge.http, site.host, "/echo") as viewer:
        for message in ("hello", "", "häß", b"", b"\x00\xff", rng.randbytes(70_000), rng.randbytes(5_000_000)):
            await viewer.send(message)
            assert await viewer.recv() == message
        await viewer.send(["in ", "four ", "pieces", "!"])
        assert await viewer.recv() == "in four pieces!"
        pong = await viewer.ping(b"are you there")
        assert await asyncio.wait_for(pong, 10) >= 0
    assert viewer.close_code == 1000


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_extensions_are_agreed_on_between_the_ends(lab: EdgeLab, site: Site, compression: str | None) -> None:
    async with websocket(lab.edge.http, site.host, "/echo", compression=compression) as viewer:
        assert viewer.response is not None
        agreed = viewer.response.headers.get("Sec-WebSocket-Extensions", "")
        assert agreed.startswith("permessage-deflate") is (compression is not None)
        text = "again and again " * 10_000
        await viewer.send(text)
        assert await viewer.recv() == text


async def test_a_subprotocol_is_agreed_on_between_the_ends(lab: EdgeLab, site: Site) -> None:
    async with websocket(lab.edge.http, site.host, "/echo", subprotocols=["chat.v1", SUBPROTOCOL]) as viewer:
        assert viewer.subprotocol == SUBPROTOCOL


async def test_the_head_of_the_answer_is_a_miss_with_what_the_node_says_of_itself(lab: EdgeLab, site: Site) -> None:
    async with websocket(lab.edge.http, site.host, "/echo") as viewer:
        assert viewer.response is not None
        fields = viewer.response.headers
        assert viewer.response.status_code == 101
        assert fields["X-Cache"] == "Miss from cloudfront"
        assert fields["Via"] and fields["X-Amz-Cf-Id"] and fields["X-Amz-Cf-Pop"]
        assert "Content-Length" not in fields and "Transfer-Encoding" not in fields and "X-Edge-Result" not in fields


async def test_close_codes_pass_in_both_directions(lab: EdgeLab, site: Site, origin: WebSocketOrigin) -> None:
    async with websocket(lab.edge.http, site.host, "/close") as viewer:
        with pytest.raises(ConnectionClosed):
            await viewer.recv()
        assert (viewer.close_code, viewer.close_reason) == (4001, "enough")
    async with websocket(lab.edge.http, site.host, "/echo") as viewer:
        await viewer.close(4002, "that will do")
    await until(lambda: (4002, "that will do") in origin.closed, "the origin hears the viewer's code")


async def test_a_server_may_speak_first(lab: EdgeLab, site: Site) -> None:
    async with websocket(lab.edge.http, site.host, "/lines") as viewer:
        assert [await viewer.recv() for _ in range(3)] == ["line 0", "line 1", "line 2"]


async def test_the_request_goes_through_both_tiers_with_what_a_handshake_needs(
    lab: EdgeLab, site: Site, origin: WebSocketOrigin
) -> None:
    fetches = 'cdn_upstream_fetches_total{tier="regional"}'
    before = await lab.edge.metric(fetches)
    async with websocket(lab.edge.http, site.host, "/echo?token=1", origin="http://app.example") as viewer:
        await viewer.send("x")
        await viewer.recv()
    fields = origin.requests[0].headers
    assert origin.requests[0].path == f"/{site.id}/echo?token=1"
    assert fields["Origin"] == "http://app.example"
    assert fields["Via"].count("(CloudFront)") == 2
    names = [name.lower() for name, _ in fields.raw_items()]
    assert len(names) == len(set(names))
    assert (fields["Connection"], fields["Upgrade"]) == ("Upgrade", "websocket")
    assert "X-Edge-Log-Index" not in fields
    assert await lab.edge.metric(fetches) == before + 1


async def test_the_query_string_goes_by_the_policy(lab: EdgeLab, origin: WebSocketOrigin) -> None:
    policy = policy_message(id="no-query", query_strings=NONE)
    site = await lab.site(behavior_message(policy=policy), host=origin.host, port=origin.port)
    async with websocket(lab.edge.http, site.host, "/echo?token=1"):
        assert origin.requests[0].path == f"/{site.id}/echo"


async def test_a_tunnel_is_logged_and_counted_once_at_its_end(lab: EdgeLab, site: Site) -> None:
    nodes = (lab.edge, lab.regional)
    await asyncio.gather(*(sample_is(node, OPEN_TUNNELS, 0) for node in nodes))
    before = [await node.metric(ENDED) for node in nodes]
    payload = random.Random(1).randbytes(100_000)
    async with websocket(lab.edge.http, site.host, "/echo", compression=None) as viewer:
        await viewer.send(payload)
        assert await viewer.recv() == payload
        assert viewer.response is not None
        request_id = viewer.response.headers["X-Amz-Cf-Id"]
        assert [await node.metric(OPEN_TUNNELS) for node in nodes] == [1, 1]
        assert [await node.metric(ENDED) for node in nodes] == before
    for node in nodes:
        record = await node.logged(request_id)
        sc_bytes, cs_bytes = int(record[3]), int(record[17])
        assert (record[5], record[8], record[13], record[16]) == ("GET", "101", "Miss", "ws")
        assert 100_000 < sc_bytes < 101_500 and 100_000 < cs_bytes < 101_500
        await sample_is(node, OPEN_TUNNELS, 0)
    assert [await node.metric(ENDED) for node in nodes] == [count + 1 for count in before]


@pytest.mark.parametrize("status", [400, 403, 404, 426, 503])
async def test_an_answer_other_than_101_is_an_uncached_response(
    lab: EdgeLab, site: Site, origin: WebSocketOrigin, status: int
) -> None:
    for _ in range(2):
        with pytest.raises(InvalidStatus) as refused:
            async with websocket(lab.edge.http, site.host, f"/{status}"):
                pass
        response = refused.value.response
        assert (response.status_code, response.body) == (status, f"refused with {status}".encode())
        assert response.headers["X-Cache"] == "Error from cloudfront"
    assert len(origin.requests) == 2


async def test_a_refusal_gets_the_page_that_is_configured_for_it(lab: EdgeLab, origin: WebSocketOrigin) -> None:
    site = lab.make_site(host=origin.host, port=origin.port)
    site.message.error_responses.add(error_status=403, page_path="/200", response_status=403)
    await lab.put(site)
    with pytest.raises(InvalidStatus) as refused:
        async with websocket(lab.edge.http, site.host, "/403"):
            pass
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"refused with 200"
    assert [request.path.rpartition("/")[2] for request in origin.requests] == ["403", "200"]
    assert "Upgrade" not in origin.requests[1].headers


async def test_an_origin_that_is_not_there_is_502_and_not_remembered(lab: EdgeLab) -> None:
    with socket.socket() as nobody:
        nobody.bind((lab.origin.host, 0))
        site = await lab.site(host=lab.origin.host, port=nobody.getsockname()[1], connection_attempts=1)
        with pytest.raises(InvalidStatus) as refused:
            async with websocket(lab.edge.http, site.host, "/echo"):
                pass
    assert refused.value.response.status_code == 502
    assert (await site.get("/echo")).status == 502
    record = await lab.edge.logged(refused.value.response.headers["X-Amz-Cf-Id"])
    assert record[13] == "Error"


async def test_an_origin_that_resets_resets_the_viewer(lab: EdgeLab, site: Site, origin: WebSocketOrigin) -> None:
    async with websocket(lab.edge.http, site.host, "/echo") as viewer:
        await viewer.send("x")
        await viewer.recv()
        origin.connections[0].transport.abort()
        with pytest.raises(ConnectionClosedError):
            await asyncio.wait_for(viewer.recv(), 10)
    await sample_is(lab.edge, OPEN_TUNNELS, 0)


async def test_a_viewer_that_goes_away_ends_the_origins_end(lab: EdgeLab, site: Site, origin: WebSocketOrigin) -> None:
    async with websocket(lab.edge.http, site.host, "/echo") as viewer:
        await viewer.send("x")
        await viewer.recv()
        viewer.transport.abort()
        await until(lambda: origin.closed != [], "the origin's connection ends")
    assert origin.closed[0][0] == 1006
    await sample_is(lab.regional, OPEN_TUNNELS, 0)


async def test_who_does_not_read_holds_the_other_up_and_costs_no_memory(
    lab: EdgeLab, site: Site, origin: WebSocketOrigin
) -> None:
    """128 MB toward an origin that reads nothing: what both nodes keep is bounded, and all of it arrives when it reads.

    On a busy machine the kernel's buffers of the three receivers grow to 32 MiB each, and those of the senders to 4.
    """
    blocks = 128
    block = random.Random(2).randbytes(1_000_000)
    nodes = (lab.edge, lab.regional)
    before = [node.memory("RssAnon") for node in nodes]  # pages of the program come and go (resident_memory.py)
    async with websocket(lab.edge.http, site.host, "/silent", compression=None) as viewer:
        heard = 0

        async def send() -> None:
            for _ in range(blocks):
                await viewer.send(block)

        async def hear() -> None:
            nonlocal heard
            for _ in range(blocks):
                assert await viewer.recv() == block
                heard += 1

        sending, hearing = asyncio.ensure_future(send()), asyncio.ensure_future(hear())
        await nothing_moves(lambda: sending.done() or viewer.transport.get_write_buffer_size())
        assert not sending.done() and heard == 0
        for node, bytes_before in zip(nodes, before, strict=True):
            assert node.memory("RssAnon") < bytes_before + 8 * 1024 * 1024
        origin.gate.set()
        await asyncio.wait_for(asyncio.gather(sending, hearing), 60)
    assert heard == blocks


async def nothing_moves(measure: Callable[[], int]) -> None:
    """Until it has been the same, and not nothing, at several looks: at one look a busy machine may just have done other things."""
    seen: list[int] = []
    async with asyncio.timeout(20):
        while len(seen) < 5 or len(set(seen[-5:])) > 1 or seen[-1] == 0:
            await asyncio.sleep(0.1)
            seen.append(measure())


async def test_bytes_right_behind_the_handshake_are_the_tunnels(lab: EdgeLab, site: Site) -> None:
    """A client that does not wait for the 101: its first frame comes in the same write as its head."""
    fields = (
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13"),
    )  # fmt: skip
    masked_hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"  # RFC 6455 section 5.7
    async with Viewer(lab.edge.http) as viewer:
        await viewer.send(request_bytes(site.host, "/echo", *fields) + masked_hello)
        head = await viewer.read_head()
        assert head.status == 101
        assert head["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
        async with asyncio.timeout(10):
            assert await viewer.reader.readexactly(7) == b"\x81\x05Hello"


async def test_a_node_that_drains_ends_its_tunnels_and_then_itself(tmp_path: Path) -> None:
    async with EdgeLab(tmp_path) as lab, websocket_origin(lab.origin.host) as origin:
        await lab.start("edge-1")
        site = await lab.site(host=origin.host, port=origin.port)
        async with websocket(lab.edge.http, site.host, "/echo") as viewer:
            await viewer.send("x")
            await viewer.recv()
            assert viewer.response is not None
            request_id = viewer.response.headers["X-Amz-Cf-Id"]
            assert lab.edge.process is not None
            lab.edge.process.terminate()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(viewer.recv(), 10)
        assert await lab.edge.ended() == 0
        assert (await lab.edge.logged(request_id))[8] == "101"
