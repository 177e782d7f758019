"""Counted requests are always the same, and independent of the clock."""

import re

import pytest

from lab.regression.viewer_connections import read_head, request_bytes
from lab.regression.workloads import Ask, Workload, counted_workloads


def test_a_workload_is_the_same_each_time() -> None:
    assert counted_workloads() == counted_workloads()


def test_an_extra_fetch_in_ten_thousand_has_ten_thousand_requests_to_show_in() -> None:
    assert max(each.requests for each in counted_workloads()) >= 10_000


@pytest.mark.parametrize("workload", counted_workloads(), ids=lambda each: each.name)
def test_what_is_kept_is_kept_for_longer_than_a_run_and_what_is_not_is_never_fresh(workload: Workload) -> None:
    lifetimes = {
        int(found[1])
        for step in workload.steps
        for ask in step.asks
        if (found := re.search(r"max-age%3D(\d+)", ask.target))
    }
    assert lifetimes <= {0, 86_400} and lifetimes


def test_an_object_has_one_size() -> None:
    sizes: dict[str, set[str]] = {}
    for step in counted_workloads()[0].steps:
        for ask in step.asks:
            path, _, query = ask.target.partition("?")
            sizes.setdefault(path, set()).add(query)
    assert all(len(each) == 1 for each in sizes.values())


def test_a_request_is_one_of_http_1_1() -> None:
    assert request_bytes(Ask("/a?b", "HEAD", ("Range: bytes=0-1",)), "d1.test:80") == (
        b"HEAD /a?b HTTP/1.1\r\nHost: d1.test:80\r\nRange: bytes=0-1\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("head", "is_head", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", False, (200, 12)),
        (b"HTTP/1.1 200 OK\r\ncontent-length:12\r\n\r\n", True, (200, 0)),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", False, (304, 0)),
    ],
)
def test_a_head_says_how_long_its_body_is(head: bytes, is_head: bool, told: tuple[int, int]) -> None:
    assert read_head(head, is_head) == told


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_whose_end_is_not_known_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError):
        read_head(head, is_head_request=False)
