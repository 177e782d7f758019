"""The simulated control plane: the real Coordinator and the real directory around a database that outlives it. It crashes, restarts, stands still and loses nodes."""

from control_plane.coordination import Coordinator, FromEntries
from control_plane.directory import DirectoryFrames
from control_plane.leases import Granted, LeaseRules
from control_plane.nodes import NodeDescription, Role
from control_plane.receipts import IssuedInvalidation
from control_plane.session_messages import to_process
from control_plane.state import StoreError
from control_plane.succession import NameTakenError
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import NodeMachine
from proto.node_session import Applier
from tests.builders import resource_message
from tests.simulation.router import DISTRIBUTION, ROUTING_TABLE
from tests.simulation.session import Connection, NodeEnd, Process, Session
from tests.simulation.stored import DISTRIBUTION_ID
from tests.simulation.world import MemoryLedger, Network, World


class Plane:
    """The control plane process, and the database that outlives it."""

    def __init__(
        self,
        world: World,
        network: Network,
        ledger: MemoryLedger,
        coordinator: type[Coordinator],
        rules: LeaseRules,
        stall_probability: float = 0.0,
    ) -> None:
        self.world, self.network = world, network
        self.ledger = ledger
        self.stall_probability = stall_probability
        self._new_coordinator = coordinator
        self._rules = rules
        self.connections: dict[str, Connection] = {}
        self.coordinator: Coordinator | None = None
        self.clock_offset_seconds = 0.0
        """Of the machine's wall clock. A process reads it when it starts (clock.py); a step while it runs is not seen."""
        self._started_with_seconds = 0.0
        self._directory = DirectoryFrames()
        self._check_at = 0.0
        self._dice = world.dice("plane")

    def clock(self) -> float:
        """SteadyClock."""
        return self.world.now + self._started_with_seconds

    def start(self) -> None:
        """Come up over the database as it is."""
        self.world.tell("the control plane starts at entry {}", self.ledger.head_index)
        self._started_with_seconds = self.clock_offset_seconds
        self._directory = DirectoryFrames()
        self._check_at = 0.0
        self.coordinator = self._new_coordinator(self.ledger, self._rules, self.clock())
        self._settle()

    def crash(self) -> None:
        """As kill -9 does."""
        if self.coordinator is not None:
            self.world.tell("the control plane is killed")
        self.coordinator = None
        self.ledger.is_new = False
        for connection in list(self.connections.values()):
            connection.close()
        self.connections.clear()

    def session_of(
        self, process: Process, description: NodeDescription, machine: type[NodeMachine], applier: Applier
    ) -> NodeEnd:
        """See session.ControlPlane."""
        return Session(process, description, self, machine, applier)

    def restore(self, backup: MemoryLedger, log_id: str) -> None:
        """Have an older copy of the database. One that was made as a backup becomes another log when it is opened; one that was copied by hand does not."""
        self.ledger = backup
        if log_id != backup.log_id:
            backup.become_another_log(log_id)

    def is_live(self, node_id: str) -> bool:
        """Whether the control plane has the node in its directory."""
        record = self.coordinator.nodes.get(node_id) if self.coordinator else None
        return record is not None and record.is_live

    def process_of(self, name: str) -> int:
        """Number of the process that a line of a receipt is about."""
        assert self.coordinator is not None
        return self.coordinator.nodes[name].process

    def invalidate(self, identifier: str, paths: tuple[str, ...]) -> bool:
        """Commit an invalidation and push it; False when nobody is there to do it, or it cannot be written."""
        if self.coordinator is None or self.ledger.is_full:
            return False
        index = self.ledger.head_index + 1
        entry = sync_pb2.Entry(log_id=self.ledger.log_id, index=index)
        entry.invalidations.add(id=identifier, distribution_id=DISTRIBUTION_ID, paths=paths)
        self._commit(entry, IssuedInvalidation(identifier, DISTRIBUTION_ID, index, paths, self.clock()))
        return True

    def configure(self) -> None:
        """Commit an entry of another kind."""
        if self.coordinator is not None and not self.ledger.is_full:
            entry = sync_pb2.Entry(log_id=self.ledger.log_id, index=self.ledger.head_index + 1)
            entry.changes.add(put=resource_message(ROUTING_TABLE, entry.index))
            self._commit(entry, None)

    def _commit(self, entry: sync_pb2.Entry, issued: IssuedInvalidation | None) -> None:
        assert self.coordinator is not None
        self.ledger.append(issued, entry, self.world.now)
        self.coordinator.committed(entry.index, self.clock(), issued)
        for connection in self.connections.values():
            self._push(connection, entry)
        self._settle()

    def received(self, connection: Connection, message: object) -> None:
        """A message of a node has arrived."""
        coordinator = self.coordinator
        if coordinator is None or coordinator is not connection.coordinator:
            return
        assert isinstance(message, sync_pb2.NodeMessage)
        now, node_id, number = self.clock(), connection.node_id, connection.number
        match message.WhichOneof("kind"):
            case "hello":
                self._introduced(connection, message.hello)
            case "acknowledgement":
                coordinator.acknowledged(node_id, number, message.acknowledgement.index, now)
            case "heartbeat":
                self.beat(coordinator, connection, message.heartbeat)
            case "leaving":
                coordinator.left(node_id, number, now)
        self._settle()

    def beat(self, coordinator: Coordinator, connection: Connection, heartbeat: sync_pb2.Heartbeat) -> None:
        """A heartbeat has arrived."""
        coordinator.beat(connection.node_id, connection.number, heartbeat.sequence, self.clock())

    def lost(self, connection: Connection) -> None:
        """A stream has broken."""
        node_id = connection.node_id
        if self.coordinator is not None and self.coordinator is connection.coordinator and connection.number:
            self.coordinator.disconnected(node_id, connection.number, self.clock())
        if self.connections.get(node_id) is connection:
            del self.connections[node_id]

    def _introduced(self, connection: Connection, hello: sync_pb2.Hello) -> None:
        assert self.coordinator is not None
        position = LogPosition(hello.log_id, hello.applied_index, hello.digest)
        try:
            connection.number, catch_up = self.coordinator.connected(
                connection.description, position, self.clock(), to_process(hello), hello.incarnation
            )
        except (StoreError, NameTakenError) as error:
            self.world.tell("the control plane refuses a process of {}: {}", connection.node_id, error)
            connection.close()
            return
        replaced = self.connections.get(connection.node_id)
        if replaced is not None:
            replaced.close()
        self.connections[connection.node_id] = connection
        if isinstance(catch_up, FromEntries):
            for entry in self.ledger.entries[catch_up.after_index :]:
                self._push(connection, entry)
        else:
            head_index = self.ledger.head_index
            digest = self.ledger.digest_at(head_index) or b""
            snapshot = sync_pb2.Snapshot(log_id=self.ledger.log_id, index=head_index, digest=digest)
            if connection.description.role is Role.DNS_ROUTER:
                snapshot.resources.extend(resource_message(body, 1) for body in (DISTRIBUTION, ROUTING_TABLE))
            connection.down.send(sync_pb2.ControlMessage(snapshot=snapshot))
        self._send_directory(connection)

    def _push(self, connection: Connection, entry: sync_pb2.Entry) -> None:
        message = sync_pb2.ControlMessage(entry=entry)
        connection.down.send(message)
        if self._dice.random() < 0.05:
            connection.down.send(message)  # a duplicate

    def _settle(self) -> None:
        if self.coordinator is None:
            return
        settlement = self.coordinator.settle(self.clock())
        for node_id, answer in settlement.answers.items():
            lease = sync_pb2.Lease(sequence=answer.sequence, head_index=answer.head_index)
            if isinstance(answer.decision, Granted):
                lease.is_granted = True
                lease.duration_milliseconds = round(answer.decision.duration_seconds * 1000)
            connection = self.connections.get(node_id)
            if connection is not None:
                connection.down.send(sync_pb2.ControlMessage(lease=lease))
        if settlement.is_directory_changed:
            self._directory.update(self.coordinator.live_nodes())
            for connection in self.connections.values():
                self._send_directory(connection)
        self._check_later(self.coordinator.next_check_at)

    def _send_directory(self, connection: Connection) -> None:
        """What the node lacks of it."""
        frame = self._directory.since(connection.told_directory)
        if frame is not None:
            connection.told_directory = self._directory.version
            connection.down.send(sync_pb2.ControlMessage.FromString(frame))

    def _check_later(self, check_at: float) -> None:
        now = self.clock()
        if self._check_at <= now or check_at < self._check_at:
            self._check_at = check_at
            self.world.after(max(0.0, check_at - now), lambda: self.network.run_in("plane", self._settle))
