"""Questions to other nodes, over real sockets, and peers as bad as they come."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf

import pytest

from edge_node.control.open_questions import Silence
from edge_node.control.peer_inquiry import (
    LONGEST_ANSWER_BYTES,
    MOST_ASKED,
    ROUNDS_UNTIL_GONE,
    PeerInquiry,
    ask_peer,
    read_standing,
    write_standing,
)
from edge_node.model.configuration import Peer, Role
from edge_node.policy.fence import Fence, FenceState, PeerStanding
from edge_node.storage.node_state import NodeState
from edge_node.upstream.source_address import SourceAddress

STANDING = PeerStanding("log-1", 7, True, False, 0.25)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def peer(handler: Handler) -> AsyncIterator[str]:
    """The address of somebody who is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def sends(*pieces: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return handle


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


GOOD = answer(json.dumps(write_standing(STANDING)).encode())


@pytest.mark.parametrize("pieces", [(GOOD,), tuple(bytes([byte]) for byte in GOOD)], ids=["whole", "byte by byte"])
async def test_a_node_is_understood_in_whatever_pieces_its_answer_comes(pieces: tuple[bytes, ...]) -> None:
    async with peer(sends(*pieces)) as address:
        assert await ask_peer(address, SourceAddress()) == STANDING


@pytest.mark.parametrize(
    "said",
    [
        b"", b"\x00" * 50, answer(b"{}"), answer(b"[]"), answer(b"nothing"), answer(b"", "404 Not Found"), answer(b"[" * 3_000),
        answer(b'{"log_id": 1, "applied_index": 7, "renewed_seconds_ago": 0}'), answer(b'{"log_id": "a", "applied_index": 7, "renewed_seconds_ago": -1}'),
        answer(b'{"log_id": "a", "applied_index": 7, "renewed_seconds_ago": NaN}'),
        answer(b'{"log_id": "a", "applied_index": 7, "renewed_seconds_ago": 1' + b"0" * 400 + b"}"),
        answer(b'{"log_id": "a", "applied_index": true, "renewed_seconds_ago": 0}'),
        answer(b'{"log_id": "a", "applied_index": -1, "renewed_seconds_ago": 0}'), GOOD[:-5], b"HTTP/1.1 200 " + b"x" * 2 * LONGEST_ANSWER_BYTES,
        answer(b" " * LONGEST_ANSWER_BYTES + b"{}"),
    ],
)  # fmt: skip
async def test_who_says_anything_else_is_not_one_who_can_be_asked(said: bytes) -> None:
    async with peer(sends(said)) as address:
        assert await ask_peer(address, SourceAddress()) is Silence.GONE


async def test_where_nobody_listens_nobody_is() -> None:
    async with peer(says_nothing) as address:
        pass
    assert await ask_peer(address, SourceAddress()) is Silence.GONE
    assert await ask_peer("nonsense", SourceAddress()) is Silence.GONE


async def test_who_says_nothing_is_late() -> None:
    async with peer(says_nothing) as address:
        assert await ask_peer(address, SourceAddress()) is Silence.LATE


@pytest.mark.parametrize("standing", [STANDING, PeerStanding("", 0, False, True, inf)])
def test_what_is_written_is_what_is_read(standing: PeerStanding) -> None:
    assert read_standing(json.loads(json.dumps(write_standing(standing)))) == standing


def inquiry(*peers: Peer, former: Sequence[Peer] = ()) -> tuple[PeerInquiry, Fence]:
    """Of a node whose lease was over a while ago."""
    fence = Fence(0.0)
    fence.leased(1.0)
    state = NodeState("eu-central-1", fence)
    state.put_directory(peers, former)
    return PeerInquiry("edge-1", state, lambda: 100.0, random.Random(1), lambda _: None, SourceAddress()), fence


def at(address: str, role: Role = Role.EDGE, node_id: str = "edge-2") -> Peer:
    return Peer(node_id, role, "eu-central-1", "FRA56-P1", "127.0.0.1", 80, address)


async def test_a_round_takes_what_it_hears_to_the_fence() -> None:
    async with peer(sends(GOOD)) as address:
        asking, fence = inquiry(at(address))
        await asking.ask_round()
    assert fence.state is FenceState.FENCED


async def test_a_silent_peer_is_waited_for_and_taken_for_gone_in_the_end() -> None:
    async with peer(says_nothing) as address:
        asking, fence = inquiry(at(address))
        for _ in range(ROUNDS_UNTIL_GONE - 1):
            await asking.ask_round()
            assert fence.state is FenceState.ASKING
        await asking.ask_round()
    assert fence.state is FenceState.ALONE


FAR_AWAY_SECONDS = 0.7
"""Longer than a round, as a handshake and a question over a link with a round trip of 350 ms."""


def answers_late(*pieces: bytes) -> Handler:
    """After a round is over."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(FAR_AWAY_SECONDS)
        with suppress(ConnectionError):
            writer.write(b"".join(pieces))
            await writer.drain()
        writer.close()

    return handle


async def test_a_peer_far_away_tells_that_the_control_plane_is_there() -> None:
    """Its answers all come in a later round than they were asked in: it must not be taken for gone."""
    async with peer(answers_late(GOOD)) as address:
        asking, fence = inquiry(at(address))
        for _ in range(2):
            await asking.ask_round()
    assert fence.state is FenceState.FENCED


async def test_peers_far_away_who_know_of_no_control_plane_either_let_hits_go_on() -> None:
    """One near, one far: neither has a lease."""
    nothing = answer(json.dumps(write_standing(PeerStanding("a", 7, False, False, 500.0))).encode())
    async with peer(answers_late(nothing)) as far, peer(sends(nothing)) as near:
        asking, fence = inquiry(at(far), at(near, node_id="edge-3"))
        for _ in range(ROUNDS_UNTIL_GONE):
            await asking.ask_round()
    assert fence.state is FenceState.ALONE


async def test_the_answer_of_one_far_away_does_not_make_that_of_a_near_one_older() -> None:
    """Which has renewed its lease just now: that is evidence, whoever else answers."""
    now = [100.0]
    old = answer(json.dumps(write_standing(PeerStanding("a", 7, True, False, 99.2))).encode())
    fresh = answer(json.dumps(write_standing(PeerStanding("a", 7, True, False, 0.05))).encode())
    fence = Fence(0.0)
    fence.leased(100.4)
    state = NodeState("eu-central-1", fence)
    async with peer(answers_late(old)) as far, peer(sends(old)) as near, peer(sends(fresh)) as renewed:
        state.put_directory((at(far), at(near, node_id="edge-3")))
        asking = PeerInquiry("edge-1", state, lambda: now[0], random.Random(1), lambda _: None, SourceAddress())
        now[0] = 100.45
        await asking.ask_round()
        now[0] = 100.95
        state.put_directory((at(far), at(renewed, node_id="edge-3")))
        await asking.ask_round()
    assert fence.state is FenceState.FENCED


async def test_a_node_does_not_ask_itself_and_not_everybody() -> None:
    asked: list[int] = []

    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        await sends(answer(b"", "404 Not Found"))(reader, writer)

    async with peer(counts) as address:
        many = [at(address, node_id=f"edge-{number}") for number in range(1, 60)]
        asking, _ = inquiry(at("127.0.0.1:1", node_id="edge-1"), *many, at(address, Role.REGIONAL, "regional-1"))
        await asking.ask_round()
    assert len(asked) == MOST_ASKED


async def test_more_regional_caches_than_are_asked_at_once_are_all_asked_in_time() -> None:
    """The only one that holds a lease may be the last in the directory."""
    silent = [at("nowhere", Role.REGIONAL, f"regional-{number}") for number in range(2 * MOST_ASKED)]
    async with peer(sends(GOOD)) as address:
        asking, fence = inquiry(*silent, at(address, Role.REGIONAL, "regional-last"))
        for _ in range(60):
            await asking.ask_round()
    assert fence.state is FenceState.FENCED


async def test_who_has_left_the_directory_is_asked_too() -> None:
    """It may hold a lease again, which a node that is cut off is not told."""
    async with peer(sends(GOOD)) as address:
        asking, fence = inquiry(former=[at(address, Role.REGIONAL, "regional-back")])
        for _ in range(60):
            await asking.ask_round()
    assert fence.state is FenceState.FENCED


async def test_who_has_left_and_edges_are_asked_however_many_regional_caches_there_are() -> None:
    silent = [at("nowhere", Role.REGIONAL, f"regional-{number}") for number in range(2 * MOST_ASKED)]
    async with peer(sends(GOOD)) as address:
        edge = at(address, node_id="edge-9")
        back = at(address, Role.REGIONAL, "regional-back")
        for asking, fence in (inquiry(*silent, edge), inquiry(*silent, former=[back])):
            for _ in range(60):
                await asking.ask_round()
            assert fence.state is FenceState.FENCED


async def test_more_silent_peers_than_are_asked_at_once_are_all_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their hosts are down, and so is the control plane: hits go on."""

    async def is_late(_address: str, _source: SourceAddress) -> Silence:
        return Silence.LATE

    monkeypatch.setattr("edge_node.control.peer_inquiry.ask_peer", is_late)
    asking, fence = inquiry(*(at("nowhere", node_id=f"edge-{number}") for number in range(100, 100 + 3 * MOST_ASKED)))
    for _ in range(3 * ROUNDS_UNTIL_GONE):
        await asking.ask_round()
    assert fence.state is FenceState.ALONE
