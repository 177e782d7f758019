"""The product's own shells in a run: SyncService with its streams as the control plane, NodeSession in each node and in the router, over virtual calls. In place of the
models of `processes.py` and `session.py`, which are quicker."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import grpc.aio

from control_plane.admission import Admission
from control_plane.grpc_calls import Call, CallHandler
from control_plane.nodes import NodeDescription
from control_plane.receipts import IssuedInvalidation, Receipt
from control_plane.streams import StreamRules
from control_plane.sync import SyncService
from edge_node.control.client import ControlClient
from proto.cdn.v1 import sync_pb2
from proto.node_machine import Effect, NodeMachine
from proto.node_session import Applier, NodeSession
from tests.simulation.disk import KilledError
from tests.simulation.plan import LEASE_SECONDS, PLANE
from tests.simulation.processes import Plane
from tests.simulation.router import ZONE
from tests.simulation.session import ControlPlane, NodeEnd, Process, identity_of
from tests.simulation.virtual_calls import Connection
from tests.simulation.virtual_channel import Channel
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.virtual_store import VirtualStore
from tests.simulation.world import World

SILENCE_SECONDS = LEASE_SECONDS * 1.6
"""As `term.py` makes it of a lease of five beats."""
LOST_NEWS = 0.1
"""How often the control plane is not told that another process has committed something, and finds it when it looks."""
NEWS_SECONDS = (0.0, 0.01)
NOBODYS = "nobody's"
ADDRESSES = (("the one",), ("the one",), ("the one", "the same"), ("the one", NOBODYS))
"""Where there are several, nodes are less patient, and go from one to the next."""


class VirtualSession(NodeSession):
    """NodeSession with virtual channels."""

    shell: "ShellSession"

    @property
    def machine(self) -> NodeMachine:
        """What decides."""
        return self._machine

    def belong_to(self, shell: "ShellSession", machine: type[NodeMachine]) -> None:
        """A process, and the code under test."""
        self.shell = shell
        self._machine = machine(self._identity, self._applier.position(), self._rng.getrandbits(63) | 1)

    def _open_channel(self) -> grpc.aio.Channel:
        return self.shell.open_channel(self._control_plane)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        try:
            super()._carry_out(effects)
        except KilledError:
            self.shell.killed()
            raise


@dataclass(frozen=True, slots=True)
class ShellParts:
    """The code under test; a planted bug replaces one of them."""

    service: type[SyncService] = SyncService
    session: type[VirtualSession] = VirtualSession
    client: type[ControlClient] = ControlClient


class ShellSession:
    """A process' end of its streams. See session.NodeEnd."""

    def __init__(self, process: Process, plane: ControlPlane, shells: "Shells", session: VirtualSession) -> None:
        self.process, self.plane = process, plane
        self.is_refused = False
        self._shells, self._session = shells, session
        self._loop = VirtualLoop(process.world, process.network, process.place, process.rate)
        self._connection: Connection | None = None
        self._dice = process.world.dice(f"{process.place} connecting")

    @property
    def machine(self) -> NodeMachine:
        """See NodeEnd."""
        return self._session.machine

    def connect(self) -> None:
        """See NodeEnd."""
        self._loop.start(self._session.run())

    def open_channel(self, address: str) -> grpc.aio.Channel:
        """A new connection."""
        process = self.process
        process.world.tell("{} opens a stream to the control plane at {}", process.node_id, self._session.applied_index)
        self._connection = Connection(process, self._loop, self._shells)
        return Channel(self._connection, is_refused=self.is_refused or address == NOBODYS).as_real()

    def cut(self, *, silently: bool) -> None:
        """See NodeEnd."""
        if self._connection is None:
            return
        if silently:
            self._connection.silence(both_ways=self._dice.random() < 0.5)
        else:
            self._connection.break_off()

    def disconnect(self) -> None:
        """See NodeEnd."""
        if not self._loop.is_dead:
            self.end()
            if self._connection is not None:
                self._connection.left_by_node()

    def end(self) -> None:
        """Nothing is done any more."""
        self._loop.kill()

    def leave(self) -> None:
        """See NodeEnd."""
        self._loop.start(self._leave())

    async def _leave(self) -> None:
        await self._session.leave()
        self.disconnect()

    def killed(self) -> None:
        """In the middle of an operation on a file."""
        self.process.is_up = False
        self.disconnect()


