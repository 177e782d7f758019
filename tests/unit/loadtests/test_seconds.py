"""The arithmetic behind load.jsonl."""

from random import Random

import pytest

from loadtests.seconds import Outcome, RegionSecond, SecondsByRegion, percentile_milliseconds, result_word
from proto.moments import ClockAnchor

ANCHOR = ClockAnchor("boot-1", wall_ns=1_795_000_000_250_000_000, monotonic_ns=12_000_000_000_000)


def outcome(milliseconds: float, x_cache: str = "Hit from cloudfront", is_failure: bool = False) -> Outcome:
    return Outcome("a", milliseconds, 100, is_failure, x_cache)


def test_percentiles_are_within_one_percent_of_the_samples() -> None:
    rng, sums = Random(1), RegionSecond()
    samples = sorted(rng.lognormvariate(1.0, 1.0) for _ in range(1_000))
    for sample in samples:
        sums.count(outcome(sample))
    for share in (0.5, 0.95, 0.99, 1.0):
        assert percentile_milliseconds(sums.bins, share) == pytest.approx(samples[round(share * 1000) - 1], rel=0.01)
    assert percentile_milliseconds({}, 0.5) == 0.0


@pytest.mark.parametrize(
    ("x_cache", "word"),
    [("Hit from cloudfront", "Hit"), ("RefreshHit from cloudfront", "RefreshHit"), ("", None), ("HIT", None)],
)
def test_words_of_x_cache(x_cache: str, word: str | None) -> None:
    assert result_word(x_cache) == word


def test_seconds_of_two_workers_add_up_through_a_message() -> None:
    first, second, whole = RegionSecond(users=2), RegionSecond(users=3), RegionSecond(users=5)
    for number in range(50):
        one = outcome(number + 1.0, "Miss from cloudfront" if number % 5 else "Hit from cloudfront", number == 7)
        (first if number % 2 else second).count(one)
        whole.count(one)
    received = RegionSecond.from_message(first.to_message())
    received.add(RegionSecond.from_message(second.to_message()))
    assert received == whole
    assert received.to_line(10, ANCHOR, "a", "website") == whole.to_line(10, ANCHOR, "a", "website")


def test_a_line_has_the_fields_of_the_contract() -> None:
    sums = RegionSecond(users=4)
    sums.count(outcome(2.0))
    sums.count(outcome(9.5, "", is_failure=True))
    line = sums.to_line(12_000, ANCHOR, "eu", "api")
    assert line["latency_ms"] == {"p50": pytest.approx(2.0, rel=0.01), "p95": pytest.approx(9.5, rel=0.01)} | {
        "p99": pytest.approx(9.5, rel=0.01),
        "max": 9.5,
    }
    del line["latency_ms"]
    assert line == {
        "time": 1_795_000_000.25,
        "monotonic_ns": 12_000_000_000_000,
        "region": "eu",
        "profile": "api",
        "requests": 2,
        "failures": 1,
        "bytes": 200,
        "results": {"Hit": 1, "Miss": 0, "RefreshHit": 0, "Error": 0},
        "users": 4,
        "stalls": 0,
    }


def test_seconds_close_in_order_and_late_requests_are_not_lost() -> None:
    seconds = SecondsByRegion()
    for second in (12, 10, 11, 10):
        seconds.at(second, "a").count(outcome(1.0))
    assert [(second, sums.requests) for second, _, sums in seconds.close_before(12)] == [(10, 2), (11, 1)]
    seconds.at(10, "a").count(outcome(1.0))  # comes after its second was written
    assert [(second, sums.requests) for second, _, sums in seconds.close_before(13)] == [(12, 2)]
    assert seconds.close_before(20) == []
