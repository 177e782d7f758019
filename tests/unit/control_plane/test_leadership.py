"""A seat is never acted on by two, however slow each of them is and however their clocks run."""

from hypothesis import given
from hypothesis import strategies as st

from control_plane.leadership import TAKEOVER_SECONDS, TENURE_SECONDS, Observed, Seat, Tenure

HELD = Seat(3, "a", "127.0.0.1:1", 7)


def test_a_seat_is_vacant_when_it_was_left_or_stood_still_for_longer_than_a_tenure() -> None:
    observed = Observed(100.0)
    assert observed.is_vacant(100.0), "nobody has ever held it"
    observed.see(HELD, 100.0)
    assert observed.is_held(100.0) and not observed.is_vacant(100.0 + TENURE_SECONDS)
    assert not observed.is_held(100.0 + TENURE_SECONDS) and observed.is_vacant(100.0 + TAKEOVER_SECONDS)
    observed.see(Seat(3, "a", "127.0.0.1:1", 8), 101.0)
    assert not observed.is_vacant(101.0 + TENURE_SECONDS), "it was renewed"
    observed.see(HELD, 101.1)
    observed.see(HELD, 101.9)
    assert observed.is_vacant(101.1 + TAKEOVER_SECONDS), "to see the same again is no news"
    observed.see(Seat(3, "", "127.0.0.1:1", 8), 102.0)
    assert observed.is_vacant(102.0), "its leader has resigned"


def test_a_tenure_counts_from_when_the_renewal_was_sent() -> None:
    tenure = Tenure(3, 10.0)
    tenure.renewed(11.0)
    tenure.renewed(10.5)  # an answer that came late
    assert tenure.may_act(11.0 + TENURE_SECONDS - 0.01) and not tenure.may_act(11.0 + TENURE_SECONDS)
    assert not tenure.is_lost(11.0 + TENURE_SECONDS) and tenure.is_lost(11.0 + TAKEOVER_SECONDS)
    tenure.renewed(12.0)
    tenure.end()
    assert tenure.is_lost(12.0) and not tenure.may_act(12.0)


seconds = st.floats(0.0, 0.7)
rates = st.floats(0.95, 1.05)


@given(st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=20), rates, rates)
def test_whoever_finds_the_seat_vacant_finds_nobody_who_acts(
    renewals: list[tuple[float, float, float]], of_leader: float, of_other: float
) -> None:
    """Each renewal is sent, then committed, then seen, after any pauses; the answer may have come at once."""
    sent_at = 1_000.0
    tenure, observed = Tenure(1, sent_at * of_leader), Observed(0.0)
    seen_at = sent_at
    for number, (until_sent, until_committed, until_seen) in enumerate(renewals):
        sent_at += until_sent
        seen_at = max(seen_at, sent_at + until_committed + until_seen)
        tenure.renewed(sent_at * of_leader)
        observed.see(Seat(1, "a", "x", number), seen_at * of_other)
    vacant_at = (seen_at * of_other + TAKEOVER_SECONDS) / of_other
    assert observed.is_vacant(vacant_at * of_other + 1e-6)
    assert not tenure.may_act(vacant_at * of_leader)
