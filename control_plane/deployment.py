"""How far the log has been applied, for the management API and for people: DESIGN section 4, rules 5 and 6. See state.Deployment.

The API asks the database, whichever process it runs in: what is not durable is not told. The process that speaks with the nodes knows more, and says it at its admin
port.
"""

from control_plane.coordination import Coordinator
from control_plane.ledger import SqlLedger
from control_plane.nodes import Resource, ResourceKind
from control_plane.receipts import Receipt


class LogDeployment:
    """Answers from what is saved of nodes and receipts."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """See state.Deployment."""
        return self._ledger.is_deployed(Resource(ResourceKind.DISTRIBUTION, distribution_id), index)

    def completed_index(self) -> int:
        """See state.Deployment. What has no durable receipt yet is pending."""
        return self._ledger.completed_index()


def receipt_of(invalidation_id: str, coordinator: Coordinator | None, ledger: SqlLedger) -> Receipt | None:
    """The proof for one invalidation, complete or, where the nodes are known, so far."""
    pending = coordinator and coordinator.pending.find(invalidation_id, coordinator.nodes.values())
    return pending or ledger.receipt(invalidation_id)
