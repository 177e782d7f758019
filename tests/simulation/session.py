"""A process that follows the change log: `proto/node_session.py` over virtual time. The real NodeMachine decides."""

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from control_plane.coordination import Coordinator
from control_plane.nodes import NodeDescription
from proto.cdn.v1 import sync_pb2
from proto.node_machine import (
    ApplyDirectory,
    ApplyEntry,
    ApplySnapshot,
    Disconnect,
    Effect,
    LeaseHeld,
    LeaseLost,
    Load,
    NodeIdentity,
    NodeMachine,
    Send,
)
from proto.node_session import Applier
from proto.process_identity import NO_PROCESS, ProcessIdentity
from tests.simulation.disk import KilledError
from tests.simulation.world import Callback, Link, Network, World

NO_LOAD = Load()
WRITTEN_DOWN = ("entry", "snapshot")


class ControlPlane(Protocol):
    """The other end of a stream: `processes.py` has it."""

    coordinator: Coordinator | None
    """None while no process is there."""
    stall_probability: float

    def session_of(
        self, process: "Process", description: NodeDescription, machine: type[NodeMachine], applier: Applier
    ) -> "NodeEnd":
        """What a process that has just started speaks with it by."""

    def received(self, connection: "Connection", message: object) -> None:
        """A message has arrived."""

    def lost(self, connection: "Connection") -> None:
        """The stream has broken."""


class NodeEnd(Protocol):
    """A process' end of its streams: the model below, or the product's (`shells.py`)."""

    plane: ControlPlane
    is_refused: bool
    """No new stream can be opened, whatever the network says."""

    @property
    def machine(self) -> NodeMachine:
        """What decides."""

    def connect(self) -> None:
        """Begin."""

    def cut(self, *, silently: bool) -> None:
        """Lose the stream."""

    def disconnect(self) -> None:
        """The process ends."""

    def leave(self) -> None:
        """The process is told to end, and says so."""


class Process:
    """Something with a name that starts, is killed, stands still, and has a clock that is a little off."""

    def __init__(self, world: World, network: Network, node_id: str) -> None:
        self.world, self.network = world, network
        self.node_id = node_id
        self.place = node_id
        """Its name in the network."""
        self.is_up = False
        self.incarnation = 0
        self.started_at = 0.0
        self.identity = NO_PROCESS
        self.processes: set[int] = set()
        """Numbers of all that there have been."""
        self.rate = world.dice(node_id).uniform(0.94, 1.06)

    def clock(self) -> float:
        """Its own time."""
        return self.world.now * self.rate

    def begin(self, predecessors: tuple[int, ...]) -> None:
        """Another process of this name is there, which proves that those have ended."""
        self.network.has_ended(self.place)
        self.identity = ProcessIdentity(self.world.new_process(), predecessors)
        self.processes.add(self.identity.number)
        self.incarnation += 1
        self.is_up = True
        self.started_at = self.world.now

    def writing_seconds(self) -> float:
        """How long its disk takes for a file; nothing else is done meanwhile."""
        return 0.0

    def later(self, seconds: float, callback: Callback) -> None:
        """Unless this process has ended by then; later still if it stands still."""
        incarnation = self.incarnation

        def due() -> None:
            if self.is_up and self.incarnation == incarnation:
                callback()

        self.world.after(seconds, lambda: self.network.run_in(self.place, due))


def identity_of(description: NodeDescription, process: ProcessIdentity) -> NodeIdentity:
    """As the node says it."""
    return NodeIdentity(
        description.identifier,
        int(description.role),
        description.region,
        description.pop,
        description.http_address,
        description.admin_address,
        process,
    )


class Connection:
    """One Sync stream between a process and the control plane."""

    def __init__(self, session: "Session", plane: ControlPlane, stall_probability: float) -> None:
        self.session, self.plane = session, plane
        self.network = session.process.network
        self.node_id, self.description = session.process.node_id, session.description
        place = session.process.place
        self.up = Link(self.network, (place, "plane"), stall_probability, lambda message: plane.received(self, message))
        self.down = Link(
            self.network, ("plane", place), stall_probability, lambda message: session.received(self, message)
        )
        self.coordinator = plane.coordinator
        """The incarnation of the control plane that it leads to."""
        self.number = 0
        """What the coordinator calls the stream; 0 until Hello has arrived."""
        self.told_directory: int | None = None
        self.is_closed = False

    def silence(self, *, both_ways: bool) -> None:
        """Half-open: what the node says arrives no more, and perhaps what it is told; nobody is told that."""
        self.up.is_silent = True
        self.down.is_silent = both_ways

    def close(self) -> None:
        """Both ends notice, each when the news arrives."""
        if not self.is_closed:
            self.is_closed = self.up.is_closed = self.down.is_closed = True
            process, network = self.session.process, self.network
            world, place = process.world, process.place
            dice = world.dice(f"{place} closing")
            plane_hears, node_hears = partial(self.plane.lost, self), partial(self.session.lost, self)
            world.after(dice.uniform(0.0, 0.05), lambda: network.arrive(place, "plane", plane_hears))
            world.after(dice.uniform(0.0, 0.05), lambda: network.arrive("plane", place, node_hears))


