"""What relays are told at their start: places, proxies, links and bounds. Values that check themselves and report all problems at once.

The file's form is in docs/wan.md; reading it is configuration_file.py's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from lab.clients.http_client import split_address
from lab.topology.problems import Problem
from lab.wan.links import Link

DEFAULT_API: Final = "127.0.0.1:8474"
"""Toxiproxy's port."""


class Transport(StrEnum):
    """What a proxy relays."""

    TCP = "tcp"
    UDP = "udp"
    BOTH = "both"
    """On one port, as DNS needs it."""


class ClientAddress(StrEnum):
    """What becomes of the client's address."""

    HIDDEN = "hidden"
    """The server sees the relay's."""
    BOUND = "bound"
    """The relay connects from the client's address, which on one machine it may: every address of 127.0.0.0/8 is its own."""
    PROXY_V2 = "proxy-v2"
    """The relay says it before everything else (proxy_protocol.py)."""


@dataclass(frozen=True, slots=True)
class Place:
    """An end of links: clients there connect from these networks."""

    name: str
    networks: tuple[str, ...]
    outgoing_address: str = ""
    """From where relays connect for clients of this place, so that a server sees where they are; empty: as for all."""
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        """Networks and addresses that are none."""
        for text in self.networks:
            if parse_network(text) is None:
                yield Problem(self.line, f"place {self.name!r}: {text!r} is no network, as 127.0.60.0/24 is one")
        if self.outgoing_address and not is_address(self.outgoing_address):
            message = f"outgoing_address must be an address, not {self.outgoing_address!r}"
            yield Problem(self.line, f"place {self.name!r}: {message}")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An address to connect to, and where that leads."""

    name: str
    listen: str
    """`host:port`; port 0: any."""
    upstream: str
    place: str = ""
    """Where the server is. Without one there is no link: nothing is modelled but toxics."""
    transport: Transport = Transport.TCP
    client_address: ClientAddress = ClientAddress.HIDDEN
    is_enabled: bool = True
    client_place: str = ""
    """Where all its clients are, whatever their addresses: for those that cannot bind one, as gRPC's. Empty: told by address."""
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        """What it cannot be made of."""
        if not is_name(self.name):
            yield Problem(self.line, f"proxy {self.name!r}: a name has up to 200 characters, and no '/'")
        if not is_host_and_port(self.listen, lowest_port=0):
            yield Problem(self.line, f"proxy {self.name!r}: listen must be HOST:PORT, not {self.listen!r}")
        if not is_host_and_port(self.upstream, lowest_port=1):
            yield Problem(self.line, f"proxy {self.name!r}: upstream must be HOST:PORT, not {self.upstream!r}")
        if self.client_place and not self.place:
            yield Problem(self.line, f"proxy {self.name!r}: from needs a place, where the link leads to")
        if self.client_address is ClientAddress.PROXY_V2 and self.transport is not Transport.TCP:
            yield Problem(self.line, f"proxy {self.name!r}: proxy-v2 is for tcp only")


@dataclass(frozen=True, slots=True)
class PlacedLink:
    """A link and the line that it is on."""

    link: Link
    line: int = field(default=0, compare=False)

    def problems(self) -> Iterator[Problem]:
        """Of both its paths."""
        for path, word in ((self.link.forward, "forward"), (self.link.backward, "backward")):
            yield from (Problem(self.line, f"link {self.link.name}, {word}: {each}") for each in path.problems())


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the process holds at most."""

    connections: int = 4_096
    flows: int = 4_096
    """Of UDP: pairs of a client's address and a proxy."""
    window_bytes: int = 4 << 20
    """Under way in one direction of one connection."""
    memory_bytes: int = 512 << 20
    """The same of all connections."""


class ConfigurationError(ValueError):
    """Everything that is wrong with a configuration."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(f"{problem.line}: {problem.message}" for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole. Making one that is wrong raises ConfigurationError."""

    places: tuple[Place, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    links: tuple[PlacedLink, ...] = ()
    api: str = DEFAULT_API
    outgoing_address: str = ""
    """From where relays connect, unless it is the client's or that of the client's place; empty: the system's choice."""
    seed: int | None = None
    """Of all chance; None: another one each time."""
    bounds: Bounds = Bounds()

    def __post_init__(self) -> None:
        problems = [*self._own_problems(), *self._unknown_places(), *self._doubles()]
        parts: tuple[Place | Proxy | PlacedLink, ...] = (*self.places, *self.proxies, *self.links)
        for part in parts:
            problems.extend(part.problems())
        if problems:
            raise ConfigurationError(problems)

    def _own_problems(self) -> Iterator[Problem]:
        if not is_host_and_port(self.api, lowest_port=0):
            yield Problem(1, f"api must be HOST:PORT, not {self.api!r}")
        if self.outgoing_address and not is_address(self.outgoing_address):
            yield Problem(1, f"outgoing_address must be an address, not {self.outgoing_address!r}")

    def _unknown_places(self) -> Iterator[Problem]:
        known = {place.name for place in self.places}
        used = [(name, proxy.line) for proxy in self.proxies for name in (proxy.place, proxy.client_place) if name]
        used += [(end, each.line) for each in self.links for end in each.link.ends]
        for name, line in used:
            if name not in known:
                yield Problem(line, f"unknown place {name!r}: there are {', '.join(sorted(known)) or 'none'}")

    def _doubles(self) -> Iterator[Problem]:
        lines: dict[str, list[int]] = {}
        for what, line in self._names():
            lines.setdefault(what, []).append(line)
        for what, count in Counter(what for what, _ in self._names()).items():
            if count > 1:
                yield Problem(lines[what][1], f"{what} is there {count} times")

    def _names(self) -> Iterator[tuple[str, int]]:
        yield from ((f"place {place.name!r}", place.line) for place in self.places)
        yield from ((f"proxy {proxy.name!r}", proxy.line) for proxy in self.proxies)
        yield from ((f"network {text}", place.line) for place in self.places for text in place.networks)
        yield from ((f"a link between {' and '.join(sorted(each.link.ends))}", each.line) for each in self.links)
        listening = [proxy for proxy in self.proxies if not proxy.listen.endswith(":0")]
        yield from ((f"listen {proxy.listen}", proxy.line) for proxy in listening)


class PlaceFinder:
    """Which place an address is at: that of its smallest network."""

    def __init__(self, places: Iterable[Place]) -> None:
        networks = [
            (parsed, place.name) for place in places for text in place.networks if (parsed := parse_network(text))
        ]
        self._networks = sorted(networks, key=lambda pair: -pair[0].prefixlen)

    def find(self, address: str) -> str | None:
        """None: at none."""
        parsed = ip_address(address.partition("%")[0])
        return next((name for network, name in self._networks if parsed in network), None)


def parse_network(text: str) -> IPv4Network | IPv6Network | None:
    """None: it is none."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def is_host_and_port(text: str, *, lowest_port: int) -> bool:
    """`host:port`, an IPv6 host in brackets."""
    try:
        host, port = split_address(text)
    except ValueError:
        return False
    return bool(host) and lowest_port <= port <= 65_535


def is_name(text: str) -> bool:
    """Whether a proxy can be called that: it is a part of the API's paths."""
    return 0 < len(text) <= 200 and "/" not in text


def is_address(text: str) -> bool:
    """Of IPv4 or IPv6."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
