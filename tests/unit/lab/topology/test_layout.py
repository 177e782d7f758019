"""From a topology to node ids, addresses, command lines and the routing table; and the distances behind the latter."""

from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import json_format

from edge_node.settings import parse_settings
from lab.topology.geography import Coordinates, distance_kilometres, find_airports, one_way_milliseconds
from lab.topology.layout import Layout, NodeSpec, Role, routing_table
from lab.topology.model import Topology
from lab.topology.reader import parse_topology, read_topology, shipped_topology
from proto.cdn.v1 import configuration_pb2

STATE = Path("/state")
PLACES = find_airports(["IAD", "FRA", "NRT", "SYD"])


def default(loopback: str | None = None) -> Topology:
    return read_topology(shipped_topology("default"), loopback)


def nodes_of(topology: Topology) -> dict[str, NodeSpec]:
    return {node.id: node for node in Layout(topology, STATE).nodes()}


def flag(node: NodeSpec, name: str) -> str:
    return node.flags[node.flags.index(name) + 1]


def test_every_node_has_its_id_and_address() -> None:
    nodes = nodes_of(default())
    assert {node.id: node.http or node.dns for node in nodes.values()} == {
        "control-plane": "127.0.0.1:4566",
        "wan": "",
        "dns-1": "127.0.0.1:8053",
        "regional-us-east-1-1": "127.0.100.1:8080",
        "regional-eu-central-1-1": "127.0.100.2:8080",
        "edge-iad89-p1-1": "127.0.11.1:8080",
        "edge-iad89-p1-2": "127.0.11.2:8080",
        "edge-fra56-p1-1": "127.0.12.1:8080",
        "edge-fra56-p1-2": "127.0.12.2:8080",
        "edge-nrt57-p1-1": "127.0.13.1:8080",
        "edge-nrt57-p1-2": "127.0.13.2:8080",
        "origin-1": "127.0.200.1:8080",
        "origin-2": "127.0.200.2:8080",
    }
    assert list(nodes)[:2] == ["control-plane", "wan"], "they are started first"


def test_with_relays_the_others_find_a_node_where_a_relay_listens_for_it() -> None:
    nodes = nodes_of(default())
    assert {node.id: node.advertised.content for node in nodes.values()} == {
        "control-plane": "127.0.0.1:4566",
        "wan": "",
        "dns-1": "127.0.150.101:8053",
        "regional-us-east-1-1": "127.0.100.101:8080",
        "regional-eu-central-1-1": "127.0.100.102:8080",
        "edge-iad89-p1-1": "127.0.11.101:8080",
        "edge-iad89-p1-2": "127.0.11.102:8080",
        "edge-fra56-p1-1": "127.0.12.101:8080",
        "edge-fra56-p1-2": "127.0.12.102:8080",
        "edge-nrt57-p1-1": "127.0.13.101:8080",
        "edge-nrt57-p1-2": "127.0.13.102:8080",
        "origin-1": "127.0.200.101:8080",
        "origin-2": "127.0.200.102:8080",
    }
    edge = nodes["edge-nrt57-p1-2"]
    assert flag(edge, "--advertise") == "127.0.13.102:8080"
    assert flag(edge, "--source-address") == "127.0.13.2"
    assert flag(edge, "--control-plane") == "127.0.13.102:4567", "an address of its own"


def test_without_relays_everybody_is_where_it_listens() -> None:
    nodes = nodes_of(replace(default(), has_relays=False))
    assert "wan" not in nodes
    assert all(node.advertised.content == (node.http or node.dns) for node in nodes.values())
    assert {flag(node, "--control-plane") for node in nodes.values() if "--control-plane" in node.flags} == {
        "127.0.0.1:4567"
    }
    assert not any("--source-address" in node.flags or "--trusted-proxies" in node.flags for node in nodes.values())


def test_all_edges_share_the_viewer_port_and_the_first_pop_also_the_browsers_address() -> None:
    edges = [node for node in nodes_of(default()).values() if node.role is Role.EDGE]
    assert {node.http.rpartition(":")[2] for node in edges} == {"8080"}
    shared = {node.id for node in edges if "--listen-shared" in node.flags}
    assert shared == {"edge-iad89-p1-1", "edge-iad89-p1-2"}
    assert flag(edges[0], "--listen-shared") == "127.0.0.1:8080"


def test_another_loopback_range_moves_every_address() -> None:
    for node in nodes_of(default("127.15.0.0/16")).values():
        for listener in node.listeners:
            assert listener.address.startswith("127.15.")
        assert not any("127.0." in part for part in node.flags)


def test_no_two_listeners_collide_but_those_that_share() -> None:
    listeners = [listener for node in nodes_of(default()).values() for listener in node.listeners]
    exclusive = [(listener.address, listener.is_datagram) for listener in listeners if not listener.is_shared]
    assert len(exclusive) == len(set(exclusive))


