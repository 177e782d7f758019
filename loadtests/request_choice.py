"""What a viewer asks for next, and how long it waits then, for the profiles whose step is one request. Pure.

Which random number is drawn for what, and in which order, is settled here and nowhere else: so the requests of a plan with a seed can be told without sending any.
"""

from collections import OrderedDict
from random import Random

from loadtests.popular_objects import object_path, popularity_in
from loadtests.profile_options import CacheBustingOptions, ConditionalOptions, ObjectsOptions
from loadtests.workload import RegionalPopularity

PRODUCT_PAGES = 25
"""The origin lists 500 products, 20 a page (docs/origin.md)."""
PRIVATE_SHARE = 0.3
API_PAUSE_SECONDS = 0.5


def next_object(options: ObjectsOptions, region: str, rng: Random) -> str:
    """The path of one of N objects."""
    popularity = popularity_in(region, options.count, options.exponent, options.worldwide_share)
    return object_path(options.path, popularity.pick(rng))


def pause_after(options: ObjectsOptions, rng: Random) -> float:
    """Seconds until the next request; drawn also where a rate says when that is."""
    mean = options.pause_seconds
    return rng.expovariate(1 / mean) if mean else 0.0


def busting_parameter(options: CacheBustingOptions) -> str:
    """As it stands behind a path."""
    return f"{'&' if '?' in options.path else '?'}{options.parameter}"


def busting_query(options: CacheBustingOptions, rng: Random) -> str:
    """What makes a request one that nobody else sends; empty: it is a normal one."""
    if rng.random() < options.busting_share:
        return f"{busting_parameter(options)}={rng.getrandbits(64):016x}"
    return ""


class SeenObjects:
    """What one user remembers of the objects that it has seen, the latest ones."""

    def __init__(self, options: ConditionalOptions) -> None:
        self._share = options.conditional_share
        self._most = options.remembered
        self._seen: OrderedDict[str, str] = OrderedDict()

    def tag_to_ask_with(self, path: str, rng: Random) -> str:
        """The tag of the version that it has seen, if it asks by that; empty: it asks without a condition."""
        asks_again = rng.random() < self._share
        return self._seen.get(path, "") if asks_again else ""

    def remember(self, path: str, tag: str) -> None:
        """After a usable answer."""
        self._seen[path] = tag
        self._seen.move_to_end(path)
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)


def next_products_page(popularity: RegionalPopularity, rng: Random) -> int | None:
    """Which page of the product list, from 1; None: it asks who it is."""
    return None if rng.random() < PRIVATE_SHARE else popularity.pick(rng) + 1


def api_pause(rng: Random) -> float:
    """Seconds until the next call."""
    return rng.expovariate(1 / API_PAUSE_SECONDS)
