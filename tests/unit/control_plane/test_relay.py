"""What waits of a node's stream that a follower passes on: bounded on both sides, in order, and handed over whole when the follower turns out to lead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from control_plane import relay
from control_plane.admission import Admission
from control_plane.coordination import Coordinator
from control_plane.grpc_calls import AnswerHandler, Call, CallHandler
from control_plane.grpc_client_call import ClientCall
from control_plane.grpc_wire import Status
from control_plane.leadership import Seat
from control_plane.leases import LeaseRules
from control_plane.ledger import SqlLedger
from control_plane.relay import NodeService, PassedCall
from control_plane.roles import Leading, Roles
from control_plane.state import StoreError
from control_plane.store import SqlStore
from control_plane.streams import StreamRules
from control_plane.sync import SyncService
from proto.cdn.v1 import sync_pb2

HELLO = sync_pb2.NodeMessage(hello=sync_pb2.Hello(node=sync_pb2.Node(id="edge-1", role=sync_pb2.ROLE_EDGE)))


class FakeCall:
    """See grpc_calls.Call."""

    def __init__(self) -> None:
        self.is_writable = True
        self.sent: list[bytes] = []
        self.finished: list[tuple[Status, str]] = []
        self.is_admitted = False

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def admit(self) -> None:
        self.is_admitted = True

    def send(self, message: bytes) -> None:
        assert self.is_writable
        self.sent.append(message)

    def finish(self, status: Status, reason: str = "") -> None:
        self.finished.append((status, reason))


class Heard:
    """A handler that notes what it is called with."""

    def __init__(self) -> None:
        self.events: list[str | bytes] = []

    def message_received(self, data: bytes) -> None:
        self.events.append(data)

    def half_closed(self) -> None:
        self.events.append("half closed")

    def writable(self) -> None:
        self.events.append("writable")

    def broken(self) -> None:
        self.events.append("broken")


def nobody_leads(clock: float = 1_000.0) -> Roles:
    async def begin(_tenure: object) -> Leading:
        raise AssertionError("nobody leads here")

    class Seats:
        def read(self) -> Seat:
            return Seat()

        def take(self, _seen: Seat) -> int | None:
            return None

        def renew(self, _term: int) -> bool:
            return False

        def resign(self, _term: int) -> None:
            """Nothing is held."""

        def close(self) -> None:
            """Nothing is open."""

    return Roles(begin, lambda: clock, Seats())


def service(*, is_certified: bool = False) -> NodeService:
    return NodeService(nobody_leads(), Admission("cdn.localhost", is_certified=is_certified), None)


async def ended(call: FakeCall) -> tuple[Status, str]:
    async with asyncio.timeout(10):
        while not call.finished:
            await asyncio.sleep(0)
    return call.finished[0]


async def test_who_may_not_come_in_is_refused_here_and_not_by_the_leader() -> None:
    call = FakeCall()
    service(is_certified=True).serve(call).message_received(HELLO.SerializeToString())
    status, reason = await ended(call)
    assert status is Status.PERMISSION_DENIED and "not of" in reason and not call.is_admitted


@pytest.mark.parametrize(
    "first", [b"\xff", b"", sync_pb2.NodeMessage(heartbeat=sync_pb2.Heartbeat()).SerializeToString()]
)
async def test_what_is_no_hello_ends_the_call(first: bytes) -> None:
    call = FakeCall()
    service().serve(call).message_received(first)
    assert (await ended(call))[0] is Status.INVALID_ARGUMENT


async def test_a_node_waits_for_a_leader_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LEADERLESS_SECONDS", 0.0)
    call = FakeCall()
    service().serve(call).message_received(HELLO.SerializeToString())
    assert await ended(call) == (Status.UNAVAILABLE, "no control plane leads") and call.is_admitted


async def test_whoever_never_says_hello_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HELLO_SECONDS", 0.0)
    call = FakeCall()
    service().serve(call)
    assert await ended(call) == (Status.INVALID_ARGUMENT, "the first message must be Hello")


async def test_a_node_that_goes_while_it_waits_leaves_no_task_behind() -> None:
    subject, call = service(), FakeCall()
    handler = subject.serve(call)
    handler.message_received(HELLO.SerializeToString())
    (task,) = subject._passing
    await asyncio.sleep(0)
    handler.broken()
    await asyncio.wait((task,))
    assert task.cancelled() and not subject._passing and not call.finished


class FakeUpstream:
    """See grpc_client_call.ClientCall."""

    def __init__(self) -> None:
        self.is_writable = True
        self.sent: list[bytes | str] = []

    def send(self, message: bytes) -> None:
        assert self.is_writable
        self.sent.append(message)

    def half_close(self) -> None:
        self.sent.append("half closed")

    def cancel(self) -> None:
        self.sent.append("cancelled")

    def hold(self) -> None:
        self.sent.append("held")

    def release(self) -> None:
        self.sent.append("released")


@contextlib.asynccontextmanager
async def passing(call: FakeCall, said: Sequence[bytes] = (b"hello",)) -> AsyncIterator[tuple[PassedCall, Any, Any]]:
    """A call that is passed on, the leader's end of it, and how it ends."""
    passed, upstream = PassedCall(call), FakeUpstream()
    for message in said:
        passed.message_received(message)
    hello = await passed.hello()
    ending = asyncio.ensure_future(passed.passed_on(cast(ClientCall, upstream), hello))
    await asyncio.sleep(0)
    yield passed, upstream, ending
    passed.let_go()
    passed.ended("the test is over")
    await ending
    assert upstream.sent[-1] == "cancelled"


