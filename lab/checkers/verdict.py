"""Valid, invalid or unknown: what a checker says of a promise, with its evidence, and what all of them together come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lab.history.explanation import Explanation


class Outcome(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that broke a promise."""

    sentence: str
    """What is wrong with it, for people."""
    id: str | None = None
    """Of the request in the table `requests`; None when it is no request."""
    request_id: str | None = None
    """X-Amz-Cf-Id, by which tiers and origins know it."""
    path: Explanation | None = None
    """The way of this request: everything that the history knows of it."""

    def to_json(self) -> dict[str, Any]:
        """As verdict files and the report have it."""
        return {
            "sentence": self.sentence,
            "id": self.id,
            "request_id": self.request_id,
            "path": None if self.path is None else self.path.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    outcome: Outcome
    statement: str
    evidence: tuple[str, ...] = ()
    """Sentences: what was judged, what is in doubt, and the first things that are wrong."""
    findings: tuple[Evidence, ...] = ()
    """The first of what is wrong, at most some tens."""
    found: int = 0
    """How many are wrong, with those that are not in `findings`."""

    def __post_init__(self) -> None:
        if len(self.findings) > self.found:
            raise ValueError(f"{len(self.findings)} findings of {self.found}")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "statement": self.statement,
            "evidence": list(self.evidence),
            "findings": [each.to_json() for each in self.findings],
            "found": self.found,
        }


def verdict(checks: Sequence[Check]) -> Outcome:
    outcomes = {check.outcome for check in checks}
    if Outcome.INVALID in outcomes:
        return Outcome.INVALID
    return Outcome.UNKNOWN if Outcome.UNKNOWN in outcomes or not checks else Outcome.VALID
