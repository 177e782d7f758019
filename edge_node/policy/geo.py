"""Where a viewer is, and whether a distribution is for it: reference 6.5.

The country is that of the longest network of the control plane's table that holds the viewer's address. A restriction is for the whole distribution, and a viewer whose
country is not known is served. The check stands after the choice of the distribution and before that of the behavior (reference 6.8).
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from edge_node.caching.lookup import Reason, Refuse
from edge_node.model.configuration import Distribution, GeoRestriction

MOST_REMEMBERED_ADDRESSES = 4_096
"""Of viewers that ask again; half a megabyte at most. Beyond it all are forgotten: who comes from many addresses costs what finding a country costs, and no memory."""
LONGEST_ADDRESS_CHARACTERS: Final = 64
"""An IPv6 address takes 45 and a zone 16; what is longer is none."""

GEO_BLOCKED: Final = Refuse(
    403, Reason.GEO_BLOCKED, "This distribution is configured to block access from the country that you are in."
)
"""The error page of the distribution for 403 may take its place (reference 6.5)."""

_IPV4_BITS, _IPV6_BITS = 32, 128
_MAPPED_PREFIX: Final = 0xFFFF
"""Of ::ffff:0:0/96, IPv4 addresses as IPv6 sockets show them (RFC 4291 section 2.5.5.2)."""
_HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF")


class GeoNetwork:
    """A network in a country; no bit of `prefix` is set beyond its length."""

    __slots__ = ("country", "first", "is_ipv6", "last")

    def __init__(self, prefix: int, prefix_bits: int, country: bytes, *, is_ipv6: bool) -> None:
        self.first: Final = prefix
        self.last: Final = prefix + (1 << ((_IPV6_BITS if is_ipv6 else _IPV4_BITS) - prefix_bits)) - 1
        self.country: Final = country
        self.is_ipv6: Final = is_ipv6


class GeoTable:
    """Countries by address, immutable but for what it remembers; of networks that hold an address the longest prefix counts, and no network is there twice."""

    __slots__ = ("_ipv4", "_ipv6", "_known")

    def __init__(self, networks: Iterable[GeoNetwork] = ()) -> None:
        all_networks = list(networks)
        self._ipv4 = _Intervals([network for network in all_networks if not network.is_ipv6])
        self._ipv6 = _Intervals([network for network in all_networks if network.is_ipv6])
        self._known: dict[str, bytes | None] = {}

    def country_of(self, address: str) -> bytes | None:
        """The country of an address as a socket shows it; None: no network holds it, or it is no address."""
        if address in self._known:
            return self._known[address]
        if len(address) > LONGEST_ADDRESS_CHARACTERS:
            return None
        country = self._find(address)
        if len(self._known) >= MOST_REMEMBERED_ADDRESSES:
            self._known.clear()
        self._known[address] = country
        return country

    def _find(self, address: str) -> bytes | None:
        if ":" not in address:
            number = _ipv4(address)
            return None if number is None else self._ipv4.find(number)
        number = _ipv6(address.partition("%")[0])  # a zone is not part of the address (RFC 4007 section 11)
        if number is None:
            return None
        if number >> _IPV4_BITS == _MAPPED_PREFIX:
            return self._ipv4.find(number & 0xFFFFFFFF)
        return self._ipv6.find(number)


def is_geo_restricted(distribution: Distribution, country: bytes | None) -> bool:
    """Whether the distribution is not for viewers in this country; None: nobody knows where the viewer is, which is served."""
    restriction: GeoRestriction | None = distribution.geo_restriction
    if restriction is None or country is None:
        return False
    return (country in restriction.countries) is not restriction.is_allow_list


class _Intervals:
    """Networks that may lie in each other, as intervals that do not: from each of `starts` to the next the country is the same."""

    __slots__ = ("_countries", "_starts")

    def __init__(self, networks: list[GeoNetwork]) -> None:
        self._starts: list[int] = [0]
        self._countries: list[bytes | None] = [None]
        open_networks: list[GeoNetwork] = []
        """Those that hold the address that is reached, the longest prefix last."""
        for network in sorted(networks, key=lambda each: (each.first, -each.last)):
            self._close(open_networks, network.first)
            self._begin(network.first, network.country)
            open_networks.append(network)
        self._close(open_networks, 1 << _IPV6_BITS)

    def find(self, number: int) -> bytes | None:
        """The country at an address."""
        return self._countries[bisect_right(self._starts, number) - 1]

    def _close(self, open_networks: list[GeoNetwork], reached: int) -> None:
        """End the networks that do not go on to the address that is reached."""
        while open_networks and open_networks[-1].last < reached:
            ended = open_networks.pop()
            self._begin(ended.last + 1, open_networks[-1].country if open_networks else None)

    def _begin(self, start: int, country: bytes | None) -> None:
        if (
            self._starts[-1] == start
        ):  # what begins later at one address is the longer prefix, or goes on when others end
            self._countries[-1] = country
        else:
            self._starts.append(start)
            self._countries.append(country)


def _ipv4(text: str) -> int | None:
    """Four decimal numbers without leading zeros (RFC 3986 section 3.2.2)."""
    parts = text.split(".")
    if len(parts) != 4:
        return None
    number = 0
    for part in parts:
        is_decimal = part.isascii() and part.isdigit() and len(part) <= 3 and (part == "0" or part[0] != "0")
        if not is_decimal or int(part) > 255:
            return None
        number = number << 8 | int(part)
    return number


def _ipv6(text: str) -> int | None:
    """Eight groups, "::" for one run of zeros, the last two perhaps as an IPv4 address (RFC 4291 section 2.2)."""
    before, elided, after = text.partition("::")
    head = _groups(before, is_end=not elided)
    tail = _groups(after, is_end=True)
    if head is None or tail is None:
        return None
    zeros = 8 - len(head) - len(tail)
    if zeros < 1 if elided else zeros != 0:
        return None
    number = 0
    for group in [*head, *([0] * zeros), *tail]:
        number = number << 16 | group
    return number


def _groups(text: str, *, is_end: bool) -> list[int] | None:
    """The groups of a part of an address, each of 16 bits; None: it is no such part."""
    if not text:
        return []
    parts = text.split(":")
    groups: list[int] = []
    if is_end and "." in parts[-1]:
        embedded = _ipv4(parts.pop())
        if embedded is None:
            return None
        groups = [embedded >> 16, embedded & 0xFFFF]
    if not all(0 < len(part) <= 4 and _HEXADECIMAL.issuperset(part) for part in parts):
        return None
    return [int(part, 16) for part in parts] + groups