async def test_more_than_may_wait_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MOST_RELAYED_BYTES", 1_000)
    call = FakeCall()
    async with passing(call) as (passed, upstream, _):
        upstream.is_writable = False
        for _ in range(5):
            passed.message_received(b"x" * 50)
        assert not call.finished and upstream.sent == [b"hello"]
        upstream.is_writable = True
        passed.may_send()  # which makes room
        assert upstream.sent == [b"hello", *[b"x" * 50] * 5]
        upstream.is_writable = False
        for _ in range(5):
            passed.message_received(b"x" * 50)
        assert not call.finished
        passed.message_received(b"x" * 500)
        assert call.finished[0][0] is Status.RESOURCE_EXHAUSTED


async def test_the_leader_hears_all_that_the_node_says_in_order_and_that_it_has_said_all() -> None:
    async with passing(FakeCall(), [b"hello", b"early"]) as (passed, upstream, _):
        passed.message_received(b"one")
        upstream.is_writable = False
        passed.message_received(b"two")
        passed.half_closed()
        passed.may_send()  # and still it may not
        assert upstream.sent == [b"hello", b"early", b"one"]
        upstream.is_writable = True
        passed.may_send()
        assert upstream.sent == [b"hello", b"early", b"one", b"two", "half closed"]


async def test_all_that_was_said_is_handed_over_in_order() -> None:
    passed, heard = PassedCall(FakeCall()), Heard()
    for message in (b"hello", b"one", b"two"):
        passed.message_received(message)
    passed.half_closed()
    hello = await passed.hello()
    passed.hand_over(heard, hello)
    for event in (passed.writable, passed.broken):
        event()
    assert heard.events == [b"hello", b"one", b"two", "half closed", "writable", "broken"]


async def test_nothing_is_sent_to_a_node_that_does_not_read_and_the_leader_is_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = FakeCall()
    async with passing(call) as (passed, upstream, ending):
        passed.answered(b"one")
        call.is_writable = False
        passed.answered(b"two")
        passed.answered(b"three")
        passed.writable()  # and still it is not
        assert call.sent == [b"one"] and upstream.sent[1:] == ["held", "held"]
        call.is_writable = True
        passed.writable()
        passed.answered(b"four")
        assert call.sent == [b"one", b"two", b"three", b"four"] and upstream.sent[-1] == "released"
        call.is_writable = False
        monkeypatch.setattr(relay, "UNREAD_SECONDS", 0.0)
        passed.answered(b"five")
        assert await ending == "the node does not read"


async def test_a_node_that_reads_a_little_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message has its own time."""
    call = FakeCall()
    async with passing(call) as (passed, _, ending):
        call.is_writable = False
        passed.answered(b"one")
        passed.answered(b"two")
        before = passed._unread_timer
        assert before is not None
        monkeypatch.setattr(call, "send", lambda _: setattr(call, "is_writable", False))
        call.is_writable = True
        passed.writable()
        assert before.cancelled() and passed._unread_timer is not None and not ending.done()


def test_it_is_a_handler_of_calls() -> None:
    call: Call = FakeCall()
    handler: CallHandler = PassedCall(call)
    asking: AnswerHandler = PassedCall(call)
    assert handler and asking


async def test_who_is_handed_over_and_ended_by_its_hello_is_not_heard_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a second hello would make a node of a call that nothing ends."""
    with contextlib.closing(SqlStore(tmp_path, lambda: 1_000.0)) as store:
        coordinator = Coordinator(SqlLedger(store), LeaseRules(5.0), 1_000.0)
        admission = Admission("cdn.localhost", is_certified=False)
        rules = StreamRules(5.0)
        sync = SyncService(store, coordinator, lambda: 1_000.0, admission, rules=rules, on_completed=print)
        connected = coordinator.connected

        def fails_once(*_arguments: object) -> Any:
            monkeypatch.setattr(coordinator, "connected", connected)
            raise StoreError("the server has not answered")

        monkeypatch.setattr(coordinator, "connected", fails_once)
        call = FakeCall()
        passed = PassedCall(call)
        passed.message_received(HELLO.SerializeToString())
        passed.hand_over(sync.serve(call), HELLO.SerializeToString())
        assert call.finished[0][0] is Status.UNAVAILABLE
        assert not sync.is_connected("edge-1") and not coordinator.nodes
