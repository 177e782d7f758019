"""The router's part in the change log: what it is told becomes durable first and is served from then on.

`proto.node_session.Applier`. Both the configuration and the directory are on disk, so that a router answers from what it
last knew even when it starts without a control plane. An OSError is left to the session, which starts the stream
over: what could not be made durable is neither served nor acknowledged.
"""

import logging
from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError, Message

from dns_router.configuration import Configuration, after_entry, build_zone, from_snapshot, to_snapshot, with_entry
from dns_router.counters import Counters
from dns_router.responder import Responder
from dns_router.state_files import StateFiles
from dns_router.translation import UnusableResourceError, live_edges
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition

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
        self._unroutable: list[str] = []

    def recover(self) -> None:
        """Serve what was last known, if anything."""
        snapshot = sync_pb2.Snapshot()
        if self._read(SNAPSHOT_FILE, snapshot):
            configuration, _ = from_snapshot(snapshot, self._configuration)
            self._publish(configuration)
            position = configuration.position
            _logger.info("recovered configuration %s:%d", position.log_id, position.index)
        directory = sync_pb2.Directory()
        if self._read(DIRECTORY_FILE, directory):
            self._publish_directory(directory)

    def position(self) -> LogPosition:
        """Where to continue. Invalidations move it in memory only: a router has no cache, so learning one again is harmless."""
        return self._configuration.position

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Replace everything that is configured."""
        configuration, rejections = from_snapshot(snapshot, self._configuration)
        self._files.write(SNAPSHOT_FILE, to_snapshot(configuration).SerializeToString())
        self._publish(configuration)
        _logger.info("applied snapshot %s:%d", snapshot.log_id, snapshot.index)
        for rejection in rejections:
            _logger.warning("not applied: %s", rejection)

    def apply_entry(self, entry: sync_pb2.Entry) -> str | None:
        """Apply one change; the reason when this router stays on the last good version of the resource."""
        previous = self._configuration
        try:
            configuration = with_entry(previous, entry)
        except UnusableResourceError as error:
            self._configuration = after_entry(previous, entry)
            _logger.warning("rejected entry %d: %s", entry.index, error)
            return str(error)
        if configuration.resources is previous.resources and configuration.settings is previous.settings:
            self._configuration = configuration
            return None
        self._files.write(SNAPSHOT_FILE, to_snapshot(configuration).SerializeToString())
        self._publish(configuration)
        return None

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """Replace who is alive."""
        self._files.write(DIRECTORY_FILE, directory.SerializeToString())
        self._publish_directory(directory)

    def load(self) -> tuple[int, int]:
        """Queries answered so far, and open TCP connections."""
        return self._counters.total(), self._counters.open_connections

    def _read(self, name: str, message: Message) -> bool:
        content = self._files.read(name)
        if content is None:
            return False
        try:
            message.ParseFromString(content)
        except DecodeError as error:
            _logger.warning("the state file %s was written by another version and is not used: %s", name, error)
            return False
        return True

    def _publish(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._responder.zone = build_zone(configuration, self._own_addresses)

    def _publish_directory(self, message: sync_pb2.Directory) -> None:
        self._responder.directory, unroutable = live_edges(message)
        if unroutable != self._unroutable:
            self._unroutable = unroutable
            if unroutable:
                _logger.warning("advertise no address and so cannot be in answers: %s", ", ".join(unroutable))
