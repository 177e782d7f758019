"""A port for nodes that is deaf, or refuses: what a client hears meanwhile, and that nothing is lost or out of order when it is over."""

import pytest

from control_plane.grpc_connection import GrpcConnection
from control_plane.http2_connection import MOST_UNREAD_BYTES
from control_plane.http2_frames import PREFACE, Kind, frame
from control_plane.http2_frames import settings as settings_frame
from control_plane.injected_faults import DEAF, KINDS, REFUSE
from control_plane.node_faults import Deafness, port_for_nodes, refusing
from tests.fault_builders import Faults
from tests.unit.control_plane.test_grpc_connection import Handler, Talk, data, kinds

OPENING = PREFACE + settings_frame({})
PING = frame(Kind.PING, 0, 0, b"12345678")


class Port:
    """Connections of one port that can be deaf."""

    def __init__(self) -> None:
        self.faults = Faults(KINDS)
        self._deafness = Deafness(self.faults.port)

    def connect(self) -> Talk:
        return Talk(make=self._deafness.make_connection)

    def connected(self) -> Talk:
        """One that has been greeted, with a call under way."""
        talk = self.connect()
        talk.say(OPENING)
        talk.begin()
        talk.say(data(b"hello"))
        talk.handlers[0].call.send(b"welcome")
        talk.heard()
        return talk


@pytest.fixture
async def port() -> Port:
    return Port()


async def test_nothing_is_read_or_said_and_the_stream_stays(port: Port) -> None:
    talk = port.connected()
    port.faults.begin(DEAF)
    assert not talk.transport.is_read
    assert talk.say(data(b"more") + PING) == []
    talk.handlers[0].call.send(b"an entry")
    assert talk.heard() == [] and talk.transport.is_open
    assert talk.handlers[0].told == [b"hello"] and not talk.handlers[0].call.is_writable


async def test_afterwards_everything_is_heard_and_said_in_order(port: Port) -> None:
    talk = port.connected()
    fault = port.faults.begin(DEAF)
    talk.say(data(b"1") + PING)
    talk.say(data(b"2"))
    for message in (b"a", b"b"):
        talk.handlers[0].call.send(message)
    port.faults.end(fault)
    assert talk.transport.is_read
    assert talk.handlers[0].told[:3] == [b"hello", b"1", b"2"]
    said = talk.heard()
    assert b"".join(each.payload for each in said if each.kind == Kind.DATA) == b"".join(
        b"\0" + len(each).to_bytes(4, "big") + each for each in (b"a", b"b")
    )
    assert Kind.PING in kinds(said) and talk.handlers[0].call.is_writable


async def test_a_new_connection_is_not_even_greeted(port: Port) -> None:
    fault = port.faults.begin(DEAF)
    talk = port.connect()
    assert talk.heard() == [] and not talk.transport.is_read
    talk.connection.look(1e9, 3.0)
    assert talk.transport.is_open, "nor sent away for saying nothing"
    port.faults.end(fault)
    assert Kind.SETTINGS in kinds(talk.heard())
    talk.say(OPENING)
    talk.begin()
    talk.say(data(b"hello"))
    assert talk.handlers[0].told == [b"hello"]


async def test_a_connection_that_broke_meanwhile_is_not_written_to(port: Port) -> None:
    talk = port.connected()
    fault = port.faults.begin(DEAF)
    talk.handlers[0].call.send(b"an entry")
    talk.transport.is_open = False
    talk.connection.connection_lost(None)
    port.faults.end(fault)
    assert talk.handlers[0].told == [b"hello", "broken"]


async def test_what_waits_has_a_bound(port: Port) -> None:
    talk = port.connected()
    port.faults.begin(DEAF)
    while talk.transport.is_open:
        talk.connection.write_frame(bytes(MOST_UNREAD_BYTES // 4))
    assert talk.heard() == []


async def test_a_peer_that_does_not_read_is_still_not_written_to(port: Port) -> None:
    talk = port.connected()
    talk.connection.pause_writing()
    fault = port.faults.begin(DEAF)
    port.faults.end(fault)
    talk.handlers[0].call.send(b"an entry")
    assert talk.heard() == []
    talk.connection.resume_writing()
    assert set(kinds(talk.heard())) == {Kind.DATA}


async def test_new_streams_are_refused_and_old_ones_go_on(port: Port) -> None:
    handlers: list[Handler] = []

    def serve(call: object) -> Handler:
        handlers.append(Handler(call))  # type: ignore[arg-type]
        return handlers[-1]

    talk = Talk(serve=refusing(serve, port.faults.port))
    talk.say(OPENING)
    talk.begin(1)
    fault = port.faults.begin(REFUSE)
    ends = talk.begin(3)
    assert Kind.HEADERS in kinds(ends) and len(handlers) == 1 and port.faults.times(REFUSE) == 1
    talk.say(data(b"still here") + data(b"refused", stream=3))
    assert handlers[0].told == [b"still here"]
    port.faults.end(fault)
    talk.begin(5)
    assert len(handlers) == 2


async def test_a_control_plane_without_faults_has_connections_as_ever() -> None:
    port = port_for_nodes(Handler, 10, None, lambda _peer: False, None)
    assert type(port._protocol()) is GrpcConnection
