"""Which edges a client is sent to (dns_router/routing.py): nearest region first, enough to fail over, load spread."""

import ipaddress
from typing import Any

import pytest

from dns_router.model import AddressFamily, Reason
from dns_router.routing import Directory, Route, RoutingTable, nearest_first, route
from dns_router.translation import zone_settings
from proto.cdn.v1 import sync_pb2
from tests.router_builders import (
    AP,
    AP_CLIENT,
    EU,
    EU_CLIENT,
    TWO_EDGES_EACH,
    UNKNOWN_CLIENT,
    US,
    US_CLIENT,
    client,
    directory,
    edge,
    routing_table,
)


def table(**changes: Any) -> RoutingTable:
    return zone_settings(routing_table(**changes)).routing_table


def decide(nodes: Directory, address: str = US_CLIENT, *, rotation: int = 0, maximum_answers: int = 3) -> Route:
    return route(table(maximum_answers=maximum_answers), nodes, client(address), AddressFamily.IPV4, rotation)


def texts(decided: Route) -> list[str]:
    return [str(ipaddress.ip_address(address)) for address in decided.addresses]


@pytest.mark.parametrize(
    ("address", "region", "expected"),
    [
        (US_CLIENT, US, ["127.0.1.1", "127.0.1.2"]),
        (EU_CLIENT, EU, ["127.0.2.1", "127.0.2.2"]),
        (AP_CLIENT, AP, ["127.0.3.1", "127.0.3.2"]),
        (UNKNOWN_CLIENT, US, ["127.0.1.1", "127.0.1.2"]),
    ],
)
def test_all_answers_come_from_the_region_nearest_to_the_client(address: str, region: str, expected: list[str]) -> None:
    decided = decide(directory(*TWO_EDGES_EACH), address)
    assert texts(decided) == expected
    assert (decided.region, decided.reason) == (region, Reason.NEAREST_REGION)


def test_a_region_with_one_live_edge_is_filled_up_to_two_from_the_next_nearest() -> None:
    decided = decide(directory(edge("127.0.1.1", US), *TWO_EDGES_EACH[2:]))
    assert texts(decided) == ["127.0.1.1", "127.0.2.1"], (
        "Europe is nearer to America than Asia is; one address is enough"
    )
    assert decided.reason is Reason.FILLED_FROM_NEXT_REGION


def test_filling_goes_on_through_regions_with_one_edge_each() -> None:
    decided = decide(directory(edge("127.0.3.1", AP), edge("127.0.2.1", EU)), US_CLIENT)
    assert texts(decided) == ["127.0.2.1", "127.0.3.1"]
    assert decided.reason is Reason.NEXT_REGION


def test_a_region_without_live_edges_is_answered_by_the_next_nearest() -> None:
    decided = decide(directory(*TWO_EDGES_EACH[:4]), AP_CLIENT)
    assert texts(decided) == ["127.0.1.1", "127.0.1.2"], "America is 80 ms from Asia, Europe 110"
    assert decided.reason is Reason.NEXT_REGION


def test_a_single_live_edge_is_the_whole_answer() -> None:
    assert texts(decide(directory(edge("127.0.3.1", AP)))) == ["127.0.3.1"]


def test_no_live_edge_is_told_apart_from_none_of_the_family() -> None:
    assert decide(directory()).reason is Reason.NO_LIVE_EDGE
    six_only = decide(directory(edge("2001:db8::1", US)))
    assert six_only.reason is Reason.NO_EDGE_OF_FAMILY and not six_only.addresses


def test_only_edges_are_answered_with_and_only_those_that_advertise_an_address() -> None:
    nodes = directory(
        edge("127.0.1.8", US, role=sync_pb2.ROLE_REGIONAL),
        edge("127.0.1.9", US, role=sync_pb2.ROLE_DNS_ROUTER),
        edge("edge-1.internal", US),
        edge("0.0.0.0", US),
        edge("127.0.1.1", US),
    )
    assert texts(decide(nodes)) == ["127.0.1.1"]


def test_the_order_rotates_and_every_edge_gets_its_turn_first() -> None:
    nodes = directory(*(edge(f"127.0.1.{number}", US) for number in range(1, 6)))
    firsts = [texts(decide(nodes, rotation=rotation))[0] for rotation in range(5)]
    assert sorted(firsts) == [f"127.0.1.{number}" for number in range(1, 6)]
    assert texts(decide(nodes, rotation=4)) == ["127.0.1.5", "127.0.1.1", "127.0.1.2"]


def test_neighbours_in_the_order_are_in_different_pops() -> None:
    nodes = directory(*(edge(f"127.0.{pop}.{number}", US, f"IAD{pop}-P1") for pop in (1, 2) for number in (1, 2)))
    for rotation in range(4):
        first, second = texts(decide(nodes, rotation=rotation, maximum_answers=2))
        assert first.split(".")[2] != second.split(".")[2]


def test_maximum_answers_bounds_the_answer_even_below_two() -> None:
    assert len(decide(directory(*TWO_EDGES_EACH), maximum_answers=1).addresses) == 1
    many = directory(*(edge(f"127.0.1.{number}", US) for number in range(1, 20)))
    assert len(decide(many, maximum_answers=5).addresses) == 5


def test_an_edge_in_a_region_that_the_table_does_not_name_is_better_than_no_answer() -> None:
    assert texts(decide(directory(edge("127.0.9.1", "sa-east-1")))) == ["127.0.9.1"]


def test_latency_counts_in_both_directions_and_unlisted_pairs_are_farthest() -> None:
    order = nearest_first(["a", "b", "c", "d"], {("a", "c"): 5.0, ("b", "a"): 9.0})
    assert order["a"] == ("a", "c", "b", "d")
    assert order["c"] == ("c", "a", "b", "d")


def test_the_scope_is_the_prefix_that_decided() -> None:
    assert decide(directory(*TWO_EDGES_EACH), EU_CLIENT).scope_prefix_bits == 16