class ShellPlane(Plane):
    """The control plane process, and the database that outlives it."""

    shells: "Shells"
    loop: VirtualLoop | None = None
    """Of the process; None while there is none."""
    service: SyncService | None = None

    def start(self) -> None:
        """See Plane."""
        self.world.tell("the control plane starts at entry {}", self.ledger.head_index)
        self._started_with_seconds = self.clock_offset_seconds
        self.loop = VirtualLoop(self.world, self.network, PLANE)
        self._begin_term(self.loop)

    def _begin_term(self, loop: VirtualLoop) -> None:
        """See term.TermMaker.begin."""
        store = VirtualStore(self.ledger, self.clock)
        self.coordinator = self._new_coordinator(store, self._rules, self.clock())
        self.service = self.shells.parts.service(
            store,
            self.coordinator,
            self.clock,
            Admission(ZONE, is_certified=False),
            rules=StreamRules(SILENCE_SECONDS, save_settled=store.save_settled),
            on_completed=_nobody,
        )
        loop.start(self._serve(loop, self.service))

    async def _serve(self, loop: VirtualLoop, service: SyncService) -> None:
        await service.run()
        self._begin_term(loop)  # it has lost track of the log

    def crash(self) -> None:
        """See Plane."""
        if self.loop is not None:
            self.world.tell("the control plane is killed")
            self.end()
            self.shells.leave_all()
        self.coordinator = self.loop = self.service = None
        self.ledger.is_new = False

    def end(self) -> None:
        """Nothing is done any more."""
        if self.loop is not None:
            self.loop.kill()

    def session_of(
        self, process: Process, description: NodeDescription, machine: type[NodeMachine], applier: Applier
    ) -> NodeEnd:
        """See session.ControlPlane."""
        session = self.shells.parts.session(
            identity_of(description, process.identity),
            applier,
            self.shells.addresses,
            clock=process.clock,
            rng=process.world.dice(f"session of {process.place}"),
        )
        shell = ShellSession(process, self, self.shells, session)
        session.belong_to(shell, machine)
        self.shells.begin(shell)
        return shell

    # The process that answers the management API

    def _commit(self, entry: sync_pb2.Entry, issued: IssuedInvalidation | None) -> None:
        self.ledger.append(issued, entry, self.world.now)
        if self._dice.random() >= LOST_NEWS:
            self.world.after(self._dice.uniform(*NEWS_SECONDS), partial(self.network.run_in, PLANE, self._log_grew))

    def _log_grew(self) -> None:
        if self.loop is not None and self.service is not None:
            self.loop.enter(self.service.log_grew)


def _nobody(_receipt: Receipt) -> None:
    """The ledger has said it."""


class Shells:
    """Of one run. See virtual_calls.Listener: whatever control plane is at the address now."""

    def __init__(self, world: World, parts: ShellParts) -> None:
        self.parts = parts
        self.addresses = world.dice("addresses").choice(ADDRESSES)
        """Of control planes, as nodes know them."""
        self._planes: list[ShellPlane] = []
        self._sessions: dict[Process, ShellSession] = {}
        self._accepted: dict[Connection, None] = {}

    def at_address(self, plane: ShellPlane) -> None:
        """Connections lead there from now on."""
        plane.shells = self
        self._planes.append(plane)

    def begin(self, session: ShellSession) -> None:
        """A process has started; whatever is left of the one before it ends."""
        before = self._sessions.get(session.process)
        if before is not None:
            before.disconnect()
        self._sessions[session.process] = session

    def end(self) -> None:
        """The run is over: nothing is left of it."""
        for plane in self._planes:
            plane.end()
        for session in self._sessions.values():
            session.end()

    @property
    def stall_probability(self) -> float:
        """See Listener."""
        return self._planes[-1].stall_probability

    @property
    def loop(self) -> VirtualLoop | None:
        """See Listener."""
        return self._planes[-1].loop

    def serve(self, call: Call) -> CallHandler:
        """See Listener."""
        service = self._planes[-1].service
        assert service is not None
        return service.serve(call)

    def accepted(self, connection: Connection) -> None:
        """See Listener."""
        self._accepted[connection] = None

    def closed(self, connection: Connection) -> None:
        """See Listener."""
        self._accepted.pop(connection, None)

    def leave_all(self) -> None:
        """The control plane's process has ended."""
        accepted, self._accepted = self._accepted, {}
        for connection in accepted:
            connection.left_by_plane()
