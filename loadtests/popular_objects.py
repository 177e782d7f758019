"""Objects that viewers ask for, one of N, popular by Zipf's law with regional overlap (workload.py). Pure."""

import re
from collections.abc import Iterator
from functools import lru_cache

from loadtests.workload import RegionalPopularity, group_name

PLACE = "{n}"
"""Of the object's number in a path; numbers begin with 1."""
MOST_OBJECTS = 100_000
_TARGET = re.compile(r"/[!-~]*")


def path_problems(path: object, count: int) -> Iterator[str]:
    """Of a path with a place for the number."""
    if not isinstance(path, str) or not _TARGET.fullmatch(path) or len(path) > 2_000:
        yield f"path must begin with / and be of visible ASCII characters, at most 2,000, not {path!r}"
    elif path.count(PLACE) > 1 or "{" in path.replace(PLACE, "") or "}" in path.replace(PLACE, ""):
        yield f"path may have one {PLACE}, and no other braces: {path!r}"
    elif "#" in path:
        yield f"path may not have a fragment, which no viewer sends: {path!r}"
    elif count > 1 and PLACE not in path:
        yield f"path of {count} objects needs {PLACE}, where the number of the object goes: {path!r}"


@lru_cache(maxsize=256)  # of 100,000 objects it is megabytes: the users of a region share it
def popularity_in(region: str, count: int, exponent: float, worldwide_share: float) -> RegionalPopularity:
    """What viewers of this region like."""
    return RegionalPopularity(count, region, worldwide_share, exponent)


def object_path(path: str, number: int) -> str:
    """Of one object, by its number from 0."""
    return path.replace(PLACE, str(number + 1), 1)


def row_name(path: str) -> str:
    """Under which Locust sums the requests of all objects."""
    return group_name(path.replace(PLACE, "1", 1))
