"""One load of a scenario: a value that says all that is wrong with it, and a run made of it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.experiments.load import LoadError, load_run
from lab.scenarios.load_entry import LoadEntry, LoadEntryError, read_load_entry
from loadtests.plan import Address, LoadPlan
from loadtests.stages import Stage
from loadtests.workload import Population

PLAN = LoadPlan(
    Address("127.0.0.1", 53), "d", 80, (Population("eu", "10.2.0.0/16", 20), Population("us", "10.1.0.0/16", 10))
)
LAB: Any = SimpleNamespace(mark={})


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        ({}, ["name is missing", "profile is missing"]),
        ({"name": "a", "profile": "objects", "uses": 1}, ["unknown: uses (there are name, profile"]),
        ({"name": "A b", "profile": "nothing", "users": 0}, ["name must", "no profile 'nothing'", "users must"]),
        ({"name": "a", "profile": "video", "rate": 5}, ["profile video takes no rate"]),
        (
            {"name": "a", "profile": "api", "rate": 5, "arrivals": "random"},
            ["arrivals must be one of constant, poisson, not 'random'"],
        ),
        ({"name": "a", "profile": "api", "arrivals": "poisson"}, ["arrivals: poisson is for a rate"]),
        ({"name": "a", "profile": "api", "options": {"count": 1}}, ["unknown: count (there are none)"]),
        ({"name": "a", "profile": "api", "options": [1]}, ["options must be an object"]),
        ({"name": "a", "profile": "api", "regions": "eu"}, ["regions must be a list"]),
        ({"name": "a", "profile": "api", "regions": ["eu", "eu"]}, ["a region is named twice"]),
        (
            {"name": "a", "profile": "api", "stages": [{"users": 1}], "regions": 7},
            ["at_seconds is missing", "regions must"],
        ),
        (
            {"name": "a", "profile": "api", "users": 5, "stages": [{"at_seconds": 0, "users": 1}]},
            ["exclude each other"],
        ),
        (
            {
                "name": "a",
                "profile": "api",
                "lasts_seconds": 5,
                "stages": [{"at_seconds": n, "users": 1} for n in (0, 5)],
            },
            ["the last stage begins at 5 s, when the load of 5 s is over"],
        ),
        (
            {"name": "a", "profile": "api", "begins_seconds": -1, "lasts_seconds": "x"},
            ["begins_seconds", "lasts_seconds"],
        ),
    ],
)
def test_an_entry_that_cannot_be_says_everything(document: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(LoadEntryError) as raised:
        read_load_entry(document)
    for problem in problems:
        assert problem in str(raised.value)


def test_an_entry_is_read_with_its_stages() -> None:
    stages = [{"at_seconds": 0, "users": 1}, {"at_seconds": 5, "users": 9, "ramp": True}]
    entry = read_load_entry(
        {"name": "a", "profile": "objects", "regions": ["eu"], "stages": stages, "begins_seconds": 3}
    )
    assert entry == LoadEntry("a", "objects", ("eu",), stages=(Stage(0, 1), Stage(5, 9, True)), begins_seconds=3)
    assert entry.ends_seconds == 33


def plan_of(entry: LoadEntry, folder: Path, seed: int | None = None) -> tuple[LoadPlan, list[str]]:
    """What Locust would be told."""
    lab: Any = SimpleNamespace(mark={}, facts=SimpleNamespace(seed=seed))
    run = load_run(lab, entry, PLAN, folder)
    return run._plan, run._command(folder / "plan.json")


def test_a_run_is_of_the_regions_and_users_of_its_entry(tmp_path: Path) -> None:
    plan, command = plan_of(
        LoadEntry("a", "api", ("us",), rate=50, arrivals="poisson", lasts_seconds=7), tmp_path, seed=3
    )
    assert plan.intensity.arrivals == "poisson"
    assert [each.region for each in plan.populations] == ["us"]
    assert (plan.users, plan.intensity.rate, plan.intensity.seed, plan.intensity.name) == (10, 50, 3, "a")
    assert plan.output == tmp_path / "load.jsonl"
    assert command[command.index("--users") + 1] == "10"
    assert command[command.index("--run-time") + 1] == "7s"
    with pytest.raises(LoadError, match=r"load a: no viewers in mars \(there are eu, us\)"):
        load_run(LAB, LoadEntry("a", "api", ("mars", "us")), PLAN, tmp_path)


def test_with_stages_the_plan_says_how_many_and_how_long(tmp_path: Path) -> None:
    entry = LoadEntry("a", "api", stages=(Stage(0, 4), Stage(2, 8)), lasts_seconds=7)
    plan, command = plan_of(entry, tmp_path)
    assert (plan.users, plan.intensity.duration_seconds) == (8, 7)
    assert not {"--users", "--run-time", "--spawn-rate"} & set(command)
    assert json.loads(plan.to_json())["stages"] == [{"at_seconds": 0, "users": 4}, {"at_seconds": 2, "users": 8}]


def test_a_flash_crowd_without_stages_comes_and_goes(tmp_path: Path) -> None:
    plan, _ = plan_of(LoadEntry("a", "flash-crowd", users=60, lasts_seconds=40), tmp_path)
    assert plan.intensity.stages == (Stage(0, 6), Stage(10, 60), Stage(30, 6))
    assert plan.users == 60
