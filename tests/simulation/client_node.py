"""A cache node with the product's ControlClient, over virtual files, in place of what `node.py` does with a disk beside it."""

from control_plane.nodes import Role
from edge_node.control.client import ClientFiles, ControlClient
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.rejected_changes import RejectedChanges
from proto.state_files import StateFileStatistics
from tests.simulation.disk import Disk
from tests.simulation.node import JOURNAL_GROWTH_BYTES, Node, NodeParts, NodeUpstream
from tests.simulation.virtual_files import VirtualFiles
from tests.simulation.world import Network, World

REGION = "us-east-1"


class DiskFiles(VirtualFiles):
    """On the disk of a node, which may end the process over each of them."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    def write(self, name: str, content: bytes, *, is_durable: bool = True) -> None:
        """See StateFiles: the old content or the new, whole."""
        try:
            self._disk.write(lambda: self.contents.update({name: content}), needs_room=True)
        except OSError:
            self.statistics.unwritten.add(name)
            raise
        self.statistics.unwritten.discard(name)

    def inside(self, name: str) -> VirtualFiles:
        """See StateFiles."""
        folder = self.folders.get(name)
        if folder is None:
            folder = self.folders[name] = DiskFiles(self._disk)
        return folder

    def remove(self, name: str) -> None:
        """See StateFiles."""
        self._disk.write(lambda: self.contents.pop(name, None), needs_room=False)

    def remove_folder(self, name: str) -> None:
        """See StateFiles."""
        self._disk.write(lambda: self.folders.pop(name, None), needs_room=False)


class ClientNode(Node):
    """Its session's Applier is the client, as far as the checker need not know what is applied."""

    def __init__(
        self,
        world: World,
        network: Network,
        named: tuple[str, Role, str],
        upstream: NodeUpstream,
        parts: tuple[NodeParts, type[ControlClient]],
    ) -> None:
        """See Node."""
        in_node, self._new_client = parts
        super().__init__(world, network, named, upstream, in_node)

    def restore(self) -> None:
        """See Node."""
        disk, cache = self.disk, self.cache
        if disk.files is None:
            disk.files = DiskFiles(disk)
        disk.files.statistics = StateFileStatistics()
        files = ClientFiles(disk.files, disk.journal, self.boot_id(), JOURNAL_GROWTH_BYTES)
        self._client = self._new_client(cache.state, REGION, files, self.load)
        if self._client.restore().is_warm:
            cache.load_entries()
            self.warm_starts_total += 1
            self.stamps_beyond_total += cache.stamps_beyond()

    def start(self) -> None:
        """See Node."""
        self.is_draining = False
        super().start()

    def copy_disk_of(self, other: Node) -> None:
        """See Node."""
        super().copy_disk_of(other)
        if other.disk.files is not None:
            self.disk.files = DiskFiles(self.disk)
            self.disk.files.copy_from(other.disk.files)

    def leave(self) -> None:
        """As SIGTERM does: it answers viewers until it is killed, or another one is started."""
        self.is_draining = True
        self.session.leave()

    # proto.node_session.Applier

    def position(self) -> LogPosition:
        """See Applier."""
        return self._client.position()

    def rejected(self) -> RejectedChanges:
        """See Applier."""
        return self._client.rejected()

    def checksum(self) -> bytes:
        """See Applier."""
        return self._client.checksum()

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """See Applier."""
        if self.is_wedged:
            raise OSError("wedged")
        self.furthest[entry.log_id] = max(entry.index, self.furthest.get(entry.log_id, -1))
        self._client.apply_entry(entry)
        self.world.tell("{} has applied entry {}", self.node_id, entry.index)
        self.cache.log_advanced()

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """See Applier."""
        self.furthest[snapshot.log_id] = max(snapshot.index, self.furthest.get(snapshot.log_id, -1))
        self._client.apply_snapshot(snapshot)
        self.world.tell("{} has applied a snapshot at {} {}", self.node_id, snapshot.log_id, snapshot.index)
        self.cache.log_advanced()

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """See Applier."""
        self.told_of.update(node.id for node in directory.nodes)
        self._client.apply_directory(directory)
        if not self.disk.is_full:
            self.disk.told_of = set(self.told_of)

    def use_lease(self, until: float) -> None:
        """See Node."""
        self._client.lease_held(until)

    def lease_lost(self) -> None:
        """See Applier."""
        self._client.lease_lost()
