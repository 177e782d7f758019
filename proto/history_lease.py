"""For how long a program keeps a history: what asks for that, and what of it stands on disk so that a process that is started again goes on. Pure.

A recording has the name of a run, and ends by itself when its lease is over. The lease is a moment of the host's steady clock and of one boot: after another
boot it is over.
"""

import json
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Final

from proto.moments import NANOSECONDS_PER_SECOND

SHORTEST_LEASE_SECONDS: Final = 1.0
LONGEST_LEASE_SECONDS: Final = 3600.0
DEFAULT_LEASE_SECONDS: Final = 60.0
LONGEST_RUN_NAME: Final = 200
"""Characters."""


class UnusableHistoryRequestError(Exception):
    """A request to record that makes no sense; the message names everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What `POST /history` asks for."""

    run: str
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class HistoryLease:
    """Until when which run is recorded."""

    run: str
    boot_id: str
    """Whose clock it is; of an unknown boot nothing can be said, so it is over."""
    until_ns: int

    def is_over(self, boot_id: str, now_ns: int) -> bool:
        """As this boot's clock has it."""
        return not boot_id or boot_id != self.boot_id or now_ns >= self.until_ns

    def remaining_seconds(self, now_ns: int) -> float:
        """Of a lease of this boot."""
        return max(0.0, (self.until_ns - now_ns) / NANOSECONDS_PER_SECOND)

    def encode(self) -> bytes:
        """As it stands on disk."""
        return json.dumps(asdict(self)).encode()


def read_lease(content: bytes) -> HistoryLease | None:
    """From disk; None for what is no lease."""
    match _document(content):
        case {"run": str(run), "boot_id": str(boot_id), "until_ns": int(until_ns)}:
            return HistoryLease(run, boot_id, until_ns)
        case _:
            return None


def read_request(content: bytes) -> HistoryRequest:
    """UnusableHistoryRequestError for what asks for nothing."""
    document = _document(content)
    if not isinstance(document, dict):
        raise UnusableHistoryRequestError('this is no JSON object, such as {"run": "a-name", "lease_seconds": 60}')
    run, lease_seconds = document.get("run"), document.get("lease_seconds", DEFAULT_LEASE_SECONDS)
    problems = [f"there is no {name!r}" for name in sorted(document.keys() - {"run", "lease_seconds"})]
    if not (isinstance(run, str) and run.isprintable() and 0 < len(run) <= LONGEST_RUN_NAME):
        problems.append(f"'run' has to be a name of 1 to {LONGEST_RUN_NAME} printable characters")
    if not (isinstance(lease_seconds, int | float) and _is_lease(lease_seconds)):
        problems.append(
            f"'lease_seconds' has to be a number from {SHORTEST_LEASE_SECONDS:g} to {LONGEST_LEASE_SECONDS:g}"
        )
    if problems:
        raise UnusableHistoryRequestError("; ".join(problems))
    assert isinstance(run, str) and isinstance(lease_seconds, int | float)
    return HistoryRequest(run, float(lease_seconds))


def _is_lease(seconds: float) -> bool:
    is_number = not isinstance(seconds, bool) and isfinite(seconds)
    return is_number and SHORTEST_LEASE_SECONDS <= seconds <= LONGEST_LEASE_SECONDS


def _document(content: bytes) -> object:
    try:
        document: object = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document
