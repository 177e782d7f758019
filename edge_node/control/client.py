"""The node's side of the change log: applies entries to the serving state, and keeps on disk what was applied.

That is a file for each resource with its last good version and what was refused of it, and the invalidation journal. Everything is written before it is applied, and
applied before it is acknowledged (DESIGN section 4, rule 7). After a restart the files tell whether the node knows all that it knew before; if not, nothing that was
stored before is served.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_node.control.journal import GROWTH_BYTES, DiskJournalFile, InvalidationJournal, JournalFile
from edge_node.control.journal_codec import JournalEntry, JournalError
from edge_node.control.known_peers import KnownPeers
from edge_node.control.resource_kinds import KINDS, served_resources
from edge_node.control.resource_reader import read_peers
from edge_node.storage.disk.faulty_files import FaultyDisk
from edge_node.storage.node_state import InvalidatedPaths, NodeState, ServedResources
from proto.cdn.v1 import sync_pb2
from proto.host_clock import read_boot_id
from proto.log_position import LogPosition
from proto.rejected_changes import RejectedChanges
from proto.resource_files import ResourceFiles
from proto.resources import checksum_bytes, kind_name
from proto.served_configuration import Configuration, Kinds, from_kept, from_snapshot, tried_again, with_entry
from proto.state_files import StateFiles, nothing

logger = logging.getLogger(__name__)

DIRECTORY_FILE = "directory.binpb"
KNOWN_PEERS_FILE = "known-peers.binpb"
JOURNAL_FILE = "invalidations.journal"

_DISTRIBUTION = sync_pb2.RESOURCE_KIND_DISTRIBUTION


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a process found of the one before it."""

    has_configuration: bool
    """It serves from the last good snapshot."""
    is_warm: bool
    """It knows every invalidation that was acknowledged, so stored responses are worth what their stamps say. If not, `invalidate_everything` has been called."""


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """Where a node keeps what it knows of the log."""

    kept: StateFiles
    journal: JournalFile
    boot_id: str
    """Of the machine: another one, and a power loss may have taken what was written."""
    journal_growth_bytes: int = GROWTH_BYTES

    @classmethod
    def in_folder(cls, folder: Path, disk: FaultyDisk | None = None) -> "ClientFiles":
        """The state directory of a node on this machine. OSError when no file can be kept there. `disk`: of a node that allows faults."""
        before_write = nothing if disk is None else disk.take_room
        kept = StateFiles(folder, before_write)
        _check_that_files_can_be_kept(folder)
        return cls(kept, DiskJournalFile(folder / JOURNAL_FILE, before_write), read_boot_id())


