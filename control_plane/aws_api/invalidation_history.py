"""The invalidations of one distribution, oldest first, without their paths: what is asked about many of them at once, in one bounded document."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from control_plane.aws_api.records import InvalidationRecord, delete_invalidation
from control_plane.state import Deployment, Document, JsonObject, Transaction

RETAINED_INVALIDATIONS = 1_000
"""Completed ones that a distribution remembers; an older caller reference may be used anew."""

_KIND = "invalidation_history"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One invalidation; file paths and wildcard paths are counted apart, as their quotas are."""

    id: str
    index: int
    created_at: datetime
    caller_reference: str
    file_paths: int
    wildcard_paths: int


def to_entry(record: InvalidationRecord) -> HistoryEntry:
    """What the history keeps of an invalidation."""
    wildcards = sum(path.endswith("*") for path in record.paths)
    return HistoryEntry(
        record.id, record.index, record.created_at, record.caller_reference, len(record.paths) - wildcards, wildcards
    )


def get_history(transaction: Transaction, distribution_id: str) -> Sequence[HistoryEntry]:
    """All that is remembered, oldest first."""
    document = transaction.get(_KIND, distribution_id)
    entries = [] if document is None else document.body["entries"]
    return [HistoryEntry(**{**entry, "created_at": datetime.fromisoformat(entry["created_at"])}) for entry in entries]


def count_in_progress(history: Sequence[HistoryEntry], deployment: Deployment) -> int:
    """How many of the newest are not complete. Nodes apply the log in order, so whatever is before a completed one is completed too."""
    return sum(1 for _ in takewhile(lambda entry: deployment.completed_at(entry.index) is None, reversed(history)))


def remember(
    transaction: Transaction,
    distribution_id: str,
    history: Sequence[HistoryEntry],
    entry: HistoryEntry,
    in_progress: int,
) -> None:
    """Add one, and forget the oldest completed ones beyond what is retained."""
    completed = len(history) - in_progress
    surplus = min(completed, max(0, len(history) + 1 - RETAINED_INVALIDATIONS))
    for forgotten in history[:surplus]:
        delete_invalidation(transaction, forgotten.id)
    entries = [_to_json(kept) for kept in (*history[surplus:], entry)]
    transaction.put(Document(_KIND, distribution_id, {"entries": entries}))


def forget_all(transaction: Transaction, distribution_id: str) -> None:
    """The distribution is being deleted."""
    for entry in get_history(transaction, distribution_id):
        delete_invalidation(transaction, entry.id)
    transaction.delete(_KIND, distribution_id)


def _to_json(entry: HistoryEntry) -> JsonObject:
    # Written out because dataclasses.asdict takes ten times as long, and this is done for a whole history at a time.
    return {
        "id": entry.id,
        "index": entry.index,
        "created_at": entry.created_at.isoformat(),
        "caller_reference": entry.caller_reference,
        "file_paths": entry.file_paths,
        "wildcard_paths": entry.wildcard_paths,
    }
