"""The self-test: measures every link through the running relays, from addresses of its places, and says what was asked and what is.

Delay, jitter's median and loss are measured with datagrams each way, the handshake with streams, the bandwidth with a flood of datagrams a quarter faster than asked
for a quarter of a second. What is under way meanwhile shares the links, so this is for before a run. Which difference is too much is judgement.py's.
"""

import asyncio
import contextlib
import itertools
import math
import socket
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final

from lab.clients.http_client import split_address
from lab.wan.configuration import PlaceFinder, Proxy, Transport, parse_network
from lab.wan.judgement import (
    Measurement,
    Samples,
    flood_seconds,
    judge_delays,
    judge_handshake,
    judge_rates,
    samples_needed,
)
from lab.wan.links import Link, Path
from lab.wan.probes import DELAY, FLOOD, HEADER_BYTES, Arrival, Echo, Probe
from lab.wan.relays import Relays, RunningProxy
from lab.wan.running_link import RunningLink
from lab.wan.sockets import open_socket

AT_ONCE: Final = 16
"""Links whose delays are measured."""
SMALL_FLOODS_AT_ONCE: Final = 4
LARGE_BYTES_PER_SECOND: Final = 12.5e6
"""Beyond 100 Mbit/s a flood is alone: others beside it would take the processor from it."""
INTRODUCTIONS: Final = 8
"""Datagrams, of which one at least should come."""
LARGEST_FLOOD_BYTES: Final = 32_768
"""Of one datagram."""
FLOOD_EXCESS: Final = 1.25
PACE_SECONDS: Final = 0.002
HANDSHAKES: Final = 3
TRIES: Final = 3
LATE_SECONDS: Final = 0.3
"""Beyond the delay and many jitters, nothing is waited for any more."""
_CANDIDATES: Final = 4
"""Addresses of a network that are tried."""


Measurements = tuple[Measurement, ...]


async def check_links(relays: Relays) -> tuple[Measurement, ...]:
    """Everything that was measured, link by link in the order of the configuration."""
    links = list(relays.network.links.values())
    async with _prober(relays) as prober:
        # Delays first, for all links: the floods keep the processor busy, and whoever waits for it is late.
        delays = await _all([prober.measure_delays(number, link) for number, link in enumerate(links)])
        rates = await _all([prober.measure_rates(number, link) for number, link in enumerate(links)])
    return tuple(itertools.chain.from_iterable(itertools.chain(*pair) for pair in zip(delays, rates, strict=True)))


async def _all(work: Sequence[Coroutine[Any, Any, Measurements]]) -> list[Measurements]:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each) for each in work]
    return [task.result() for task in running]


@dataclass(frozen=True, slots=True)
class _Doors:
    """Where probes of a place's links connect to."""

    tcp: RunningProxy
    udp: RunningProxy


@contextlib.asynccontextmanager
async def _prober(relays: Relays) -> AsyncIterator["_Prober"]:
    """Servers, and proxies of their own in front of them at every place that is an end."""
    loop, clock = asyncio.get_running_loop(), relays.context.shared.clock
    server = Probe(clock, is_server=True)
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    echo = await loop.create_server(Echo, "127.0.0.1", 0)
    upstreams = {
        Transport.TCP: f"127.0.0.1:{echo.sockets[0].getsockname()[1]}",
        Transport.UDP: f"127.0.0.1:{transport.get_extra_info('sockname')[1]}",
    }
    doors: dict[str, _Doors] = {}
    try:
        for place in {running.link.ends[1] for running in relays.network.links.values()}:
            made = [
                RunningProxy(Proxy(f"check of {place}", "127.0.0.1:0", upstream, place, kind), relays.context)
                for kind, upstream in upstreams.items()
            ]
            doors[place] = _Doors(*made)
            for each in made:
                await each.enable()
        yield _Prober(relays, server, doors)
    finally:
        for door in doors.values():
            door.tcp.disable()
            door.udp.disable()
        transport.close()
        echo.close()


