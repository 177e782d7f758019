"""How far the log has been applied, for the management API and for people: DESIGN section 4, rules 5 and 6. See state.Deployment.

The API asks the database, whichever process it runs in: what is not durable is not told. The process that speaks with the nodes knows more, and says it at its admin
port.
"""

from control_plane.coordination import Coordinator
from control_plane.ledger import SqlLedger
from control_plane.nodes import Resource, ResourceKind
from control_plane.receipts import Receipt
from control_plane.store import SqlStore
from proto.resources import distribution_name


class LogDeployment:
    """Answers from what is saved of nodes and receipts."""

    def __init__(self, ledger: SqlLedger, store: SqlStore) -> None:
        self._ledger = ledger
        self._store = store

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """See state.Deployment."""
        return self._ledger.is_deployed(resources_of(self._store, distribution_id), index)

    def completed_index(self) -> int:
        """See state.Deployment. What has no durable receipt yet is pending."""
        return self._ledger.complete_up_to()


def resources_of(store: SqlStore, distribution_id: str) -> list[Resource]:
    """The distribution, and what it refers to: a node that refuses one of them does not serve it as it should be."""
    targets = store.references_of(distribution_name(distribution_id))
    references = [Resource(ResourceKind.of(target.kind), target.identifier) for target in targets]
    return [Resource(ResourceKind.DISTRIBUTION, distribution_id), *references]


def receipt_of(invalidation_id: str, coordinator: Coordinator | None, ledger: SqlLedger) -> Receipt | None:
    """The proof for one invalidation, complete or, where the nodes are known, so far."""
    pending = coordinator and coordinator.pending.find(invalidation_id, coordinator.nodes.values())
    return pending or ledger.receipt(invalidation_id)