class Session:
    """A process' end of its streams, one after the other; a new one for each process."""

    def __init__(
        self,
        process: Process,
        description: NodeDescription,
        plane: ControlPlane,
        machine: type[NodeMachine],
        applier: Applier,
    ) -> None:
        identity = identity_of(description, process.identity)
        self.process, self.description, self.plane = process, description, plane
        self._machine = machine(identity, applier.position(), process.incarnation)
        self.applier = applier
        self.is_refused = False
        """No new stream can be opened, whatever the network says."""
        self.connection: Connection | None = None
        self._incarnation = process.incarnation
        self._dice = process.world.dice(f"{process.node_id} connecting")

    @property
    def machine(self) -> NodeMachine:
        """See NodeEnd."""
        return self._machine

    def connect(self) -> None:
        """Open a stream, or try again soon."""
        process, plane = self.process, self.plane
        if self.connection is not None:
            return
        if plane.coordinator is None or self.is_refused or not process.network.reaches(process.place, "plane"):
            self._connect_later()
            return
        self.connection = Connection(self, plane, plane.stall_probability)
        process.world.tell(
            "{} opens a stream to the control plane at {}", process.node_id, self.applier.position().index
        )
        self._guarded(self.machine.connected(process.clock(), self.applier.position(), self.applier.rejected()))
        if self.connection is not None:
            self._tick(self.connection)

    def _connect_later(self) -> None:
        self.process.later(self._dice.uniform(0.05, 0.4), self.connect)

    def _tick(self, connection: Connection) -> None:
        if self.connection is not connection:
            return
        process = self.process
        self._guarded(self.machine.ticked(process.clock(), NO_LOAD))
        if self.connection is connection:
            seconds = max(0.001, (self.machine.next_tick_at - process.clock()) / process.rate)
            process.later(seconds, lambda: self._tick(connection))

    def received(self, connection: Connection, message: object) -> None:
        """A message of the control plane has arrived."""
        if self.connection is not connection or not isinstance(message, sync_pb2.ControlMessage):
            return
        process = self.process
        seconds = process.writing_seconds() if message.WhichOneof("kind") in WRITTEN_DOWN else 0.0
        if seconds:
            process.network.stand_still(process.place)
            carry_on = partial(process.network.go_on, process.place, partial(self._heard, connection, message))
            process.world.after(seconds, carry_on)
        else:
            self._heard(connection, message)

    def _heard(self, connection: Connection, message: sync_pb2.ControlMessage) -> None:
        if self.connection is connection and self._is_current():
            self._guarded(self.machine.received(message, self.process.clock()))

    def lost(self, connection: Connection) -> None:
        """The stream has broken."""
        if self.connection is connection and self._is_current():
            self.connection = None
            self._connect_later()

    def cut(self, *, silently: bool) -> None:
        """Lose the stream."""
        if self.connection is not None:
            if silently:
                self.connection.silence(both_ways=self._dice.random() < 0.5)
            else:
                self.connection.close()

    def disconnect(self) -> None:
        """The process ends, or starts over."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def leave(self) -> None:
        """Say that the node is going; the message is on its way when the process ends."""
        self._carry_out(self.machine.left())
        connection, self.connection = self.connection, None
        if connection is not None:
            self.process.world.after(0.1, connection.close)

    def start_over(self) -> None:
        """Give the stream up and connect again."""
        self.disconnect()
        self._connect_later()

    def _is_current(self) -> bool:
        return self.process.is_up and self.process.incarnation == self._incarnation

    def _guarded(self, effects: Iterable[Effect]) -> None:
        try:
            self._carry_out(effects)
        except KilledError:
            self.process.is_up = False
            self.disconnect()
        except OSError:  # not durable, so not applied and not acknowledged
            self.start_over()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        applier, machine = self.applier, self.machine
        for effect in effects:
            match effect:
                case Send(message):
                    if self.connection is not None:
                        self.connection.up.send(message)
                case ApplyEntry(entry):
                    applier.apply_entry(entry)
                    self._carry_out(machine.entry_applied(entry.index, applier.rejected()))
                case ApplySnapshot(snapshot):
                    applier.apply_snapshot(snapshot)
                    self._carry_out(machine.snapshot_applied(snapshot.log_id, snapshot.index, applier.rejected()))
                case ApplyDirectory(directory):
                    applier.apply_directory(directory)
                case LeaseHeld(until):
                    applier.lease_held(until)
                case LeaseLost():
                    applier.lease_lost()
                case Disconnect():
                    self.start_over()
                    return
