"""A control plane without its management API, in the test's own event loop, and nodes for it: real sockets, real database, real NodeSession."""

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from control_plane.admission import Admission
from control_plane.coordination import Coordinator
from control_plane.deployment import LogDeployment, receipt_of
from control_plane.grpc_port import GrpcPort
from control_plane.leases import LeaseRules
from control_plane.ledger import SqlLedger
from control_plane.receipts import Receipt
from control_plane.resource_kinds import put_distribution
from control_plane.state import Change, Invalidate, Put
from control_plane.store import SqlStore
from control_plane.streams import StreamRules
from control_plane.sync import SyncService
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.host_clock import HostClock
from proto.log_position import LogPosition
from proto.node_session import NodeIdentity, NodeSession
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges, rejected_change
from proto.resources import changed_name, put_change

HOST = f"127.11.{int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}.1"
MOST_CONNECTIONS = 4_096
_PORTS = itertools.count(20_000)


def free_port() -> int:
    """A port that nobody listens on: each is given out once, below those that the system gives to clients, on an address of this test process."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise AssertionError("unreachable: the count has no end")


async def until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


class ControlPlane:
    """Everything of a control plane that nodes see."""

    def __init__(self, folder: Path, lease_seconds: float, retained_entries: int) -> None:
        self.clock = HostClock()
        self.store = SqlStore(folder, self.clock, retained_entries=retained_entries, anchor=self.clock.anchor)
        self.ledger = SqlLedger(self.store)
        self.coordinator = Coordinator(self.ledger, LeaseRules(lease_seconds), self.clock())
        self.deployment = LogDeployment(self.ledger, self.store)
        self.completed: list[Receipt] = []
        self.admission = Admission("cdn.localhost", is_certified=False)
        self.service = SyncService(
            self.store,
            self.coordinator,
            self.clock,
            self.admission,
            rules=StreamRules(lease_seconds * 2, save_settled=self.ledger.save_settled),
            on_completed=self.completed.append,
        )

    def append(self, *changes: Change) -> int:
        """Commit one entry."""
        with self.store.transaction() as transaction:
            return transaction.append(*changes)

    def invalidate(self, identifier: str, *paths: str) -> int:
        """Commit one invalidation."""
        return self.append(Invalidate(invalidation(identifier, *paths)))

    def receipt(self, identifier: str) -> Receipt | None:
        """As the admin port says it."""
        return receipt_of(identifier, self.coordinator, self.ledger)

    def rejections(self, node_id: str) -> dict[str, tuple[int, str]]:
        """Index and reason of what the node refuses, by id of the distribution."""
        refused = self.coordinator.nodes[node_id].rejections.values()
        return {rejection.resource.identifier: (rejection.index, rejection.reason) for rejection in refused}

    def is_live(self, node_id: str) -> bool:
        """Whether the node holds a lease for the control plane."""
        record = self.coordinator.nodes.get(node_id)
        return record is not None and record.is_live


@contextlib.asynccontextmanager
async def control_plane(
    folder: Path, port: int, *, lease_seconds: float = 5.0, retained_entries: int = 10_000
) -> AsyncIterator[ControlPlane]:
    """A running control plane; at the end it is gone as after kill -9: nothing more is written."""
    plane = ControlPlane(folder, lease_seconds, retained_entries)
    server = GrpcPort(plane.service.serve, MOST_CONNECTIONS, passes_on=plane.admission.may_pass_on)
    with contextlib.closing(plane.store):
        await server.start(f"{HOST}:{port}")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(plane.service.run())
            try:
                yield plane
            finally:
                running.cancel()
                await server.stop(0.2)


class MemoryApplier:
    """A node that remembers what it was told; `is_wedged` makes it fail as a full disk does."""

    def __init__(self) -> None:
        self.log_id, self.index, self.digest = "", 0, b""
        self.snapshots: list[sync_pb2.Snapshot] = []
        self.entries: list[sync_pb2.Entry] = []
        self.directory: tuple[str, ...] = ()
        self.rejected_distribution_ids: set[str] = set()
        """What it cannot honour."""
        self.refused: RejectedChanges = NOTHING_REJECTED
        self.is_wedged = False

    def position(self) -> LogPosition:
        """See node_session.Applier."""
        return LogPosition(self.log_id, self.index, self.digest)

    def rejected(self) -> RejectedChanges:
        """See node_session.Applier."""
        return self.refused

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """See node_session.Applier."""
        self._may_write()
        self.snapshots.append(snapshot)
        self.log_id, self.index, self.digest = snapshot.log_id, snapshot.index, snapshot.digest
        self.refused = NOTHING_REJECTED
        for resource in snapshot.resources:
            self._judge(put_change(resource), resource.revision)

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """See node_session.Applier."""
        self._may_write()
        self.entries.append(entry)
        self.index, self.digest = entry.index, entry.digest
        for change in entry.changes:
            self._judge(change, entry.index)

    def _judge(self, change: sync_pb2.Change, index: int) -> None:
        name = changed_name(change)
        if change.put.id in self.rejected_distribution_ids:
            self.refused = {**self.refused, name: rejected_change(change, index, "cannot honour it")}
        elif name in self.refused:
            self.refused = {known: refused for known, refused in self.refused.items() if known != name}

    def lease_held(self, until: float) -> None:
        """Nothing is stored here."""

    def lease_lost(self) -> None:
        """Nothing is stored here."""

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """See node_session.Applier."""
        self.directory = tuple(node.id for node in directory.nodes)

    def checksum(self) -> bytes:
        """See node_session.Applier. It cannot tell."""
        return b""

    def load(self) -> tuple[int, int]:
        """See node_session.Applier."""
        return 0, 0

    def _may_write(self) -> None:
        if self.is_wedged:
            raise OSError("no space left on device")


class Node:
    """A session and what it has applied."""

    def __init__(self, node_id: str, port: int | Sequence[int], applier: MemoryApplier | None = None) -> None:
        """`port` of a control plane, or those of several."""
        self.applier = applier or MemoryApplier()
        address = [f"{HOST}:{each}" for each in ([port] if isinstance(port, int) else port)]
        identity = NodeIdentity(node_id, sync_pb2.ROLE_EDGE, "us-east-1", "IAD89-P1", "127.0.1.1:80", "127.0.1.1:81")
        self.session = NodeSession(identity, self.applier, address)
        self.node_id = node_id


@contextlib.asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """The nodes' sessions run; at the end they are gone without a word."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(node.session.run()) for node in nodes]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def invalidation(identifier: str, *paths: str) -> configuration_pb2.Invalidation:
    """One to append."""
    return configuration_pb2.Invalidation(id=identifier, distribution_id="D1", paths=paths or ("/*",))


def put(identifier: str) -> Put:
    """A distribution to append."""
    return put_distribution(configuration_pb2.Distribution(id=identifier, domain_name=f"{identifier}.cdn.localhost"))
