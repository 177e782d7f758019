"""Counts of what was answered, as plain integers: adding to them is all that the hot path pays for metrics."""

from typing import Final

from dns_router.model import Outcome, Reason

# Types worth a label of their own; anybody can ask for any of 65,536 types, and labels must stay few.
TYPE_LABELS: Final = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    64: "SVCB",
    65: "HTTPS",
    255: "ANY",
}
OTHER_TYPE: Final = "other"


class Counters:
    """One per process."""

    def __init__(self) -> None:
        self.queries: dict[tuple[str, Reason], int] = {}
        self.open_connections = 0

    def count(self, record_type: int, reason: Reason) -> None:
        """Add one query."""
        key = (TYPE_LABELS.get(record_type, OTHER_TYPE), reason)
        self.queries[key] = self.queries.get(key, 0) + 1

    def total(self) -> int:
        """All queries so far."""
        return sum(self.queries.values())

    def by_outcome(self) -> dict[tuple[str, Outcome], int]:
        """Queries by type and outcome."""
        totals: dict[tuple[str, Outcome], int] = {}
        for (record_type, reason), count in self.queries.items():
            key = (record_type, reason.outcome)
            totals[key] = totals.get(key, 0) + count
        return totals

    def by_reason(self) -> dict[Reason, int]:
        """Queries by reason."""
        totals: dict[Reason, int] = {}
        for (_, reason), count in self.queries.items():
            totals[reason] = totals.get(reason, 0) + count
        return totals
