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

from dns_router.configuration import Configuration, build_zone, from_kept, from_snapshot, to_kept, with_entry
from dns_router.counters import Counters
from dns_router.responder import Responder
from dns_router.translation import live_edges
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.rejected_changes import RejectedChanges, kind_name
from proto.state_files import StateFiles

SNAPSHOT_FILE: Final = "snapshot"
DIRECTORY_FILE: Final = "directory"

_logger = logging.getLogger(__name__)


class RouterApplier:
    """Applies what the control plane sends to the responder, on the event loop."""

    def __init__(
        self, files: StateFiles, responder: Responder, counters: Counters, own_addresses: Mapping[int, bytes]
    ) -> None:
        self._files = files
        self._responder = responder
        self._counters = counters
        self._own_addresses = own_addresses
        self._configuration = Configuration()
        self._directory = sync_pb2.Directory()
        self._unroutable: list[str] = []

    def recover(self) -> None:
        """Serve what was last known, if anything."""
        kept = self._files.read_message(SNAPSHOT_FILE, sync_pb2.KeptConfiguration())
        if kept is not None:
            self._publish(from_kept(kept))
            position = self.position()
            _logger.info("recovered configuration %s:%d", position.log_id, position.index)
        directory = self._files.read_message(DIRECTORY_FILE, sync_pb2.Directory())
        if directory is not None:
            self._publish_directory(directory)

    def position(self) -> LogPosition:
        """Where to continue: what is served, which may be newer than what is on disk."""
        return self._configuration.position

    def rejected(self) -> RejectedChanges:
        """What of the log is not served in its newest version."""
        return self._configuration.rejected

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Replace everything that is configured."""
        self._publish(from_snapshot(snapshot, self._configuration))
        _logger.info("applied snapshot %s:%d", snapshot.log_id, snapshot.index)
        for change in self._configuration.rejected.values():
            refused = change.rejection
            _logger.warning("%s %s stays as it was: %s", kind_name(int(refused.kind)), refused.id, refused.reason)
        self._write(SNAPSHOT_FILE)

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """Apply one change; `rejected` has its resource when this router stays on the last good version of it."""
        previous, changed = self._configuration, with_entry(self._configuration, entry)
        if changed.rejected is not previous.rejected:
            _log_rejection(changed.rejected, entry.index)
        is_served_changed = changed.resources is not previous.resources or changed.settings is not previous.settings
        if is_served_changed:
            self._publish(changed)
        self._configuration = changed
        if is_served_changed or changed.rejected is not previous.rejected:
            self._write(SNAPSHOT_FILE)

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """Replace who is alive."""
        self._publish_directory(directory)
        self._write(DIRECTORY_FILE)

    def lease_held(self, until: float) -> None:
        """A router answers with what it last knew, with a lease or without."""

    def lease_lost(self) -> None:
        """See `lease_held`."""

    def load(self) -> tuple[int, int]:
        """Queries answered so far, and open TCP connections."""
        return self._counters.total(), self._counters.open_connections

    def _write(self, changed: str) -> None:
        """Write a file that is out of date, and those that could not be written before. Said once, when it begins and when it is over."""
        unwritten = self._files.statistics.unwritten
        was_complete = not unwritten
        for name in sorted({changed, *unwritten}):
            try:
                self._files.write(name, self._content(name))
            except OSError as error:
                if was_complete:
                    _logger.warning("what is served cannot be written to disk, a restart would know less: %s", error)
        if not was_complete and not unwritten:
            _logger.info("what is served is on disk again")

    def _content(self, name: str) -> bytes:
        message = self._directory if name == DIRECTORY_FILE else to_kept(self._configuration)
        return message.SerializeToString()

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


def _log_rejection(rejected: RejectedChanges, index: int) -> None:
    for change in rejected.values():
        if change.rejection.index == index:
            _logger.warning("rejected entry %d: %s", index, change.rejection.reason)
