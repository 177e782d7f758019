"""Countries and geographic restrictions: reference 6.5."""

import dataclasses

import pytest

from edge_node.control.resource_reader import read_geo_table
from edge_node.model.configuration import GeoRestriction
from edge_node.model.errors import RejectedResourceError
from edge_node.policy import geo
from edge_node.policy.geo import GEO_BLOCKED, GeoTable, is_geo_restricted
from proto.cdn.v1 import configuration_pb2
from tests.builders import distribution_message, geo_table_message, origin_message, read_distribution

TABLE = read_geo_table(geo_table_message({"192.0.2.0/24": "US", "192.0.2.128/25": "DE", "2001:db8::/32": "JP"}))


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.2.1", b"US"),
        ("192.0.2.127", b"US"),
        ("192.0.2.128", b"DE"),
        ("192.0.2.255", b"DE"),
        ("192.0.3.0", None),
        ("192.0.1.255", None),
        ("::ffff:192.0.2.200", b"DE"),
        ("::ffff:c000:2c8", b"DE"),
        ("2001:db8::1", b"JP"),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", b"JP"),
        ("2001:db9::", None),
        ("fe80::1%eth0", None),
        ("2001:db8::1%eth0", b"JP"),
        ("::c000:201", None),  # an IPv6 address, not 192.0.2.1
        ("", None),
        ("unix", None),
        ("192.0.2", None),
        ("192.0.2.01", None),
        ("192.0.2.1 ", None),
        ("192.0.2.1.", None),
        ("2001:db8::1::", None),
        ("192.0.2.1::", None),
        ("2001:db8" + ":0" * 100, None),
    ],
)
def test_the_longest_network_says_the_country(address: str, country: bytes | None) -> None:
    assert TABLE.country_of(address) == country


def test_without_a_table_no_country_is_known() -> None:
    assert GeoTable().country_of("192.0.2.1") is None


def test_many_addresses_take_no_more_memory_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geo, "MOST_REMEMBERED_ADDRESSES", 3)
    table = read_geo_table(geo_table_message({"10.0.0.0/8": "US"}))
    for number in range(20):
        assert table.country_of(f"10.0.0.{number}") == b"US"
        assert len(table._known) <= 3
    table.country_of("x" * 1000)
    assert len(table._known) <= 3 and all(len(address) < 20 for address in table._known)


@pytest.mark.parametrize(
    ("restriction", "blocked"),
    [
        (None, []),
        (GeoRestriction(is_allow_list=True, countries=frozenset({b"US", b"DE"})), [b"JP"]),
        (GeoRestriction(is_allow_list=False, countries=frozenset({b"US", b"DE"})), [b"US", b"DE"]),
    ],
)
def test_who_is_blocked(restriction: GeoRestriction | None, blocked: list[bytes]) -> None:
    """Who is nowhere is served in any case."""
    read = read_distribution(distribution_message(origin_message("h", 80)))
    distribution = dataclasses.replace(read, geo_restriction=restriction)
    places = [b"US", b"DE", b"JP", None]
    assert [place for place in places if is_geo_restricted(distribution, place)] == blocked
    assert (GEO_BLOCKED.status, GEO_BLOCKED.reason) == (403, "geo_blocked")


@pytest.mark.parametrize(
    ("networks", "reason"),
    [
        ([("192.0.2.1/24", "US")], "host bits set"),
        ([("everywhere", "US")], "'everywhere' does not appear to be"),
        ([("fe80::%eth0/64", "US")], "zone"),
        ([("192.0.2.0/24", "us")], "'us' is no country"),
        ([("192.0.2.0/24", "")], "'' is no country"),
        ([("192.0.2.0/24", "ÜS")], "is no country"),
        ([("192.0.2.0/24", "US"), ("192.0.2.0/24", "DE")], "a network is there twice"),
        ([("2001:db8::/32", "US"), ("2001:0db8::/32", "DE")], "a network is there twice"),
    ],
)
def test_a_table_that_cannot_be_meant_is_rejected(networks: list[tuple[str, str]], reason: str) -> None:
    rows = [configuration_pb2.GeoNetwork(cidr=cidr, country=country) for cidr, country in networks]
    with pytest.raises(RejectedResourceError, match=reason):
        read_geo_table(configuration_pb2.GeoTable(networks=rows))
