"""How far places are from each other: the round trip of each link, as it was asked for and as it was measured before the run (links.json)."""

from collections.abc import Iterable
from dataclasses import dataclass

from lab.history.run_files import Record
from lab.topology.links import LINK_JOINT, VIEWERS_PREFIX


@dataclass(frozen=True, slots=True)
class Distance:
    """Round trip between two places in milliseconds, both ways together; `measured` is None where it could not be."""

    link: str
    asked: float | None
    measured: float | None

    @property
    def ends(self) -> tuple[str, str]:
        one, _, other = self.link.partition(LINK_JOINT)
        return one, other


def distances_of(links: Iterable[Record]) -> tuple[Distance, ...]:
    """In the order of the file."""
    trips: dict[str, list[Record]] = {}
    for each in links:
        if each.get("what") == "delay":
            trips.setdefault(str(each["link"]), []).append(each)
    return tuple(
        Distance(link, _both_ways(ways, "asked"), _both_ways(ways, "measured")) for link, ways in trips.items()
    )


def between(distances: Iterable[Distance], one: str, other: str) -> Distance | None:
    """Of the link between two regions, or between viewers (`viewers-REGION`) and a region, whichever end is named first."""
    return next((each for each in distances if set(each.ends) == {one, other}), None)


def place_of(role: str, region: str) -> str:
    """What links call the place of a site."""
    return f"{VIEWERS_PREFIX}{region}" if role == "viewers" else region


def _both_ways(ways: Iterable[Record], name: str) -> float | None:
    values = [way.get(name) for way in ways]
    return None if None in values else round(sum(float(value) for value in values if value is not None), 2)
