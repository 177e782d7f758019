"""Which region a client's network is in: longest match over the table's subnets, and the scope that is honest for it.

The scope (RFC 7871 section 7.2.1) is the shortest prefix around the client in which every address gets the same
match: a resolver may give the answer to that whole prefix and to nobody else. Where a subnet is nested in another,
that is longer than the subnet that matched; the RFC asks to split rather than to overlap. A binary trie gives both in one walk.
Subnets longer than the client's own prefix cannot match (those bits are unknown), but lengthen the scope, which tells the
resolver that sending more bits would give a better answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dns_router.model import AddressFamily, ClientNetwork


@dataclass(frozen=True, slots=True)
class SubnetRegion:
    """One line of the table: every client in the network is in the region unless a longer line says otherwise."""

    network: ClientNetwork
    region: str


@dataclass(frozen=True, slots=True)
class Location:
    """Where a client is; region is None when no subnet holds it."""

    region: str | None
    scope_prefix_bits: int


class _Node:
    """A prefix. Written while the table is built and never after."""

    __slots__ = ("children", "deepest_bits", "region")

    def __init__(self, depth_bits: int) -> None:
        self.children: list[_Node | None] = [None, None]
        self.region: str | None = None
        # Length of the longest subnet at or below this prefix.
        self.deepest_bits = depth_bits


class ClientSubnetTable:
    """Immutable after construction; of two lines for one network the first counts."""

    def __init__(self, subnets: Iterable[SubnetRegion] = ()) -> None:
        self._roots = {family: _Node(0) for family in AddressFamily}
        for subnet in subnets:
            self._insert(subnet)

    def _insert(self, subnet: SubnetRegion) -> None:
        network = subnet.network
        node = self._roots[network.family]
        for depth_bits in range(network.prefix_bits):
            node.deepest_bits = max(node.deepest_bits, network.prefix_bits)
            bit = network.prefix >> (network.prefix_bits - 1 - depth_bits) & 1
            child = node.children[bit] or _Node(depth_bits + 1)
            node.children[bit] = child
            node = child
        node.region = node.region or subnet.region

    def locate(self, client: ClientNetwork) -> Location:
        """The region of the longest subnet that holds all of the client's network, and the scope of that answer."""
        node = self._roots[client.family]
        region = node.region
        shift_bits = client.prefix_bits
        while shift_bits:
            shift_bits -= 1
            child = node.children[client.prefix >> shift_bits & 1]
            if child is None:
                depth_bits = client.prefix_bits - shift_bits - 1
                # No subnet begins with the next bit. With a sibling, that bit is needed to tell the client from it.
                has_sibling = node.deepest_bits > depth_bits
                return Location(region, depth_bits + has_sibling)
            node = child
            region = node.region or region
        return Location(region, node.deepest_bits)