def test_a_regional_cache_is_named_after_the_first_pop_of_its_region() -> None:
    nodes = nodes_of(default())
    assert nodes["regional-eu-central-1-1"].pop == "FRA56-R1"
    assert flag(nodes["regional-eu-central-1-1"], "--cache-bytes") == str(128 << 20)


def test_only_what_the_topology_says_of_a_cache_is_said_to_the_node() -> None:
    text = shipped_topology("default").read_text()
    assert not any(
        "--eviction-policy" in node.flags or "--disk-bytes" in node.flags for node in nodes_of(default()).values()
    )
    text = text.replace("edges: 2, cache_mib: 64}", "edges: 2, eviction_policy: wtinylfu}", 1) + "disk_mib: 1024\n"
    nodes = nodes_of(parse_topology(text, "lab.yaml"))
    assert flag(nodes["edge-iad89-p1-2"], "--eviction-policy") == "wtinylfu"
    assert "--eviction-policy" not in nodes["edge-fra56-p1-1"].flags
    caches = [node for node in nodes.values() if node.role in (Role.EDGE, Role.REGIONAL)]
    assert {flag(node, "--disk-bytes") for node in caches} == {str(1 << 30)}
    assert not any("--disk-bytes" in node.flags for node in nodes.values() if node not in caches)


def test_a_node_understands_what_it_is_told() -> None:
    text = shipped_topology("default").read_text() + "disk_mib: 8\neviction_policy: lru\n"
    for node in nodes_of(parse_topology(text, "lab.yaml")).values():
        if node.module == "edge_node":
            settings = parse_settings(node.flags)
            assert (settings.eviction_policy, settings.disk_bytes) == ("lru", 8 << 20)


def test_timing_and_ports_reach_the_control_plane() -> None:
    text = shipped_topology("default").read_text().replace("lease_seconds: 5", "lease_seconds: 2.5")
    control_plane = nodes_of(parse_topology(text, "lab.yaml"))["control-plane"]
    assert flag(control_plane, "--lease-seconds") == "2.5"
    assert flag(control_plane, "--routing-table") == "/state/routing-table.json"
    assert flag(control_plane, "--state-dir") == "/state/nodes/control-plane"


def test_the_routing_table_is_one_for_the_contract() -> None:
    table = json_format.ParseDict(routing_table(default()), configuration_pb2.RoutingTable())
    assert table.zone == "cdn.localhost"
    assert list(table.regions) == ["us-east-1", "eu-central-1", "ap-northeast-1"]
    assert len(table.latencies) == 6, "each pair once, and each region to itself"
    assert {each.cidr: each.region for each in table.client_subnets}["10.1.0.0/16"] == "us-east-1"


def test_the_router_goes_by_half_of_a_given_round_trip_in_either_direction() -> None:
    text = (
        shipped_topology("default")
        .read_text()
        .replace(
            "{between: [us-east-1, eu-central-1], round_trip_ms: 90}",
            "{between: [eu-central-1, us-east-1], round_trip_ms: 89}",
        )
    )
    found = routing_table(parse_topology(text, "lab.yaml"))["latencies"]
    assert {"fromRegion": "us-east-1", "toRegion": "eu-central-1", "milliseconds": 44.5} in found
    assert len(found) == 6


def test_the_router_knows_viewers_by_their_subnet_and_by_where_they_connect_from() -> None:
    subnets = routing_table(default())["clientSubnets"]
    assert {"cidr": "10.3.0.0/16", "region": "ap-northeast-1"} in subnets
    assert {"cidr": "127.0.203.0/24", "region": "ap-northeast-1"} in subnets


@pytest.mark.parametrize(
    ("one", "other", "kilometres"), [("IAD", "FRA", 6550), ("FRA", "NRT", 9370), ("IAD", "NRT", 10850)]
)
def test_distances_between_airports(one: str, other: str, kilometres: float) -> None:
    assert distance_kilometres(PLACES[one], PLACES[other]) == pytest.approx(kilometres, rel=0.01)


def test_distance_is_symmetric_and_crosses_the_date_line() -> None:
    assert distance_kilometres(PLACES["SYD"], PLACES["IAD"]) == distance_kilometres(PLACES["IAD"], PLACES["SYD"])
    west, east = Coordinates(0.0, 179.5), Coordinates(0.0, -179.5)
    assert distance_kilometres(west, east) == pytest.approx(111.2, rel=0.01)


def test_delay_is_distance_in_glass_and_the_equipment_at_both_ends() -> None:
    assert one_way_milliseconds(PLACES["IAD"], PLACES["FRA"]) == pytest.approx(6550 / 199.86 + 0.25, abs=0.3)
    assert one_way_milliseconds(PLACES["IAD"], PLACES["IAD"]) == 0.25
