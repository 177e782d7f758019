"""Routing for any table, directory and client: the trie against brute force, the policy against its own words."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from dns_router.client_subnets import ClientSubnetTable, SubnetRegion
from dns_router.model import AddressFamily, ClientNetwork
from dns_router.routing import ENOUGH_ANSWERS, Directory, Edge, RoutingTable, build_directory, nearest_first, route
from tests.depth import examples

REGIONS = ("a", "b", "c", "d")


@st.composite
def networks(draw: st.DrawFn) -> ClientNetwork:
    # Few bits, so that networks nest and collide.
    bits = draw(st.integers(0, 6))
    return ClientNetwork(AddressFamily.IPV4, draw(st.integers(0, 2**bits - 1)), bits)


subnets = st.lists(
    st.builds(SubnetRegion, networks(), st.sampled_from(REGIONS)), max_size=12, unique_by=lambda line: line.network
)


def holds(outer: ClientNetwork, inner: ClientNetwork) -> bool:
    return (
        inner.prefix_bits >= outer.prefix_bits and inner.prefix >> inner.prefix_bits - outer.prefix_bits == outer.prefix
    )


def longest_match(lines: list[SubnetRegion], client: ClientNetwork) -> str | None:
    matches = [line for line in lines if holds(line.network, client)]
    return max(matches, key=lambda line: line.network.prefix_bits).region if matches else None


@settings(max_examples=examples(150))
@given(subnets, networks())
def test_locate_is_longest_match(lines: list[SubnetRegion], client: ClientNetwork) -> None:
    assert ClientSubnetTable(lines).locate(client).region == longest_match(lines, client)


@settings(max_examples=examples(150))
@given(subnets, st.integers(0, 63), st.integers(0, 63))
def test_whoever_shares_the_scope_has_the_same_match(lines: list[SubnetRegion], first: int, second: int) -> None:
    table = ClientSubnetTable(lines)
    one, other = (ClientNetwork(AddressFamily.IPV4, prefix, 6) for prefix in (first, second))
    scope_bits = table.locate(one).scope_prefix_bits
    if first >> 6 - scope_bits == second >> 6 - scope_bits:
        assert longest_match(lines, one) == longest_match(lines, other)


@settings(max_examples=examples(150))
@given(subnets, st.integers(0, 63))
def test_no_shorter_scope_would_be_honest(lines: list[SubnetRegion], address: int) -> None:
    location = ClientSubnetTable(lines).locate(ClientNetwork(AddressFamily.IPV4, address, 6))
    bits = location.scope_prefix_bits - 1
    if bits < 0:
        return
    wider = ClientNetwork(AddressFamily.IPV4, address >> 6 - bits, bits)
    # One bit less takes in a subnet, or leaves the one that matched.
    assert any(holds(wider, line.network) for line in lines)


edges = st.lists(
    st.builds(
        Edge,
        st.sampled_from(REGIONS),
        st.sampled_from(["P1", "P2"]),
        st.just(AddressFamily.IPV4),
        st.integers(1, 40).map(lambda number: ipaddress.ip_address(f"127.0.0.{number}").packed),
    ),
    max_size=12,
    unique_by=lambda edge: edge.address,
)
latencies = st.dictionaries(
    st.tuples(st.sampled_from(REGIONS), st.sampled_from(REGIONS)), st.floats(0.1, 300), max_size=16
)


@settings(max_examples=examples(150))
@given(edges, latencies, st.sampled_from(REGIONS), st.integers(1, 6), st.integers(0, 2**16 - 1))
def test_the_policy_holds_for_any_directory(
    live: list[Edge], distances: dict[tuple[str, str], float], region: str, maximum_answers: int, rotation: int
) -> None:
    table = RoutingTable(region, ClientSubnetTable(), nearest_first(REGIONS, distances), maximum_answers)
    directory: Directory = build_directory(live)
    chosen = route(table, directory, ClientNetwork(AddressFamily.IPV4, 0, 32), AddressFamily.IPV4, rotation).addresses
    region_of = {edge.address: edge.region for edge in live}
    order = [place for place in table.nearest_regions[region] if place in region_of.values()]
    assert len(set(chosen)) == len(chosen) <= maximum_answers
    assert len(chosen) >= min(ENOUGH_ANSWERS, maximum_answers, len(live)), "enough to fail over when there is enough"
    if chosen:
        used = [region_of[address] for address in chosen]
        assert used == sorted(used, key=order.index), "nearest first"
        assert set(used) == set(order[: len(set(used))]), "no region with live edges is passed over"
        nearest = [address for address, place in region_of.items() if place == order[0]]
        assert used.count(order[0]) == min(len(nearest), maximum_answers)
        assert len(set(used)) == 1 or len(chosen) == min(ENOUGH_ANSWERS, maximum_answers) or len(chosen) == len(live)


@settings(max_examples=examples(50))
@given(st.integers(1, 12), st.integers(1, 6))
def test_over_one_round_of_rotations_every_edge_is_answered_equally_often(count: int, maximum_answers: int) -> None:
    addresses = [ipaddress.ip_address(f"127.0.0.{number}").packed for number in range(1, count + 1)]
    directory = build_directory(Edge("a", "P1", AddressFamily.IPV4, address) for address in addresses)
    table = RoutingTable("a", ClientSubnetTable(), nearest_first(["a"], {}), maximum_answers)
    client = ClientNetwork(AddressFamily.IPV4, 0, 32)
    answers = [route(table, directory, client, AddressFamily.IPV4, rotation).addresses for rotation in range(count)]
    tally = [sum(address in answer for answer in answers) for address in addresses]
    assert set(tally) == {min(count, maximum_answers)}
    assert {answer[0] for answer in answers} == set(addresses)
