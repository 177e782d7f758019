"""Misbehaviour by path: validation, choice, lease, and what it does to an answer."""

import pytest

from origin.behaviors import MAX_BEHAVIORS, Behavior, BehaviorTable, apply_behavior, paced, parse_behavior
from origin.errors import InvalidInputError
from origin.messages import Delivery, Response
from tests.origin_builders import a_get, a_request

_WHOLE = Response(200, (("ETag", '"a"'), ("Vary", "Accept")), b"content", accepts_ranges=True)


def never() -> float:
    return 0.999


def always() -> float:
    return 0.0


def a_table(*behaviors: Behavior) -> BehaviorTable:
    table = BehaviorTable()
    for behavior in behaviors:
        table.add(behavior, 0.0)
    return table


def test_the_json_form() -> None:
    document = {
        "path_prefix": "/x",
        "status": 503,
        "delay_seconds": 2,
        "methods": ["get"],
        "remaining": 5,
        "lease_seconds": 30,
    }
    assert parse_behavior(document) == Behavior(
        "/x", 503, delay_seconds=2, methods=("GET",), remaining=5, lease_seconds=30
    )


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "JSON object"),
        ({"status": 503}, "path_prefix"),
        ({"path_prefix": "x", "status": 503}, "path_prefix"),
        ({"path_prefix": "/x"}, "something to do"),
        ({"path_prefix": "/x", "methods": ["GET"], "remaining": 3, "probability": 0.5}, "something to do"),
        ({"path_prefix": "/x", "status": 99}, "status"),
        ({"path_prefix": "/x", "status": True}, "status"),
        ({"path_prefix": "/x", "status": 503.5}, "status"),
        ({"path_prefix": "/x", "delay_seconds": "2"}, "delay_seconds"),
        ({"path_prefix": "/x", "delay_seconds": -1}, "delay_seconds"),
        ({"path_prefix": "/x", "delay_seconds": float("nan")}, "delay_seconds"),
        ({"path_prefix": "/x", "body_bytes_per_second": 0}, "body_bytes_per_second"),
        ({"path_prefix": "/x", "status": 503, "probability": 1.5}, "probability"),
        ({"path_prefix": "/x", "status": 503, "remaining": 0}, "remaining"),
        ({"path_prefix": "/x", "status": 503, "lease_seconds": 3_601}, "lease_seconds"),
        ({"path_prefix": "/x", "status": 503, "methods": "GET"}, "methods"),
        ({"path_prefix": "/x", "drop_connection": 1}, "drop_connection"),
        ({"path_prefix": "/x", "headers": {"A\n": "b"}}, "headers"),
        ({"path_prefix": "/x", "headers": {"Content-Length": "1"}}, "headers"),
        ({"path_prefix": "/x", "statsu": 503}, "unknown field 'statsu'"),
    ],
)
def test_mistakes_are_named(document: object, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        parse_behavior(document)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_behavior({"path_prefix": "x", "status": 1, "other": 2})
    assert len(error.value.problems) == 3


def test_it_is_about_its_paths_and_methods_only() -> None:
    table = a_table(Behavior("/x", 503, methods=("GET",)))
    assert table.select(a_get("/x/y"), 0.0, always) is not None
    assert table.select(a_get("/y/x"), 0.0, always) is None
    assert table.select(a_request("HEAD", "/x/y"), 0.0, always) is None


def test_the_newest_that_matches_applies() -> None:
    table = a_table(Behavior("/", 500), Behavior("/x", 503), Behavior("/z", 504))
    selected = table.select(a_get("/x"), 0.0, always)
    assert selected is not None and selected.status == 503


def test_the_dice_decide_and_the_next_one_gets_its_chance() -> None:
    table = a_table(Behavior("/", 500), Behavior("/", 503, probability=0.5))
    selected = table.select(a_get("/x"), 0.0, never)
    assert selected is not None and selected.status == 500


def test_probability_zero_never_applies() -> None:
    assert a_table(Behavior("/", 503, probability=0.0)).select(a_get("/x"), 0.0, always) is None


def test_it_ends_after_so_many_times() -> None:
    table = a_table(Behavior("/", 503, remaining=2))
    applied = [table.select(a_get("/x"), 0.0, always) is not None for _ in range(3)]
    assert applied == [True, True, False] and table.describe(0.0) == []


def test_it_heals_by_itself_when_its_lease_ends() -> None:
    table = a_table(Behavior("/", 503, lease_seconds=10.0))
    assert table.select(a_get("/x"), 9.9, always) is not None
    assert table.select(a_get("/x"), 10.0, always) is None and len(table) == 0


def test_removing() -> None:
    table = BehaviorTable()
    first = table.add(Behavior("/a", 503), 0.0)
    table.add(Behavior("/b", 503), 0.0)
    assert table.remove(first) and not table.remove(first)
    assert table.clear() == 1 and len(table) == 0


def test_the_table_is_bounded() -> None:
    table = a_table(*[Behavior("/", 503)] * MAX_BEHAVIORS)
    with pytest.raises(InvalidInputError):
        table.add(Behavior("/", 503), 0.0)


def test_an_error_status_takes_the_content_away() -> None:
    response = apply_behavior(Behavior("/", 503), _WHOLE)
    assert response.status == 503 and response.header("etag") is None and response.body != b"content"


def test_a_304_that_lies() -> None:
    response = apply_behavior(Behavior("/", 304), _WHOLE)
    assert (response.status, response.body, response.header("etag")) == (304, b"", '"a"')


def test_headers_are_set_and_taken_away() -> None:
    response = apply_behavior(Behavior("/", headers={"vary": None, "ETag": '"wrong"', "X-New": "1"}), _WHOLE)
    assert response.headers == (("ETag", '"wrong"'), ("X-New", "1")) and response.body == b"content"


def test_slowness_is_added_to_what_the_request_asked_for() -> None:
    asked = Response(200, body=b"x", delivery=Delivery(delay_seconds=1.0, gate="g"))
    plan = apply_behavior(
        Behavior("/", delay_seconds=2.0, truncate_after_bytes=0, drop_connection=False), asked
    ).delivery
    assert (plan.delay_seconds, plan.gate, plan.truncate_after_bytes) == (3.0, "g", 0)


@pytest.mark.parametrize("rate", [1.0, 7.0, 1_000.0, 1e6, 1e9])
def test_pacing_gives_the_rate(rate: float) -> None:
    piece_bytes, interval_seconds = paced(rate)
    assert 1 <= piece_bytes <= 65_536 and piece_bytes / interval_seconds == pytest.approx(rate)
