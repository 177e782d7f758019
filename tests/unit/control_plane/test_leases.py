"""When a node holds a lease, as the control plane counts it."""

import pytest

from control_plane.leases import Granted, LeaseRules, LogAge, Refused, Standing, counted_seconds

RULES = LeaseRules(5.0)


def test_the_control_plane_counts_longer_than_the_node() -> None:
    slowest_clock = 0.91
    assert RULES.counted_until(100.0) == 105.75
    assert counted_seconds(5.0) > 5.0 / slowest_clock


@pytest.mark.parametrize(("acknowledged", "is_granted"), [(10, True), (9, False), (-1, False)])
def test_a_first_lease_is_granted_at_the_head_only(acknowledged: int, is_granted: bool) -> None:
    decision = RULES.decide(Standing(acknowledged, False, 100.0), LogAge(10, 5), 100.0)
    assert isinstance(decision, Granted) is is_granted


def test_a_refusal_says_how_far_behind() -> None:
    assert RULES.decide(Standing(7, False, 100.0), LogAge(10, 5), 100.0) == Refused("3 entries behind")


def test_a_node_that_keeps_up_is_renewed_a_few_entries_behind() -> None:
    decision = RULES.decide(Standing(8, True, 100.0), LogAge(10, 8), 100.0)
    assert decision == Granted(105.75, 5.0)


def test_a_wedged_node_is_not_renewed() -> None:
    decision = RULES.decide(Standing(8, True, 100.0), LogAge(10, 9), 100.0)
    assert decision == Refused("2 entries behind for longer than a lease")


def test_an_old_heartbeat_grants_nothing() -> None:
    """An acknowledgement may make a node eligible long after its last beat; the lease would be over already."""
    decision = RULES.decide(Standing(10, False, 100.0), LogAge(10, 5), 106.0)
    assert isinstance(decision, Refused)
