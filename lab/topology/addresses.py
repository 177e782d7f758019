"""Addresses of a lab of processes, all in one range of loopback: where each program listens, where the others find it, and from where viewers come.

A /24 for each kind, in the range's third number: 0.1 is the machine's own address (management API, DNS, the relays' API, and the edges of the first POP for browsers,
who resolve `*.localhost` to it); 10+k edges of POP k; 100 regional caches; 150 routers; 200 origins; 200+k viewers of population k; 251 the relays;
253 an address for measuring in each region.
With relays in between, .N is where a program listens, and .(N+100) is where a relay listens for it: that is what the others are told.
There it finds the control plane, too.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

_FIRST_POP, _REGIONALS, _ROUTERS, _ORIGINS, _FIRST_POPULATION = 11, 100, 150, 200, 201
_RELAYS, _MEASURING = 251, 253
_TO_RELAY = 100


@dataclass(frozen=True, slots=True)
class LoopbackRange:
    """The addresses in one range, a /16 of 127.0.0.0/8. Numbers are from 1 on."""

    network: str

    @property
    def own(self) -> str:
        """What commands and browsers use."""
        return self.host(0, 1)

    def edge(self, pop: int, number: int) -> str:
        return self.host(_FIRST_POP + pop - 1, number)

    def regional(self, number: int) -> str:
        return self.host(_REGIONALS, number)

    def router(self, number: int) -> str:
        return self.host(_ROUTERS, number)

    def origin(self, number: int) -> str:
        return self.host(_ORIGINS, number)

    def viewers(self, population: int) -> str:
        """A network."""
        return f"{self.host(_FIRST_POPULATION + population - 1, 0)}/24"

    @property
    def relays(self) -> str:
        """From where relays connect, when it is not from the client's own address."""
        return self.host(_RELAYS, 1)

    def measuring(self, region: int) -> str:
        return self.host(_MEASURING, region)

    def host(self, group: int, number: int) -> str:
        """The address with these two last numbers."""
        base = int(IPv4Network(self.network).network_address)
        return str(IPv4Address(base + (group << 8) + number))


def relayed(host: str) -> str:
    """Where a relay listens for what listens at `host`."""
    return str(IPv4Address(host) + _TO_RELAY)
