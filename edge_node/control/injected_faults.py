"""The faults that an edge or a regional cache can be told to suffer, where it was started with `--allow-faults` (docs/faults.md). What they do is elsewhere."""

import logging
from collections.abc import Callable
from typing import Final

from edge_node.control.client import ClientFiles, ControlClient
from edge_node.control.resource_kinds import KINDS_OF_A_LAB
from edge_node.storage.disk.faulty_files import DISK_TIER_KINDS, STATE_FOLDER_KINDS
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import sync_pb2
from proto.clock_faults import DRIFT_KIND, OFFSET_KIND
from proto.fault_port import FaultPort
from proto.faulty_session import refusing
from proto.injected_faults import FaultKind
from proto.log_distortion import LOG_KINDS, REJECT_CONFIGURATION

STALE: Final = "stale-regional"

KINDS: Final[tuple[FaultKind, ...]] = (*LOG_KINDS, FaultKind(STALE), OFFSET_KIND, DRIFT_KIND, *STATE_FOLDER_KINDS)

logger = logging.getLogger(__name__)


def faults_of(disk_bytes: int, seed: int | None, *, is_allowed: bool) -> FaultPort | None:
    """Of a node; with its seed what is chance in them repeats."""
    return FaultPort(kinds_of(disk_bytes), seed=seed) if is_allowed else None


def kinds_of(disk_bytes: int) -> tuple[FaultKind, ...]:
    """Of a node with a disk tier of that size, or without one: nothing is accepted that would hit nothing."""
    return (*KINDS, *DISK_TIER_KINDS) if disk_bytes else KINDS


def open_client(
    state: NodeState, region: str, files: ClientFiles, load: Callable[[], tuple[int, int]], faults: FaultPort | None
) -> ControlClient:
    """The client of a program, with faults where it allows them."""
    return (
        ControlClient(state, region, files, load)
        if faults is None
        else FaultyClient(state, region, files, load, faults)
    )


class FaultyClient(ControlClient):
    """A client whose node can be made to refuse configuration, and to apply entries without what they invalidate.

    What was stored meanwhile is judged by no invalidation, and its stamps say that it was. So no other process may trust what this one leaves on its disk, from the
    first invalidation that is ignored; and when the fault is over, all of it is void.
    """

    def __init__(
        self, state: NodeState, region: str, files: ClientFiles, load: Callable[[], tuple[int, int]], faults: FaultPort
    ) -> None:
        super().__init__(state, region, files, load, refusing(KINDS_OF_A_LAB, faults))
        self._faults = faults
        self._has_ignored = False
        faults.when_changed(STALE, self._stale_changed)
        faults.when_changed(REJECT_CONFIGURATION, self._rejecting_changed)

    def apply_entry(self, entry: sync_pb2.Entry) -> None:
        """See ControlClient."""
        fault = self._faults.in_force(STALE)
        if fault is None or not entry.invalidations:
            super().apply_entry(entry)
            return
        fault.times += 1
        self._has_ignored = True
        self._journal.distrust()
        without = sync_pb2.Entry()
        without.CopyFrom(entry)
        del without.invalidations[:]
        super().apply_entry(without)

    def apply_snapshot(self, snapshot: sync_pb2.Snapshot) -> None:
        """See ControlClient. It voids everything by itself."""
        super().apply_snapshot(snapshot)
        self._has_ignored = False

    def _stale_changed(self) -> None:
        if self._has_ignored and self._faults.in_force(STALE) is None:
            self._has_ignored = False
            self.forget_stored()

    def _rejecting_changed(self) -> None:
        if self._faults.in_force(REJECT_CONFIGURATION) is None:
            try:
                self.try_rejected_again()
            except OSError as error:
                logger.warning("what was refused stays so until the next change: %s", error)
