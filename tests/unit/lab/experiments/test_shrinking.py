"""What is left of an experiment when everything is taken away that does not make it fail: judged by an oracle that knows what does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.experiments.shrinking import Document, Search, extension_of, scaled, shrink

NAMES = tuple("abcdefgh")


def document(names: tuple[str, ...] = NAMES, users: int = 64, seconds: float = 80) -> Document:
    steps = [{"name": name, "provider": {"arguments": {"at": f"{10 * number}s"}}} for number, name in enumerate(names)]
    loads = [{"name": "first", "users": users}, {"name": "second", "users": users}]
    blocks: list[dict[str, Any]] = [
        {"name": "other"},
        {"name": "cdnlab", "load": loads, "duration": f"{seconds:g}s"},
    ]
    return {"title": "t", "method": steps, "extensions": blocks}


def names_of(found: Document) -> set[str]:
    return {step["name"] for step in found["method"]}


@given(needed=st.sets(st.sampled_from(NAMES)), entry=st.sampled_from(["first", "second"]), users=st.integers(1, 64))
def test_what_is_needed_is_all_that_is_left(needed: set[str], entry: str, users: int) -> None:
    def fails(tried: Document) -> bool:
        loads = {each["name"]: each["users"] for each in extension_of(tried)["load"]}
        return needed <= names_of(tried) and loads.get(entry, 0) >= users

    smallest = shrink(document(), Search(fails, most=1000), 80)
    assert names_of(smallest) == needed
    (load,) = extension_of(smallest)["load"]
    assert load["name"] == entry
    assert users <= load["users"] < max(2, 2 * users)
    assert extension_of(smallest)["duration"] == 5


def test_steps_keep_their_share_of_a_shorter_time() -> None:
    smallest = shrink(document(("a", "b")), Search(lambda tried: names_of(tried) == {"a", "b"}, most=100), 80)
    assert [step["provider"]["arguments"]["at"] for step in smallest["method"]] == [0, 10 * 5 / 80]


def test_no_more_is_asked_than_is_allowed_and_nothing_twice() -> None:
    asked: list[str] = []

    def fails(tried: Document) -> bool:
        asked.append(repr(tried))
        return True

    search = Search(fails, most=3)
    shrink(document(), search, 80)
    assert len(asked) == search.asked == 3
    assert len(set(asked)) == 3


def test_what_fails_only_as_it_is_stays_as_it_is() -> None:
    whole = document()
    assert shrink(whole, Search(lambda tried: tried == whole, most=100), 80) == whole


def test_the_load_keeps_its_shape_in_a_shorter_time() -> None:
    load = {"name": "a", "begins": "10s", "lasts": 20, "stages": [{"at": "5s", "users": 9}], "rate": 40}
    whole = {"method": [{"pauses": {"before": 4}}], "extensions": [{"name": "cdnlab", "load": [load]}]}
    half = scaled(whole, 0.5, 15)
    assert extension_of(half)["load"] == [
        {"name": "a", "begins": 5, "lasts": 10, "stages": [{"at": 2.5, "users": 9}], "rate": 40}
    ]
    assert (half["method"], extension_of(half)["duration"]) == ([{"pauses": {"before": 2}}], 15)


@pytest.mark.parametrize(
    ("load", "smallest"),
    [
        ({"users": 8, "rate": 40}, {"users": 1, "rate": 5}),
        ({"rate": 4}, {"rate": 1}),
        ({"users": 1, "rate": 40}, {"users": 1, "rate": 40}),
        ({"profile": "website"}, {"profile": "website"}),
    ],
)
def test_fewer_viewers_ask_less_often_and_one_alone_as_often_as_it_does(
    load: dict[str, Any], smallest: dict[str, Any]
) -> None:
    whole = {"method": [], "extensions": [{"name": "cdnlab", "load": [load]}]}
    assert extension_of(shrink(whole, Search(lambda _: True, most=100), None))["load"] == [smallest]


def test_nothing_more_is_asked_when_the_time_is_over() -> None:
    search = Search(lambda _: True, 100, is_over=lambda: search.asked >= 2)
    shrink(document(), search, 80)
    assert search.asked == 2
