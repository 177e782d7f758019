"""What the management API needs of the rest of the control plane: documents, the change log, and how far it has been applied.

The API (`aws_api/`) is written against these protocols; `store.py` and `deployment.py` are what stands behind them. All of it is called on the event
loop's thread and blocks only for a local database write: management calls are rare.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from proto.cdn.v1 import configuration_pb2

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """One resource of the management API as it is stored; `body` is JSON and belongs to the API alone."""

    kind: str
    identifier: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class PutDistribution:
    """Publish this compiled distribution, new or changed."""

    distribution: configuration_pb2.Distribution


@dataclass(frozen=True, slots=True)
class RemoveDistribution:
    """Withdraw a distribution from every node."""

    distribution_id: str


@dataclass(frozen=True, slots=True)
class Invalidate:
    """Drop what matches these paths from every cache."""

    invalidation: configuration_pb2.Invalidation


@dataclass(frozen=True, slots=True)
class PutRoutingTable:
    """Publish where viewers are and how far places are from each other."""

    routing_table: configuration_pb2.RoutingTable


@dataclass(frozen=True, slots=True)
class PutGeoTable:
    """Publish which country the networks of viewers are in."""

    geo_table: configuration_pb2.GeoTable


Change = PutDistribution | RemoveDistribution | Invalidate | PutRoutingTable | PutGeoTable


class Transaction(Protocol):
    """Reads and writes that take effect together or not at all."""

    def get(self, kind: str, identifier: str) -> Document | None:
        """The document, or None."""

    def list(self, kind: str) -> Sequence[Document]:
        """All documents of one kind, oldest first."""

    def put(self, document: Document) -> None:
        """Insert or replace."""

    def delete(self, kind: str, identifier: str) -> None:
        """Remove; nothing happens when it is not there."""

    def append(self, change: Change) -> int:
        """Add a change to the log; its index. Nodes are told after the transaction has committed."""


class StoreError(Exception):
    """The database cannot be used, so nothing has changed; the message says why."""


class Store(Protocol):
    """Everything that survives kill -9."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits when the block ends, rolls back when it raises. StoreError when the disk does not take it."""


class Deployment(Protocol):
    """How far the log has been applied; DESIGN sections 3 and 4."""

    def is_deployed(self, distribution_id: str, index: int) -> bool:
        """Every node with a live lease has acknowledged the entry at `index`, which published the distribution, and none refuses it."""

    def completed_at(self, index: int) -> datetime | None:
        """When every node with a live lease had acknowledged the invalidation at `index`; None while one has not."""
