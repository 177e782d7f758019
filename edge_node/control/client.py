"""The node's side of the change log: applies entries to the serving state, and keeps on disk what was applied: the last good snapshot and the invalidation journal.

Everything is written before it is applied, and applied before it is acknowledged (DESIGN section 4, rule 7). After a restart the two files tell whether the
node knows all that it knew before; if not, nothing that was stored before is served.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from edge_node.control.journal import DiskJournalFile, InvalidationJournal, read_boot_id
from edge_node.control.journal_codec import JournalError
from edge_node.control.snapshot_reader import (
    latencies_from,
    read_distribution,
    read_geo_table,
    read_peers,
    read_snapshot,
)
from edge_node.model.errors import RejectedResourceError
from edge_node.policy.geo import GeoTable
from edge_node.policy.router import Snapshot
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition

logger = logging.getLogger(__name__)

_Message = TypeVar("_Message", sync_pb2.Snapshot, sync_pb2.Directory)

SNAPSHOT_FILE = "snapshot.binpb"
DIRECTORY_FILE = "directory.binpb"
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
        self._directory = state_directory
        _check_that_files_can_be_kept(state_directory)
        self._snapshot = sync_pb2.Snapshot()
        self._journal_file = DiskJournalFile(state_directory / JOURNAL_FILE)
        self._journal = InvalidationJournal(self._journal_file, state.invalidations, read_boot_id())
        self.load = load
        """Requests so far and open connections, for heartbeats."""

    def restore(self) -> RestoreResult:
        """Serve from what is on disk until the control plane is heard.

        Where it cannot be told which invalidations came before, everything stored is invalidated, and no journal is begun until the control plane has sent a
        snapshot: until then the next process has forgotten just as much.
        """
        self._state.invalidations.epoch = int.from_bytes(os.urandom(7))  # no store on disk can be of it
        directory = self._read(DIRECTORY_FILE, sync_pb2.Directory())
        if directory is not None:
            self._state.put_directory(read_peers(directory))
        snapshot = self._read(SNAPSHOT_FILE, sync_pb2.Snapshot())
        values = None if snapshot is None else _usable(snapshot)
        if snapshot is None or values is None:
            self._state.invalidate_everything()
            self._journal.discard()
            return RestoreResult(has_configuration=False, is_warm=False)
        self._snapshot = snapshot
        latencies = latencies_from(self._region, snapshot.routing_table)
        geo_table = _usable_geo_table(snapshot)
        try:
            self._journal.resume(_position(snapshot))
        except JournalError as error:
            logger.warning("what was stored before is void; the invalidation journal: %s", error)
            self._state.start_cold(values, latencies, geo_table)
            self._journal.discard()
            return RestoreResult(has_configuration=True, is_warm=False)
        self._state.resume(values, latencies, geo_table)
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

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Everything anew; a distribution that cannot be honoured is left out, and said; a table of countries that cannot be read leaves the one of before."""
        usable = sync_pb2.Snapshot()
        usable.CopyFrom(snapshot)
        del usable.distributions[:]
        for distribution in snapshot.distributions:
            try:
                read_distribution(distribution)
            except RejectedResourceError as error:
                logger.warning("distribution %s is left out: %s", distribution.id, error)
            else:
                usable.distributions.append(distribution)
        geo_table = self._choose_geo_table(usable)
        values = read_snapshot(usable)
        self._write(SNAPSHOT_FILE, usable)
        self._snapshot = usable
        self._state.replace(values, latencies_from(self._region, usable.routing_table), geo_table)
        self._state.invalidations.put_digest(usable.digest)
        self._journal.begin(_position(usable))  # last: until then the old one does not fit the snapshot

    def apply_entry(self, entry: sync_pb2.Entry) -> str | None:
        """One entry; the reason when its resource is rejected. The index advances in any case."""
        rejection = self._apply_change(entry)
        self._state.invalidations.put_digest(entry.digest)
        return rejection

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """The nodes that hold a lease; kept on disk for a start without control plane, best effort."""
        self._state.put_directory(read_peers(directory))
        try:
            self._write(DIRECTORY_FILE, directory, is_durable=False)
        except OSError as error:
            logger.warning("the directory of nodes could not be kept on disk: %s", error)

    # -- inside

    def _apply_change(self, entry: sync_pb2.Entry) -> str | None:
        match entry.WhichOneof("change"):
            case "invalidation":
                self._invalidate(entry)
                return None
            case "put_distribution":
                return self._put_distribution(entry)
            case "remove_distribution_id":
                self._remove_distribution(entry)
                return None
            case "put_routing_table":
                self._snapshot.routing_table.CopyFrom(entry.put_routing_table)
                self._save(entry)
                self._state.put_latencies(entry.index, latencies_from(self._region, entry.put_routing_table))
                return None
            case "put_geo_table":
                return self._put_geo_table(entry)
            case unknown:
                self._advance(entry)
                return f"this node does not know entries of kind {unknown}"

    def _invalidate(self, entry: sync_pb2.Entry) -> None:
        message = entry.invalidation
        paths = list(message.paths)
        self._journal.invalidated(_position(entry), message.distribution_id, paths)
        self._state.invalidate(entry.index, message.distribution_id, paths)

    def _advance(self, entry: sync_pb2.Entry) -> None:
        self._journal.advanced(_position(entry))
        self._state.advance(entry.index)

    def _remove_distribution(self, entry: sync_pb2.Entry) -> None:
        distribution_id = entry.remove_distribution_id
        self._keep_distributions(without=distribution_id)
        self._save(entry, removed_distribution_id=distribution_id)
        self._state.remove_distribution(entry.index, distribution_id)

    def _put_distribution(self, entry: sync_pb2.Entry) -> str | None:
        message = entry.put_distribution
        try:
            distribution = read_distribution(message)
        except RejectedResourceError as error:
            self._advance(entry)
            return str(error)
        self._keep_distributions(without=message.id, added=message)
        self._save(entry)
        self._state.put_distribution(entry.index, distribution)
        return None

    def _put_geo_table(self, entry: sync_pb2.Entry) -> str | None:
        try:
            geo_table = read_geo_table(entry.put_geo_table)
        except RejectedResourceError as error:
            self._advance(entry)
            return str(error)
        self._snapshot.geo_table.CopyFrom(entry.put_geo_table)
        self._save(entry)
        self._state.put_geo_table(entry.index, geo_table)
        return None

    def _choose_geo_table(self, snapshot: sync_pb2.Snapshot) -> GeoTable:
        """The table of a snapshot, which gets the last good one of the same log if its own cannot be read (DESIGN section 3)."""
        try:
            return read_geo_table(snapshot.geo_table)
        except RejectedResourceError as error:
            logger.warning("the table of countries is left as it was: %s", error)
        if snapshot.log_id != self._snapshot.log_id:
            snapshot.ClearField("geo_table")
            return GeoTable()
        snapshot.geo_table.CopyFrom(self._snapshot.geo_table)
        return self._state.geo_table

    def _keep_distributions(self, *, without: str, added: configuration_pb2.Distribution | None = None) -> None:
        kept = [d for d in self._snapshot.distributions if d.id != without]
        del self._snapshot.distributions[:]
        self._snapshot.distributions.extend(kept if added is None else [*kept, added])

    def _save(self, entry: sync_pb2.Entry, removed_distribution_id: str = "") -> None:
        self._journal.will_configure(_position(entry), removed_distribution_id)
        self._snapshot.index, self._snapshot.digest = entry.index, entry.digest
        self._write(SNAPSHOT_FILE, self._snapshot)
        self._journal.has_configured(_position(entry))

    def _read(self, name: str, message: _Message) -> _Message | None:
        try:
            message.ParseFromString((self._directory / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DecodeError) as error:
            logger.warning("%s on disk cannot be read: %s", name, error)
            return None
        return message

    def _write(self, name: str, message: sync_pb2.Snapshot | sync_pb2.Directory, *, is_durable: bool = True) -> None:
        """Replace a file in one step: after a crash it is the old or the new one, never half."""
        path = self._directory / name
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(message.SerializeToString())
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if is_durable:
            folder = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _position(message: sync_pb2.Snapshot | sync_pb2.Entry) -> LogPosition:
    """Where a node stands that has applied it."""
    return LogPosition(message.log_id, message.index, message.digest)


def _check_that_files_can_be_kept(folder: Path) -> None:
    """Raises OSError for a folder that cannot be made, or where no file can be."""
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / "trial.new"
    trial.touch()
    trial.unlink()


def _usable(snapshot: sync_pb2.Snapshot) -> Snapshot | None:
    try:
        return read_snapshot(snapshot)
    except RejectedResourceError as error:
        logger.warning("the snapshot on disk cannot be used: %s", error)
        return None


def _usable_geo_table(snapshot: sync_pb2.Snapshot) -> GeoTable:
    """Of a snapshot on disk, where a node that was stricter may find what it would not have written: without a table nobody's country is known."""
    try:
        return read_geo_table(snapshot.geo_table)
    except RejectedResourceError as error:
        logger.warning("viewers have no country: %s", error)
        snapshot.ClearField("geo_table")
        return GeoTable()