class _Prober:
    """Measures one link at a time, many at once."""

    def __init__(self, relays: Relays, server: Probe, doors: dict[str, _Doors]) -> None:
        self._network = relays.network
        self._clock = relays.context.shared.clock
        self._server = server
        self._doors = doors
        self._finder = PlaceFinder(relays.network.places)
        self._few = asyncio.Semaphore(AT_ONCE)
        self._small_floods = asyncio.Semaphore(SMALL_FLOODS_AT_ONCE)
        self._large_floods = asyncio.Semaphore(1)

    async def measure_delays(self, number: int, running: RunningLink) -> Measurements:
        """Delays, losses and the handshake of one link; what cannot be measured is not a number, and so off."""
        link = running.link
        source = self._source_at(link.ends[0])
        if source is None or link.is_cut:
            nothing = Samples((), 0)
            return (
                *judge_delays(link, "forward", link.forward, nothing),
                *judge_delays(link, "backward", link.backward, nothing),
                judge_handshake(link, math.nan),
            )
        return await _until_right(lambda: self._measure_delays(number, link, source))

    async def measure_rates(self, number: int, running: RunningLink) -> Measurements:
        """The bandwidths of one link, of those directions that have one."""
        link = running.link
        limited = [path for path in (link.forward, link.backward) if path.bytes_per_second]
        if not limited:
            return ()
        source = self._source_at(link.ends[0])
        if source is None or link.is_cut:
            return judge_rates(link, math.nan, math.nan)
        is_large = max(path.bytes_per_second for path in limited) > LARGE_BYTES_PER_SECOND
        async with self._large_floods if is_large else self._small_floods:
            return await _until_right(lambda: self._measure_rates(number, link, source))

    async def _measure_delays(self, number: int, link: Link, source: str) -> Measurements:
        doors = self._doors[link.ends[1]]
        async with self._few:
            handshake = await self._handshake(doors.tcp, source, link.forward, link.backward)
            async with self._client(source, doors.udp) as client:
                forward, backward = await self._delays(number, client, link.forward, link.backward)
        return (
            *judge_delays(link, "forward", link.forward, forward),
            *judge_delays(link, "backward", link.backward, backward),
            judge_handshake(link, handshake),
        )

    async def _measure_rates(self, number: int, link: Link, source: str) -> Measurements:
        async with self._client(source, self._doors[link.ends[1]].udp) as client:
            forward = await self._flood(client, self._server, number, link.forward)
            backward = math.nan
            if await self._introduce(number, client, link):  # or it is not known where to
                backward = await self._flood(self._server, client, number, link.backward)
        return judge_rates(link, forward, backward)

    @contextlib.asynccontextmanager
    async def _client(self, source: str, door: RunningProxy) -> AsyncIterator[Probe]:
        """Datagrams from an address, through a proxy."""
        client = Probe(self._clock, is_server=False)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: client, local_addr=(source, 0), remote_addr=split_address(door.proxy.listen)
        )
        try:
            yield client
        finally:
            transport.close()

    async def _introduce(self, number: int, client: Probe, link: Link) -> bool:
        """Whether the server has heard of the client, and so can send to it."""
        for each in range(INTRODUCTIONS):
            client.send(DELAY, number, each)
        longest = link.forward.delay_seconds + 10 * link.forward.jitter_seconds + LATE_SECONDS
        late_at = self._clock() + longest
        while self._clock() < late_at:
            if self._server.heard.pop((DELAY, number), []):
                return True
            await asyncio.sleep(PACE_SECONDS)
        return False

    def _source_at(self, place: str) -> str | None:
        """An address there that is this machine's."""
        for candidate in self._candidates(place):
            if self._finder.find(candidate) == place:
                with contextlib.suppress(OSError):
                    open_socket((socket.AF_INET, ("", 0)), socket.SOCK_DGRAM, candidate).close()
                    return candidate
        return None

    def _candidates(self, place: str) -> Iterator[str]:
        texts = next(each.networks for each in self._network.places if each.name == place)
        for network in (parse_network(text) for text in texts):
            if isinstance(network, IPv4Network):
                last = network.num_addresses - 1
                yield from (str(network[min(last, offset)]) for offset in range(1, 1 + _CANDIDATES))
                yield str(network[max(0, last - 1)])

    async def _handshake(self, door: RunningProxy, source: str, forward: Path, backward: Path) -> float:
        """The median of a few."""
        longest = 4 * (forward.delay_seconds + backward.delay_seconds) + 8.0
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(self._first_answer(door, source, longest)) for _ in range(HANDSHAKES)]
        return statistics.median(task.result() for task in work)

    async def _first_answer(self, door: RunningProxy, source: str, longest_seconds: float) -> float:
        host, port = split_address(door.proxy.listen)
        began_at = self._clock()
        try:
            async with asyncio.timeout(longest_seconds):
                reader, writer = await asyncio.open_connection(host, port, local_addr=(source, 0))
                try:
                    writer.write(b"?")
                    answer = await reader.read(1)
                    return self._clock() - began_at if answer else math.inf
                finally:
                    writer.transport.abort()
        except OSError:
            return math.inf

    # -- datagrams

    async def _delays(self, number: int, client: Probe, forward: Path, backward: Path) -> tuple[Samples, Samples]:
        sent = await self._send_delays(number, client, forward, backward)
        there = {arrival.number: arrival.at for arrival in self._server.heard.pop((DELAY, number), [])}
        back = {arrival.number: arrival.at for arrival in client.heard.pop((DELAY, number), [])}
        delays = [there[each] - at for each, at in sent.items() if each in there]
        delays_back = [back[each] - there[each] for each in back if each in there]
        return Samples(delays, len(sent)), Samples(delays_back, len(there))

    async def _send_delays(self, number: int, client: Probe, forward: Path, backward: Path) -> dict[int, float]:
        sent: dict[int, float] = {}
        for each in range(max(samples_needed(forward), samples_needed(backward))):
            sent[each] = self._clock()
            client.send(DELAY, number, each)
            await asyncio.sleep(PACE_SECONDS)
        jitters = forward.jitter_seconds + backward.jitter_seconds
        late_at = self._clock() + forward.delay_seconds + backward.delay_seconds + 10 * jitters + LATE_SECONDS
        for _ in range(int((late_at - self._clock()) / PACE_SECONDS)):
            if len(client.heard[DELAY, number]) >= len(sent):
                break
            await asyncio.sleep(PACE_SECONDS)
        return sent

    async def _flood(self, sender: Probe, receiver: Probe, number: int, path: Path) -> float:
        """Bytes a second that come, had none been lost by chance."""
        if not path.bytes_per_second:
            return 0.0
        seconds = flood_seconds(path)
        size = int(
            max(
                HEADER_BYTES,
                min(path.bytes_per_second * PACE_SECONDS, path.most_queued_bytes / 2, LARGEST_FLOOD_BYTES),
            )
        )
        began_at, sent = self._clock(), 0
        while (since := self._clock() - began_at) < seconds:
            while sent * size < since * path.bytes_per_second * FLOOD_EXCESS:
                sender.send(FLOOD, number, sent, size)
                sent += 1
            await asyncio.sleep(PACE_SECONDS / 2)
        await asyncio.sleep(
            path.delay_seconds + 4 * path.jitter_seconds + path.most_queued_bytes / path.bytes_per_second
        )
        return _rate(receiver.heard.pop((FLOOD, number), [])) / (1 - path.loss)


async def _until_right(measure: Callable[[], Awaitable[Measurements]]) -> Measurements:
    """As it was when nothing was off, or at the last of three tries, since a busy machine makes the best link late."""
    for _ in range(TRIES - 1):
        found = await measure()
        if not any(each.is_off for each in found):
            return found
    return await measure()


def _rate(arrivals: list[Arrival]) -> float:
    """Between the first and the last."""
    if len(arrivals) < 2 or arrivals[-1].at <= arrivals[0].at:
        return math.nan
    return sum(arrival.size for arrival in arrivals[1:]) / (arrivals[-1].at - arrivals[0].at)
