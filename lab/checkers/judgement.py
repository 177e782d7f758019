"""What a checker finds in a history, before it is put together with what is known of the witnesses: a value.

Something that is wrong makes a check invalid. Where nothing is, a doubt makes it unknown, and so does having had nothing to judge: unknown is never taken for valid.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab.checkers.verdict import Evidence, Outcome

LISTED = 20
"""Pieces of evidence of one check that are kept; all are counted."""
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one promise."""

    judged: int
    """How many requests, fills, answers, ... could have broken it."""
    facts: tuple[str, ...] = ()
    """What was judged, and what was left out of it."""
    doubts: tuple[str, ...] = ()
    """Why nothing can be said although nothing wrong was found."""
    wrong: int = 0
    findings: tuple[Evidence, ...] = ()
    """The first LISTED of what is wrong."""

    @property
    def outcome(self) -> Outcome:
        """Of this alone, by witnesses that are whole."""
        if self.wrong:
            return Outcome.INVALID
        return Outcome.UNKNOWN if self.doubts or not self.judged else Outcome.VALID


def findings_of(rows: Iterable[dict[str, Any]]) -> tuple[Evidence, ...]:
    """Of rows with `sentence`, and of requests with `id` and `request_id`."""
    return tuple(Evidence(row["sentence"], row.get("id"), row.get("request_id")) for row in rows)


def seconds(nanoseconds: float) -> str:
    """A duration for people."""
    return f"{nanoseconds / NANOSECONDS:.3f} s"


def counted(number: int, noun: str) -> str:
    """`1 request`, `2,000 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
