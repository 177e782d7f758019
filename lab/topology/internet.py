"""The modelled internet of a topology: its places, and a link between every two of them that have something to say to each other. Pure.

Regions are linked with each other and with themselves (two machines of a region are not one); viewers and the operator with every region: their last mile, and
from there on as from their region. Viewers have no links with each other: they do not speak.
"""

from collections.abc import Iterator, Mapping, Sequence

from lab.topology.geography import one_way_milliseconds
from lab.topology.links import DEFAULT_LAST_MILE, LAST_MILES, OPERATOR, GivenLink, LinkValues, PathValues
from lab.topology.model import Topology
from lab.topology.problems import Problem

_Given = Mapping[frozenset[str], GivenLink]


def links_of(topology: Topology) -> tuple[LinkValues, ...]:
    """All links, those between regions first, in the order of the file."""
    given = {link.ends: link for link in topology.links}
    between = [_replaced(link, given) for link in _between_regions(topology)]
    return (*between, *(_replaced(link, given) for link in _of_viewers(topology, between)))


def region_delays(topology: Topology) -> Mapping[tuple[str, str], float]:
    """One-way milliseconds between regions, each pair once and each region to itself: what the router and the tiers go by."""
    regions = {region.name for region in topology.regions}
    links = (link for link in links_of(topology) if regions.issuperset(link.between))
    return {link.between: round(link.forward.delay_ms, 2) for link in links}


def wrong_jitters(topology: Topology) -> Iterator[Problem]:
    """What is given as jitter, and is more than the delay that is derived: relays could not do it."""
    one_way = {frozenset(link.between): link.forward.delay_ms for link in links_of(topology)}
    for given in topology.links:
        delay = one_way.get(given.ends, 0.0)
        if given.round_trip_ms is None and (given.jitter_ms or 0) > delay:
            names = " and ".join(given.between)
            yield Problem(
                given.line,
                f"jitter_ms {given.jitter_ms:g}: more than one way between {names}, {delay:g} ms; give round_trip_ms, too",
            )


def _replaced(link: LinkValues, given: _Given) -> LinkValues:
    own = given.get(frozenset(link.between))
    return link if own is None else LinkValues(link.between, own.replace(link.forward), own.replace(link.backward))


def _between_regions(topology: Topology) -> Iterator[LinkValues]:
    for index, one in enumerate(topology.regions):
        for other in topology.regions[index:]:
            path = PathValues(one_way_milliseconds(one.coordinates, other.coordinates))
            yield LinkValues((one.name, other.name), path, path)


def _of_viewers(topology: Topology, between: Sequence[LinkValues]) -> Iterator[LinkValues]:
    beyond = {frozenset(link.between): link.forward for link in between}
    places = [(name, each.region, each.last_mile) for name, each in topology.population_places()]
    for name, home, last_mile in (*places, (OPERATOR, topology.default_region, DEFAULT_LAST_MILE)):
        access = LAST_MILES[last_mile]
        for region in topology.regions:
            path = beyond[frozenset((home, region.name))]
            yield LinkValues((name, region.name), path.after(access.up), path.after(access.down))
