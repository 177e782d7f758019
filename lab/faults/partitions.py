"""Partitions: shapes of cuts between regions. Pure.

- `partition:halves`: two groups of regions hear nothing of each other. `halves:A+B` says which are in the first one; without that they are the first half of
  the regions in the lab's order, or drawn with `?seed=7`.
- `partition:ring`: each region hears its two neighbours in the lab's order, and nobody else.
- `partition:one-against-all:PLACE`: nobody hears PLACE, which hears nobody.
- `partition:one-directional:A+B`: nothing gets from these regions to the others, who are heard. Groups as for halves.

Viewers are in the network of their region, so they go with it; the operator sees both sides, unless he is named.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.errors import UsageError
from lab.topology.links import OPERATOR, VIEWERS_PREFIX

PREFIX: Final = "partition:"
LEAST_RING: Final = 4
"""Three regions in a ring are all neighbours."""
_FORM: Final = re.compile(
    r"partition:(?P<shape>[a-z-]+)(?::(?P<group>[^?,/]+))?(?:\?seed=(?P<seed>\d{1,18}))?", re.ASCII
)

Ends = Mapping[str, tuple[str, str]]
"""Of links, by their names."""
IsCut = Callable[[str, str], bool]
"""Whether nothing gets from one place to another."""


class Shape(StrEnum):
    """What is cut from what."""

    HALVES = "halves"
    RING = "ring"
    ONE_AGAINST_ALL = "one-against-all"
    ONE_DIRECTIONAL = "one-directional"


@dataclass(frozen=True, slots=True)
class Partition:
    """A shape with those who are on one side, if it has sides and they are given."""

    shape: Shape
    group: tuple[str, ...] = ()
    seed: int | None = None


def read_partition(text: str) -> Partition:
    """UsageError for what is none."""
    match = _FORM.fullmatch(text)
    if match is None or match["shape"] not in list(Shape):
        raise UsageError(
            f"{text!r} is no partition: write partition:halves, halves:A+B, ring, one-against-all:PLACE or one-directional:A+B; ?seed=7 draws halves"
        )
    shape, group = Shape(match["shape"]), tuple(match["group"].split("+")) if match["group"] else ()
    seed = None if match["seed"] is None else int(match["seed"])
    if shape is Shape.ONE_AGAINST_ALL and len(group) != 1:
        raise UsageError(f"{text!r}: say who, as in partition:one-against-all:us-east-1")
    if (shape is Shape.RING and group) or (seed is not None and (group or shape is Shape.RING)):
        raise UsageError(f"{text!r}: {'a group' if seed is None else 'a seed'} has no meaning there")
    return Partition(shape, group, seed)


def parted(partition: Partition, links: Ends) -> list[tuple[str, bool]]:
    """What is cut: names of links, and whether it is their forward direction. UsageError when there is nothing to cut."""
    places = list(dict.fromkeys(end for ends in links.values() for end in ends))
    regions = [place for place in places if place != OPERATOR and not place.startswith(VIEWERS_PREFIX)]
    is_cut = _ring(regions) if partition.shape is Shape.RING else _two_sides(partition, places, regions)
    found = list(_paths(is_cut, links))
    if not found:
        raise UsageError(f"{PREFIX}{partition.shape} cuts nothing: no link leads from one side to the other")
    return found


def _paths(is_cut: IsCut, links: Ends) -> Iterator[tuple[str, bool]]:
    for name, (one, other) in links.items():
        if is_cut(one, other):
            yield name, True
        if is_cut(other, one):
            yield name, False


def home_of(place: str, regions: Sequence[str]) -> str:
    """Its region, of viewers that in which they are (`viewers-REGION`, `viewers-REGION-2`); itself for all others."""
    rest = place.removeprefix(VIEWERS_PREFIX)
    if rest == place or rest in regions:
        return rest
    stem, _, number = rest.rpartition("-")
    return stem if stem in regions and number.isdecimal() else place


def _ring(regions: Sequence[str]) -> IsCut:
    if len(regions) < LEAST_RING:
        raise UsageError(f"a ring cuts nothing with fewer than {LEAST_RING} regions: there are {', '.join(regions)}")
    at = {region: number for number, region in enumerate(regions)}

    def is_cut(one: str, other: str) -> bool:
        homes = [at.get(home_of(place, regions)) for place in (one, other)]
        if homes[0] is None or homes[1] is None:
            return False
        return (homes[0] - homes[1]) % len(regions) not in (0, 1, len(regions) - 1)

    return is_cut


def _two_sides(partition: Partition, places: Sequence[str], regions: Sequence[str]) -> IsCut:
    group = frozenset(partition.group or _half(partition.seed, regions))
    for each in group:
        if each not in places:
            raise UsageError(f"no place {each!r}: there are {', '.join(places)}")

    def is_first(place: str) -> bool:
        return place in group or home_of(place, regions) in group

    def is_cut(one: str, other: str) -> bool:
        if OPERATOR in (one, other) and OPERATOR not in group:
            return False
        if partition.shape is Shape.ONE_DIRECTIONAL:
            return is_first(one) and not is_first(other)
        return is_first(one) != is_first(other)

    return is_cut


def _half(seed: int | None, regions: Sequence[str]) -> Sequence[str]:
    if len(regions) < 2:
        raise UsageError(f"halves need two regions: there is {', '.join(regions) or 'none'}")
    ordered = (
        regions
        if seed is None
        else sorted(regions, key=lambda region: hashlib.sha256(f"{seed}/{region}".encode()).digest())
    )
    return ordered[: len(regions) // 2]
