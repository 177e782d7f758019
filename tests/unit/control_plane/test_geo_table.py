"""The file that says which country networks are in, and the table for a lab on one machine."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from control_plane import geo_table
from control_plane.geo_table import GeoTableError, default_geo_table, parse_geo_table
from edge_node.control.resource_reader import read_geo_table
from lab.topology.layout import Layout, Role
from lab.topology.reader import read_topology, shipped_topology

COUNTRIES = {"us-east-1": b"US", "eu-central-1": b"DE", "ap-northeast-1": b"JP"}
DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def rows(text: str) -> list[tuple[str, str]]:
    return [(row.cidr, row.country) for row in parse_geo_table(text.encode()).networks]


def test_lines_of_networks_and_countries() -> None:
    text = '\ufeffNetwork,Country\r\n# ours\r\n\r\n192.0.2.0/24,US\r\n "2001:DB8::/32" , "XK" \r\n198.51.100.7,DE'
    assert rows(text) == [("192.0.2.0/24", "US"), ("2001:db8::/32", "XK"), ("198.51.100.7/32", "DE")]


@pytest.mark.parametrize("text", ["", "network,country\n", "# nothing"])
def test_a_file_without_lines_is_a_table_without_networks(text: str) -> None:
    assert rows(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.0.2.0/24", "line 1: must be NETWORK,COUNTRY"),
        ("#\n192.0.2.0/24,US,1", "line 2: must be NETWORK,COUNTRY"),
        ("192.0.2.1/24,US", "line 1: 192.0.2.1/24 has host bits set"),
        ("192.0.2.0/33,US", "line 1: '192.0.2.0/33' does not appear to be an IPv4 or IPv6 network"),
        ("fe80::%eth0/64,US", "line 1: 'fe80::%eth0/64' has a zone, which is no part of a network"),
        ("192.0.2.0/24,us", "line 1: 'us' is not two upper-case letters"),
        ("192.0.2.0/24,", "line 1: '' is not two upper-case letters"),
        ("192.0.2.0/24,US\nnetwork,country", "line 2: 'network' does not appear to be an IPv4 or IPv6 network"),
        ("2001:db8::/32,US\n2001:0db8::/32,DE", "line 2: 2001:db8::/32 is there twice"),
        ("a,US\nb", "line 1: 'a' does not appear to be an IPv4 or IPv6 network; line 2: must be NETWORK,COUNTRY"),
    ],
)
def test_what_is_wrong_is_said_by_line(text: str, reason: str) -> None:
    with pytest.raises(GeoTableError) as refused:
        parse_geo_table(text.encode())
    assert str(refused.value) == reason


def test_a_file_with_nothing_but_mistakes_has_a_short_message() -> None:
    with pytest.raises(GeoTableError, match=r"line 10: .*; and 90 more$"):
        parse_geo_table(b"nothing\n" * 100)


def test_what_nodes_cannot_be_asked_to_keep_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geo_table, "MAXIMUM_NETWORKS", 2)
    text = "192.0.2.0/24,US\n198.51.100.0/24,DE\n203.0.113.0/24,JP"
    with pytest.raises(GeoTableError, match="it has 3 networks, and 2 are the most"):
        parse_geo_table(text.encode())
    assert len(rows(text.rpartition("\n")[0])) == 2
    with pytest.raises(GeoTableError, match="more than 1048576 bytes"):
        parse_geo_table(b"#" * (geo_table.MAXIMUM_GEO_TABLE_BYTES + 1))
    with pytest.raises(GeoTableError, match="it is not UTF-8"):
        parse_geo_table(b"\xff\xfe")


def test_a_lab_on_this_machine_has_a_country_for_each_region() -> None:
    """By the loopback addresses of its edges, by the subnets of its populations, and by its networks in containers."""
    table = read_geo_table(default_geo_table())
    topology = read_topology(shipped_topology("default"), None)
    edges = [node for node in Layout(topology, Path("/state")).nodes() if node.role is Role.EDGE]
    for node in edges:
        assert table.country_of(node.http.rpartition(":")[0]) == COUNTRIES[node.region], node.id
    subnets = [(each.client_subnet, each.region) for each in topology.populations]
    containers = json.loads((DEPLOY / "routing-table.json").read_text())["clientSubnets"]
    subnets += [(row["cidr"], row["region"]) for row in containers if not row["cidr"].endswith("/32")]
    for subnet, region in subnets:
        assert table.country_of(str(ip_network(subnet)[9])) == COUNTRIES[region], subnet
    assert {node.region for node in edges} == {region for _, region in subnets} == COUNTRIES.keys()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.0.200.1"])
def test_who_comes_from_this_machine_without_saying_from_where_is_nowhere(address: str) -> None:
    assert ip_address(address).is_loopback
    assert read_geo_table(default_geo_table()).country_of(address) is None
