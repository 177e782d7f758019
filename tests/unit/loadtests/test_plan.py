"""The load plan: parsed once, all problems at once."""

import json
from pathlib import Path

import pytest

from loadtests.plan import Address, LoadPlan, PlanError, PlanOptions, parse_address, parse_plan, read_plan
from loadtests.workload import Population

POPULATIONS = [{"region": "eu", "client_subnet": "10.2.0.0/16", "users": 10}]
DOCUMENT = {
    "dns": "127.0.0.1:8053",
    "domain_name": "D1.cdn.localhost.",
    "viewer_port": 8080,
    "populations": POPULATIONS,
    "output": "runs/x/load.jsonl",
    "history": "runs/x/load",
}
PLAN = LoadPlan(
    Address("127.0.0.1", 8053),
    "d1.cdn.localhost",
    8080,
    (Population("eu", "10.2.0.0/16", 10),),
    Path("runs/x/load.jsonl"),
    history=Path("runs/x/load"),
)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(PLAN.to_json(), encoding="utf-8")
    assert read_plan(path) == PLAN == parse_plan(DOCUMENT)


def test_host_names_its_port_unless_it_is_the_usual_one() -> None:
    assert PLAN.host_header == "d1.cdn.localhost:8080"
    assert parse_plan(DOCUMENT | {"viewer_port": 80}).host_header == "d1.cdn.localhost"


def test_addresses() -> None:
    assert parse_address("[::1]:53") == Address("::1", 53)
    assert str(Address("::1", 53)) == "[::1]:53"
    for text in ("localhost", ":53", "host:0", "host:99999", "host:dns"):
        with pytest.raises(PlanError):
            parse_address(text)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(PlanError) as raised:
        parse_plan({"dns": "nowhere", "populations": [{"region": "eu", "client_subnet": "x", "users": 1}], "pace": -1})
    for problem in ("domain_name is missing", "viewer_port is missing", "population", "not host:port", "pace"):
        assert problem in str(raised.value)


def test_options_alone_are_enough_and_override_the_file(tmp_path: Path) -> None:
    options = {"dns": "127.0.0.1:8053", "domain": "d1.cdn.localhost", "viewer_port": "8080"}
    populations = json.dumps(POPULATIONS)
    files = {"load_output": "runs/x/load.jsonl", "load_history": "runs/x/load"}
    assert PlanOptions(**options, populations=populations, **files).plan() == PLAN
    path = tmp_path / "plan.json"
    path.write_text(PLAN.to_json(), encoding="utf-8")
    changed = PlanOptions(load_plan=str(path), domain="d2.cdn.localhost", pace="4").plan()
    assert (changed.domain_name, changed.pace, changed.dns) == ("d2.cdn.localhost", 4.0, PLAN.dns)


@pytest.mark.parametrize("text", ["not json", "[]"])
def test_a_plan_that_cannot_be_read_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=r"plan\.json"):
        PlanOptions(load_plan=str(path)).plan()


def test_no_plan_at_all_says_how_to_give_one() -> None:
    with pytest.raises(PlanError, match="--load-plan"):
        PlanOptions().plan()
