"""The quick start's witnesses: a probe that asks every edge for the watched object, and one that asks the router.

Both run until they are cancelled and only write down what they saw; what it means is judged in checkers/quickstart.py.
"""

import asyncio
import json
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.rdatatype

from lab.clients.async_http import ExchangeFailedError, exchange
from lab.history.observations import DnsAnswer, Return, Sighting
from proto.host_clock import HostClock
from proto.moments import Moment

PROBE_INTERVAL_SECONDS = 0.1
# Longer than any healthy answer; a dead edge refuses at once.
PROBE_TIMEOUT_SECONDS = 2.0
DNS_INTERVAL_SECONDS = 0.25
DNS_TIMEOUT_SECONDS = 1.0
# Ten minutes of six edges; the quick start is far shorter.
_MAXIMUM_SIGHTINGS = 40_000


def version_body(version: int) -> bytes:
    """What the watched object says; the version stands alone on its first line."""
    return f"version {version}\nThe quick start of cdnlab changes this object while viewers ask for it.\n".encode()


def version_of(body: bytes) -> int | None:
    words = body.split(b"\n", 1)[0].split()
    return int(words[1]) if len(words) == 2 and words[0] == b"version" and words[1].isdigit() else None


class ObjectProbe:
    """Asks each edge for one object every tenth of a second, as a viewer would that sits beside it."""

    def __init__(self, edges: Mapping[str, str], host: str, path: str, clock: HostClock) -> None:
        self._clock = clock
        self._edges = dict(edges)
        self._host = host
        self._path = path
        self.sightings: list[Sighting] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for node, address in self._edges.items():
                group.create_task(self._watch(node, address))

    async def _watch(self, node: str, address: str) -> None:
        while True:
            sighting = await self.look(node, address)
            if len(self.sightings) < _MAXIMUM_SIGHTINGS:
                self.sightings.append(sighting)
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def look(self, node: str, address: str) -> Sighting:
        began_at = self._clock.now()  # before anything is sent: what it does after a receipt it does knowingly
        headers = {"host": self._host}
        try:
            answer = await exchange(address, self._path, headers=headers, timeout_seconds=PROBE_TIMEOUT_SECONDS)
        except ExchangeFailedError as error:
            return Sighting(node, began_at, None, str(error))
        version = version_of(answer.body) if answer.status == 200 else None
        return Sighting(node, began_at, version, answer.headers.get("x-cache", str(answer.status)))

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for each in self.sightings:
                line = {
                    "time": round(self._clock.wall_seconds_at(each.began_at), 4),
                    "monotonic_ns": each.began_at.monotonic_ns,
                    "node": each.node,
                    "version": each.version,
                    "result": each.result,
                }
                file.write(json.dumps(line) + "\n")


class DnsProbe:
    """Asks the router for the distribution's name as a resolver of one client subnet."""

    def __init__(self, server: str, name: str, client_subnet: str, clock: HostClock) -> None:
        self._clock = clock
        host, _, port = server.rpartition(":")
        self._server, self._port = host, int(port)
        self._name = name
        subnet = ip_network(client_subnet)
        self._client_subnet = dns.edns.ECSOption(str(subnet.network_address), 24)
        self.answers: list[DnsAnswer] = []
        self.ttl_seconds = 0.0

    async def run(self) -> None:
        while True:
            self.answers.append(await self.look())
            await asyncio.sleep(DNS_INTERVAL_SECONDS)

    async def look(self) -> DnsAnswer:
        """What the router says, and between which moments."""
        asked_at = self._clock.now()
        addresses = await self.ask()
        return DnsAnswer(asked_at, self._clock.now(), addresses)

    def now(self) -> Moment:
        """Of the clock that answers are written down by."""
        return self._clock.now()

    async def ask(self) -> tuple[str, ...]:
        query = dns.message.make_query(self._name, dns.rdatatype.A, use_edns=0, options=[self._client_subnet])
        try:
            reply = await dns.asyncquery.udp(query, self._server, timeout=DNS_TIMEOUT_SECONDS, port=self._port)
        except (OSError, dns.exception.DNSException):
            return ()
        records = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A]
        self.ttl_seconds = max([self.ttl_seconds, *(float(rrset.ttl) for rrset in records)])
        return tuple(record.address for rrset in records for record in rrset)


async def status_of(admin_address: str) -> dict[str, Any]:
    answer = await exchange(admin_address, "/status", timeout_seconds=2.0)
    document: dict[str, Any] = json.loads(answer.body)
    return document


async def wait_for_return(
    probe: DnsProbe, address: str, edge_admin: str, control_admin: str, deadline_seconds: float
) -> Return | None:
    """Until the router names the edge: then, at once, where the edge stands, and after that where the log stands.

    In this order an edge cannot look as if it had caught up when it had not. None when it was not named for so long, of
    which only counts what was watched: a witness that stood still (SIGSTOP) has not seen that nothing happened.
    """
    watched_seconds, looked = 0.0, await probe.look()
    while address not in looked.addresses:
        if watched_seconds >= deadline_seconds:
            return None
        await asyncio.sleep(DNS_INTERVAL_SECONDS / 5)
        before, looked = looked, await probe.look()
        watched_seconds += min(looked.answered_at.seconds_since(before.answered_at), DNS_TIMEOUT_SECONDS)
    try:
        edge, head = await status_of(edge_admin), await status_of(control_admin)
    except ExchangeFailedError:  # once: they, or we, may have stood still
        edge, head = await status_of(edge_admin), await status_of(control_admin)
    return Return(looked.asked_at, probe.now(), int(edge["applied_index"]), int(head["head_index"]))
