"""Where the nodes and the viewers of a run are, for its map: written by one module, read by another."""

from lab.cluster.interface import PopulationRecord
from lab.cluster.status import RunningNode
from lab.history.places import nodes_document, places_by_airport, populations_document
from lab.report.data.world import sites_of
from lab.topology.geography import Coordinates
from lab.topology.layout import Role


def node(name: str, role: Role, region: str, pop: str = "") -> RunningNode:
    return RunningNode(name, role, region, pop, f"{name}:8080", "", "", True)


NODES = (
    node("edge-1", Role.EDGE, "us-east-1", "IAD89-P1"),
    node("edge-2", Role.EDGE, "us-east-1", "IAD89-P1"),
    node("edge-3", Role.EDGE, "us-east-1", "IAD89-P2"),
    node("regional-1", Role.REGIONAL, "us-east-1", "IAD89-R1"),
    node("origin-1", Role.ORIGIN, "us-east-1"),
    node("origin-2", Role.ORIGIN, "far-away-1"),
    node("wan", Role.WAN, "us-east-1"),
)


def test_a_region_is_at_the_airport_of_its_pops() -> None:
    places = places_by_airport(NODES)
    assert set(places) == {"us-east-1"}, "nobody knows where far-away-1 is"
    assert abs(places["us-east-1"].latitude - 38.94) < 0.1
    assert abs(places["us-east-1"].longitude + 77.46) < 0.1


def test_what_has_no_place_is_in_the_document_and_not_on_the_map() -> None:
    places = {"us-east-1": Coordinates(38.9445, -77.4558)}
    document = nodes_document(NODES, places)
    assert document[0] == {
        "id": "edge-1",
        "role": "edge",
        "region": "us-east-1",
        "pop": "IAD89-P1",
        "http": "edge-1:8080",
        "latitude": 38.94,
        "longitude": -77.46,
    }
    assert [each["latitude"] for each in document if each["id"] == "origin-2"] == [None]
    viewers = [PopulationRecord("us-east-1", "10.1.0.0/16", 5, "127.0.0.1/32")] * 2
    sites = sites_of({"nodes": document, "populations": populations_document(viewers, places)})
    found = {(site.role, site.name): (len(site.nodes), site.users) for site in sites}
    assert found == {
        ("viewers", "us-east-1"): (0, 10),
        ("edge", "IAD89-P1"): (2, 0),
        ("edge", "IAD89-P2"): (1, 0),
        ("regional", "us-east-1"): (1, 0),
        ("origin", "us-east-1"): (1, 0),
    }
