"""A store and a deployment in memory, for tests of the management API. `tests/contract/control_plane/test_state_store.py` holds the store to what the real one does."""

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from control_plane.state import Change, Document


class FakeTransaction:
    """See state.Transaction. Works on copies, which the store takes over at commit."""

    def __init__(self, documents: dict[tuple[str, str], Document], changes: list[Change]) -> None:
        self.documents = documents
        self.changes = changes

    def get(self, kind: str, identifier: str) -> Document | None:
        """See state.Transaction."""
        return copy.deepcopy(self.documents.get((kind, identifier)))

    def list(self, kind: str) -> Sequence[Document]:
        """See state.Transaction."""
        return [copy.deepcopy(document) for document in self.documents.values() if document.kind == kind]

    def put(self, document: Document) -> None:
        """See state.Transaction. A body is JSON."""
        body = json.loads(json.dumps(document.body))
        self.documents[document.kind, document.identifier] = Document(document.kind, document.identifier, body)

    def delete(self, kind: str, identifier: str) -> None:
        """See state.Transaction."""
        self.documents.pop((kind, identifier), None)

    def append(self, change: Change) -> int:
        """See state.Transaction."""
        self.changes.append(change)
        return len(self.changes)


class FakeStore:
    """See state.Store. `changes` is the log; the first has index 1."""

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.changes: list[Change] = []

    @contextmanager
    def transaction(self) -> Iterator[FakeTransaction]:
        """See state.Store."""
        transaction = FakeTransaction(dict(self.documents), list(self.changes))
        yield transaction
        self.documents, self.changes = transaction.documents, transaction.changes


class FakeDeployment:
    """See state.Deployment: everything up to `applied_index` is applied everywhere."""

    def __init__(self) -> None:
        self.applied_index = 0
        self.refused_ids: set[str] = set()
        self.moment = datetime(2026, 11, 21, tzinfo=UTC)

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """See state.Deployment."""
        return index <= self.applied_index and distribution_id not in self.refused_ids

    def completed_at(self, index: int) -> datetime | None:
        """See state.Deployment."""
        return self.moment if index <= self.applied_index else None
