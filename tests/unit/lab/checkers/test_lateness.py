"""When a load generator counts as one that fell behind."""

import pytest

from lab.checkers.lateness import Lateness, lateness
from lab.history.reader import history_of

MILLISECOND = 1_000_000


def said(*late_milliseconds: float, node: str = "load") -> list[dict[str, object]]:
    """A second each."""
    return [
        {"node": node, "at_ns": number * 1_000 * MILLISECOND, "late_ns": round(late * MILLISECOND)}
        for number, late in enumerate(late_milliseconds)
    ]


@pytest.mark.parametrize(
    "late",
    [[], [0.1] * 30, [100.0] * 30, [900.0] + [0.1] * 49],
    ids=["nobody said", "on time", "as ever", "one second of fifty"],
)
def test_it_counts_as_on_time(late: list[float]) -> None:
    assert lateness(history_of({"lateness": said(*late)})) == Lateness()


def test_it_fell_behind_and_says_by_how_much() -> None:
    rows = [*said(*[0.1] * 28, 250.4, 101.0, node="load-a"), *said(*[2.0] * 30, node="load-b")]
    assert lateness(history_of({"lateness": rows})) == Lateness(
        "load-a fell behind: late by up to 250 ms, and by more than 100 ms in 2 of 30 seconds"
    )


def test_one_who_stood_still_for_seconds_has_said_so_once() -> None:
    rows = said(3_000.0, *[0.1] * 97)
    assert lateness(history_of({"lateness": rows})).told.endswith("in 3 of 100 seconds")


@pytest.mark.parametrize(("late", "is_bounded"), [(4_900.0, True), (5_000.0, False)])
def test_from_when_on_viewers_drop_what_they_meant_to_ask(late: float, is_bounded: bool) -> None:
    assert lateness(history_of({"lateness": said(late, 0.1)})).is_bounded is is_bounded
