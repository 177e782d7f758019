"""The API's resources as they are stored. Of a distribution's document the control plane's status page reads `id`, `domain_name` and `index`; the rest is ours."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from control_plane.compiler.problems import Config
from control_plane.state import Document, Transaction

_DISTRIBUTION = "distribution"
_CACHE_POLICY = "cache_policy"
DOCUMENT_KINDS = (_DISTRIBUTION, _CACHE_POLICY)


@dataclass(frozen=True, slots=True)
class DistributionRecord:
    """A distribution; `config` has its defaults filled in, `index` is that of its newest entry in the log. One that was stored before there were tags has none."""

    id: str
    domain_name: str
    index: int
    etag: str
    last_modified: datetime
    config: Config
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CachePolicyRecord:
    """A cache policy of the user's own."""

    id: str
    etag: str
    last_modified: datetime
    config: Config


def get_distribution(transaction: Transaction, identifier: str) -> DistributionRecord | None:
    """The distribution, or None."""
    document = transaction.get(_DISTRIBUTION, identifier)
    return None if document is None else _to_distribution(document)


def list_distributions(transaction: Transaction) -> Sequence[DistributionRecord]:
    """All, oldest first."""
    return [_to_distribution(document) for document in transaction.list(_DISTRIBUTION)]


def put_distribution(transaction: Transaction, record: DistributionRecord) -> None:
    """Insert or replace."""
    transaction.put(_document(_DISTRIBUTION, record.id, asdict(record), "last_modified"))


def delete_distribution(transaction: Transaction, identifier: str) -> None:
    """Remove."""
    transaction.delete(_DISTRIBUTION, identifier)


def get_cache_policy(transaction: Transaction, identifier: str) -> CachePolicyRecord | None:
    """The user's cache policy, or None."""
    document = transaction.get(_CACHE_POLICY, identifier)
    return None if document is None else CachePolicyRecord(**_fields(document.body, "last_modified"))


def list_cache_policies(transaction: Transaction) -> Sequence[CachePolicyRecord]:
    """All of the user's own."""
    documents = transaction.list(_CACHE_POLICY)
    return [CachePolicyRecord(**_fields(document.body, "last_modified")) for document in documents]


def put_cache_policy(transaction: Transaction, record: CachePolicyRecord) -> None:
    """Insert or replace."""
    transaction.put(_document(_CACHE_POLICY, record.id, asdict(record), "last_modified"))


def delete_cache_policy(transaction: Transaction, identifier: str) -> None:
    """Remove."""
    transaction.delete(_CACHE_POLICY, identifier)


def _to_distribution(document: Document) -> DistributionRecord:
    return DistributionRecord(**_fields(document.body, "last_modified"))


def _document(kind: str, identifier: str, fields: dict[str, Any], moment: str) -> Document:
    return Document(kind, identifier, _json(fields, moment))


def _json(fields: dict[str, Any], moment: str) -> dict[str, Any]:
    return {**fields, moment: fields[moment].isoformat()}


def _fields(body: dict[str, Any], moment: str) -> dict[str, Any]:
    return {**body, moment: datetime.fromisoformat(body[moment])}
