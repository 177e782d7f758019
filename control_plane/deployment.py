"""How far the log has been applied, for the management API and for people: DESIGN section 4, rules 5 and 6. See state.Deployment."""

from control_plane.coordination import Coordinator
from control_plane.ledger import SqlLedger
from control_plane.nodes import Resource, ResourceKind
from control_plane.receipts import Receipt
from control_plane.store import SqlStore
from proto.resources import distribution_name


class LogDeployment:
    """Answers from the nodes' acknowledgements and the stored receipts."""

    def __init__(self, coordinator: Coordinator, ledger: SqlLedger, store: SqlStore) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._store = store

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """See state.Deployment."""
        return self._coordinator.is_deployed(self.resources_of(distribution_id), index)

    def resources_of(self, distribution_id: str) -> list[Resource]:
        """The distribution, and what it refers to: a node that refuses one of them does not serve it as it should be."""
        targets = self._store.references_of(distribution_name(distribution_id))
        references = [Resource(ResourceKind.of(target.kind), target.identifier) for target in targets]
        return [Resource(ResourceKind.DISTRIBUTION, distribution_id), *references]

    def completed_index(self) -> int:
        """See state.Deployment. What has no durable receipt yet is pending."""
        oldest_index = self._coordinator.pending.oldest_index
        return self._ledger.head_index if oldest_index is None else oldest_index - 1

    def receipt(self, invalidation_id: str) -> Receipt | None:
        """The proof for one invalidation, complete or so far."""
        pending = self._coordinator.pending.find(invalidation_id, self._coordinator.nodes.values())
        return pending or self._ledger.receipt(invalidation_id)
