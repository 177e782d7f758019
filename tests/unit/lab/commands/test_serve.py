"""Which applications `cdnlab serve` can put a lab in containers in front of."""

import pytest

from lab.cluster.status import RunningNode
from lab.commands.serve import is_within_reach
from lab.topology.layout import Role


def node(node_id: str, role: Role, advertised: str) -> RunningNode:
    return RunningNode(node_id, role, "us-east-1", "", "10.77.20.4:8080", "", "", True, advertised=advertised)


RELAYED = (
    node("wan", Role.WAN, ""),
    node("edge-1", Role.EDGE, "10.77.253.14:8080"),
    node("origin-1", Role.ORIGIN, "10.77.253.20:8080"),
)


@pytest.mark.parametrize("host", ["10.77.252.2", "10.77.253.20", "origin-1"])
def test_with_relays_what_they_lead_to(host: str) -> None:
    assert is_within_reach(host, RELAYED)


@pytest.mark.parametrize("host", ["192.0.2.1", "10.78.252.2", "example.com", "edge-1", "2001:db8::1"])
def test_with_relays_nobody_else(host: str) -> None:
    assert not is_within_reach(host, RELAYED)


def test_without_relays_whatever_there_is() -> None:
    assert is_within_reach("192.0.2.1", [node("origin-1", Role.ORIGIN, "")])