class ControlClient:
    """Applies what the control plane sends."""

    def __init__(
        self,
        state: NodeState,
        region: str,
        place: Path | ClientFiles,
        load: Callable[[], tuple[int, int]],
        kinds: Kinds | None = None,
    ) -> None:
        """`place`: the state directory, or files elsewhere. `kinds`: how resources are read; None: as ever."""
        files = ClientFiles.in_folder(place) if isinstance(place, Path) else place
        self._state = state
        self._region = region
        self._kinds = KINDS if kinds is None else kinds
        self._files = files.kept
        self._resource_files = ResourceFiles(self._files)
        self._configuration = Configuration()
        self._known_peers = KnownPeers()
        self._journal_file = files.journal
        self._journal = InvalidationJournal(
            files.journal, state.invalidations, files.boot_id, files.journal_growth_bytes
        )
        self.file_statistics = self._files.statistics
        self.load = load
        """Requests so far and open connections, for heartbeats."""

    def restore(self) -> RestoreResult:
        """Serve from what is on disk until the control plane is heard.

        Where it cannot be told which invalidations came before, everything stored is invalidated, and no journal is begun until the control plane has sent a
        snapshot: until then the next process has forgotten just as much.
        """
        self._state.invalidations.epoch = int.from_bytes(os.urandom(7))  # no store on disk can be of it
        known = self._files.read_message(KNOWN_PEERS_FILE, sync_pb2.Directory())
        self._known_peers = KnownPeers(known.nodes if known is not None else ())
        directory = self._files.read_message(DIRECTORY_FILE, sync_pb2.Directory())
        self._put_directory(directory or sync_pb2.Directory())
        kept = self._resource_files.read()
        if kept is None:
            self._state.invalidate_everything()
            self._journal.discard()
            return RestoreResult(has_configuration=False, is_warm=False)
        found = from_kept(kept.position, kept.resources, self._kinds)
        self._resource_files.has_read(found)
        self._configuration = found
        position = found.position if kept.is_whole else LogPosition()
        try:
            if not kept.is_whole:
                raise JournalError("it is beside a configuration of which files are missing or damaged")
            self._journal.resume(position)
        except JournalError as error:
            logger.warning("what was stored before is void; the invalidation journal: %s", error)
            # Of a host that it does not know, a node at no position says that it is not configured, and not that nobody answers to that name.
            self._state.start_cold(position.log_id, position.index, self._served())
            self._journal.discard()
            return RestoreResult(has_configuration=True, is_warm=False)
        self._state.resume(position.log_id, position.index, self._served())
        return RestoreResult(has_configuration=True, is_warm=True)

    def close(self) -> None:
        """Close the files."""
        self._journal_file.close()

    # -- proto.node_session.Applier

    def position(self) -> LogPosition:
        """What this process has applied of which log and history; after a start, what the files on disk vouch for.

        A node that has forgotten knows nothing: it asks for a snapshot, and its lease from before ends as soon as the control plane hears of it.
        """
        return LogPosition() if self._state.has_forgotten else self._state.position

    def rejected(self) -> RejectedChanges:
        """What of the log is not served in its newest version."""
        return self._configuration.rejected

    def checksum(self) -> bytes:
        """Over all that is configured here, refused or not; empty until the control plane has been heard."""
        is_unknown = self._state.has_forgotten or not self._configuration.position.log_id
        return b"" if is_unknown else checksum_bytes(self._configuration.checksum)

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Everything anew; a resource that cannot be honoured is left as it was, if it was of the same log."""
        found = from_snapshot(snapshot, self._configuration, self._kinds)
        self._resource_files.write_anew(found)
        self._log_rejections(found.rejected)
        self._configuration = found
        self._state.replace(snapshot.log_id, snapshot.index, self._served())
        self._state.invalidations.put_digest(snapshot.digest)
        self._journal.begin(found.position)  # last: until then the old one does not fit the files

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """One entry; `rejected` has those of its resources that cannot be honoured. The index advances in any case."""
        changed = with_entry(self._configuration, entry, self._kinds)
        invalidated = [InvalidatedPaths(each.distribution_id, list(each.paths)) for each in entry.invalidations]
        if entry.changes:
            self._write(changed, invalidated)
            self._log_rejections(changed.rejected)
            self._configuration = changed
            self._state.apply(entry.index, self._served(), invalidated)
        else:
            self._journal.will_apply(JournalEntry(changed.position, invalidated))
            self._configuration = changed
            self._state.apply(entry.index, None, invalidated)
        self._state.invalidations.put_digest(entry.digest)

    def try_rejected_again(self) -> None:
        """What could not be honoured perhaps can be now. OSError when it cannot be kept; then nothing has changed."""
        if not self._configuration.rejected:
            return
        found = tried_again(self._configuration, self._kinds)
        self._resource_files.write(found)
        self._configuration = found
        self._state.apply(found.position.index, self._served())
        self._state.invalidations.put_digest(found.position.digest)

    def forget_stored(self) -> None:
        """Nothing that is stored is worth anything: it is void now, and the control plane is asked for a snapshot on the next stream."""
        self._state.has_forgotten = True
        self._state.invalidate_everything()

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """The nodes that hold a lease; kept on disk for a start without control plane, best effort."""
        has_met_somebody = self._put_directory(directory)
        try:
            self._files.write(DIRECTORY_FILE, directory.SerializeToString(), is_durable=False)
            if has_met_somebody or KNOWN_PEERS_FILE in self.file_statistics.unwritten:
                known = self._known_peers.everybody()
                self._files.write(KNOWN_PEERS_FILE, known.SerializeToString(), is_durable=False)
        except OSError as error:
            logger.warning("the directory of nodes could not be kept on disk: %s", error)

    def lease_held(self, until: float) -> None:
        """Until then no receipt comes without this node."""
        self._state.fence.leased(until)

    def lease_lost(self) -> None:
        """Receipts come without it from now on."""
        self._state.fence.lease_lost()

    # -- inside

    def _put_directory(self, directory: sync_pb2.Directory) -> bool:
        has_met_somebody = self._known_peers.meet(directory)
        self._state.put_directory(read_peers(directory), read_peers(self._known_peers.former()))
        return has_met_somebody

    def _served(self) -> ServedResources:
        return served_resources(self._configuration, self._region)

    def _write(self, changed: Configuration, invalidated: list[InvalidatedPaths]) -> None:
        """The journal says what is about to be written; it counts once the files are of its index."""
        removed = self._configuration.values(_DISTRIBUTION).keys() - changed.values(_DISTRIBUTION).keys()
        self._journal.will_configure(JournalEntry(changed.position, invalidated, sorted(removed)))
        self._resource_files.write(changed)
        self._journal.has_configured(changed.position)

    def _log_rejections(self, rejected: RejectedChanges) -> None:
        """Of those that are new."""
        for name, change in rejected.items():
            if change is not self._configuration.rejected.get(name):
                refused = change.rejection
                logger.warning("%s %s stays as it was: %s", kind_name(int(refused.kind)), refused.id, refused.reason)


def _check_that_files_can_be_kept(folder: Path) -> None:
    """Raises OSError for a folder where no file can be made."""
    trial = folder / "trial.new"
    trial.touch()
    trial.unlink()
