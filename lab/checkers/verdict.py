"""Valid, invalid or unknown: what a checker says of a promise, with its evidence, and what all of them together come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    outcome: Outcome
    statement: str
    evidence: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "statement": self.statement,
            "evidence": list(self.evidence),
        }


def verdict(checks: Sequence[Check]) -> Outcome:
    outcomes = {check.outcome for check in checks}
    if Outcome.INVALID in outcomes:
        return Outcome.INVALID
    return Outcome.UNKNOWN if Outcome.UNKNOWN in outcomes or not checks else Outcome.VALID
