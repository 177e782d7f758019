"""Which difference between what is asked and what is measured is too much."""

import math
import random

import pytest

from lab.wan.judgement import Samples, judge_delays, judge_handshake, judge_rates, samples_needed
from lab.wan.links import Distribution, Link, Path


def off(
    path: Path, *, delay: float | None = None, lost: float = 0.0, rate: float | None = None, chance: int = 1
) -> list[str]:
    """What is named, of a link that really is as said."""
    link, generator, count = Link(("a", "b"), path, path), random.Random(chance), samples_needed(path)
    shift = 0.0 if delay is None else delay - path.delay_seconds
    delays = [path.sample_delay(generator) + shift for _ in range(count) if generator.random() >= lost]
    judged = [*judge_delays(link, "forward", path, Samples(delays, count))]
    if rate is not None:
        judged += judge_rates(link, rate, path.bytes_per_second)
    return [each.what for each in judged if each.is_off]


@pytest.mark.parametrize(
    ("asked", "real", "is_off"),
    [
        (0, 2, False),
        (0, 4, True),
        (10, 12.5, False),
        (10, 14, True),
        (100, 108, False),
        (100, 112, True),
        (100, 89, True),
    ],
)
def test_three_milliseconds_or_a_tenth(asked: float, real: float, is_off: bool) -> None:
    assert off(Path(asked / 1000), delay=real / 1000) == (["delay"] if is_off else [])


@pytest.mark.parametrize("distribution", Distribution)
def test_jitter_alone_names_no_honest_link_and_hides_no_wrong_one(distribution: Distribution) -> None:
    path = Path(0.05, 0.02, distribution)
    assert not any(off(path, chance=seed) for seed in range(50))
    assert all(off(path, delay=0.075, chance=seed) for seed in range(50))


def test_loss_is_counted() -> None:
    path = Path(0.01, loss=0.05)
    assert not any(off(path, lost=0.05, chance=seed) for seed in range(50))
    assert all("loss" in off(path, lost=0.2, chance=seed) for seed in range(50))


@pytest.mark.parametrize(("rate", "is_off"), [(0.95e6, False), (0.85e6, True), (1.2e6, True), (math.nan, True)])
def test_a_bandwidth_may_be_off_by_a_tenth(rate: float, is_off: bool) -> None:
    assert off(Path(bytes_per_second=1e6), rate=rate) == (["bandwidth"] if is_off else [])


def test_what_cannot_be_measured_is_off() -> None:
    link = Link(("a", "b"), Path(0.01), Path(0.01))
    assert [each.is_off for each in judge_delays(link, "forward", link.forward, Samples((), 20))] == [True]
    assert judge_handshake(link, math.nan).is_off and judge_handshake(link, math.inf).is_off
    assert judge_handshake(link, math.nan).to_json()["measured"] is None


def test_a_handshake_and_an_answer_cross_four_times() -> None:
    link = Link(("a", "b"), Path(0.02), Path(0.03))
    assert not judge_handshake(link, 0.101).is_off
    assert judge_handshake(link, 0.06).is_off and judge_handshake(link, 0.12).is_off
