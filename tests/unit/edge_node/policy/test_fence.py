"""What a node without a lease makes of what other nodes tell (DESIGN section 4, rule 10)."""

from math import inf

import pytest

from edge_node.control.peer_inquiry import PATIENCE_SECONDS
from edge_node.policy.fence import (
    ALONE_SECONDS,
    DECIDED_AFTER_SECONDS,
    ROUND_SECONDS,
    Answers,
    Fence,
    FenceState,
    PeerStanding,
)
from proto.lease_times import NOTICE_SECONDS
from proto.log_position import LogPosition

OWN = LogPosition("log-1", 7)
ENDED = 105.0
"""When the lease of `after_its_lease` is over."""


def says(
    *,
    renewed_ago: float = 4.0,
    index: int = 7,
    log_id: str = "log-1",
    is_leased: bool = True,
    is_starting: bool = False,
) -> PeerStanding:
    return PeerStanding(log_id, index, is_leased, is_starting, renewed_ago)


def after_its_lease(*, is_strict: bool = False) -> Fence:
    fence = Fence(100.0, is_strict=is_strict)
    fence.leased(ENDED)
    return fence


def asks(fence: Fence, at: float, *answers: PeerStanding, is_somebody_missing: bool = False) -> FenceState:
    fence.round_ended(at, at + 0.01, OWN, Answers(answers, is_somebody_missing))
    return fence.state


def serves(fence: Fence, at: float, *, is_strict: bool = False) -> bool:
    return not fence.must_confirm(at, is_strict=is_strict)


# -- with a lease


def test_with_a_lease_it_asks_nobody_and_serves() -> None:
    fence = after_its_lease()
    assert not fence.must_ask(104.9) and serves(fence, 104.9) and serves(fence, 104.9, is_strict=True)


def test_what_others_say_counts_for_nothing_while_there_is_a_lease() -> None:
    fence = after_its_lease()
    assert asks(fence, 104.0, says(index=99, renewed_ago=0.0)) is FenceState.LEASED
    assert serves(fence, 104.0)


def test_hits_go_on_after_the_lease_for_as_long_as_receipts_wait_and_no_longer() -> None:
    fence = after_its_lease()
    assert fence.must_ask(ENDED) and fence.state is FenceState.ASKING
    assert serves(fence, ENDED + NOTICE_SECONDS - 0.01)
    assert not serves(fence, ENDED + NOTICE_SECONDS), "nobody had to ask: a node that stood still is bound by the clock"


# -- what is evidence


def test_a_lease_that_was_renewed_after_ours_was_over_fences() -> None:
    fence = after_its_lease()
    assert asks(fence, ENDED + 1.0, says(renewed_ago=0.9)) is FenceState.FENCED
    assert not serves(fence, ENDED + 1.0)


def test_a_lease_that_was_renewed_before_ours_was_over_says_nothing() -> None:
    fence = after_its_lease()
    assert asks(fence, ENDED + 1.0, says(renewed_ago=1.1)) is FenceState.ASKING


def test_a_later_index_of_the_same_log_fences_also_without_a_lease() -> None:
    assert asks(after_its_lease(), ENDED + 0.1, says(index=8, is_leased=False, renewed_ago=inf)) is FenceState.FENCED


def test_indexes_of_another_log_are_not_compared() -> None:
    fence = after_its_lease()
    assert asks(fence, ENDED + 0.1, says(index=99, log_id="log-2", is_leased=False)) is FenceState.ALONE


def test_an_edge_that_asks_for_something_and_is_further_fences_as_an_answer_would() -> None:
    """What tiers tell each other counts too: a regional cache whose admin port reaches nobody is still asked by edges."""
    fence = after_its_lease()
    fence.told_position(LogPosition("log-1", 8), OWN, 104.9)
    assert fence.must_ask(104.9) is False and serves(fence, 104.9), "with a lease, nothing that edges say"
    for said in (OWN, LogPosition("log-1", 6), LogPosition("log-2", 99), LogPosition()):
        fence.told_position(said, OWN, 106.0)
        assert fence.state is not FenceState.FENCED and serves(fence, 106.0)
    fence.told_position(LogPosition("log-1", 8), OWN, 106.0)
    assert fence.state is FenceState.FENCED and not serves(fence, 106.0)
    fence.leased(120.0)
    assert serves(fence, 110.0)


def test_one_who_knows_is_enough() -> None:
    silent = says(is_leased=False, renewed_ago=inf)
    assert asks(after_its_lease(), ENDED + 2.0, silent, says(renewed_ago=0.5), silent) is FenceState.FENCED


# -- alone


def test_when_nobody_has_renewed_it_is_alone_and_goes_on() -> None:
    fence = after_its_lease()
    assert asks(fence, ENDED + 0.1, says(renewed_ago=1.0)) is FenceState.ASKING, "its lease is a heartbeat younger"
    asked_at = ENDED + DECIDED_AFTER_SECONDS
    assert asks(fence, asked_at, says(renewed_ago=3.0)) is FenceState.ALONE
    assert serves(fence, asked_at + ALONE_SECONDS - 0.01)


