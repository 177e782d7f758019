"""The links of a topology: derived from where places are, given by the file, and as relays are told them."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from lab.topology.choice import TopologyChoice
from lab.topology.internet import links_of, region_delays
from lab.topology.layout import Layout, Role
from lab.topology.links import LAST_MILES, LinkValues
from lab.topology.model import Topology
from lab.topology.reader import find_topology, parse_topology, read_topology, shipped_names, shipped_topology
from lab.topology.relay_file import relay_file
from lab.wan.configuration import Configuration, PlaceFinder
from lab.wan.configuration_file import parse_configuration

TWO_REGIONS = """\
regions:
  - {name: us-east-1, airport: IAD}
  - {name: ap-northeast-1, airport: NRT}
pops: [{name: IAD89-P1, region: us-east-1}]
origins: [{name: origin-1, region: us-east-1}]
populations:
  - {region: ap-northeast-1, client_subnet: 10.1.0.0/16}
  - {region: ap-northeast-1, client_subnet: 10.2.0.0/16, last_mile: satellite}
"""


def links(text: str) -> dict[frozenset[str], LinkValues]:
    return {frozenset(link.between): link for link in links_of(parse_topology(text, "lab.yaml"))}


def between(text: str, *ends: str) -> LinkValues:
    return links(text)[frozenset(ends)]


def configuration(topology: Topology) -> Configuration:
    """As the relays read it."""
    return parse_configuration(relay_file(Layout(topology, Path("/state"))), "wan.yaml")


def test_viewers_have_their_last_mile_before_what_lies_beyond() -> None:
    beyond = between(TWO_REGIONS, "us-east-1", "ap-northeast-1").forward.delay_ms
    assert beyond == pytest.approx(10_850 / 199.86 + 0.25, abs=0.5)
    fibre = between(TWO_REGIONS, "viewers-ap-northeast-1", "us-east-1")
    assert fibre.forward.delay_ms == pytest.approx(beyond + 2.0)
    satellite = between(TWO_REGIONS, "viewers-ap-northeast-1-2", "us-east-1")
    assert satellite.forward.delay_ms == pytest.approx(beyond + 270.0)
    assert (satellite.forward.bandwidth_mbit, satellite.backward.bandwidth_mbit) == (5, 50), "up, and down"


def test_what_is_given_between_regions_holds_for_their_viewers_too() -> None:
    given = TWO_REGIONS + "links: [{between: [ap-northeast-1, us-east-1], round_trip_ms: 150, loss_percent: 1}]\n"
    assert between(given, "us-east-1", "ap-northeast-1").round_trip_ms == 150
    viewers = between(given, "viewers-ap-northeast-1", "us-east-1")
    assert viewers.round_trip_ms == 154 and viewers.forward.loss_percent == 1
    at_home = between(given, "viewers-ap-northeast-1", "ap-northeast-1")
    assert at_home.round_trip_ms == 4.5 and at_home.forward.loss_percent == 0


def test_a_link_of_viewers_can_be_given_by_itself() -> None:
    given = TWO_REGIONS + "links: [{between: [us-east-1, viewers-ap-northeast-1], bandwidth_mbit: 8, jitter_ms: 3}]\n"
    path = between(given, "viewers-ap-northeast-1", "us-east-1").backward
    assert (path.bandwidth_mbit, path.jitter_ms) == (8, 3)
    assert path.delay_ms == between(TWO_REGIONS, "viewers-ap-northeast-1", "us-east-1").backward.delay_ms


def test_losses_of_both_parts_are_losses() -> None:
    given = TWO_REGIONS + "links: [{between: [ap-northeast-1, us-east-1], loss_percent: 10}]\n"
    loss = between(given, "viewers-ap-northeast-1-2", "us-east-1").forward.loss_percent
    assert loss == pytest.approx(100 * (1 - 0.9 * (1 - LAST_MILES["satellite"].up.loss_percent / 100)))


def test_every_two_places_that_speak_have_one_link() -> None:
    topology = read_topology(shipped_topology("world"))
    regions = {region.name for region in topology.regions}
    viewers = {name for name, _ in topology.population_places()} | {"operator"}
    wanted = {frozenset(pair) for pair in combinations(regions, 2)} | {frozenset((region,)) for region in regions}
    wanted |= {frozenset((who, region)) for who in viewers for region in regions}
    found = [frozenset(link.between) for link in links_of(topology)]
    assert set(found) == wanted and len(found) == len(wanted)


def test_in_the_default_topology_tokyo_is_150_ms_from_virginia() -> None:
    topology = read_topology(shipped_topology("default"))
    assert 2 * region_delays(topology)["us-east-1", "ap-northeast-1"] == 150


def test_the_world_is_what_it_says() -> None:
    topology = read_topology(shipped_topology("world"))
    assert len(topology.pops) == 13 and sum(each.count for each in topology.regional_caches) == 5
    assert len(Layout(topology, Path("/state")).nodes()) == 40
    assert len({pop.region for pop in topology.pops}) == 13


def test_the_tiny_one_has_one_pop() -> None:
    assert [pop.edges for pop in read_topology(shipped_topology("tiny")).pops] == [1]


@pytest.mark.parametrize("name", shipped_names())
def test_relays_take_what_every_shipped_topology_tells_them(name: str) -> None:
    topology = replace(read_topology(shipped_topology(name)), has_relays=True)
    told = configuration(topology)
    assert {each.link.ends for each in told.links} == {link.between for link in links_of(topology)}
    nodes = Layout(topology, Path("/state")).nodes()
    for node in nodes:
        if node.role not in (Role.CONTROL_PLANE, Role.WAN):
            reached = {proxy.listen: proxy for proxy in told.proxies}[node.advertised.content]
            assert reached.upstream == (node.http or node.dns) and reached.place == node.region


@pytest.mark.parametrize("name", shipped_names())
def test_whoever_connects_is_known_by_its_address(name: str) -> None:
    topology = replace(read_topology(shipped_topology(name)), has_relays=True)
    layout = Layout(topology, Path("/state"))
    finder = PlaceFinder(configuration(topology).places)
    for node in layout.nodes():
        if "--source-address" in node.flags:
            assert finder.find(node.flags[node.flags.index("--source-address") + 1]) == node.region
    for number, (place, _) in enumerate(topology.population_places(), start=1):
        assert finder.find(layout.range.viewers(number).replace(".0/24", ".77")) == place
    assert finder.find("127.0.0.1") == "operator"
    assert finder.find("127.0.254.1") is None


@pytest.mark.parametrize("name", shipped_names())
def test_no_program_is_told_where_another_one_listens(name: str) -> None:
    """But its own address; and where the relays are."""
    topology = replace(read_topology(shipped_topology(name)), has_relays=True)
    programs = Layout(topology, Path("/state")).programs()
    for node in programs:
        others = {
            each for other in programs if other is not node for each in (other.http, other.admin, other.dns) if each
        }
        others.add("127.0.0.1:4567")
        assert not others & set(node.flags)


def test_a_topology_is_found_by_its_name_or_by_its_file(tmp_path: Path) -> None:
    assert find_topology(TopologyChoice()).name == "three-regions"
    assert find_topology(TopologyChoice("tiny", has_relays=False)).has_relays is False
    own = tmp_path / "mine.yaml"
    own.write_text(TWO_REGIONS)
    assert find_topology(TopologyChoice(str(own), "127.9.0.0/16")).loopback == "127.9.0.0/16"
