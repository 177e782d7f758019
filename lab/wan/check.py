"""The self-test: measures every link through the running relays, from addresses of its places, and says what was asked and what is.

Delay, jitter's median and loss are measured with datagrams each way, the handshake with streams, the bandwidth with a flood of datagrams a quarter faster than asked
for a quarter of a second. What is under way meanwhile shares the links, so this is for before a run. Which difference is too much is judgement.py's.
"""

import asyncio
import contextlib
import math
import socket
import statistics
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from lab.clients.http_client import split_address
from lab.wan.configuration import PlaceFinder, Proxy, Transport, parse_network
from lab.wan.judgement import Measurement, Samples, flood_seconds, judge_handshake, judge_path, samples_needed
from lab.wan.links import Path
from lab.wan.probes import DELAY, FLOOD, HEADER_BYTES, Arrival, Echo, Probe
from lab.wan.relays import Relays, RunningProxy
from lab.wan.running_link import RunningLink
from lab.wan.sockets import open_socket

AT_ONCE: Final = 16
"""Links whose delays are measured."""
FLOODS_AT_ONCE: Final = 2
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


async def check_links(relays: Relays) -> tuple[Measurement, ...]:
    """Everything that was measured, link by link in the order of the configuration."""
    async with _prober(relays) as prober:
        running = list(relays.network.links.values())
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(prober.measure(number, link)) for number, link in enumerate(running)]
    return tuple(measurement for task in work for measurement in task.result())


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
        self._floods = asyncio.Semaphore(FLOODS_AT_ONCE)

    async def measure(self, number: int, running: RunningLink) -> tuple[Measurement, ...]:
        """Everything of one link: as it was when nothing was off, or at the last of three tries, since a busy machine makes the best link late."""
        for _ in range(TRIES - 1):
            found = await self._measure_once(number, running)
            if not any(each.is_off for each in found) or running.link.is_cut:
                return found
        return await self._measure_once(number, running)

    async def _measure_once(self, number: int, running: RunningLink) -> tuple[Measurement, ...]:
        """What cannot be measured is not a number, and so off."""
        link, doors = running.link, self._doors[running.link.ends[1]]
        source = self._source_at(link.ends[0])
        if source is None or link.is_cut:
            nothing = Samples((), 0, math.nan)
            return (
                *judge_path(link, "forward", link.forward, nothing),
                *judge_path(link, "backward", link.backward, nothing),
                judge_handshake(link, math.nan),
            )
        async with self._few:
            handshake = await self._handshake(doors.tcp, source, link.forward, link.backward)
        client = Probe(self._clock, is_server=False)
        remote = split_address(doors.udp.proxy.listen)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: client, local_addr=(source, 0), remote_addr=remote
        )
        try:
            forward, backward = await self._paths(number, client, link.forward, link.backward)
        finally:
            transport.close()
        judged = (
            *judge_path(link, "forward", link.forward, forward),
            *judge_path(link, "backward", link.backward, backward),
        )
        return (*judged, judge_handshake(link, handshake))

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

    async def _paths(self, number: int, client: Probe, forward: Path, backward: Path) -> tuple[Samples, Samples]:
        async with self._few:
            sent = await self._send_delays(number, client, forward, backward)
        there = {arrival.number: arrival.at for arrival in self._server.heard.pop((DELAY, number), [])}
        back = {arrival.number: arrival.at for arrival in client.heard.pop((DELAY, number), [])}
        rates = await self._flood(client, self._server, number, forward), 0.0
        if there:  # or it is not known where to
            rates = rates[0], await self._flood(self._server, client, number, backward)
        delays = [there[each] - at for each, at in sent.items() if each in there]
        delays_back = [back[each] - there[each] for each in back]
        return Samples(delays, len(sent), rates[0]), Samples(delays_back, len(there), rates[1])

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
        async with self._floods:
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


def _rate(arrivals: list[Arrival]) -> float:
    """Between the first and the last."""
    if len(arrivals) < 2 or arrivals[-1].at <= arrivals[0].at:
        return math.nan
    return sum(arrival.size for arrival in arrivals[1:]) / (arrivals[-1].at - arrivals[0].at)
