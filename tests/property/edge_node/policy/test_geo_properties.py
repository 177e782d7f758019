"""The country of any address under any table, against the `ipaddress` module asked network by network (reference 6.5)."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.policy.geo import GeoNetwork, GeoTable
from tests.depth import examples

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lines = dict[Network, bytes]

COUNTRIES = (b"DE", b"FR", b"JP", b"US")
_CORNERS = (0, 1, 2**31, 2**32 - 1, 2**32, 0xFFFF << 32, (0xFFFF << 32) + 2**31, 2**127, 2**128 - 1)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Those of one family lie in each other and side by side: their prefixes begin at few places."""
    is_ipv6 = draw(st.booleans())
    bits = 128 if is_ipv6 else 32
    length = draw(st.integers(0, 4) | st.integers(bits - 4, bits))
    number = draw(st.sampled_from(_CORNERS) | st.integers(0, 2**bits - 1)) % 2**bits
    prefix = number >> (bits - length) << (bits - length)
    return ipaddress.IPv6Network((prefix, length)) if is_ipv6 else ipaddress.IPv4Network((prefix, length))


tables = st.dictionaries(networks(), st.sampled_from(COUNTRIES), max_size=12)


def geo_table(lines: Lines) -> GeoTable:
    return GeoTable(
        GeoNetwork(int(network.network_address), network.prefixlen, country, is_ipv6=network.version == 6)
        for network, country in lines.items()
    )


def slow_country_of(lines: Lines, address: Address) -> bytes | None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    holding = [network for network in lines if network.version == address.version and address in network]
    return lines[max(holding, key=lambda network: network.prefixlen)] if holding else None


def near(lines: Lines) -> st.SearchStrategy[Address]:
    """Ends of the table's networks and what lies just beyond them, and any other."""
    edges = [end + step for network in lines for end in (int(network[0]), int(network[-1])) for step in (-1, 0, 1)]
    numbers = st.sampled_from([*edges, *_CORNERS]) | st.integers(0, 2**128 - 1)
    ipv4 = numbers.map(lambda number: ipaddress.IPv4Address(number % 2**32))
    return ipv4 | numbers.map(lambda number: ipaddress.IPv6Address(number % 2**128))


@settings(max_examples=examples(100))
@given(tables, st.data())
def test_the_longest_network_that_holds_an_address_says_its_country(lines: Lines, data: st.DataObject) -> None:
    table = geo_table(lines)
    addresses = data.draw(st.lists(near(lines), min_size=1, max_size=20))
    expected = [slow_country_of(lines, address) for address in addresses]
    assert [table.country_of(str(address)) for address in addresses] == expected
    assert [table.country_of(str(address)) for address in addresses] == expected, "from memory too"


_PARTS = st.sampled_from(
    ["0", "1", "9", "00", "01", "255", "256", "a", "ffff", "fffff", "g", "١", "", ":", "::", ".", "-1", " ", "1.2.3.4"]
)
WILD = st.lists(_PARTS, max_size=12).map("".join) | st.lists(_PARTS, max_size=9).map(":".join)
WRITTEN = st.ip_addresses().flatmap(
    lambda address: st.sampled_from([str(address), address.exploded, address.exploded.upper()])
)


@settings(max_examples=examples(200))
@given(WILD | WRITTEN)
def test_what_is_an_address_is_what_the_standard_library_takes_for_one(text: str) -> None:
    everywhere: Lines = {ipaddress.IPv4Network("0.0.0.0/0"): b"DE", ipaddress.IPv6Network("::/0"): b"US"}
    try:
        address: Address | None = ipaddress.ip_address(text)
    except ValueError:
        address = None
    expected = None if address is None else slow_country_of(everywhere, address)
    assert geo_table(everywhere).country_of(text) == expected
