"""Where regions are and how far they are from each other.

One-way delay = great-circle distance at 2/3 of the speed of light in vacuum (glass has a refractive index of about 1.5) + what the equipment at both
ends takes. Real cables are longer than great circles; a topology's `links` replace what is derived.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import airportsdata

EARTH_RADIUS_KILOMETRES = 6371.0
FIBRE_KILOMETRES_PER_MILLISECOND = 299_792.458 / 1000 * 2 / 3
# Routers and switches at both ends, one way: half a millisecond there and back is usual between machines of one region.
EQUIPMENT_MILLISECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Degrees; north and east are positive."""

    latitude: float
    longitude: float


def find_airports(codes: Iterable[str]) -> dict[str, Coordinates]:
    """Coordinates of those IATA codes that exist."""
    airports = airportsdata.load("IATA")
    known = ((code, airports[code]) for code in codes if code in airports)
    return {code: Coordinates(airport["lat"], airport["lon"]) for code, airport in known}


def distance_kilometres(one: Coordinates, other: Coordinates) -> float:
    """Great circle, by the haversine formula, which stays exact for near places."""
    latitude, other_latitude = math.radians(one.latitude), math.radians(other.latitude)
    half_latitudes = (other_latitude - latitude) / 2
    half_longitudes = math.radians(other.longitude - one.longitude) / 2
    chord = math.sin(half_latitudes) ** 2
    chord += math.cos(latitude) * math.cos(other_latitude) * math.sin(half_longitudes) ** 2
    return 2 * EARTH_RADIUS_KILOMETRES * math.asin(math.sqrt(min(1.0, chord)))


def one_way_milliseconds(one: Coordinates, other: Coordinates) -> float:
    """Derived delay between two places."""
    return round(distance_kilometres(one, other) / FIBRE_KILOMETRES_PER_MILLISECOND + EQUIPMENT_MILLISECONDS, 2)
