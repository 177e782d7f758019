"""The node's side of the change log: applies entries to the serving state, and keeps on disk what was applied.

That is a file with the last good version of everything and what was refused, and the invalidation journal. Everything is written before it is applied, and applied
before it is acknowledged (DESIGN section 4, rule 7). After a restart the two files tell whether the node knows all that it knew before; if not, nothing that was stored
before is served.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_node.control.journal import DiskJournalFile, InvalidationJournal, read_boot_id
from edge_node.control.journal_codec import JournalError
from edge_node.control.known_peers import KnownPeers
from edge_node.control.last_good import LastGood, last_good, tried_again
from edge_node.control.snapshot_reader import latencies_from, read_distribution, read_geo_table, read_peers
from edge_node.model.errors import RejectedResourceError
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.rejected_changes import (
    GEO_TABLE,
    NOTHING_REJECTED,
    UNKNOWN,
    RejectedChanges,
    distribution_resource,
    has_learned_kinds,
    kind_name,
    with_rejected,
    without,
)
from proto.state_files import StateFiles

logger = logging.getLogger(__name__)

SNAPSHOT_FILE = "snapshot.binpb"
DIRECTORY_FILE = "directory.binpb"
KNOWN_PEERS_FILE = "known-peers.binpb"
JOURNAL_FILE = "invalidations.journal"


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a process found of the one before it."""

    has_configuration: bool
    """It serves from the last good snapshot."""
    is_warm: bool
    """It knows every invalidation that was acknowledged, so stored responses are worth what their stamps say. If not, `invalidate_everything` has been called."""


