"""Misbehaviour by path: validation, choice, lease, and what it does to an answer."""

import pytest

from origin.behaviors import (
    MAX_BEHAVIORS,
    Behavior,
    BehaviorTable,
    apply_behavior,
    falsify_content,
    paced,
    parse_behavior,
)
from origin.conditions import apply_conditions
from origin.errors import InvalidInputError
from origin.messages import Delivery, Response
from tests.origin_builders import a_get, a_request

_WHOLE = Response(200, (("ETag", '"a"'), ("Vary", "Accept")), b"content", accepts_ranges=True)
_GET = a_get("/x")
_LYING = Behavior("/", not_modified=True)
_DATE = "Sat, 01 Jan 2000 00:00:00 GMT"


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
        ({"path_prefix": "/x", "not_modified": "yes"}, "not_modified"),
        ({"path_prefix": "/x", "entity_tag": "v1"}, "entity_tag"),
        ({"path_prefix": "/x", "entity_tag": '"a", "b"'}, "entity_tag"),
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
    assert selected is not None and selected.behavior.status == 503


def test_the_dice_decide_and_the_next_one_gets_its_chance() -> None:
    table = a_table(Behavior("/", 500), Behavior("/", 503, probability=0.5))
    selected = table.select(a_get("/x"), 0.0, never)
    assert selected is not None and selected.behavior.status == 500


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
    response = apply_behavior(Behavior("/", 503), _GET, _WHOLE)
    assert response.status == 503 and response.header("etag") is None and response.body != b"content"


def test_a_304_that_nobody_asked_for() -> None:
    response = apply_behavior(Behavior("/", 304), _GET, _WHOLE)
    assert (response.status, response.body, response.header("etag")) == (304, b"", '"a"')


@pytest.mark.parametrize(
    ("condition", "validator"),
    [
        (("If-None-Match", 'W/"old"'), ("ETag", 'W/"old"')),
        (("If-Modified-Since", _DATE), ("Last-Modified", _DATE)),
    ],
)
def test_a_304_that_lies_says_that_what_they_have_is_good(
    condition: tuple[str, str], validator: tuple[str, str]
) -> None:
    now = Response(404, (("Cache-Control", "max-age=5"), ("ETag", '"new"'), ("x-amz-version-id", "9")), b"gone")
    response = apply_behavior(_LYING, a_get("/x", condition), now)
    assert (response.status, response.body) == (304, b"")
    assert response.headers == (("Cache-Control", "max-age=5"), validator)


def test_a_304_that_lies_names_no_version_to_who_has_several() -> None:
    for tags in ("*", '"a", "b"'):
        assert apply_behavior(_LYING, a_get("/x", ("If-None-Match", tags)), _WHOLE).header("etag") is None


def test_who_asks_no_condition_is_not_lied_to() -> None:
    table = a_table(Behavior("/", 500), _LYING)
    plain = table.select(a_get("/x", ("Range", "bytes=0-1")), 0.0, always)
    assert plain is not None and plain.behavior.status == 500, "the next behavior gets its chance"
    assert table.select(a_request("PUT", "/x", ("If-None-Match", "*")), 0.0, always) == plain
    lied_to = table.select(a_get("/x", ("If-None-Match", '"a"')), 0.0, always)
    assert lied_to is not None and lied_to.behavior == _LYING


def test_a_constant_entity_tag_is_what_conditions_are_judged_by() -> None:
    content = falsify_content(Behavior("/", entity_tag='"same"'), _WHOLE)
    assert content.headers == (("Vary", "Accept"), ("ETag", '"same"'))
    assert apply_conditions(a_get("/x", ("If-None-Match", '"same"')), content).status == 304
    resumed = apply_conditions(a_get("/x", ("Range", "bytes=3-"), ("If-Range", '"same"')), content)
    assert (resumed.status, bytes(resumed.body)) == (206, b"tent")  # type: ignore[arg-type]
    gone = Response(404, (("ETag", '"a"'),))
    assert falsify_content(Behavior("/", entity_tag='"same"'), gone) is gone


def test_headers_are_set_and_taken_away() -> None:
    response = apply_behavior(Behavior("/", headers={"vary": None, "ETag": '"wrong"', "X-New": "1"}), _GET, _WHOLE)
    assert response.headers == (("ETag", '"wrong"'), ("X-New", "1")) and response.body == b"content"


def test_slowness_is_added_to_what_the_request_asked_for() -> None:
    asked = Response(200, body=b"x", delivery=Delivery(delay_seconds=1.0, gate="g"))
    plan = apply_behavior(
        Behavior("/", delay_seconds=2.0, truncate_after_bytes=0, drop_connection=False), _GET, asked
    ).delivery
    assert (plan.delay_seconds, plan.gate, plan.truncate_after_bytes) == (3.0, "g", 0)


@pytest.mark.parametrize("rate", [1.0, 7.0, 1_000.0, 1e6, 1e9])
def test_pacing_gives_the_rate(rate: float) -> None:
    piece_bytes, interval_seconds = paced(rate)
    assert 1 <= piece_bytes <= 65_536 and piece_bytes / interval_seconds == pytest.approx(rate)
