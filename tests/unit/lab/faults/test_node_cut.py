"""Which pairs of clients and proxies cut a node off, in a lab as its layout has it; judged by who may still speak to whom."""

from itertools import permutations
from pathlib import Path

import pytest
import yaml

from lab.cluster.status import RunningNode
from lab.errors import UsageError
from lab.faults.node_cut import Surroundings, pairs_of
from lab.topology.layout import Layout, NodeSpec
from lab.topology.reader import parse_topology
from lab.topology.relay_file import relay_file
from lab.wan.configuration import PlaceFinder
from lab.wan.configuration_file import read_configuration
from lab.wan.cuts import BOTH, NEITHER, read_cut, severed
from lab.wan.toxics import Stream

TOPOLOGY = """\
name: pair
regions: [{name: us, airport: IAD}, {name: eu, airport: FRA}]
pops: [{name: IAD89-P1, region: us, edges: 2}, {name: FRA56-P1, region: eu}]
regional_caches: [{region: us}, {region: eu}]
routers: [{region: us}]
origins: [{name: origin-1, region: us}]
populations: [{region: us, client_subnet: 10.1.0.0/16}, {region: eu, client_subnet: 10.2.0.0/16}]
"""
EDGE, NEIGHBOUR, FAR_EDGE, REGIONAL = "edge-iad89-p1-1", "edge-iad89-p1-2", "edge-fra56-p1-1", "regional-us-1"
CONTROL = "control-plane"


class Relayed:
    """The lab's relays, as far as they tell who is cut off from whom."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(parse_topology(TOPOLOGY, "pair.yaml"), folder)
        file = folder / "wan.yaml"
        file.write_text(relay_file(self.layout))
        self.configuration = read_configuration(file)
        assert yaml.safe_load(file.read_text())["places"]
        self.specs = {each.id: each for each in self.layout.nodes()}
        self.around = Surroundings(
            [_running(each) for each in self.layout.nodes()],
            [place.name for place in self.configuration.places],
            [proxy.name for proxy in self.configuration.proxies],
        )

    def cut(self, node: str, *others: str, direction: str = "both") -> "Silence":
        pairs = pairs_of(node, others, direction, self.around)
        return Silence(self, {"name": "f-1", "pairs": pairs})


class Silence:
    """What of it is cut."""

    def __init__(self, relayed: Relayed, document: object) -> None:
        self._relayed = relayed
        self._cut = read_cut(document, relayed.around.places, relayed.around.proxies)

    def between(self, client: str, server: str) -> frozenset[Stream]:
        """Of connections from a node, or from the viewers of a region, to a node."""
        relayed = self._relayed
        found = relayed.specs.get(client)
        address = (
            found.http.rpartition(":")[0]
            if found
            else relayed.layout.range.viewers({"us": 1, "eu": 2}[client])[:-4] + "9"
        )
        proxy = f"{CONTROL} for {client}" if server == CONTROL else server
        place = PlaceFinder(relayed.configuration.places).find(address) or ""
        return severed([self._cut], proxy, address, place)


def _running(spec: NodeSpec) -> RunningNode:
    return RunningNode(spec.id, spec.role, spec.region, spec.pop, spec.http, spec.admin, spec.dns, True)


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Relayed:
    return Relayed(tmp_path_factory.mktemp("relays"))


def test_a_node_that_is_cut_off_from_all_hears_nobody_and_the_others_hear_each_other(relayed: Relayed) -> None:
    silence = relayed.cut(EDGE, "all")
    caches = (EDGE, NEIGHBOUR, FAR_EDGE, REGIONAL)
    for client, server in permutations((*caches, CONTROL, "origin-1"), 2):
        if client in caches:
            expected = BOTH if EDGE in (client, server) else NEITHER
            assert silence.between(client, server) == expected, (client, server)
    assert silence.between("us", EDGE) == BOTH and silence.between("us", NEIGHBOUR) == NEITHER


def test_from_some_nodes_only(relayed: Relayed) -> None:
    silence = relayed.cut(EDGE, CONTROL, REGIONAL)
    for other in (CONTROL, REGIONAL):
        assert silence.between(EDGE, other) == BOTH
    assert silence.between(REGIONAL, EDGE) == BOTH
    for client, server in (
        (EDGE, NEIGHBOUR),
        (EDGE, "origin-1"),
        (NEIGHBOUR, CONTROL),
        (NEIGHBOUR, EDGE),
        ("us", EDGE),
    ):
        assert silence.between(client, server) == NEITHER


def test_from_a_place(relayed: Relayed) -> None:
    silence = relayed.cut(EDGE, "eu")
    for client, server in ((EDGE, FAR_EDGE), (FAR_EDGE, EDGE), (EDGE, "regional-eu-1")):
        assert silence.between(client, server) == BOTH
    for client, server in ((EDGE, CONTROL), (EDGE, REGIONAL), ("us", EDGE), ("eu", EDGE)):
        assert silence.between(client, server) == NEITHER, "viewers are at places of their own"
    assert relayed.cut(EDGE, "us").between(EDGE, CONTROL) == BOTH, "which is in this region"


def test_from_viewers(relayed: Relayed) -> None:
    silence = relayed.cut(EDGE, "viewers-eu")
    assert (silence.between("eu", EDGE), silence.between("us", EDGE)) == (BOTH, NEITHER)
    assert silence.between(EDGE, CONTROL) == NEITHER


def test_the_control_plane_itself(relayed: Relayed) -> None:
    silence = relayed.cut(CONTROL, "all")
    for client in (EDGE, FAR_EDGE, REGIONAL):
        assert silence.between(client, CONTROL) == BOTH
    assert silence.between(EDGE, REGIONAL) == NEITHER
    assert relayed.cut(CONTROL, FAR_EDGE).between(EDGE, CONTROL) == NEITHER


@pytest.mark.parametrize(("direction", "as_client"), [("in", Stream.DOWNSTREAM), ("out", Stream.UPSTREAM)])
def test_in_one_direction(relayed: Relayed, direction: str, as_client: Stream) -> None:
    """What a node hears comes down to it as a client, and up to it as a server."""
    silence = relayed.cut(EDGE, "all", direction=direction)
    (as_server,) = BOTH - {as_client}
    for other in (CONTROL, REGIONAL):
        assert silence.between(EDGE, other) == {as_client}
    for other in (NEIGHBOUR, "us"):
        assert silence.between(other, EDGE) == {as_server}
    assert relayed.cut(CONTROL, EDGE, direction=direction).between(EDGE, CONTROL) == {as_server}


def test_somebody_whom_there_is_not_is_refused(relayed: Relayed) -> None:
    with pytest.raises(
        UsageError, match="from 'mars': there are all, us, eu, viewers-us, viewers-eu, operator, control-plane, dns-1, "
    ):
        relayed.cut(EDGE, "mars")
    with pytest.raises(UsageError, match="no relay is between edge-iad89-p1-1 and edge-iad89-p1-1"):
        relayed.cut(EDGE, EDGE)
