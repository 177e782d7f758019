"""Which edges a client is sent to: nearest region first, and enough addresses to fail over.

The policy (latency routing of Route 53, reference 5.2, over live nodes only):

1. The client's network gives its region, by longest match; the default region when nothing matches.
2. Regions are tried nearest first, by the latency table. All answers come from the first one that has live edges.
3. Only when that gives fewer than two addresses, the next nearest regions fill up to two, so that a viewer can fail over.
4. Edges of one region are equally near: their order is rotated from query to query, and alternates between POPs, so that
   load spreads and a viewer's second address is in another building when there is one.

Pure: no sockets, no clock, no randomness (the caller passes the rotation). What the zone answers when there is no edge
is not decided here (`zone`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dns_router.client_subnets import ClientSubnetTable
from dns_router.model import AddressFamily, ClientNetwork, Reason

# One address to use and one to fail over to.
ENOUGH_ANSWERS: Final = 2


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Where clients are and how far places are from each other."""

    default_region: str
    client_subnets: ClientSubnetTable
    # For each region all regions, nearest first; itself is one of them.
    nearest_regions: Mapping[str, tuple[str, ...]]
    maximum_answers: int


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge that holds a lease, by the address that it advertises."""

    region: str
    pop: str
    family: AddressFamily
    address: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """Every live edge's address by family and region, in rotation order."""

    addresses: Mapping[tuple[AddressFamily, str], tuple[bytes, ...]] = field(default_factory=dict)
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """The decision. No addresses: NO_LIVE_EDGE or NO_EDGE_OF_FAMILY."""

    reason: Reason
    addresses: tuple[bytes, ...]
    # Where the client was taken to be.
    region: str
    scope_prefix_bits: int


def nearest_first(regions: Iterable[str], latencies: Mapping[tuple[str, str], float]) -> dict[str, tuple[str, ...]]:
    """For each region all of them by latency, then by name so that every router decides alike.

    A latency counts in both directions; a region is at no distance from itself unless told otherwise, and a pair
    that is not listed is farther than any that is.
    """
    names = sorted(regions)

    def distance(start: str, end: str) -> float:
        unlisted = 0.0 if start == end else float("inf")
        return latencies.get((start, end), latencies.get((end, start), unlisted))

    return {start: tuple(sorted(names, key=lambda end: (distance(start, end), end))) for start in names}


def build_directory(edges: Iterable[Edge]) -> Directory:
    """Group live edges; within a region one of each POP in turn, so that neighbours in the order differ in POP."""
    by_place: dict[tuple[AddressFamily, str], dict[str, list[bytes]]] = {}
    for edge in edges:
        by_place.setdefault((edge.family, edge.region), {}).setdefault(edge.pop, []).append(edge.address)
    addresses = {place: tuple(_alternate(pops)) for place, pops in by_place.items()}
    return Directory(addresses, tuple(sorted({region for _, region in by_place})))


def _alternate(addresses_by_pop: Mapping[str, list[bytes]]) -> list[bytes]:
    ranked = [
        (rank, pop, address)
        for pop, addresses in addresses_by_pop.items()
        for rank, address in enumerate(sorted(set(addresses)))
    ]
    return [address for _, _, address in sorted(ranked)]


def route(
    table: RoutingTable, directory: Directory, client: ClientNetwork, family: AddressFamily, rotation: int
) -> Route:
    """Choose the addresses of `family` for a client; `rotation` picks the turn among equally near edges."""
    location = table.client_subnets.locate(client)
    region = location.region or table.default_region
    enough = min(ENOUGH_ANSWERS, table.maximum_answers)
    chosen: list[bytes] = []
    sources: list[str] = []
    for candidate in _regions_to_try(table, directory, region):
        addresses = directory.addresses.get((family, candidate))
        if addresses:
            wanted = enough - len(chosen) if chosen else table.maximum_answers
            chosen += _rotated(addresses, rotation)[:wanted]
            sources.append(candidate)
            if len(chosen) >= enough:
                break
    return Route(_reason(table, directory, region, sources), tuple(chosen), region, location.scope_prefix_bits)


def _regions_to_try(table: RoutingTable, directory: Directory, region: str) -> Iterator[str]:
    listed = table.nearest_regions.get(region, ())
    yield from listed
    # A live edge in a place that the table does not name is better than no answer.
    yield from (other for other in directory.regions if other not in listed)


def _rotated(addresses: tuple[bytes, ...], rotation: int) -> tuple[bytes, ...]:
    start = rotation % len(addresses)
    return addresses[start:] + addresses[:start]


def _reason(table: RoutingTable, directory: Directory, region: str, sources: list[str]) -> Reason:
    if not sources:
        return Reason.NO_EDGE_OF_FAMILY if directory.regions else Reason.NO_LIVE_EDGE
    nearest = table.nearest_regions.get(region, (region,))[0]
    if sources[0] != nearest:
        return Reason.NEXT_REGION
    return Reason.NEAREST_REGION if len(sources) == 1 else Reason.FILLED_FROM_NEXT_REGION
