"""Who of several control planes leads, and for how long it may act on that: DESIGN section 3. Pure; `election.py` asks the database, `roles.py` acts.

One row in the database has the term, and a number that its leader counts up. Two rules make a leader that was paused, or cut off from the database, harmless:

- What it *writes* is refused by the term, which each of its transactions checks (`election.fence`).
- What it *says* without writing, the renewal of a lease that the database knows of, it may say only within its tenure, which begins when it sent the renewal that
succeeded last.
  Another one takes over only when it has seen the number stand still for longer than a tenure. So a heartbeat that the old leader answers was sent before the new one
  began to
  count the leases that it found (`coordination.py`), and ends before that count.

Each side counts by its own monotonic clock, and from the moment that is worse for itself: no clocks are compared.
"""

from dataclasses import dataclass
from typing import Final

RENEW_SECONDS: Final = 0.2
TENURE_SECONDS: Final = 0.9
"""A leader may miss three renewals."""
TAKEOVER_SECONDS: Final = 1.1
"""A tenure, a tenth of it for clocks that do not run alike (as for leases), and the rest for what a scheduler adds."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The row, as it was read. `holder` is empty when the leader has resigned, and at first."""

    term: int = 0
    holder: str = ""
    grpc_address: str = ""
    renewals: int = 0


class Observed:
    """What one control plane has seen of the seat."""

    def __init__(self, now: float) -> None:
        self.seat = Seat()
        self._changed_at = now

    def see(self, seat: Seat, now: float) -> None:
        """It was read, at the latest now."""
        if seat != self.seat:
            self.seat = seat
            self._changed_at = now

    def is_vacant(self, now: float) -> bool:
        """Whether whoever has held it may act no longer."""
        return not self.seat.holder or now >= self._changed_at + TAKEOVER_SECONDS

    def is_held(self, now: float) -> bool:
        """Whether it is worth asking whoever holds it."""
        return bool(self.seat.holder) and now < self._changed_at + TENURE_SECONDS


class Tenure:
    """Of one term, for the one who holds it."""

    def __init__(self, term: int, began_at: float) -> None:
        """`began_at` is from before the seat was taken."""
        self.term = term
        self._renewed_at = began_at
        self._is_over = False

    def renewed(self, sent_at: float) -> None:
        """A renewal that was sent then has succeeded."""
        self._renewed_at = max(self._renewed_at, sent_at)

    def end(self) -> None:
        """Somebody else has the seat."""
        self._is_over = True

    @property
    def is_over(self) -> bool:
        """For good; another term may come."""
        return self._is_over

    def may_act(self, now: float) -> bool:
        """Whether nobody can have taken over yet."""
        return not self._is_over and now < self._renewed_at + TENURE_SECONDS

    def is_lost(self, now: float) -> bool:
        """Whether to give up: it is over, or was not renewed for so long that another one has it by now or may have it."""
        return self._is_over or now >= self._renewed_at + TAKEOVER_SECONDS
