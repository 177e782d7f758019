"""Longest match and its honest scope (dns_router/client_subnets.py; RFC 7871 section 7.2.1)."""

import ipaddress

import pytest

from dns_router.client_subnets import ClientSubnetTable, Location, SubnetRegion
from dns_router.model import AddressFamily, ClientNetwork, client_network


def network(cidr: str) -> ClientNetwork:
    parsed = ipaddress.ip_network(cidr)
    family = AddressFamily.IPV4 if parsed.version == 4 else AddressFamily.IPV6
    return client_network(family, parsed.network_address.packed, parsed.prefixlen)


def table(**regions: str) -> ClientSubnetTable:
    return ClientSubnetTable(SubnetRegion(network(cidr), region) for region, cidr in regions.items())


def test_an_empty_table_says_the_same_to_everybody() -> None:
    assert table().locate(network("10.1.2.0/24")) == Location(None, 0)


def test_the_subnet_that_holds_the_client_decides_and_is_the_scope() -> None:
    assert table(eu="10.2.0.0/16").locate(network("10.2.7.0/24")) == Location("eu", 16)


@pytest.mark.parametrize(
    ("client", "expected"), [("10.2.0.0/16", Location("eu", 16)), ("10.2.0.1/32", Location("eu", 16))]
)
def test_a_client_prefix_as_long_as_the_subnet_or_longer_matches(client: str, expected: Location) -> None:
    assert table(eu="10.2.0.0/16").locate(network(client)) == expected


def test_the_longest_of_nested_subnets_wins() -> None:
    nested = table(outer="10.0.0.0/8", inner="10.2.0.0/16")
    assert nested.locate(network("10.2.7.0/24")) == Location("inner", 16)


def test_beside_a_nested_subnet_the_scope_is_long_enough_to_leave_it_out() -> None:
    nested = table(outer="10.0.0.0/8", inner="10.2.0.0/16")
    # 10.3/16 differs from 10.2/16 in the last of 16 bits; 10.128/9 already in the ninth.
    assert nested.locate(network("10.3.7.0/24")) == Location("outer", 16)
    assert nested.locate(network("10.200.0.0/24")) == Location("outer", 9)


def test_without_a_match_the_scope_is_as_long_as_it_takes_to_leave_the_subnets_out() -> None:
    assert table(eu="10.2.0.0/16").locate(network("192.0.2.0/24")) == Location(None, 1)


def test_a_client_prefix_too_short_to_decide_asks_for_more_bits() -> None:
    nested = table(outer="10.0.0.0/8", inner="10.2.0.0/16")
    assert nested.locate(network("10.0.0.0/8")) == Location("outer", 16)
    assert nested.locate(network("0.0.0.0/1")) == Location(None, 16)


def test_families_do_not_mix() -> None:
    both = table(four="10.0.0.0/8", six="2001:db8::/32")
    assert both.locate(network("2001:db8:1::/56")) == Location("six", 32)
    assert both.locate(network("10.0.0.0/24")) == Location("four", 8)
    assert table(four="10.0.0.0/8").locate(network("2001:db8::/32")) == Location(None, 0)


def test_a_subnet_of_no_bits_holds_everybody() -> None:
    assert table(all="0.0.0.0/0").locate(network("198.51.100.0/24")) == Location("all", 0)


def test_of_two_lines_for_one_network_the_first_counts() -> None:
    assert table(first="10.0.0.0/8", second="10.0.0.0/8").locate(network("10.0.0.0/24")).region == "first"
