"""May a node answer from what it has stored without asking anybody: DESIGN section 4, rule 10. Pure: `control/peer_inquiry.py` asks, this decides.

While a node holds a lease, no receipt comes without it. When its lease is over it cannot tell by itself whether the control plane is gone, and no receipt can come, or
whether it is the one that is cut off, and receipts come without it. So it asks the nodes that it can reach:

- One of them has renewed its lease since this one's was over, or knows a later index of the same log: the control plane is there, and this node is cut off. It is
  **fenced**, until it holds a lease again: each stored response is confirmed before it is served.
- None has: this node is **alone**, as all others are. Hits go on, and it goes on asking.

A lease that somebody still holds says nothing by itself: it was renewed before the control plane went away, perhaps a heartbeat later than ours. One that is renewed
after ours was over says all. So answers decide once a control plane that is there must have renewed them (`DECIDED_AFTER_SECONDS`), and the control plane waits for so
long, and for the asking, before it completes a receipt without this node (`proto/lease_times.py`, `NOTICE_SECONDS`). Until then hits go on.

A node that starts does not know how long it was gone: it confirms hits until the first answers are there. And one that has started and has not been heard by the control
plane yet cannot tell others anything: what a round without it would have found waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from proto.lease_times import HEARTBEAT_SECONDS, NOTICE_SECONDS
from proto.log_position import LogPosition

ANSWER_SECONDS: Final = 0.5
"""How long a round waits for answers; one of a peer far away comes in a later round."""
ROUND_SECONDS: Final = 0.5
"""From the beginning of one round of questions to that of the next."""
DECIDED_AFTER_SECONDS: Final = HEARTBEAT_SECONDS + ANSWER_SECONDS
"""After the end of the lease. A peer that the control plane still hears has renewed its own since, however the heartbeats lie."""
ALONE_SECONDS: Final = 2.5
"""How long what a round has found is good for: a node that stood still for longer asks again before it serves. Less than NOTICE_SECONDS, by more than a lease takes to
its node; and more than the slowest answer takes and another round, or hits would stop for a moment in each."""


class FenceState(StrEnum):
    """Where a node stands."""

    LEASED = "leased"
    ASKING = "asking"
    """It holds no lease, and does not know yet why."""
    FENCED = "fenced"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class PeerStanding:
    """What a node says of itself when it is asked."""

    log_id: str
    applied_index: int
    is_leased: bool
    """It holds a lease now."""
    is_starting: bool
    """It has only just started, and has never held one."""
    renewed_seconds_ago: float
    """When the heartbeat was sent that its newest lease answers; infinite: it never had one."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a round of questions has brought."""

    standings: Sequence[PeerStanding]
    is_somebody_missing: bool
    """One who answered a moment ago has not, and may yet: an answer that is late or lost is no sign that its node is gone."""


class Fence:
    """One node's. All times are seconds on its monotonic clock."""

    __slots__ = ("_has_been_leased", "_is_strict", "_since", "lease_until", "state", "trusted_until")

    def __init__(self, now: float, *, is_strict: bool = False) -> None:
        """`is_strict`: without a lease every hit is confirmed, whatever others say."""
        self._is_strict: Final = is_strict
        self._since = now
        """When its lease was over; without one yet, when it started."""
        self._has_been_leased = False
        self.state = FenceState.ASKING
        self.lease_until = -inf
        self.trusted_until = -inf
        """Until then stored responses may be served as they are."""

    def must_confirm(self, now: float, *, is_strict: bool) -> bool:
        """Whether a stored response has to be confirmed before it is served; `is_strict`: unless this node holds a lease."""
        return now >= (self.lease_until if is_strict else self.trusted_until)

    # -- the lease

    def leased(self, until: float) -> None:
        """The node holds a lease until then."""
        self._has_been_leased = True
        self.state = FenceState.LEASED
        self.lease_until = self._since = until
        self.trusted_until = until if self._is_strict else until + NOTICE_SECONDS

    def lease_lost(self) -> None:
        """It is worth nothing any more, although it has not run out: the node leaves, or is on another log. Nobody waits for it."""
        self.lease_until = -inf
        self._fence()

    def is_starting(self, now: float) -> bool:
        """Whether it has only just started, and has never held a lease."""
        return not self._has_been_leased and now < self._since + DECIDED_AFTER_SECONDS

    # -- asking

    def must_ask(self, now: float) -> bool:
        """Whether a round of questions is due; the lease may have ended since."""
        if self.state is FenceState.LEASED and now >= self.lease_until:
            self.state = FenceState.ASKING
        return self.state in (FenceState.ASKING, FenceState.ALONE)

    def round_ended(self, asked_at: float, now: float, own: LogPosition, found: Answers) -> None:
        """Everybody who was asked at `asked_at`, or later, has answered, or has not; `own`: where this node stands in the log."""
        if not self.must_ask(now):
            return
        if any(self._is_evidence(answer, asked_at, own) for answer in found.standings):
            self._fence()
        elif self._is_decided(asked_at, found):
            self.state = FenceState.ALONE
            if not self._is_strict:
                self.trusted_until = max(self.trusted_until, asked_at + ALONE_SECONDS)

    def told_position(self, said: LogPosition, own: LogPosition, now: float) -> None:
        """Somebody who asks this node for something else has said where it stands. That it is further is as good as an answer to a question, and comes sooner."""
        if _is_ahead(said, own) and self.must_ask(now):
            self._fence()

    def _is_evidence(self, answer: PeerStanding, asked_at: float, own: LogPosition) -> bool:
        """That the control plane is there, and has gone on without this node."""
        is_ahead = _is_ahead(LogPosition(answer.log_id, answer.applied_index), own)
        return is_ahead or asked_at - answer.renewed_seconds_ago > self._since

    def _is_decided(self, asked_at: float, found: Answers) -> bool:
        """Whether answers without evidence say that the control plane is gone."""
        if found.is_somebody_missing or any(answer.is_starting for answer in found.standings):
            return False
        has_renewed_if_at_all = asked_at >= self._since + DECIDED_AFTER_SECONDS
        return has_renewed_if_at_all or not any(answer.is_leased for answer in found.standings)

    def _fence(self) -> None:
        self.state = FenceState.FENCED
        self.trusted_until = -inf


def _is_ahead(said: LogPosition, own: LogPosition) -> bool:
    """Whether somebody knows a later index of the same log."""
    return said.log_id == own.log_id != "" and said.index > own.index
