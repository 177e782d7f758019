"""Makes what a control plane needs to lead for one term, over a store that several may share."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from control_plane.admission import Admission
from control_plane.coordination import Coordinator
from control_plane.history import DirectoryHistory
from control_plane.leadership import Tenure
from control_plane.leases import LeaseRules, counted_seconds
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics
from control_plane.published_tables import PublishedTables
from control_plane.roles import Leading
from control_plane.settings import Settings
from control_plane.store import SqlStore, WriteFence
from control_plane.streams import StreamRules
from control_plane.sync import SyncService

SILENT_BEATS = 3
"""A stream is closed when its node has been silent for so many beats on top of a whole lease."""

Fence = Callable[[Connection, int], None]
"""Fails a transaction unless the term is still this one: see election.fence."""

_logger = logging.getLogger("control-plane")


@dataclass(frozen=True, slots=True)
class TermMaker:
    """What stays the same from term to term."""

    settings: Settings
    store: SqlStore
    clock: Callable[[], float]
    admission: Admission
    tables: PublishedTables
    fence: Fence | None
    history: DirectoryHistory | None = None

    async def begin(self, metrics: ControlMetrics, tenure: Tenure) -> Leading:
        """Begin as a control plane that was started anew: from what is committed now. StoreError when the database cannot be used."""
        store, settings = self.store, self.settings
        store.start_at_head()
        if store.is_copy:
            await self._wait_for_leases_of_before()
            store.become_another_log()
            store.start_at_head()
        store.is_new &= tenure.term <= 1  # else somebody has led since it was made
        fence = None if self.fence is None else _fence_of(self.fence, tenure.term)
        self.tables.publish(store, fence)
        ledger = SqlLedger(store, fence)
        coordinator = Coordinator(ledger, LeaseRules(settings.lease_seconds), self.clock())
        store.is_new = False  # for a term that comes after this one
        silence_seconds = settings.lease_seconds + SILENT_BEATS * settings.heartbeat_seconds
        settled = () if self.history is None else (self.history.settled,)
        sync = SyncService(
            store,
            coordinator,
            self.clock,
            self.admission,
            rules=StreamRules(silence_seconds, tenure.may_act, ledger.save_settled, *settled),
            on_completed=metrics.invalidation_completed,
        )
        if self.history is not None:
            self.history.leads(coordinator.nodes.values, sync.published_version)
        return Leading(tenure.term, coordinator, ledger, sync)

    async def _wait_for_leases_of_before(self) -> None:
        """A backup does not know the leases that were granted after it: nothing is said to be complete before all of them must be over."""
        seconds = counted_seconds(self.settings.lease_seconds)
        _logger.info("restored from a backup: another log in %.2f s, when every lease from before is over", seconds)
        await asyncio.sleep(seconds)


def _fence_of(fence: Fence, term: int) -> WriteFence:
    def of_term(connection: Connection) -> None:
        fence(connection, term)

    return of_term
