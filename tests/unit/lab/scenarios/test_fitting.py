"""What a scenario names that the lab does not have is told before anything is begun, all of it at once."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from lab.errors import UsageError
from lab.scenarios.fitting import check_fits
from lab.scenarios.reader import find_scenario, parse_scenario
from lab.scenarios.shipped import shipped_scenarios
from lab.topology.choice import TopologyChoice
from lab.topology.model import Topology
from lab.topology.problems import TopologyError
from lab.topology.reader import find_topology
from tests.unit.lab.scenarios.scenario_texts import SOURCE, action, document, dumped, probe


@cache
def topology(name: str = "default") -> Topology:
    return find_topology(TopologyChoice(name=name))


def told(
    *method: dict[str, Any], rollbacks: tuple[dict[str, Any], ...] = (), relays: bool = True, **extension: Any
) -> str:
    """What is said of it; empty: it fits."""
    scenario = parse_scenario(dumped(document(*method, **extension) | {"rollbacks": list(rollbacks)}), SOURCE)
    try:
        check_fits(scenario, replace(topology(), has_relays=relays))
    except UsageError as error:
        return str(error)
    return ""


def inject(fault: str, target: str) -> dict[str, Any]:
    return action("inject", name=fault, fault=fault, target=target)


@pytest.mark.parametrize("name", shipped_scenarios())
def test_what_ships_fits_its_topology(name: str) -> None:
    scenario = find_scenario(name)
    check_fits(scenario, topology(scenario.topology))


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (inject("kill", "edge-nowhere"), "edge-nowhere"),
        (inject("link-cut", "link:us-east-1--moon"), "no link 'link:us-east-1--moon': there are"),
        (inject("link-cut", "us-east-1--eu-central-1"), "is no target for a fault of links"),
        (inject("partition", "moon"), "moon"),
        (action("restart", target="role:moon"), "moon"),
        (action("put", path="/bucket/a", origins=["origin-9"]), "there is no origin origin-9"),
        (action("invalidate", paths=["/*"], distribution="shop"), "there is no distribution 'shop'"),
    ],
)
def test_a_step_at_what_is_not_there_is_told_also_as_a_rollback(step: dict[str, Any], problem: str) -> None:
    name = step["name"]
    assert f"step {name!r}: " in told(step) and problem in told(step)
    assert f"step {name!r}: " in told(rollbacks=(step,)) and problem in told(rollbacks=(step,))


@pytest.mark.parametrize(
    ("fault", "target"),
    [("link-cut", "link:us-east-1--*"), ("partition", "one-against-all:us-east-1"), ("partition", "halves")],
)
def test_links_are_there_where_the_lab_has_relays(fault: str, target: str) -> None:
    assert told(inject(fault, target)) == ""
    assert f"{fault} is for links, and the lab has none (relays: false)" in told(inject(fault, target), relays=False)


@pytest.mark.parametrize("region", ["moon", ["us-east-1", "moon"]])
def test_a_checker_of_a_region_where_nobody_lives_is_told(region: object) -> None:
    said = told(checkers=["bodies", {"availability": {"at_least": 0.5, "region": region, "as": "far away"}}])
    assert "checker far away: nobody lives in moon: there is us-east-1" in said


def test_a_probe_or_a_rollback_that_waits_for_a_region_that_there_is_not_is_told() -> None:
    asks = probe("holds", condition="p95(mars) < 1 s")
    assert "probe 'holds': no region mars: there are us-east-1" in told(asks)
    assert "probe 'holds': no region mars" in told(probes=(asks,))
    assert "probe 'figure': no node nobody" in told(probe("figure", name="named", place="nobody"))
    assert "step 'late'" in told(rollbacks=(action("wait", name="late", when="p95(mars) < 1 s"),))


def test_a_load_that_comes_when_the_run_is_over_is_told() -> None:
    with pytest.raises(TopologyError, match="begins must be before the run is over, which lasts 6s, not 50s"):
        parse_scenario(dumped(document(load=[{"profile": "api", "begins": "50s"}], duration="6s")), SOURCE)


def test_a_topology_beside_those_that_ship_is_found_from_anywhere_and_one_that_is_not_there_is_told() -> None:
    assert told(topology="topologies/two-regions.yaml") == ""
    with pytest.raises(TopologyError, match=r"there is no topology topologies/three-moons\.yaml"):
        parse_scenario(dumped(document(topology="topologies/three-moons.yaml")), SOURCE)


def test_everything_is_told_at_once() -> None:
    said = told(
        inject("kill", "edge-nowhere"),
        inject("link-cut", "link:moon--*"),
        checkers=[{"availability": {"at_least": 0.5, "region": "moon"}}],
        load=[{"profile": "website", "regions": ["moon"]}],
        distributions=[{"name": "site", "origin": "origin-9"}],
    )
    assert len(said.splitlines()) == 6


def wait(name: str, **arguments: Any) -> dict[str, Any]:
    return action("wait", name=name, **arguments)


def test_a_step_that_is_due_before_the_one_in_front_of_it_is_told() -> None:
    with pytest.raises(TopologyError, match="step 'b' is due at 5s, and 'a', which stands before it, at 10s"):
        parse_scenario(dumped(document(wait("a", at="10s"), wait("then"), wait("b", at="5s"))), SOURCE)


def test_what_is_done_in_the_background_or_at_the_same_time_may_stand_anywhere() -> None:
    behind = action("wait", name="b", at="5s", background=True)
    parse_scenario(dumped(document(wait("a", at="10s"), behind, wait("c", at="10s"), wait("d", at="11s"))), SOURCE)
