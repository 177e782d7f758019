"""A request that asks for a WebSocket, as the fetcher treats it: sent once, on a connection of its own, with a place at the upstream until the 101 and not longer."""

from collections.abc import Sequence

import pytest

from edge_node.model.errors import UpstreamErrorKind, UpstreamFailure
from edge_node.model.http import Header, ResponseHead
from edge_node.model.tunnel import TunnelEnd
from edge_node.upstream.connection import UpstreamConnection
from edge_node.upstream.endpoints import Endpoint, Tier
from edge_node.upstream.fetch_sink import ResponseFlow
from edge_node.upstream.fetcher import Fetch, Fetcher
from edge_node.upstream.limits import UpstreamLimits
from tests.conversations.dialogue import flush
from tests.conversations.origins import Link, Origins
from tests.edge_wires import turn

FIRST, SECOND = ("192.0.2.1", 80), ("192.0.2.2", 80)
REQUEST = b"GET / HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Sink:
    """Who asked."""

    has_started = is_ended = False

    def __init__(self) -> None:
        self.heads: list[ResponseHead] = []
        self.ends: list[UpstreamFailure | None] = []
        self.tunnel: TunnelEnd | None = None
        self.fetch: Fetch | None = None
        self.flow: ResponseFlow | None = None

    def connected(self, connection: ResponseFlow | None, target: Endpoint) -> None:
        self.flow = connection

    def resume_point(self) -> Sequence[Header] | None:
        return None

    def interim_arrived(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def head_arrived(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def body_arrived(self, data: bytes) -> None:
        pass

    def whole_arrived(self, head: ResponseHead, body: bytes) -> None:
        self.heads.append(head)

    def fetch_ended(self, failure: UpstreamFailure | None) -> None:
        self.ends.append(failure)

    def fetch_abandoned(self) -> None:
        raise AssertionError("there is no body that could be missing")

    def switched(self, head: ResponseHead, upstream_end: TunnelEnd) -> None:
        self.heads.append(head)
        self.tunnel = upstream_end


class Receiver:
    def __init__(self) -> None:
        self.heard = b""
        self.is_lost = False

    def bytes_arrived(self, data: bytes) -> None:
        self.heard += data

    def peer_ended(self) -> None:
        pass

    def credit_returned(self) -> None:
        pass

    def end_lost(self, *, is_reset: bool) -> None:
        self.is_lost = True

    def node_leaves(self) -> None:
        pass


class IdleOrigins(Origins):
    """With an idle connection to each, which looks usable and is not: whoever takes it is noticed."""

    def take_idle(self, address: tuple[str, int]) -> None:
        raise AssertionError("a handshake is not sent on an idle connection")


def endpoint(address: tuple[str, int], **changes: float) -> Endpoint:
    values = {"completion_timeout": 0.0, "read_timeout": 30.0} | changes
    return Endpoint(
        Tier.ORIGIN, address[0], address, 3, 1.0, values["read_timeout"], 5.0, REQUEST, values["completion_timeout"]
    )


async def asked(origins: Origins, *targets: Endpoint, limits: UpstreamLimits | None = None) -> tuple[Sink, Link]:
    sink = Sink()
    fetcher = Fetcher(origins, origins.counters, lambda: origins.now, limits)
    sink.fetch = fetcher.upgrade(targets, sink)
    await flush(lambda: origins.links and origins.links[0].line)
    return sink, origins.links[0]


@pytest.mark.parametrize("cut", range(1, len(SWITCH) + 6))
async def test_what_is_behind_the_head_is_the_tunnels_wherever_the_reads_are_cut(cut: int) -> None:
    sink, link = await asked(IdleOrigins(), endpoint(FIRST))
    data = SWITCH + b"HTTP/1"
    receiver = Receiver()
    for piece in (data[:cut], data[cut:]):
        tunnel = sink.tunnel
        link.connection.data_received(piece) if tunnel is None else tunnel.data_received(piece)  # type: ignore[attr-defined]
        if sink.tunnel is not None and not sink.tunnel.is_open:
            sink.tunnel.open(receiver)
    assert receiver.heard == b"HTTP/1"
    assert [head.status for head in sink.heads] == [101] and sink.ends == []


async def test_the_fetch_ends_with_the_tunnel_and_its_bytes_are_counted() -> None:
    origins = IdleOrigins()
    sink, link = await asked(origins, endpoint(FIRST))
    link.sends(SWITCH + b"12345")
    assert sink.tunnel is not None
    receiver = Receiver()
    sink.tunnel.open(receiver)
    sink.tunnel.send(b"1234567")
    assert link._transport.written == REQUEST + b"\r\n1234567"
    sink.tunnel.close()
    await turn()
    assert receiver.is_lost and sink.ends == [None]
    assert sink.flow is None, "nothing of it is held up or closed any more"
    transferred = origins.counters.transferred
    assert transferred["origin", "received"] == len(SWITCH) + 5
    assert transferred["origin", "sent"] == len(REQUEST) + 2 + 7
    assert not origins.counters.upstream_errors


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked"])
async def test_who_switches_has_no_body_to_send(framing: bytes) -> None:
    sink, link = await asked(IdleOrigins(), endpoint(FIRST))
    link.sends(SWITCH[:-2] + framing + b"\r\n\r\n")
    await turn()
    assert sink.tunnel is None and link.is_closed
    assert [failure.kind for failure in sink.ends if failure is not None] == [UpstreamErrorKind.INVALID_RESPONSE]


async def test_a_tunnel_has_no_place_that_others_wait_for_and_a_handshake_has() -> None:
    origins, limits = IdleOrigins(), UpstreamLimits(1)
    sink, link = await asked(origins, endpoint(FIRST), limits=limits)
    slots = limits.slots_of(FIRST, Tier.ORIGIN)
    was_full = slots.is_full
    link.sends(SWITCH)
    assert (was_full, slots.is_full) == (True, False)
    assert sink.tunnel is not None
    sink.tunnel.open(Receiver())
    sink.tunnel.reset()
    await turn()
    assert slots.is_unused, "it is given back once"


@pytest.mark.parametrize("kind", [UpstreamErrorKind.RESET, UpstreamErrorKind.READ_TIMEOUT])
async def test_what_was_sent_is_not_sent_again(kind: UpstreamErrorKind) -> None:
    origins = IdleOrigins()
    sink, link = await asked(origins, endpoint(FIRST), endpoint(SECOND))
    link.fails(kind)
    await turn()
    assert origins.attempts == [FIRST[0]]
    assert [failure.kind for failure in sink.ends if failure is not None] == [kind]


async def test_another_target_is_asked_when_nothing_was_sent() -> None:
    origins = IdleOrigins()
    origins.unreachable[FIRST[0]] = UpstreamErrorKind.REFUSED
    sink, link = await asked(origins, endpoint(FIRST), endpoint(SECOND))
    assert link.host == SECOND[0] and origins.attempts == [FIRST[0]] * 3 + [SECOND[0]]
    link.sends(SWITCH)
    assert sink.tunnel is not None


async def test_no_time_limit_of_a_response_ends_a_tunnel() -> None:
    sink, link = await asked(IdleOrigins(), endpoint(FIRST, completion_timeout=0.02, read_timeout=0.02))
    link.sends(SWITCH)
    assert sink.tunnel is not None
    connection: UpstreamConnection = link.connection
    assert sink.fetch is not None
    assert (sink.fetch._completion, connection._watch) == (None, None), "no timer is left"
