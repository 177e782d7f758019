"""A node's session with faults of the log at its end of the stream, for programs that allow faults; a program without the flag has a plain `NodeSession`.

What the faults do to messages is `log_distortion.py`'s. Here is where it is put: between gRPC's call and the session, and between the session and what it applies. When
a fault is over its stream is given up, and the next one begins with the position that the node really has: so whatever was lost, held back or only acknowledged
comes again, and the control plane hears the truth.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from google.protobuf.message import Message

from proto.cdn.v1 import sync_pb2
from proto.fault_port import FaultPort
from proto.host_clock import host_seconds
from proto.log_distortion import LOG_KINDS, LYING_ACKNOWLEDGEMENT, REJECT_CONFIGURATION, Distortion
from proto.log_position import LogPosition
from proto.mutual_tls import TlsIdentity
from proto.node_session import Applier, NodeIdentity, NodeSession
from proto.rejected_changes import RejectedChanges
from proto.served_configuration import Kind, Kinds, UnusableResourceError, Values
from proto.sync_call import SyncCall


def open_session(
    identity: NodeIdentity,
    applier: Applier,
    control_planes: Sequence[str],
    tls: TlsIdentity | None,
    faults: FaultPort | None,
    clock: Callable[[], float],
) -> NodeSession:
    """The session of a program, with faults where it allows them. `clock`: that of the program, which may be wrong."""
    if faults is None:
        return NodeSession(identity, applier, control_planes, tls=tls, clock=clock)
    return FaultySession(identity, applier, control_planes, tls, faults, clock)


def refusing(kinds: Kinds, faults: FaultPort) -> Kinds:
    """The same kinds, none of which can be read anew while `reject-configuration` is in force. What is served already needs no reading."""

    def refused(read: Callable[[Message, Values], object]) -> Callable[[Message, Values], object]:
        def read_unless(message: Message, references: Values) -> object:
            fault = faults.in_force(REJECT_CONFIGURATION)
            if fault is not None:
                fault.times += 1
                raise UnusableResourceError(str(fault.parameters["reason"]))
            return read(message, references)

        return read_unless

    table: Mapping[int, Kind] = {number: replace(kind, read=refused(kind.read)) for number, kind in kinds.items()}
    return table


class LyingApplier:
    """An applier that leaves entries unapplied while `lying-acknowledgement` is in force, so that the session acknowledges what is not so.

    It does not lie about configuration for long: the checksum in the next heartbeat is that of what it has.
    """

    def __init__(self, applier: Applier, faults: FaultPort) -> None:
        self._applier = applier
        self._faults = faults
        self._has_lied = False

    def position(self) -> LogPosition:
        """See Applier. A stream begins with it, and with the truth."""
        self._has_lied = False
        return self._applier.position()

    def rejected(self) -> RejectedChanges:
        """See Applier."""
        return self._applier.rejected()

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """See Applier. It has everything, so that nothing is left to lie about."""
        self._applier.apply_snapshot(snapshot)
        self._has_lied = False

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """See Applier."""
        fault = self._faults.in_force(LYING_ACKNOWLEDGEMENT)
        if fault is not None:
            fault.times += 1
            self._has_lied = True
        elif self._has_lied:
            raise ConnectionResetError("the fault is over, and this entry is not the next one")
        else:
            self._applier.apply_entry(entry)

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """See Applier."""
        self._applier.apply_directory(directory)

    def lease_held(self, until: float) -> None:
        """See Applier."""
        self._applier.lease_held(until)

    def lease_lost(self) -> None:
        """See Applier."""
        self._applier.lease_lost()

    def load(self) -> tuple[int, int]:
        """See Applier."""
        return self._applier.load()

    def checksum(self) -> bytes:
        """See Applier."""
        return self._applier.checksum()


class FaultyCall:
    """A call whose messages arrive as the faults will have it. `read` is for one task; `close` comes after the last one."""

    def __init__(self, call: SyncCall, distortion: Distortion, clock: Callable[[], float]) -> None:
        self._call = call
        self._distortion = distortion
        self._clock = clock
        self._reading: asyncio.Future[object] | None = None
        self._given_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.write = call.write
        self.done_writing = call.done_writing

    def give_up(self, reason: str) -> None:
        """Have the stream end."""
        if not self._given_up.done():
            self._given_up.set_result(reason)

    def close(self) -> None:
        """Nobody reads any more."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def read(self) -> object:
        """See SyncCall."""
        while not self._given_up.done():
            now = self._clock()
            message = self._distortion.next_message(now)
            if message is not None:
                return message
            told = await self._next_from_call(now)
            if told is None:
                continue
            if not isinstance(told, sync_pb2.ControlMessage):
                return told
            self._distortion.received(told, self._clock())
        raise ConnectionResetError(self._given_up.result())

    async def _next_from_call(self, now: float) -> object | None:
        """None: something else is to be looked at first."""
        due_at = self._distortion.next_due_at
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        waiting = (self._reading, self._given_up)
        timeout = None if due_at is None else max(0.0, due_at - now)
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()


class FaultySession(NodeSession):
    """See the head of this file."""

    def __init__(
        self,
        identity: NodeIdentity,
        applier: Applier,
        control_planes: Sequence[str],
        tls: TlsIdentity | None,
        faults: FaultPort,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(identity, LyingApplier(applier, faults), control_planes, tls=tls, clock=clock)
        self._faults = faults
        self._call: FaultyCall | None = None
        for kind in LOG_KINDS:
            faults.when_changed(kind.name, partial(self._begin_anew_after, kind.name))

    def begin_anew(self, reason: str) -> None:
        """Give the stream up; the next one begins with what this node has then."""
        if self._call is not None:
            self._call.give_up(reason)

    def _begin_anew_after(self, kind: str) -> None:
        if self._faults.in_force(kind) is None:
            self.begin_anew(f"the fault {kind} is over: the log is asked for anew")

    async def _converse(self, call: SyncCall) -> str:
        faulty = self._call = FaultyCall(call, Distortion(self._faults.in_force), host_seconds)
        try:
            return await super()._converse(faulty)
        finally:
            faulty.close()
