"""What viewers ask for and when: populations, Zipf popularity, browsing sessions, a browser's own cache.

Pure: no locust, gevent, sockets or clocks; `now` and `rng` are arguments, so a seed repeats a workload.
Video belongs to playback.py, byte ranges to resuming.py, how a request travels to viewer.py.
"""

import re
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import accumulate
from random import Random
from urllib.parse import urljoin, urlsplit

# Breslau et al. (1999) measured 0.64-0.83 for requests at web proxies; edges of a CDN see the upper end.
ZIPF_EXPONENT = 0.8
# Share of requests that follow the popularity of the whole world; the rest follow the region's own.
WORLDWIDE_SHARE = 0.7
# A viewer who fell behind its schedule (an outage) catches up at most this much: a closed tab is not replayed.
MAXIMUM_LAG_SECONDS = 5.0

# An img or script names what the browser loads at once in src; of links only stylesheets and icons are loaded.
_SOURCE = re.compile(rb"""<(?:img|script|source|iframe)\b[^>]*?\bsrc\s*=\s*["']([^"']+)["']""", re.IGNORECASE)
_LINK = re.compile(rb"""<link\b[^>]*>""", re.IGNORECASE)
_LINK_LOADS = re.compile(rb"""\brel\s*=\s*["'](?:stylesheet|icon|shortcut icon|preload)["']""", re.IGNORECASE)
_LINK_TARGET = re.compile(rb"""\bhref\s*=\s*["']([^"']+)["']""", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Population:
    """Viewers of one region; their resolver tells the router `client_subnet`."""

    region: str
    client_subnet: str
    users: int
    source: str = ""
    """The network that their sockets are bound in, by which relays know where they are; empty: the system's choice."""

    def __post_init__(self) -> None:
        for network in (self.client_subnet, self.source or self.client_subnet):
            ip_network(network)  # ValueError says what is wrong with it
        if self.users < 1:
            raise ValueError(f"population of {self.region}: users must be at least 1, not {self.users}")


def seating_order(populations: Sequence[Population]) -> list[Population]:
    """One round of seats in which each population has its share and the shares are mixed as evenly as they can be.

    Smooth weighted round robin: any prefix is as near to the shares as whole users allow, so 5 users of 10:10:10 still
    come from three regions.
    """
    total = sum(population.users for population in populations)
    credits_left = [0] * len(populations)
    order = []
    for _ in range(total):
        for position, population in enumerate(populations):
            credits_left[position] += population.users
        chosen = max(range(len(populations)), key=credits_left.__getitem__)
        credits_left[chosen] -= total
        order.append(populations[chosen])
    return order


def client_address(client_subnet: str, rng: Random) -> str:
    """A host address of the subnet; network and broadcast addresses are not hosts."""
    network = ip_network(client_subnet)
    hosts = network.num_addresses
    offset = rng.randrange(1, hosts - 1) if hosts > 2 else rng.randrange(hosts)
    return str(ip_address(int(network.network_address) + offset))


class ZipfPopularity:
    """Rank r (from 0) is drawn in proportion to 1 / (r + 1) ** exponent."""

    def __init__(self, count: int, exponent: float = ZIPF_EXPONENT) -> None:
        if count < 1:
            raise ValueError(f"popularity needs at least one object, not {count}")
        self._cumulative = list(accumulate((rank + 1) ** -exponent for rank in range(count)))

    def rank(self, rng: Random) -> int:
        return bisect_left(self._cumulative, rng.random() * self._cumulative[-1])


class RegionalPopularity:
    """Zipf with regional overlap: a worldwide ranking, and one ranking per region that only its viewers follow."""

    def __init__(
        self,
        count: int,
        region: str,
        worldwide_share: float = WORLDWIDE_SHARE,
        exponent: float = ZIPF_EXPONENT,
    ) -> None:
        self._zipf = ZipfPopularity(count, exponent)
        self._worldwide_share = worldwide_share
        self._regional = list(range(count))
        Random(region).shuffle(self._regional)

    def pick(self, rng: Random) -> int:
        rank = self._zipf.rank(rng)
        return rank if rng.random() < self._worldwide_share else self._regional[rank]


@dataclass(frozen=True, slots=True)
class BrowsingSession:
    """Pages in the order of the visit, and the pause between the intended starts of two of them."""

    pages: tuple[int, ...]
    pauses_seconds: tuple[float, ...]


def plan_browsing(
    rng: Random, popularity: RegionalPopularity, mean_pages: float, mean_pause_seconds: float
) -> BrowsingSession:
    """Session lengths are geometric and reading times exponential: no memory, so arrivals mix to a Poisson stream."""
    pages = [popularity.pick(rng)]
    while len(pages) < 50 and rng.random() > 1 / mean_pages:
        pages.append(popularity.pick(rng))
    pauses = tuple(rng.expovariate(1 / mean_pause_seconds) for _ in pages)
    return BrowsingSession(tuple(pages), pauses)


def next_intended_start(previous_start: float, pause_seconds: float, now: float) -> float:
    """When the next step is due, whatever the last one took: latency counts from here, so a stall is not forgiven."""
    return max(previous_start + pause_seconds, now - MAXIMUM_LAG_SECONDS)


def linked_assets(page_path: str, html: bytes) -> list[str]:
    """Paths on the same host that a browser loads with the page, each once, in document order."""
    targets = [match.group(1) for match in _SOURCE.finditer(html)]
    for link in _LINK.finditer(html):
        target = _LINK_TARGET.search(link.group())
        if target is not None and _LINK_LOADS.search(link.group()) is not None:
            targets.append(target.group(1))
    own = [urljoin(page_path, target.decode("latin-1")) for target in targets]
    return list(dict.fromkeys(path for path in own if path.startswith("/") and not path.startswith("//")))


def group_name(path: str) -> str:
    """The name under which Locust sums requests: numbers are members of a group, query values do not count."""
    parts = urlsplit(path)
    name = _NUMBER.sub("[n]", parts.path)
    names = [pair.split("=", 1)[0] for pair in parts.query.split("&") if pair]
    return f"{name}?{'&'.join(names)}" if names else name


def freshness_seconds(cache_control: str) -> float:
    """How long a private cache may reuse a response: max-age; none is taken as zero (RFC 9111 section 5.2.2)."""
    lifetime = 0.0
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return 0.0
        if name == "max-age" and value.strip('"').isdigit():
            lifetime = float(value.strip('"'))
    return lifetime


@dataclass(frozen=True, slots=True)
class BrowserEntry:
    fresh_until: float
    etag: str


class BrowserCache:
    """One viewer's own cache of assets: which need no request, and which need only a conditional one.

    Bodies are not kept: the viewer never looks at them. Age counts against freshness (RFC 9111 section 4.2.3).
    """

    def __init__(self, maximum_entries: int = 200) -> None:
        self._maximum_entries = maximum_entries
        self._entries: OrderedDict[str, BrowserEntry] = OrderedDict()

    def is_fresh(self, path: str, now: float) -> bool:
        entry = self._entries.get(path)
        return entry is not None and now < entry.fresh_until

    def validator(self, path: str) -> str:
        """The ETag to revalidate with, empty when there is none to send."""
        entry = self._entries.get(path)
        return entry.etag if entry is not None else ""

    def store(self, path: str, headers: dict[str, str], now: float) -> None:
        """After a 200, or a 304 that renews the entry (RFC 9111 section 4.3.4)."""
        cache_control = headers.get("cache-control", "")
        if "no-store" in cache_control.lower():
            self._entries.pop(path, None)
            return
        age = headers.get("age", "0")
        lifetime = freshness_seconds(cache_control) - (float(age) if age.isdigit() else 0.0)
        self._entries[path] = BrowserEntry(now + lifetime, headers.get("etag", "") or self.validator(path))
        self._entries.move_to_end(path)
        while len(self._entries) > self._maximum_entries:
            self._entries.popitem(last=False)
