"""The node's side of the change log: applies entries to the serving state, and keeps the last good snapshot on disk.

Configuration is written before it is acknowledged (DESIGN section 4, rule 7). Invalidations are not written: cached responses live in memory only, so a node that
restarts has none from before, and asks for the entries after its snapshot again.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from edge_node.configuration import latencies_from, read_distribution, read_peers, read_snapshot
from edge_node.errors import RejectedResourceError
from edge_node.serving_state import ServingState
from proto.cdn.v1 import configuration_pb2, sync_pb2

logger = logging.getLogger(__name__)

_Message = TypeVar("_Message", sync_pb2.Snapshot, sync_pb2.Directory)

SNAPSHOT_FILE = "snapshot.binpb"
DIRECTORY_FILE = "directory.binpb"


class ControlClient:
    """Applies what the control plane sends."""

    def __init__(
        self, state: ServingState, region: str, state_directory: Path, load: Callable[[], tuple[int, int]]
    ) -> None:
        self._state = state
        self._region = region
        self._directory = state_directory
        self._snapshot = sync_pb2.Snapshot()
        self.load = load
        """Requests so far and open connections, for heartbeats."""
        state_directory.mkdir(parents=True, exist_ok=True)

    def restore(self) -> bool:
        """Serve from the last good snapshot until the control plane is heard; False when there is none."""
        directory = self._read(DIRECTORY_FILE, sync_pb2.Directory())
        if directory is not None:
            self._state.put_directory(read_peers(directory))
        snapshot = self._read(SNAPSHOT_FILE, sync_pb2.Snapshot())
        if snapshot is None:
            return False
        try:
            self._serve(snapshot)
        except RejectedResourceError as error:
            logger.warning("the snapshot on disk cannot be used: %s", error)
            return False
        return True

    # -- proto.node_session.Applier

    def position(self) -> tuple[str, int]:
        """Log and index that this process has applied; after a start, those of the snapshot on disk."""
        return self._state.log_id, self._state.applied_index

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """Everything anew; a distribution that cannot be honoured is left out, and said."""
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
        self._write(SNAPSHOT_FILE, usable)
        self._serve(usable)

    def apply_entry(self, entry: sync_pb2.Entry) -> str | None:
        """One entry; the reason when its resource is rejected. The index advances in any case."""
        index = entry.index
        match entry.WhichOneof("change"):
            case "invalidation":
                self._state.invalidate(index, entry.invalidation.distribution_id, entry.invalidation.paths)
                return None
            case "put_distribution":
                return self._put_distribution(index, entry.put_distribution)
            case "remove_distribution_id":
                self._keep_distributions(index, without=entry.remove_distribution_id)
                self._state.remove_distribution(index, entry.remove_distribution_id)
                return None
            case "put_routing_table":
                self._snapshot.routing_table.CopyFrom(entry.put_routing_table)
                self._save(index)
                self._state.put_latencies(index, latencies_from(self._region, entry.put_routing_table))
                return None
            case unknown:
                self._state.advance(index)
                return f"this node does not know entries of kind {unknown}"

    def apply_directory(self, directory: sync_pb2.Directory) -> None:
        """The nodes that hold a lease; kept on disk for a start without control plane, best effort."""
        self._state.put_directory(read_peers(directory))
        try:
            self._write(DIRECTORY_FILE, directory, is_durable=False)
        except OSError as error:
            logger.warning("the directory of nodes could not be kept on disk: %s", error)

    # -- inside

    def _put_distribution(self, index: int, message: configuration_pb2.Distribution) -> str | None:
        try:
            distribution = read_distribution(message)
        except RejectedResourceError as error:
            self._state.advance(index)
            return str(error)
        self._keep_distributions(index, without=message.id, added=message)
        self._state.put_distribution(index, distribution)
        return None

    def _keep_distributions(
        self, index: int, *, without: str, added: configuration_pb2.Distribution | None = None
    ) -> None:
        kept = [d for d in self._snapshot.distributions if d.id != without]
        del self._snapshot.distributions[:]
        self._snapshot.distributions.extend(kept if added is None else [*kept, added])
        self._save(index)

    def _save(self, index: int) -> None:
        self._snapshot.index = index
        self._write(SNAPSHOT_FILE, self._snapshot)

    def _serve(self, snapshot: sync_pb2.Snapshot) -> None:
        values = read_snapshot(snapshot)
        self._snapshot = snapshot
        self._state.replace(values, latencies_from(self._region, snapshot.routing_table))

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
