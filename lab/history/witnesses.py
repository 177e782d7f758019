"""The lab's own witnesses: one that asks every edge for an object, and one that asks a router for each region, while a run goes on.

Both run until they are cancelled and only write down what they saw; what it means is for checkers to say.
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Final

import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.rdatatype

from lab.clients.async_http import Answer, ExchangeFailedError, exchange
from proto.host_clock import host_nanoseconds
from proto.origin_stamp import STAMP_FIELD, OriginStamp, parse_stamp

PROBE: Final = "probe"
"""What stands as `profile` in the rows of the first."""
PROBE_TIMEOUT_SECONDS: Final = 2.0
"""Longer than any healthy answer; a dead edge refuses at once."""
DNS_INTERVAL_SECONDS: Final = 0.25
MOST_QUESTIONS_PER_SECOND: Final = 20.0
"""To a router, over all regions."""
DNS_TIMEOUT_SECONDS: Final = 1.0

Write = Callable[[Mapping[str, Any]], None]
"""Takes a row of a table."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An object that every edge is asked for."""

    host: str
    """As it is sent, with the port."""
    path: str
    every_seconds: float


async def watch_object(edges: Mapping[str, str], watched: Watched, write: Write) -> None:
    """Rows of `requests`, as a viewer would make them that sits beside each edge. `edges`: host:port by node."""
    async with asyncio.TaskGroup() as group:
        for node, address in edges.items():
            group.create_task(_watch_edge(node, address, watched, write))


async def _watch_edge(node: str, address: str, watched: Watched, write: Write) -> None:
    number = 0
    while True:
        number += 1
        write({"id": f"{PROBE}-{node}-{number}", **await _look(node, address, watched)})
        await asyncio.sleep(watched.every_seconds)


async def _look(node: str, address: str, watched: Watched) -> dict[str, Any]:
    began_ns = host_nanoseconds()  # before anything is sent: what it does after a receipt it does knowingly
    row: dict[str, Any] = {
        "profile": PROBE,
        "viewer": f"{PROBE}/{node}",
        "intended_ns": began_ns,
        "started_ns": began_ns,
        "address": address.rpartition(":")[0],
        "attempts": 1,
        "method": "GET",
        "host": watched.host.partition(":")[0],
        "path": watched.path,
    }
    try:
        answer = await exchange(
            address, watched.path, headers={"host": watched.host}, timeout_seconds=PROBE_TIMEOUT_SECONDS
        )
    except ExchangeFailedError as error:
        return row | {"ended_ns": host_nanoseconds(), "error": str(error)}
    return row | {"ended_ns": host_nanoseconds()} | _of_answer(answer)


def _of_answer(answer: Answer) -> dict[str, Any]:
    fields = answer.headers
    stamp = parse_stamp(fields.get(STAMP_FIELD.lower(), ""))
    return {
        "request_id": fields.get("x-amz-cf-id"),
        "status": answer.status,
        "x_cache": fields.get("x-cache"),
        "pop": fields.get("x-amz-cf-pop"),
        "age_seconds": _whole(fields.get("age")),
        "cache_control": fields.get("cache-control"),
        "entity_tag": fields.get("etag"),
        "content_encoding": fields.get("content-encoding"),
        "content_length": _whole(fields.get("content-length")),
        "received_bytes": len(answer.body),
        "body_checksum": zlib.crc32(answer.body),
        "error": f"status {answer.status}" if answer.status >= 400 else None,
        **_of_stamp(stamp),
    }


def _of_stamp(stamp: OriginStamp | None) -> dict[str, Any]:
    if stamp is None:
        return {}
    return {
        "stamp_origin": stamp.node,
        "stamp_version": stamp.version,
        "stamp_produced_ns": stamp.produced_ns,
        "stamp_checksum": stamp.checksum,
        "stamp_identity": stamp.identity,
    }


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Question:
    """What a router is asked, on whose behalf."""

    router: str
    server: str
    """host:port."""
    name: str
    region: str
    client_subnet: str


async def watch_router(
    question: Question, every_seconds: float, write: Write, told: Callable[[str, tuple[str, ...]], None]
) -> None:
    """Rows of `dns_answers`; `told` hears each answer with its region."""
    while True:
        row = await ask_router(question)
        write(row)
        if row["addresses"] is not None:
            told(question.region, tuple(row["addresses"].split(",")))
        await asyncio.sleep(every_seconds)


async def ask_router(question: Question) -> dict[str, Any]:
    """One row of `dns_answers`."""
    subnet = ip_network(question.client_subnet)
    option = dns.edns.ECSOption(str(subnet.network_address), min(24, subnet.prefixlen))
    query = dns.message.make_query(question.name, dns.rdatatype.A, use_edns=0, options=[option])
    host, _, port = question.server.rpartition(":")
    row: dict[str, Any] = {
        "router": question.router,
        "region": question.region,
        "name": question.name,
        "asked_ns": host_nanoseconds(),
        "addresses": None,
    }
    try:
        reply = await dns.asyncquery.udp(query, host, timeout=DNS_TIMEOUT_SECONDS, port=int(port))
    except (OSError, dns.exception.DNSException):
        return row | {"answered_ns": host_nanoseconds()}
    records = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A]
    addresses = ",".join(record.address for rrset in records for record in rrset)
    ttl = min((int(rrset.ttl) for rrset in records), default=None)
    return row | {"answered_ns": host_nanoseconds(), "addresses": addresses, "ttl_seconds": ttl}


def interval_of(questions: int) -> float:
    """Between two questions for one region, when there are so many regions."""
    return max(DNS_INTERVAL_SECONDS, questions / MOST_QUESTIONS_PER_SECOND)
