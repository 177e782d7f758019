"""The quick start's promises, judged from hand-made observations."""

import pytest

from lab.quickstart_checks import (
    Check,
    DnsAnswer,
    Outage,
    Outcome,
    Promise,
    Return,
    Sighting,
    check_departure,
    check_failures,
    check_freshness,
    check_patience,
    check_return,
    check_tiers,
    verdict,
)
from lab.quickstart_probes import version_body, version_of

EDGE = "127.16.0.3"
OUTAGE = Outage("fra-edge-1", EDGE, killed_at=100.0, started_at=112.0, bound_seconds=8.0, ttl_seconds=5.0)
PROMISE = Promise("I1", 2, completed_at=50.0)


def sighting(began_at: float, version: int | None) -> Sighting:
    return Sighting("fra-edge-1", began_at, version, "Hit from cloudfront")


@pytest.mark.parametrize(
    ("sightings", "outcome"),
    [
        (
            [sighting(49.0, 1), sighting(50.0, 1), sighting(50.1, 2)],
            Outcome.VALID,
        ),  # begun before the receipt: may be old
        ([sighting(50.1, 2), sighting(50.2, 1)], Outcome.INVALID),
        ([sighting(50.1, 3)], Outcome.VALID),  # newer is never wrong
        ([sighting(50.1, None)], Outcome.UNKNOWN),  # nobody answered: nothing was seen
        ([sighting(49.0, 1)], Outcome.UNKNOWN),
    ],
)
def test_freshness(sightings: list[Sighting], outcome: Outcome) -> None:
    assert check_freshness(sightings, [PROMISE]).outcome is outcome
    assert check_freshness(sightings, []).outcome is Outcome.UNKNOWN


def test_freshness_holds_each_promise_from_its_own_receipt_on() -> None:
    later = Promise("I2", 3, completed_at=60.0)
    seen = [sighting(55.0, 2), sighting(61.0, 3)]
    assert check_freshness(seen, [PROMISE, later]).outcome is Outcome.VALID
    check = check_freshness([*seen, sighting(61.0, 2)], [PROMISE, later])
    assert check.outcome is Outcome.INVALID
    assert any("fra-edge-1 gave version 2" in line for line in check.evidence)


def failure(time: float, address: str) -> dict[str, object]:
    return {"time": time, "address": address, "region": "eu", "url": "/a", "error": "closed early"}


def test_failures_count_unless_they_died_with_the_edge() -> None:
    assert check_failures(10, [], OUTAGE).outcome is Outcome.VALID
    excused = check_failures(10, [failure(100.2, EDGE)], OUTAGE)
    assert excused.outcome is Outcome.VALID
    assert "closed early" in excused.evidence[-1]
    assert check_failures(10, [failure(100.2, "127.16.0.4")], OUTAGE).outcome is Outcome.INVALID
    assert check_failures(10, [failure(105.0, EDGE)], OUTAGE).outcome is Outcome.INVALID
    assert check_failures(10, [failure(100.2, EDGE)], None).outcome is Outcome.INVALID
    assert check_failures(0, [], OUTAGE).outcome is Outcome.UNKNOWN


def answers(named_until: float, until: float = 112.0) -> list[DnsAnswer]:
    times = [90.0 + step * 0.5 for step in range(int((until - 90.0) * 2))]
    return [DnsAnswer(time, (EDGE, "127.16.0.4") if time < named_until else ("127.16.0.4",)) for time in times]


def test_departure() -> None:
    assert check_departure(answers(106.0), OUTAGE).outcome is Outcome.VALID
    assert check_departure(answers(110.0), OUTAGE).outcome is Outcome.INVALID
    assert check_departure(answers(106.0, until=107.0), OUTAGE).outcome is Outcome.UNKNOWN  # not watched long enough
    assert check_departure(answers(90.0), OUTAGE).outcome is Outcome.UNKNOWN  # never named at all
    assert check_departure([], OUTAGE).outcome is Outcome.UNKNOWN
    assert check_departure(answers(106.0), None).outcome is Outcome.UNKNOWN


def test_a_router_that_does_not_answer_proves_no_departure() -> None:
    silent = [*answers(200.0, until=100.0), DnsAnswer(105.0, ()), DnsAnswer(109.0, ())]
    assert check_departure(silent, OUTAGE).outcome is Outcome.UNKNOWN


def test_return() -> None:
    assert check_return(OUTAGE, Return(114.0, applied_index=9, head_index=9)).outcome is Outcome.VALID
    assert check_return(OUTAGE, Return(114.0, applied_index=8, head_index=9)).outcome is Outcome.INVALID
    assert check_return(OUTAGE, None).outcome is Outcome.INVALID
    assert check_return(None, None).outcome is Outcome.UNKNOWN


def test_patience() -> None:
    def totals(milliseconds: float) -> dict[str, dict[str, object]]:
        return {"eu": {"latency_ms": {"max": milliseconds}}, "us": {"latency_ms": {"max": 20.0}}}

    assert check_patience(totals(900.0)).outcome is Outcome.VALID
    broken = check_patience(totals(10_007.0))
    assert broken.outcome is Outcome.INVALID
    assert "eu 10.01 s" in broken.evidence[0]
    assert check_patience({}).outcome is Outcome.UNKNOWN


def test_tiers() -> None:
    assert check_tiers({"edge": (5, 10), "regional": (1, 5)}).outcome is Outcome.VALID
    assert check_tiers({"edge": (5, 10), "regional": (0, 5)}).outcome is Outcome.INVALID
    assert check_tiers({"edge": (5, 10)}).outcome is Outcome.INVALID
    assert check_tiers({}).outcome is Outcome.UNKNOWN


def test_one_broken_promise_is_worse_than_any_doubt() -> None:
    valid, invalid, unknown = (Check("x", outcome, "") for outcome in Outcome)
    assert verdict([valid, valid]) is Outcome.VALID
    assert verdict([valid, unknown]) is Outcome.UNKNOWN
    assert verdict([unknown, invalid, valid]) is Outcome.INVALID
    assert verdict([]) is Outcome.UNKNOWN


def test_the_watched_object_says_its_version() -> None:
    assert version_of(version_body(12)) == 12
    assert version_of(b"<h1>503</h1>") is None
    assert version_of(b"") is None
