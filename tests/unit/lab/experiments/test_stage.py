"""The lab as a run finds it: who is there and where, and what is said of a lab that no run can be made with."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cluster.status import RunningNode
from lab.errors import LabError
from lab.experiments.stage import Stage
from lab.topology.layout import Role

FACTS: Any = SimpleNamespace(topology="mine", populations=("eu",))


def node(name: str, role: Role, **addresses: str) -> RunningNode:
    told: dict[str, Any] = {"http": "", "admin": "", "dns": ""} | addresses
    return RunningNode(id=name, role=role, region="eu", pop="", is_running=True, **told)


NODES = (
    node("origin-1", Role.ORIGIN, http="127.0.0.1:8080"),
    node("edge-1", Role.EDGE, http="127.0.0.2:8080"),
    node("edge-2", Role.EDGE, http="127.0.0.3:8080", advertised="[fd00::7]:80"),
    node("router-1", Role.DNS_ROUTER, dns="127.0.0.4:53"),
    node("wan", Role.WAN),
)


def stage_of(facts: Any, nodes: tuple[RunningNode, ...]) -> Stage:
    lab: Any = SimpleNamespace(facts=facts, nodes=lambda: nodes)
    return Stage.of(lab)


def test_nodes_are_where_others_reach_them_and_relays_are_none() -> None:
    stage = stage_of(FACTS, NODES)
    assert [each.id for each in stage.nodes] == ["origin-1", "edge-1", "edge-2", "router-1"]
    assert stage.origin_addresses == {"origin-1": "127.0.0.1:8080"}
    assert stage.viewers_addresses == {"127.0.0.2": "edge-1", "[fd00::7]": "edge-2"}
    assert [each.reached_at for each in stage.of_role(Role.DNS_ROUTER)] == ["127.0.0.4:53"]


def test_a_lab_to_which_nobody_comes_or_that_lacks_a_role_is_told() -> None:
    with pytest.raises(LabError, match="topology mine has no populations"):
        stage_of(SimpleNamespace(topology="mine", populations=()), NODES)
    with pytest.raises(LabError, match="the lab has no origin"):
        _ = replace(stage_of(FACTS, NODES), nodes=NODES[1:]).origin_addresses
