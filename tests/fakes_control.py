"""A store and a deployment in memory, for tests of the management API. `tests/contract/control_plane/test_state_store.py` holds the store to what the real one does."""

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from control_plane.resource_kinds import references_of
from control_plane.state import (
    BrokenReferenceError,
    Change,
    Delete,
    Document,
    Invalidate,
    InvalidationRecord,
    InvalidationsInProgress,
    InvalidationSummary,
    Put,
)
from proto.resources import ResourceName


class FakeInvalidations:
    """See state.Invalidations: a list, looked through each time."""

    def __init__(self, records: Sequence[InvalidationRecord]) -> None:
        self.records = list(records)

    def add(self, record: InvalidationRecord) -> None:
        """See state.Invalidations."""
        self.records.append(record)

    def get(self, identifier: str) -> InvalidationRecord | None:
        """See state.Invalidations."""
        return next((record for record in self.records if record.id == identifier), None)

    def with_reference(self, distribution_id: str, caller_reference: str) -> InvalidationRecord | None:
        """See state.Invalidations."""
        found = (each for each in self._of(distribution_id) if each.caller_reference == caller_reference)
        return next(found, None)

    def newest(
        self, distribution_id: str, limit: int, before_index: int | None = None
    ) -> Sequence[InvalidationSummary]:
        """See state.Invalidations."""
        found = [each for each in self._of(distribution_id) if before_index is None or each.index < before_index]
        return [InvalidationSummary(each.id, each.index, each.created_at) for each in found[::-1][:limit]]

    def in_progress(self, distribution_id: str, completed_index: int) -> InvalidationsInProgress:
        """See state.Invalidations."""
        found = [each for each in self._of(distribution_id) if each.index > completed_index]
        paths = [path for each in found for path in each.paths]
        wildcards = len([path for path in paths if path.endswith("*")])
        return InvalidationsInProgress(len(found), len(paths) - wildcards, wildcards)

    def forget_oldest(self, distribution_id: str, retained: int, completed_index: int) -> None:
        """See state.Invalidations."""
        kept = self._of(distribution_id)[-retained:]
        self.records = [
            each
            for each in self.records
            if each.distribution_id != distribution_id or each in kept or each.index > completed_index
        ]

    def forget_all(self, distribution_id: str) -> None:
        """See state.Invalidations."""
        self.records = [each for each in self.records if each.distribution_id != distribution_id]

    def _of(self, distribution_id: str) -> list[InvalidationRecord]:
        return [each for each in self.records if each.distribution_id == distribution_id]


class FakeTransaction:
    """See state.Transaction. Works on copies, which the store takes over at commit."""

    def __init__(
        self,
        documents: dict[tuple[str, str], Document],
        entries: list[tuple[Change, ...]],
        invalidations: Sequence[InvalidationRecord],
    ) -> None:
        self.documents = documents
        self.entries = entries
        self.invalidations = FakeInvalidations(invalidations)

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

    def append(self, *changes: Change) -> int:
        """See state.Transaction."""
        before, self.entries = self.entries, [*self.entries, changes]
        resources = self._resources()
        for name, body in resources.items():
            for target in references_of(name, body):
                if target not in resources:
                    self.entries = before
                    raise BrokenReferenceError(f"{name} refers to {target}, which is not there")
        return len(self.entries)

    def published(self, name: ResourceName) -> bytes | None:
        """See state.Transaction."""
        return self._resources().get(name)

    def references_of(self, name: ResourceName) -> Sequence[ResourceName]:
        """See state.Transaction."""
        body = self.published(name)
        return () if body is None else references_of(name, body)

    def referring_to(self, name: ResourceName) -> Sequence[ResourceName]:
        """See state.Transaction."""
        return [other for other, body in self._resources().items() if name in references_of(other, body)]

    def _resources(self) -> dict[ResourceName, bytes]:
        """What the log amounts to."""
        resources: dict[ResourceName, bytes] = {}
        for change in itertools.chain.from_iterable(self.entries):
            match change:
                case Put(name, body):
                    resources[name] = body
                case Delete(name):
                    resources.pop(name, None)
                case Invalidate():
                    pass
        return resources


class FakeStore:
    """See state.Store. `entries` is the log; the first has index 1."""

    has_one_writer = True

    def __init__(self) -> None:
        self.documents: dict[tuple[str, str], Document] = {}
        self.entries: list[tuple[Change, ...]] = []
        self.invalidations: list[InvalidationRecord] = []

    @contextmanager
    def transaction(self) -> Iterator[FakeTransaction]:
        """See state.Store."""
        transaction = FakeTransaction(dict(self.documents), self.entries, self.invalidations)
        yield transaction
        self.documents, self.entries = transaction.documents, transaction.entries
        self.invalidations = transaction.invalidations.records

    @property
    def changes(self) -> list[Change]:
        """Of all entries."""
        return [*itertools.chain.from_iterable(self.entries)]

    @contextmanager
    def view(self) -> Iterator[FakeTransaction]:
        """See state.Store."""
        yield FakeTransaction(dict(self.documents), list(self.entries), self.invalidations)


class FakeDeployment:
    """See state.Deployment: everything up to `applied_index` is applied everywhere."""

    def __init__(self) -> None:
        self.applied_index = 0
        self.refused_ids: set[str] = set()

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """See state.Deployment."""
        return index <= self.applied_index and distribution_id not in self.refused_ids

    def completed_index(self) -> int:
        """See state.Deployment."""
        return self.applied_index
