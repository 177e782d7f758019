"""The router's part in the change log: what it is told is served first and written after.

`proto.node_session.Applier`. Both the configuration and the directory are on disk, so that a router answers from what it
last knew even when it starts without a control plane. A disk that does not take them never keeps an old truth alive: to name
dead edges because their end could not be written would be worse than to know less after a restart. It is acknowledged all the
same: a router has no cache that could be stale, and one that is started again says the position that is on its disk, so that
it learns again what was lost (DESIGN section 3).
"""

import logging
from collections.abc import Mapping
from typing import Final

from dns_router.configuration import KINDS, build_zone
from dns_router.counters import Counters
from dns_router.responder import Responder
from dns_router.translation import live_edges
from proto.cdn.v1 import sync_pb2
from proto.lab_clock import ahead_of
from proto.log_position import LogPosition
from proto.rejected_changes import RejectedChanges
from proto.resource_files import POSITION_FILE, ResourceFiles
from proto.resources import checksum_bytes, kind_name
from proto.served_configuration import Configuration, Kinds, from_kept, from_snapshot, tried_again, with_entry
from proto.state_files import StateFiles

DIRECTORY_FILE: Final = "directory"

_logger = logging.getLogger(__name__)


class RouterApplier:
    """Applies what the control plane sends to the responder, on the event loop."""

    def __init__(
        self,
        files: StateFiles,
        responder: Responder,
        counters: Counters,
        own_addresses: Mapping[int, bytes],
        kinds: Kinds = KINDS,
    ) -> None:
        """`kinds`: how resources are read."""
        self._kinds = kinds
        self._files = files
        self._resource_files = ResourceFiles(files)
        self._is_unwritten_anew = False
        """What is on disk is of another snapshot."""
        self._responder = responder
        self._counters = counters
        self._own_addresses = own_addresses
        self._configuration = Configuration()
        self._is_damaged = False
        """Some of it was lost with its file: all of it has to be told anew."""
        self._directory = sync_pb2.Directory()
        self._unroutable: list[str] = []

    def recover(self) -> None:
        """Serve what was last known, if anything."""
        kept = self._resource_files.read()
        if kept is not None:
            found = from_kept(kept.position, kept.resources, self._kinds)
            self._resource_files.has_read(found)
            self._is_damaged = not kept.is_whole
            self._publish(found)
            _logger.info("recovered configuration %s:%d", kept.position.log_id, kept.position.index)
        directory = self._files.read_message(DIRECTORY_FILE, sync_pb2.Directory())
        if directory is not None:
            self._publish_directory(directory)

    @property
    def served(self) -> LogPosition:
        """Where what is served stands, whatever else is known."""
        return self._configuration.position

    @property
    def directory_version(self) -> int:
        """Of the directory that is answered by; 0: none is."""
        return self._directory.version

    @property
    def routable(self) -> list[str]:
        """Ids of the edges that may be named, sorted."""
        edges = {node.id for node in self._directory.nodes if node.role == sync_pb2.ROLE_EDGE}
        return sorted(edges.difference(self._unroutable))

    def position(self) -> LogPosition:
        """Where to continue: what is served, which may be newer than what is on disk."""
        return LogPosition() if self._is_damaged else self._configuration.position

    def rejected(self) -> RejectedChanges:
        """What of the log is not served in its newest version."""
        return self._configuration.rejected

    def checksum(self) -> bytes:
        """Over all that is configured here, refused or not; empty until something is known."""
        return checksum_bytes(self._configuration.checksum) if self.position().log_id else b""

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Replace everything that is configured."""
        before = self._configuration
        self._publish(from_snapshot(snapshot, before, self._kinds))
        self._is_damaged = False
        _logger.info("applied snapshot %s:%d", snapshot.log_id, snapshot.index)
        self._log_rejections(before)
        self._is_unwritten_anew = True
        self._write(POSITION_FILE)

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """Apply one entry; `rejected` has those of its resources of which this router stays on the last good version."""
        before, changed = self._configuration, with_entry(self._configuration, entry, self._kinds)
        if entry.changes:
            self._publish(changed)
            self._log_rejections(before)
            self._write(POSITION_FILE)
        else:
            self._configuration = changed

    def try_rejected_again(self) -> None:
        """What could not be honoured perhaps can be now."""
        if not self._configuration.rejected:
            return
        self._publish(tried_again(self._configuration, self._kinds))
        self._write(POSITION_FILE)

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """Replace who is alive."""
        self._publish_directory(directory)
        self._write(DIRECTORY_FILE)

    def lease_held(self, until: float) -> None:
        """A router answers with what it last knew, with a lease or without."""

    def lease_lost(self) -> None:
        """See `lease_held`."""

    @property
    def clock_ahead_seconds(self) -> float:
        """How far the lab's wall clock is ahead of the true one."""
        return ahead_of(self._configuration)

    def load(self) -> tuple[int, int]:
        """Queries answered so far, and open TCP connections."""
        return self._counters.total(), self._counters.open_connections

    def _write(self, changed: str) -> None:
        """Write a file that is out of date, and those that could not be written before. Said once, when it begins and when it is over."""
        unwritten = self._files.statistics.unwritten
        was_complete = not unwritten
        for name in sorted({changed, *unwritten}):
            try:
                self._write_file(name)
            except OSError as error:
                if was_complete:
                    _logger.warning("what is served cannot be written to disk, a restart would know less: %s", error)
        if not was_complete and not unwritten:
            _logger.info("what is served is on disk again")

    def _write_file(self, name: str) -> None:
        if name == DIRECTORY_FILE:
            self._files.write(name, self._directory.SerializeToString())
        elif self._is_unwritten_anew:
            self._resource_files.write_anew(self._configuration)
            self._is_unwritten_anew = False
        else:
            self._resource_files.write(self._configuration)

    def _publish(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._responder.zone = build_zone(configuration, self._own_addresses)

    def _publish_directory(self, message: sync_pb2.Directory) -> None:
        self._directory = message
        self._responder.directory, unroutable = live_edges(message)
        if unroutable != self._unroutable:
            self._unroutable = unroutable
            if unroutable:
                _logger.warning("advertise no address and so cannot be in answers: %s", ", ".join(unroutable))

    def _log_rejections(self, before: Configuration) -> None:
        """Of those that are new."""
        for name, change in self._configuration.rejected.items():
            if change is not before.rejected.get(name):
                refused = change.rejection
                _logger.warning("%s %s stays as it was: %s", kind_name(int(refused.kind)), refused.id, refused.reason)
