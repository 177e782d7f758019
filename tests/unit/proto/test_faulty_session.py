"""The two seams of a session with faults: a call that is read through them, and an applier that says it has applied what it has not."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.fault_port import FaultPort
from proto.faulty_session import FaultyCall, FaultySession, LyingApplier, open_session, refusing
from proto.host_clock import host_seconds
from proto.log_distortion import LOG_KINDS, Distortion
from proto.log_position import LogPosition
from proto.node_session import NodeIdentity, NodeSession
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges
from proto.resources import distribution_name
from proto.served_configuration import Configuration, Kind, Kinds, tried_again, with_entry
from tests.builders import entry_message


class SaidCall:
    """Says what it is told to, then nothing until it is cancelled."""

    def __init__(self, messages: Iterable[object]) -> None:
        self._messages = list(messages)
        self.is_cancelled = False
        self.is_read = asyncio.Event()

    async def read(self) -> object:
        if self._messages:
            return self._messages.pop(0)
        self.is_read.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        return None

    async def write(self, request: sync_pb2.NodeMessage) -> None:
        """Nobody is there."""

    async def done_writing(self) -> None:
        """Nobody is there."""


class Applied:
    """An applier that remembers which entries it has applied."""

    def __init__(self) -> None:
        self.entries: list[int] = []

    def position(self) -> LogPosition:
        return LogPosition("log-1", self.entries[-1] if self.entries else 0)

    def rejected(self) -> RejectedChanges:
        return NOTHING_REJECTED

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        self.entries = [snapshot.index]

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        assert not self.entries or entry.index == self.entries[-1] + 1
        self.entries.append(entry.index)

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """Not of interest."""

    def lease_held(self, until: float) -> None:
        """Not of interest."""

    def lease_lost(self) -> None:
        """Not of interest."""

    def load(self) -> tuple[int, int]:
        return 0, 0

    def checksum(self) -> bytes:
        return b""


def inject(port: FaultPort, kind: str, lease_seconds: float = 60.0, **parameters: object) -> str:
    body = {"kind": kind, "parameters": parameters, "lease_seconds": lease_seconds}
    told = port.answer("POST", "/faults", json.dumps(body).encode())
    assert told is not None and told[0] == 201, told
    return str(json.loads(told[2])["id"])


def end(port: FaultPort, identifier: str) -> None:
    told = port.answer("DELETE", f"/faults/{identifier}", b"")
    assert told is not None and told[0] == 200


def entry(index: int) -> sync_pb2.ControlMessage:
    return sync_pb2.ControlMessage(entry=sync_pb2.Entry(index=index))


def read_through(call: SaidCall, port: FaultPort) -> FaultyCall:
    return FaultyCall(call, Distortion(port.in_force), host_seconds)


async def test_a_program_without_faults_has_none_of_this() -> None:
    identity = NodeIdentity("edge-1", sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
    plain, faulty = (
        open_session(identity, Applied(), ["127.0.0.1:9"], None, faults, host_seconds)
        for faults in (None, FaultPort(LOG_KINDS))
    )
    assert (type(plain), type(faulty)) == (NodeSession, FaultySession)


async def test_what_is_held_comes_although_nothing_else_does() -> None:
    port = FaultPort(LOG_KINDS)
    inject(port, "log-delay", by=0.02)
    faulty, began = read_through(SaidCall([entry(1)]), port), host_seconds()
    async with asyncio.timeout(10):
        assert await faulty.read() == entry(1)
    assert host_seconds() - began >= 0.02


async def test_the_end_of_a_stream_is_passed_on() -> None:
    port = FaultPort(LOG_KINDS)
    the_end = object()
    assert await read_through(SaidCall([the_end]), port).read() is the_end


async def test_a_stream_that_is_given_up_ends_also_for_who_reads_already() -> None:
    call = SaidCall([])
    faulty = read_through(call, FaultPort(LOG_KINDS))
    reading = asyncio.ensure_future(faulty.read())
    await call.is_read.wait()
    faulty.give_up("it is over")
    with pytest.raises(ConnectionResetError, match="it is over"):
        await reading
    with pytest.raises(ConnectionResetError):
        await faulty.read()


async def test_a_call_that_is_closed_leaves_nothing_behind() -> None:
    call = SaidCall([])
    faulty = read_through(call, FaultPort(LOG_KINDS))
    reading = asyncio.ensure_future(faulty.read())
    await call.is_read.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    faulty.close()
    faulty.close()
    async with asyncio.timeout(10):
        while not call.is_cancelled:
            await asyncio.sleep(0)


async def test_entries_are_not_applied_while_the_node_lies_and_none_out_of_turn_after_it() -> None:
    port, applied = FaultPort(LOG_KINDS), Applied()
    lying = LyingApplier(applied, port)
    lying.apply_entry(sync_pb2.Entry(index=1))
    fault = inject(port, "lying-acknowledgement")
    lying.apply_entry(sync_pb2.Entry(index=2))
    assert applied.entries == [1]
    end(port, fault)
    with pytest.raises(OSError, match="not the next one"):
        lying.apply_entry(sync_pb2.Entry(index=3))
    assert lying.position().index == 1, "the next stream begins with the truth"
    lying.apply_entry(sync_pb2.Entry(index=2))
    assert applied.entries == [1, 2]


async def test_a_snapshot_leaves_nothing_to_lie_about() -> None:
    port, applied = FaultPort(LOG_KINDS), Applied()
    lying = LyingApplier(applied, port)
    fault = inject(port, "lying-acknowledgement")
    lying.apply_entry(sync_pb2.Entry(index=1))
    lying.apply_snapshot(sync_pb2.Snapshot(index=5))
    end(port, fault)
    lying.apply_entry(sync_pb2.Entry(index=6))
    assert applied.entries == [5, 6]


KINDS: Kinds = {
    sync_pb2.RESOURCE_KIND_DISTRIBUTION: Kind(configuration_pb2.Distribution, lambda message, _: message),
}


async def test_what_is_new_is_refused_with_the_reason_and_served_when_that_is_over() -> None:
    port = FaultPort(LOG_KINDS)
    kinds, name = refusing(KINDS, port), distribution_name("E1")
    body = configuration_pb2.Distribution(id="E1", domain_name="before.example")
    first = with_entry(Configuration(), entry_message(1, body), kinds)
    fault = inject(port, "reject-configuration", reason="not today")
    changed = configuration_pb2.Distribution(id="E1", domain_name="after.example")
    second = with_entry(first, entry_message(2, changed), kinds)
    assert second.value(name) == body and second.rejected[name].rejection.reason == "not today"
    assert second.position.index == 2, "one bad resource blocks no other"
    assert tried_again(second, kinds).value(name) == body
    end(port, fault)
    healed = tried_again(second, kinds)
    assert healed.value(name) == changed and healed.rejected == {} and healed.position == second.position
    assert healed.checksum == second.checksum
