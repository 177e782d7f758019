"""Downloads in ranges: what to ask for next, and what an answer is worth."""

from random import Random

import pytest

from loadtests.resuming import (
    MEBIBYTE,
    ContentRange,
    Progress,
    Verdict,
    judge_part,
    parse_content_range,
    pick_range_bytes,
    range_headers,
    with_bytes,
)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("bytes 0-9/10", ContentRange(0, 9, 10)),
        ("bytes 5-9/*", ContentRange(5, 9, None)),
        ("bytes 9-5/10", None),
        ("bytes 0-10/10", None),
        ("bytes */10", None),
        ("items 0-9/10", None),
        ("", None),
    ],
)
def test_content_range(value: str, parsed: ContentRange | None) -> None:
    assert parse_content_range(value) == parsed


def test_ranges_are_one_to_eight_mebibytes() -> None:
    rng = Random(1)
    assert {pick_range_bytes(rng) for _ in range(300)} == {count * MEBIBYTE for count in range(1, 9)}


def test_a_download_in_parts_with_a_break_in_the_middle() -> None:
    progress = Progress()
    assert range_headers(progress, 100) == {"range": "bytes=0-99"}

    verdict, progress = judge_part(progress, 206, {"content-range": "bytes 0-99/250", "etag": '"1"'})
    assert verdict is Verdict.CONTINUED
    progress = with_bytes(progress, 60)  # the connection broke after 60 of 100 bytes
    assert range_headers(progress, 100) == {"range": "bytes=60-159", "if-range": '"1"'}

    verdict, progress = judge_part(progress, 206, {"content-range": "bytes 60-159/250", "etag": '"1"'})
    assert verdict is Verdict.CONTINUED
    progress = with_bytes(progress, 100)
    assert range_headers(progress, 100) == {"range": "bytes=160-249", "if-range": '"1"'}
    assert not progress.is_complete
    assert with_bytes(progress, 90).is_complete


def test_a_changed_object_starts_again() -> None:
    half = Progress(100, 250, '"1"')
    verdict, progress = judge_part(half, 200, {"content-length": "300", "etag": '"2"'})
    assert verdict is Verdict.RESTARTED
    assert progress == Progress(0, 300, '"2"')


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"content-range": "bytes 0-99/250", "etag": '"1"'}),  # not where we are
        (206, {"content-range": "bytes 100-199/250", "etag": '"2"'}),  # of another version
        (206, {"etag": '"1"'}),
        (416, {"content-range": "bytes */250"}),
        (503, {}),
    ],
)
def test_other_bytes_than_asked_for_are_wrong(status: int, headers: dict[str, str]) -> None:
    half = Progress(100, 250, '"1"')
    assert judge_part(half, status, headers) == (Verdict.WRONG, half)


def test_a_weak_validator_cannot_guard_a_range() -> None:
    assert range_headers(Progress(100, 250, 'W/"1"'), 50) == {"range": "bytes=100-149"}
