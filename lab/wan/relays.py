"""All relays of the process: proxies with their toxics, links with their paths, made, changed and taken away while they work."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence

from lab.clients.http_client import split_address
from lab.errors import LabError
from lab.wan.configuration import Configuration, Proxy, Transport
from lab.wan.context import Context, Counters
from lab.wan.cuts import Cut
from lab.wan.links import Link
from lab.wan.memory import MemoryBudget
from lab.wan.network import Network
from lab.wan.tcp_half import Shared
from lab.wan.tcp_relay import TcpRelay
from lab.wan.toxics import Toxic
from lab.wan.udp_relay import UdpRelay
from proto.seeds import rng_of

logger = logging.getLogger(__name__)

READ_BYTES = 262_144


class RelayError(LabError):
    """A relay cannot be made as it was asked for; the message says why."""


class RunningProxy:
    """One proxy, listening or not."""

    def __init__(self, proxy: Proxy, context: Context) -> None:
        self.proxy = proxy
        self.toxics: tuple[Toxic, ...] = ()
        self.is_enabled = False
        self.context = context
        self._tcp: TcpRelay | None = None
        self._udp: UdpRelay | None = None

    async def enable(self) -> None:
        """Listen; RelayError when the address cannot be had. The port is known afterwards, if any would do."""
        if self.is_enabled:
            return
        host, port = split_address(self.proxy.listen)
        try:
            if self.proxy.transport is not Transport.UDP:
                self._tcp = TcpRelay(self.proxy, self.context)
                self._tcp.change_toxics(self.toxics)
                port = await self._tcp.listen(host, port)
            if self.proxy.transport is not Transport.TCP:
                self._udp = UdpRelay(self.proxy, self.context)
                port = await self._udp.listen(host, port)
        except (OSError, ValueError) as error:  # ValueError: no name that could be looked up
            self.disable()
            raise RelayError(f"{self.proxy.name}: cannot listen on {self.proxy.listen}: {error}") from error
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.proxy = dataclasses.replace(self.proxy, listen=listen)
        self.is_enabled = True

    def disable(self) -> None:
        """Listen no more, and drop what is connected."""
        self.is_enabled = False
        for relay in (self._tcp, self._udp):
            if relay is not None:
                relay.close()
        self._tcp = self._udp = None

    def change_toxics(self, toxics: Sequence[Toxic]) -> None:
        """Others from now on."""
        self.toxics = tuple(toxics)
        if self._tcp is not None:
            self._tcp.change_toxics(self.toxics)

    def cuts_changed(self) -> None:
        """Those of the network are others from now on."""
        for relay in (self._tcp, self._udp):
            if relay is not None:
                relay.cuts_changed()


class Relays:
    """See above. Changes come one at a time: the caller sees to that."""

    def __init__(self, configuration: Configuration, tasks: asyncio.TaskGroup, clock: Callable[[], float]) -> None:
        """What is chance at a proxy follows from the configuration's seed and the proxy's name, so that what others draw changes nothing there."""
        loop = asyncio.get_running_loop()
        links = (each.link for each in configuration.links)
        self.configuration = configuration
        self.network = Network(configuration.places, links, clock, loop)
        memory = MemoryBudget(configuration.bounds.memory_bytes)
        shared = Shared(clock, loop, memory, bytearray(READ_BYTES))
        bounds, outgoing = configuration.bounds, configuration.outgoing_address
        self.context = Context(self.network, shared, rng_of(configuration.seed), bounds, tasks, outgoing)
        self.proxies: dict[str, RunningProxy] = {}

    @property
    def counters(self) -> Counters:
        """What was relayed."""
        return self.context.counters

    async def start(self) -> None:
        """Every proxy of the configuration; RelayError with all reasons."""
        failures = []
        for proxy in self.configuration.proxies:
            try:
                await self.create(proxy)
            except RelayError as error:
                failures.append(str(error))
        if failures:
            self.close()
            raise RelayError("\n".join(failures))

    async def create(self, proxy: Proxy) -> RunningProxy:
        """One more; nothing is there when it cannot listen."""
        chance = rng_of(self.configuration.seed, proxy.name)
        running = RunningProxy(proxy, dataclasses.replace(self.context, chance=chance))
        if proxy.is_enabled:
            await running.enable()
        self.proxies[proxy.name] = running
        return running

    async def change(self, running: RunningProxy, proxy: Proxy) -> None:
        """Other addresses drop all connections; so does the end of `is_enabled`."""
        before = running.proxy
        if (proxy.listen, proxy.upstream) != (before.listen, before.upstream) or not proxy.is_enabled:
            running.disable()
        running.proxy = proxy
        if proxy.is_enabled:
            await running.enable()

    def remove(self, name: str) -> None:
        """For good."""
        self.proxies.pop(name).disable()

    def change_link(self, name: str, link: Link) -> None:
        """Other paths from now on."""
        self.network.links[name].change(link)

    def change_cuts(self, cuts: Iterable[Cut]) -> None:
        """Others from now on, for what is connected as well."""
        self.network.cuts = {cut.name: cut for cut in cuts}
        for running in self.proxies.values():
            running.cuts_changed()

    async def reset(self) -> None:
        """All proxies listen, no toxics, no cuts, links as the configuration has them."""
        self.network.reset()
        for running in self.proxies.values():
            running.change_toxics(())
            running.cuts_changed()
            await self.change(running, dataclasses.replace(running.proxy, is_enabled=True))

    def close(self) -> None:
        """The end of the process."""
        for name in tuple(self.proxies):
            self.remove(name)
        self.network.close()
