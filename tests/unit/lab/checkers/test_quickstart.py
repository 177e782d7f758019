"""The quick start's promises, judged from hand-made observations."""

from dataclasses import replace

import pytest

from lab.checkers.quickstart import (
    check_departure,
    check_failures,
    check_freshness,
    check_patience,
    check_return,
    check_tiers,
)
from lab.checkers.verdict import Check, Outcome, verdict
from lab.history.observations import DnsAnswer, Failure, Kill, Outage, Promise, Return, Sighting
from lab.history.witnesses import version_body, version_of
from proto.moments import Moment

EDGE = "127.16.0.3"
BOOT = "e399f464"
DOCKER_DESKTOP = "b07a11ce"
"""Its virtual machine has a boot of its own."""


def at(seconds: float, boot_id: str = BOOT) -> Moment:
    return Moment(boot_id, round(seconds * 1e9))


KILL = Kill(at(99.9), at(100.0))
OUTAGE = Outage("fra-edge-1", EDGE, KILL, started_at=at(112.0), bound_seconds=8.0, ttl_seconds=5.0)
PROMISE = Promise("I1", 2, completed_at=at(50.0))


def sighting(began_at: float, version: int | None) -> Sighting:
    return Sighting("fra-edge-1", at(began_at), version, "Hit from cloudfront")


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
    later = Promise("I2", 3, completed_at=at(60.0))
    seen = [sighting(55.0, 2), sighting(61.0, 3)]
    assert check_freshness(seen, [PROMISE, later]).outcome is Outcome.VALID
    check = check_freshness([*seen, sighting(61.0, 2)], [PROMISE, later])
    assert check.outcome is Outcome.INVALID
    assert any("fra-edge-1 gave version 2" in line for line in check.evidence)


def test_freshness_is_to_the_nanosecond() -> None:
    promise = Promise("I1", 2, completed_at=Moment(BOOT, 2**60))
    for later, outcome in ((0, Outcome.UNKNOWN), (1, Outcome.INVALID)):
        seen = Sighting("e", Moment(BOOT, 2**60 + later), 1, "Hit")
        assert check_freshness([seen], [promise]).outcome is outcome


@pytest.mark.parametrize("boot_id", [DOCKER_DESKTOP, ""])
def test_freshness_is_unknown_by_a_receipt_of_another_clock(boot_id: str) -> None:
    """Its moments look as if they could be compared: all probes with the old version seem to have begun after it, or before."""
    for completed_at in (1.0, 1_000.0):
        promise = Promise("I1", 2, completed_at=at(completed_at, boot_id))
        check = check_freshness([sighting(50.1, 1), sighting(50.2, 2)], [promise])
        assert check.outcome is Outcome.UNKNOWN
        assert "not of one clock" in check.evidence[0] and (boot_id or "unknown") in check.evidence[0]


def test_what_is_known_to_be_broken_is_not_hidden_by_a_receipt_of_another_clock() -> None:
    foreign = Promise("I2", 2, completed_at=at(1.0, DOCKER_DESKTOP))
    assert check_freshness([sighting(50.1, 2)], [PROMISE, foreign]).outcome is Outcome.UNKNOWN
    assert check_freshness([sighting(50.1, 1)], [PROMISE, foreign]).outcome is Outcome.INVALID


def failure(ended_at: float, address: str, began_at: float | None = None, boot_id: str = BOOT) -> Failure:
    began = at(ended_at - 0.01 if began_at is None else began_at, boot_id)
    return Failure(began, at(ended_at, boot_id), region="eu", url="/a", address=address, error="closed early")


def test_failures_count_unless_they_died_with_the_edge() -> None:
    assert check_failures(10, [], OUTAGE).outcome is Outcome.VALID
    excused = check_failures(10, [failure(100.2, EDGE)], OUTAGE)
    assert excused.outcome is Outcome.VALID
    assert "closed early" in excused.evidence[-1]
    assert check_failures(10, [failure(100.2, "127.16.0.4")], OUTAGE).outcome is Outcome.INVALID
    assert check_failures(10, [failure(105.0, EDGE)], OUTAGE).outcome is Outcome.INVALID
    assert check_failures(10, [failure(99.0, EDGE)], OUTAGE).outcome is Outcome.INVALID
    assert check_failures(10, [failure(100.2, EDGE)], None).outcome is Outcome.INVALID
    assert check_failures(0, [], OUTAGE).outcome is Outcome.UNKNOWN


def test_a_viewer_who_stood_still_tells_late_of_a_request_that_the_edge_took_along() -> None:
    assert check_failures(10, [failure(160.0, EDGE, began_at=99.95)], OUTAGE).outcome is Outcome.VALID
    assert check_failures(10, [failure(160.0, EDGE, began_at=105.0)], OUTAGE).outcome is Outcome.INVALID


def test_a_lab_that_stood_still_while_it_killed_an_edge_excuses_what_happened_meanwhile() -> None:
    slow = replace(OUTAGE, kill=Kill(at(70.0), at(100.0)))
    assert check_failures(10, [failure(75.0, EDGE)], slow).outcome is Outcome.VALID
    assert check_failures(10, [failure(69.0, EDGE)], slow).outcome is Outcome.INVALID


