"""What nodes have acknowledged is saved soon, for those who read it in another process: whether something is deployed is read from there. Nothing of it is a promise, so
it is saved for many nodes at once, and what all have acknowledged as one number (decisions 25 and 27)."""

import asyncio
from collections.abc import Callable, Iterable

from control_plane.coordination import Coordinator
from control_plane.nodes import NodeRecord
from control_plane.state import StoreError
from control_plane.unsaved import SAVE_AGAIN_SECONDS

SAVE_PAUSE_SECONDS = 0.05
SAVE_SECONDS_PER_NODE = 100e-6
"""Time between two writes, beside those that cannot wait, by the nodes that are written."""


class AcknowledgementSaving:
    """`run` must run for as long as nodes are heard."""

    def __init__(
        self, coordinator: Coordinator, clock: Callable[[], float], save_settled: Callable[[int], None]
    ) -> None:
        """`save_settled` is ledger.SqlLedger's."""
        self._coordinator = coordinator
        self._clock = clock
        self._save_settled = save_settled
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """There may be something to save."""
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled. What the database does not take is tried again: nothing else may come for hours, and whether something is deployed is read there."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(SAVE_PAUSE_SECONDS + self._coordinator.unsaved_nodes * SAVE_SECONDS_PER_NODE)
            if not self._is_saved():
                self._wanted.set()
                await asyncio.sleep(SAVE_AGAIN_SECONDS)

    def _is_saved(self) -> bool:
        """What is refused is saved before what is acknowledged."""
        if not self._coordinator.save_changes(self._clock()):
            return False
        try:
            self._save_settled(_settled_index(self._coordinator.nodes.values()))
        except StoreError:
            return False
        return True


def _settled_index(nodes: Iterable[NodeRecord]) -> int:
    """All live nodes have acknowledged everything up to here, and whoever gets a first lease later stands at the head (`leases.py`); 0 when there is none."""
    return max(0, min((node.acknowledged_index for node in nodes if node.is_live), default=0))
