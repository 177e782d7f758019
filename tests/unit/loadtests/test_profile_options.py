"""What a load plan says of how much and what: read with all problems at once."""

import json
from typing import Any

import pytest

from lab import load_profiles
from loadtests.catalogue import PROFILES, read_options, refuse_rate
from loadtests.intensity import Intensity
from loadtests.plan import PlanError, PlanOptions, parse_plan
from loadtests.popular_objects import object_path, popularity_in, row_name
from loadtests.profile_options import ObjectsOptions, OptionsError, SlowReadersOptions

DOCUMENT: dict[str, Any] = {
    "dns": "127.0.0.1:8053",
    "domain_name": "d1.cdn.localhost",
    "viewer_port": 8080,
    "populations": [{"region": "eu", "client_subnet": "10.2.0.0/16", "users": 10}],
}
CROWD = {
    "name": "crowd",
    "seed": 7,
    "stages": [{"at_seconds": 0, "users": 10}, {"at_seconds": 10, "users": 60, "ramp": True}],
    "duration_seconds": 30,
    "rate": 100,
    "options": {"count": 2},
}


def test_the_command_line_has_every_profile() -> None:
    assert tuple(PROFILES) == load_profiles.PROFILES


def test_a_plan_with_everything_survives_its_file() -> None:
    plan = parse_plan(DOCUMENT | CROWD)
    assert parse_plan(json.loads(plan.to_json())) == plan
    assert plan.users == 60
    assert (plan.intensity.name, plan.intensity.seed, plan.intensity.rate) == ("crowd", 7, 100)


def test_a_plan_without_any_of_it_is_as_ever() -> None:
    plan = parse_plan(DOCUMENT)
    assert plan.intensity == Intensity()
    assert plan.users == 10
    assert not set(json.loads(plan.to_json())) & set(CROWD)


def test_all_that_is_wrong_with_a_plan_is_said_at_once() -> None:
    wrong = {
        "name": "No Name",
        "seed": 1.5,
        "users": 0,
        "rate": -1,
        "stages": [{"users": 1}],
        "options": [],
        "pace": "x",
    }
    with pytest.raises(PlanError) as raised:
        parse_plan(DOCUMENT | wrong)
    said = str(raised.value)
    for problem in (
        "name must",
        "seed must",
        "users must",
        "rate must",
        "at_seconds is missing",
        "options must",
        "pace",
    ):
        assert problem in said
    assert "stages need duration_seconds" in said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"duration_seconds": 5}, "duration_seconds is for stages"),
        ({"rate": 5, "pace": 2}, "exclude each other"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        parse_plan(DOCUMENT | given)


def test_rate_and_options_by_hand() -> None:
    plan = PlanOptions(
        dns="127.0.0.1:8053",
        domain="d1",
        viewer_port="80",
        populations=json.dumps(DOCUMENT["populations"]),
        rate="20",
        profile_options='{"count": 3}',
    ).plan()
    assert (plan.intensity.rate, plan.intensity.options) == (20, {"count": 3})
    with pytest.raises(PlanError, match="options: "):
        PlanOptions(domain="d1", profile_options="{").plan()


@pytest.mark.parametrize("profile", ["website", "video", "download", "mixed", "slow-readers"])
def test_a_rate_is_refused_where_a_step_is_not_one_request(profile: str) -> None:
    with pytest.raises(OptionsError, match=f"profile {profile} takes no rate"):
        refuse_rate(profile, 10)
    refuse_rate(profile, None)
    refuse_rate("objects", 10)


@pytest.mark.parametrize(
    ("profile", "given", "problems"),
    [
        ("website", {"count": 1}, ["profile website: unknown: count (there are none)"]),
        (
            "objects",
            {"size": 1, "count": 0},
            ["unknown: size (there are path, count", "count must be a whole number from 1"],
        ),
        ("objects", {"count": 1.0, "exponent": "1"}, ["count must be a whole number", "exponent must be a number"]),
        ("objects", {"path": "/one"}, ["path of 200 objects needs {n}"]),
        ("objects", {"path": "/{n}/{n}"}, ["path may have one {n}"]),
        ("objects", {"path": "/a b", "count": 1}, ["path must begin with /"]),
        ("objects", {"path": 7}, ["path must be a text, not 7"]),
        ("objects", {"path": "/a\r\nx: y", "count": 1}, ["path must begin with /"]),
        ("objects", {"path": "/a#b", "count": 1}, ["fragment"]),
        ("flash-crowd", {"count": 4}, ["count must be a whole number from 1 to 3, not 4"]),
        ("cache-busting", {"busting_share": 2, "parameter": "a=b"}, ["busting_share must", "parameter must"]),
        ("conditional", {"conditional_share": -1}, ["conditional_share must be a number from 0 to 1"]),
        ("slow-readers", {"read_bytes_per_second": 0}, ["nothing would be slow"]),
        ("slow-readers", {"hold_seconds": 1e9, "path": "x"}, ["hold_seconds must", "path must"]),
    ],
)
def test_options_that_cannot_be_say_everything(profile: str, given: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(OptionsError) as raised:
        read_options(profile, given)
    for problem in problems:
        assert problem in str(raised.value)


def test_options_have_defaults() -> None:
    assert read_options("objects", {"count": 3}) == ObjectsOptions(count=3)
    assert isinstance(read_options("slow-readers", {}), SlowReadersOptions)


def test_objects_have_paths_and_share_a_row() -> None:
    assert object_path("/download/item-{n}?size=20KiB", 0) == "/download/item-1?size=20KiB"
    assert row_name("/download/item-{n}?size=20KiB") == "/download/item-[n]?size"
    assert popularity_in("eu", 50, 0.8, 0.7) is popularity_in("eu", 50, 0.8, 0.7)
