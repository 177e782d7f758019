"""When a node holds a lease, as the control plane counts it: DESIGN sections 3 and 4, rules 5 and 7.

A lease is a promise in both directions: while it lasts, no invalidation is reported complete without this node, and the node may be routed to. The node counts from
when it sent a heartbeat, we count from when we received it plus a margin, so the node's view ends first. All functions are pure; times are seconds of one clock.
"""

from dataclasses import dataclass

DRIFT_FRACTION = 0.1
"""How much faster our clock may run than a node's; laptops that sleep and virtual machines that are stolen from are the reason for so much."""

MARGIN_SECONDS = 0.25
"""On top, for what a scheduler adds."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The node may count `duration_seconds` from the heartbeat; we count until `until`."""

    until: float
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """No lease for this heartbeat; a lease that still runs is not taken back."""

    reason: str


LeaseDecision = Granted | Refused


@dataclass(frozen=True, slots=True)
class Standing:
    """What the decision on one heartbeat depends on, of the node."""

    acknowledged_index: int
    has_lease: bool
    """Whether the node has been granted one on this stream and it still runs. A new stream starts without: the node behind it may have been restarted."""
    heartbeat_received_at: float


@dataclass(frozen=True, slots=True)
class LogAge:
    """What the decision depends on, of the log."""

    head_index: int
    overdue_index: int
    """The newest entry that was committed longer ago than one lease lasts."""


@dataclass(frozen=True, slots=True)
class LeaseRules:
    """How long leases last."""

    duration_seconds: float = 5.0

    def counted_until(self, received_at: float) -> float:
        """When a lease ends for us that the node counts from a moment before `received_at`."""
        return received_at + counted_seconds(self.duration_seconds)

    def decide(self, standing: Standing, log: LogAge, now: float) -> LeaseDecision:
        """First lease only at the head of the log, so that no node is routable while it catches up. A later one while the node keeps up: a few entries behind is
        normal under continuous changes, a whole lease behind means that it is wedged and would hold every invalidation up for as long as it beats."""
        behind = log.head_index - standing.acknowledged_index
        if not standing.has_lease and behind != 0:
            return Refused(f"{behind} entries behind")
        if standing.acknowledged_index < log.overdue_index:
            return Refused(f"{behind} entries behind for longer than a lease")
        until = self.counted_until(standing.heartbeat_received_at)
        if until <= now:
            return Refused("the heartbeat is too old")
        return Granted(until, self.duration_seconds)


def counted_seconds(duration_seconds: float) -> float:
    """What we count for a lease that the node counts as `duration_seconds`; also from our own start for one that was granted before it."""
    return duration_seconds * (1 + DRIFT_FRACTION) + MARGIN_SECONDS