def test_alone_it_goes_on_asking_and_what_it_found_grows_old() -> None:
    fence = after_its_lease()
    asks(fence, ENDED + 10.0)
    assert fence.must_ask(ENDED + 10.5)
    assert not serves(fence, ENDED + 10.0 + ALONE_SECONDS)
    asks(fence, ENDED + 13.0)
    assert serves(fence, ENDED + 13.1)


def test_alone_hits_go_on_without_a_gap_when_answers_take_as_long_as_they_may() -> None:
    fence = after_its_lease()
    for number in range(10):
        asked_at = ENDED + 10.0 + number * ROUND_SECONDS
        heard_at = asked_at + PATIENCE_SECONDS + 0.2  # of a loop that is late
        assert number == 0 or serves(fence, heard_at)
        fence.round_ended(asked_at, heard_at, OWN, Answers([says(renewed_ago=inf)], False))


def test_alone_it_is_fenced_as_soon_as_somebody_is_heard_again() -> None:
    fence = after_its_lease()
    asks(fence, ENDED + 60.0)
    assert asks(fence, ENDED + 60.5, says(renewed_ago=0.1)) is FenceState.FENCED
    assert not serves(fence, ENDED + 60.5)


def test_fenced_it_stays_so_until_it_holds_a_lease_whatever_becomes_of_the_others() -> None:
    fence = after_its_lease()
    asks(fence, ENDED + 1.0, says(renewed_ago=0.1))
    assert not fence.must_ask(ENDED + 100.0)
    assert asks(fence, ENDED + 100.0) is FenceState.FENCED and not serves(fence, ENDED + 100.0)
    fence.leased(ENDED + 110.0)
    assert serves(fence, ENDED + 105.0)


@pytest.mark.parametrize("answers", [(), (says(is_leased=False, renewed_ago=50.0),)])
def test_an_answer_that_is_late_is_waited_for(answers: tuple[PeerStanding, ...]) -> None:
    fence = after_its_lease()
    at = ENDED + DECIDED_AFTER_SECONDS
    assert asks(fence, at, *answers, is_somebody_missing=True) is FenceState.ASKING
    assert asks(fence, at + 0.5, *answers) is FenceState.ALONE


def test_one_who_has_only_just_started_is_waited_for() -> None:
    fence = after_its_lease()
    newcomer = says(is_leased=False, is_starting=True, renewed_ago=inf)
    assert asks(fence, ENDED + 2.0, newcomer) is FenceState.ASKING


# -- the start


def test_a_node_that_starts_serves_nothing_before_it_has_asked() -> None:
    fence = Fence(100.0)
    assert not serves(fence, 100.0) and fence.must_ask(100.0) and fence.is_starting(100.1)


def test_a_node_that_starts_without_anybody_serves_at_once() -> None:
    fence = Fence(100.0)
    assert asks(fence, 100.0) is FenceState.ALONE and serves(fence, 100.1)


def test_a_node_that_starts_beside_one_with_a_lease_waits_until_it_is_clear_whether_that_is_renewed() -> None:
    fence = Fence(100.0)
    assert asks(fence, 100.0, says(renewed_ago=0.5)) is FenceState.ASKING and not serves(fence, 100.1)
    assert asks(fence, 100.0 + DECIDED_AFTER_SECONDS, says(renewed_ago=2.0)) is FenceState.ALONE
    other = Fence(100.0)
    assert asks(other, 100.5, says(renewed_ago=0.4)) is FenceState.FENCED


def test_a_node_is_starting_for_a_moment_only_and_not_any_more_once_it_was_leased() -> None:
    fence = Fence(100.0)
    assert not fence.is_starting(100.0 + DECIDED_AFTER_SECONDS)
    fence.leased(100.2)
    assert not fence.is_starting(100.1)


# -- strict


def test_strictly_it_serves_by_its_lease_alone() -> None:
    fence = after_its_lease()
    asks(fence, ENDED + 10.0)
    assert serves(fence, ENDED + 10.1) and not serves(fence, ENDED + 10.1, is_strict=True)
    assert serves(fence, ENDED - 0.1, is_strict=True) and not serves(fence, ENDED, is_strict=True)


def test_a_strict_node_serves_by_its_lease_alone() -> None:
    fence = after_its_lease(is_strict=True)
    assert not serves(fence, ENDED)
    assert asks(fence, ENDED + 10.0) is FenceState.ALONE and not serves(fence, ENDED + 10.1)


def test_a_lease_that_is_lost_fences_at_once() -> None:
    fence = after_its_lease()
    fence.lease_lost()
    assert fence.state is FenceState.FENCED and not serves(fence, 101.0) and not fence.must_ask(101.0)