def test_a_failure_by_another_clock_at_the_killed_edge_is_neither_counted_nor_excused() -> None:
    foreign = failure(100.2, EDGE, boot_id=DOCKER_DESKTOP)
    assert check_failures(10, [foreign], OUTAGE).outcome is Outcome.UNKNOWN
    assert check_failures(10, [foreign, failure(105.0, EDGE)], OUTAGE).outcome is Outcome.INVALID
    elsewhere = failure(100.2, "127.16.0.4", boot_id=DOCKER_DESKTOP)
    assert check_failures(10, [elsewhere], OUTAGE).outcome is Outcome.INVALID, "whenever it was"


def answer(asked_at: float, *addresses: str, answered_at: float | None = None) -> DnsAnswer:
    return DnsAnswer(at(asked_at), at(asked_at + 0.01 if answered_at is None else answered_at), addresses)


def answers(named_until: float, until: float = 112.0) -> list[DnsAnswer]:
    times = [90.0 + step * 0.5 for step in range(int((until - 90.0) * 2))]
    return [answer(time, *((EDGE, "127.16.0.4") if time < named_until else ("127.16.0.4",))) for time in times]


def test_departure() -> None:
    assert check_departure(answers(106.0), OUTAGE).outcome is Outcome.VALID
    assert check_departure(answers(110.0), OUTAGE).outcome is Outcome.INVALID
    assert check_departure(answers(106.0, until=107.0), OUTAGE).outcome is Outcome.UNKNOWN  # not watched long enough
    assert check_departure(answers(90.0), OUTAGE).outcome is Outcome.UNKNOWN  # never named at all
    assert check_departure([], OUTAGE).outcome is Outcome.UNKNOWN
    assert check_departure(answers(106.0), None).outcome is Outcome.UNKNOWN


def test_a_lab_that_stood_still_between_its_clock_and_the_kill_does_not_count_that_for_the_router() -> None:
    """It killed the edge at some moment of twenty seconds. The router named it for eight after the last of them, at most."""
    slow = replace(OUTAGE, kill=Kill(at(80.0), at(100.0)))
    assert check_departure([answer(70.0, EDGE), *answers(106.0)], slow).outcome is Outcome.VALID


def test_an_answer_that_a_witness_got_late_belongs_to_no_side() -> None:
    """Asked for while the edge was down, heard of after it was started again; asked for before the kill, heard of after it."""
    over_the_start = answer(111.9, EDGE, answered_at=130.0)
    assert check_departure([*answers(106.0), over_the_start], OUTAGE).outcome is Outcome.VALID
    over_the_kill = [
        answer(90.0, EDGE, answered_at=105.0),
        *(each for each in answers(0.0) if each.asked_at.is_after(at(106.0))),
    ]
    assert check_departure(over_the_kill, OUTAGE).outcome is Outcome.UNKNOWN


def test_a_router_that_does_not_answer_proves_no_departure() -> None:
    silent = [*answers(200.0, until=100.0), answer(105.0), answer(109.0)]
    assert check_departure(silent, OUTAGE).outcome is Outcome.UNKNOWN


def returned(applied_index: int, seen_at: float = 114.1) -> Return:
    return Return(at(114.0), at(seen_at), applied_index, head_index=9)


def test_return() -> None:
    assert check_return(OUTAGE, returned(9)).outcome is Outcome.VALID
    assert check_return(OUTAGE, returned(8)).outcome is Outcome.INVALID
    assert check_return(OUTAGE, None).outcome is Outcome.INVALID
    assert check_return(None, None).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("applied_index", [8, 9])
def test_a_witness_that_looked_late_does_not_know_where_the_edge_stood_when_it_was_named(applied_index: int) -> None:
    """Meanwhile it may have caught up, or the log may have grown."""
    assert check_return(OUTAGE, returned(applied_index, seen_at=124.0)).outcome is Outcome.UNKNOWN


def test_patience() -> None:
    def totals(milliseconds: float) -> dict[str, dict[str, object]]:
        return {"eu": {"latency_ms": {"max": milliseconds}}, "us": {"latency_ms": {"max": 20.0}}}

    assert check_patience(totals(900.0)).outcome is Outcome.VALID
    broken = check_patience(totals(10_007.0))
    assert broken.outcome is Outcome.INVALID
    assert "eu 10.01 s" in broken.evidence[0]
    assert check_patience({}).outcome is Outcome.UNKNOWN


def test_nobody_waits_while_viewers_stand_still_themselves() -> None:
    totals = {"eu": {"latency_ms": {"max": 13_000.0}}}
    assert check_patience(totals, standstill_seconds=12.5).outcome is Outcome.UNKNOWN
    assert check_patience(totals, standstill_seconds=2.5).outcome is Outcome.INVALID, "the rest is long enough"
    assert check_patience({"eu": {"latency_ms": {"max": 900.0}}}, standstill_seconds=12.5).outcome is Outcome.VALID


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
