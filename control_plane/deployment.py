"""How far the log has been applied, for the management API and for people: DESIGN section 4, rules 5 and 6. See state.Deployment."""

from collections import OrderedDict
from datetime import UTC, datetime

from control_plane.coordination import Coordinator
from control_plane.ledger import SqlLedger
from control_plane.nodes import Resource, ResourceKind
from control_plane.receipts import Receipt

REMEMBERED_COMPLETIONS = 10_000
"""Moments of completion kept in memory; a list of invalidations asks for many at once."""


class LogDeployment:
    """Answers from the nodes' acknowledgements and the stored receipts."""

    def __init__(self, coordinator: Coordinator, ledger: SqlLedger) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._completed_at: OrderedDict[int, datetime] = OrderedDict()

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """See state.Deployment."""
        return self._coordinator.is_deployed(Resource(ResourceKind.DISTRIBUTION, distribution_id), index)

    def completed_at(self, index: int) -> datetime | None:
        """See state.Deployment. What is complete once stays so."""
        known = self._completed_at.get(index)
        if known is not None:
            return known
        seconds = self._ledger.completed_at(index)
        if seconds is None:
            return None
        moment = self._completed_at[index] = datetime.fromtimestamp(seconds, UTC)
        if len(self._completed_at) > REMEMBERED_COMPLETIONS:
            self._completed_at.popitem(last=False)
        return moment

    def receipt(self, invalidation_id: str) -> Receipt | None:
        """The proof for one invalidation, complete or so far."""
        pending = self._coordinator.pending.find(invalidation_id, self._coordinator.nodes.values())
        return pending or self._ledger.receipt(invalidation_id)
