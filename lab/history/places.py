"""Where a run took place: its nodes, its viewers and their regions with coordinates, as `summary.json` has them for the map of the report. Pure values.

A region is where its topology puts it. Of a lab whose topology is not at hand, a region is at the airport that its POPs and regional caches are named after
(IAD89-P1), and one without any has no place: it is left out of the map, never guessed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from lab.topology.geography import Coordinates, find_airports

_AIRPORT_LETTERS = 3


class PlacedNode(Protocol):
    """What is asked of a node."""

    @property
    def id(self) -> str: ...
    @property
    def role(self) -> Any: ...
    @property
    def region(self) -> str: ...
    @property
    def pop(self) -> str: ...
    @property
    def reached_at(self) -> str: ...


class PlacedViewers(Protocol):
    """What is asked of a population."""

    @property
    def region(self) -> str: ...
    @property
    def users(self) -> int: ...


def places_by_airport(nodes: Iterable[PlacedNode]) -> dict[str, Coordinates]:
    """Coordinates by region, of those regions that have a POP or a regional cache."""
    codes = {node.region: node.pop[:_AIRPORT_LETTERS] for node in nodes if node.pop}
    airports = find_airports(codes.values())
    return {region: airports[code] for region, code in codes.items() if code in airports}


def nodes_document(nodes: Iterable[PlacedNode], places: Mapping[str, Coordinates]) -> list[dict[str, Any]]:
    """`nodes` of summary.json: who took part, what for, and where."""
    return [
        {
            "id": node.id,
            "role": str(node.role),
            "region": node.region,
            "pop": node.pop,
            "http": node.reached_at,
            **_position(places.get(node.region)),
        }
        for node in nodes
    ]


def populations_document(
    populations: Iterable[PlacedViewers], places: Mapping[str, Coordinates]
) -> list[dict[str, Any]]:
    """`populations` of summary.json: how many viewers came from where."""
    return [{"region": each.region, "users": each.users, **_position(places.get(each.region))} for each in populations]


def _position(place: Coordinates | None) -> dict[str, float | None]:
    if place is None:
        return {"latitude": None, "longitude": None}
    return {"latitude": round(place.latitude, 2), "longitude": round(place.longitude, 2)}
