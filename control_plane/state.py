"""What the management API needs of the rest of the control plane: documents, the change log, and how far it has been applied.

The API (`aws_api/`) is written against these protocols; `store.py` and `deployment.py` are what stands behind them. All of it is called on the event
loop's thread of the API's own process and blocks only for a database write: management calls are rare.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from proto.cdn.v1 import configuration_pb2
from proto.resources import ResourceName

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """One resource of the management API as it is stored; `body` is JSON and belongs to the API alone."""

    kind: str
    identifier: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class Put:
    """A resource is new, or in place of its version before; `body` is the serialized message of its kind. `resource_kinds.py` makes them."""

    name: ResourceName
    body: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """A resource is gone from every node."""

    name: ResourceName


@dataclass(frozen=True, slots=True)
class Invalidate:
    """Drop what matches these paths from every cache."""

    invalidation: configuration_pb2.Invalidation


Change = Put | Delete | Invalidate


class BrokenReferenceError(Exception):
    """The entry would leave a resource that refers to one which is not there; the message names both. It is a mistake of the caller, and nothing has changed."""


@dataclass(frozen=True, slots=True)
class InvalidationRecord:
    """One invalidation as the management API remembers it; it never changes."""

    id: str
    distribution_id: str
    index: int
    paths: tuple[str, ...]
    caller_reference: str
    created_at: datetime

    @property
    def wildcard_paths(self) -> int:
        """Paths that end with a wildcard, which have a quota of their own."""
        return sum(path.endswith("*") for path in self.paths)

    @property
    def file_paths(self) -> int:
        """All others."""
        return len(self.paths) - self.wildcard_paths


@dataclass(frozen=True, slots=True)
class InvalidationSummary:
    """What a list tells of one."""

    id: str
    index: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class InvalidationsInProgress:
    """Of one distribution, together: what quotas are about."""

    batches: int
    file_paths: int
    wildcard_paths: int


class Invalidations(Protocol):
    """The invalidations that are remembered, in the order of the log. `completed_index` is that of Deployment."""

    def add(self, record: InvalidationRecord) -> None:
        """A new one. Its id, and its caller reference within its distribution, are not taken."""

    def get(self, identifier: str) -> InvalidationRecord | None:
        """The invalidation, or None."""

    def with_reference(self, distribution_id: str, caller_reference: str) -> InvalidationRecord | None:
        """The one that was asked for under this name, or None."""

    def newest(
        self, distribution_id: str, limit: int, before_index: int | None = None
    ) -> Sequence[InvalidationSummary]:
        """At most so many of one distribution, newest first; those before an index only, if one is given."""

    def in_progress(self, distribution_id: str, completed_index: int) -> InvalidationsInProgress:
        """Those of one distribution that are not complete."""

    def forget_oldest(self, distribution_id: str, retained: int, completed_index: int) -> None:
        """Remove the complete ones of one distribution that are older than its newest `retained`."""

    def forget_all(self, distribution_id: str) -> None:
        """Remove all of one distribution."""


class Transaction(Protocol):
    """Reads and writes that take effect together or not at all."""

    @property
    def invalidations(self) -> Invalidations:
        """The history of the log's invalidations, by distribution."""

    def get(self, kind: str, identifier: str) -> Document | None:
        """The document, or None."""

    def list(self, kind: str) -> Sequence[Document]:
        """All documents of one kind, oldest first."""

    def put(self, document: Document) -> None:
        """Insert or replace."""

    def delete(self, kind: str, identifier: str) -> None:
        """Remove; nothing happens when it is not there."""

    def append(self, *changes: Change) -> int:
        """Add one entry to the log; its index. Its changes hold or fail as a whole: at most one for each resource, and one invalidation at most, since receipts are by
        index. BrokenReferenceError when something would refer to nothing. Nodes are told after the transaction has committed."""

    def published(self, name: ResourceName) -> bytes | None:
        """The body of what the log amounts to, or None."""

    def references_of(self, name: ResourceName) -> Sequence[ResourceName]:
        """What a published resource refers to."""

    def referring_to(self, name: ResourceName) -> Sequence[ResourceName]:
        """Which published resources refer to it."""


class StoreError(Exception):
    """The database cannot be used, so nothing has changed; the message says why."""


class Store(Protocol):
    """Everything that survives kill -9."""

    @property
    def has_one_writer(self) -> bool:
        """Whether a change waits for everybody else who writes, and they for it."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits when the block ends, rolls back when it raises. StoreError when the disk does not take it."""

    def view(self) -> AbstractContextManager[Transaction]:
        """What is committed at one moment, for those who only look: they wait for nobody, and nobody for them. StoreError when it cannot be read."""


class Deployment(Protocol):
    """How far the log has been applied; DESIGN sections 3 and 4."""

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """Every node with a live lease has acknowledged the entry at `index`, which published the distribution, and none refuses it."""

    def completed_index(self) -> int:
        """Every invalidation up to this index is complete, and none after it that is committed: nodes apply the log in order."""