class ControlClient:
    """Applies what the control plane sends."""

    def __init__(
        self, state: NodeState, region: str, state_directory: Path, load: Callable[[], tuple[int, int]]
    ) -> None:
        self._state = state
        self._region = region
        self._files = StateFiles(state_directory)
        _check_that_files_can_be_kept(state_directory)
        self._snapshot = sync_pb2.Snapshot()
        self._rejected = NOTHING_REJECTED
        self._known_peers = KnownPeers()
        self._journal_file = DiskJournalFile(state_directory / JOURNAL_FILE)
        self._journal = InvalidationJournal(self._journal_file, state.invalidations, read_boot_id())
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
        kept = self._files.read_message(SNAPSHOT_FILE, sync_pb2.KeptConfiguration())
        if kept is None:
            self._state.invalidate_everything()
            self._journal.discard()
            return RestoreResult(has_configuration=False, is_warm=False)
        found = tried_again(kept)
        self._snapshot, self._rejected = found.message, found.rejected
        latencies = latencies_from(self._region, found.message.routing_table)
        try:
            self._resume_journal(found)
        except JournalError as error:
            logger.warning("what was stored before is void; the invalidation journal: %s", error)
            self._state.start_cold(found.values, latencies, found.geo_table)
            self._journal.discard()
            return RestoreResult(has_configuration=True, is_warm=False)
        self._state.resume(found.values, latencies, found.geo_table)
        return RestoreResult(has_configuration=True, is_warm=True)

    def _resume_journal(self, found: LastGood) -> None:
        if has_learned_kinds(found.rejected):
            raise JournalError("it passes over entries that this program understands and the one before did not")
        self._journal.resume(_position(found.message))

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
        return self._rejected

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Everything anew; a resource that cannot be honoured is left as it was, if it was of the same log."""
        before = self._snapshot if self._snapshot.log_id == snapshot.log_id else sync_pb2.Snapshot()
        chosen = last_good(snapshot, before)
        for change in chosen.rejected.values():
            refused = change.rejection
            logger.warning("%s %s stays as it was: %s", kind_name(int(refused.kind)), refused.id, refused.reason)
        self._write(chosen.message, chosen.rejected)
        self._snapshot, self._rejected = chosen.message, chosen.rejected
        latencies = latencies_from(self._region, chosen.message.routing_table)
        self._state.replace(chosen.values, latencies, chosen.geo_table)
        self._state.invalidations.put_digest(snapshot.digest)
        self._journal.begin(_position(snapshot))  # last: until then the old one does not fit the snapshot

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """One entry; `rejected` has its resource when that cannot be honoured. The index advances in any case."""
        self._apply_change(entry)
        self._state.invalidations.put_digest(entry.digest)

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

    def _apply_change(self, entry: sync_pb2.Entry) -> None:
        match entry.WhichOneof("change"):
            case "invalidation":
                self._invalidate(entry)
            case "put_distribution":
                self._put_distribution(entry)
            case "remove_distribution_id":
                self._remove_distribution(entry)
            case "put_routing_table":
                self._snapshot.routing_table.CopyFrom(entry.put_routing_table)
                self._save(entry, self._rejected)
                self._state.put_latencies(entry.index, latencies_from(self._region, entry.put_routing_table))
            case "put_geo_table":
                self._put_geo_table(entry)
            case _:
                self._pass_over(entry)

    def _invalidate(self, entry: sync_pb2.Entry) -> None:
        message = entry.invalidation
        paths = list(message.paths)
        self._journal.invalidated(_position(entry), message.distribution_id, paths)
        self._state.invalidate(entry.index, message.distribution_id, paths)

    def _remove_distribution(self, entry: sync_pb2.Entry) -> None:
        distribution_id = entry.remove_distribution_id
        self._keep_distributions(without_id=distribution_id)
        rejected = without(self._rejected, distribution_resource(distribution_id))
        self._save(entry, rejected, removed_distribution_id=distribution_id)
        self._state.remove_distribution(entry.index, distribution_id)

    def _put_distribution(self, entry: sync_pb2.Entry) -> None:
        message = entry.put_distribution
        try:
            distribution = read_distribution(message)
        except RejectedResourceError as error:
            self._reject(entry, str(error))
            return
        self._keep_distributions(without_id=message.id, added=message)
        self._save(entry, without(self._rejected, distribution_resource(message.id)))
        self._state.put_distribution(entry.index, distribution)

    def _put_geo_table(self, entry: sync_pb2.Entry) -> None:
        try:
            geo_table = read_geo_table(entry.put_geo_table)
        except RejectedResourceError as error:
            self._reject(entry, str(error))
            return
        self._snapshot.geo_table.CopyFrom(entry.put_geo_table)
        self._save(entry, without(self._rejected, GEO_TABLE))
        self._state.put_geo_table(entry.index, geo_table)

    def _reject(self, entry: sync_pb2.Entry, reason: str) -> None:
        """The last good version stays; the refused one is kept, to be tried by a newer program."""
        rejected = with_rejected(self._rejected, entry, reason)
        self._save(entry, rejected)
        self._state.advance(entry.index)
        logger.warning("entry %d is rejected, its resource stays as it was: %s", entry.index, reason)

    def _pass_over(self, entry: sync_pb2.Entry) -> None:
        """A kind from the future. That there was one is all that a newer program has to find: it asks for everything anew."""
        if UNKNOWN in self._rejected:
            self._journal.advanced(_position(entry))
            self._state.advance(entry.index)
        else:
            self._reject(entry, "this node does not know entries of this kind")

    def _keep_distributions(self, *, without_id: str, added: configuration_pb2.Distribution | None = None) -> None:
        kept = [d for d in self._snapshot.distributions if d.id != without_id]
        del self._snapshot.distributions[:]
        self._snapshot.distributions.extend(kept if added is None else [*kept, added])

    def _save(self, entry: sync_pb2.Entry, rejected: RejectedChanges, removed_distribution_id: str = "") -> None:
        self._journal.will_configure(_position(entry), removed_distribution_id)
        self._snapshot.index, self._snapshot.digest = entry.index, entry.digest
        self._write(self._snapshot, rejected)
        self._rejected = rejected
        self._journal.has_configured(_position(entry))

    def _write(self, served: sync_pb2.Snapshot, rejected: RejectedChanges) -> None:
        kept = sync_pb2.KeptConfiguration(served=served, rejected=rejected.values())
        self._files.write(SNAPSHOT_FILE, kept.SerializeToString())


def _position(message: sync_pb2.Snapshot | sync_pb2.Entry) -> LogPosition:
    """Where a node stands that has applied it."""
    return LogPosition(message.log_id, message.index, message.digest)


def _check_that_files_can_be_kept(folder: Path) -> None:
    """Raises OSError for a folder where no file can be made."""
    trial = folder / "trial.new"
    trial.touch()
    trial.unlink()
