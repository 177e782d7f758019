"""From the control plane's messages to the router's own values, and what of them this router cannot honour.

The only module that knows both, beside the table of kinds in `configuration`. A resource that cannot be used raises
`UnusableResourceError`, whose text becomes the reason of a Rejection; nothing is guessed. What to do with the values is decided in `zone` and `routing`.
"""

import ipaddress
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.name

from dns_router.client_subnets import ClientSubnetTable, SubnetRegion
from dns_router.model import AddressFamily, ClientNetwork, RecordType, client_network
from dns_router.routing import Directory, Edge, RoutingTable, build_directory, nearest_first
from dns_router.zone import Site
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.served_configuration import UnusableResourceError

# Route 53 gives at most 8 values (reference 5.2, multivalue): ours when the table leaves it open.
DEFAULT_MAXIMUM_ANSWERS: Final = 8
# Keeps the largest answer (28 bytes an AAAA) far from the 64 KiB of a message.
LARGEST_MAXIMUM_ANSWERS: Final = 100
# RFC 2181 section 8.
LARGEST_TTL_SECONDS: Final = 2**31 - 1
# The longest name of our own in a zone is hostmaster.ZONE; a name has at most 255 bytes (RFC 1035 section 2.3.4).
LONGEST_APEX_BYTES: Final = 255 - 11

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """A routing table, checked and in the router's own terms."""

    apex: bytes
    routing_table: RoutingTable
    answer_ttl_seconds: int


def wire_name(text: str) -> bytes:
    """A host name, with or without the final dot, in lower-case wire form."""
    try:
        wire = dns.name.from_text(text).to_wire()
    except (dns.exception.DNSException, ValueError) as error:
        raise UnusableResourceError(f"{text!r} is not a domain name: {error}") from error
    if wire is None or len(wire) == 1:
        raise UnusableResourceError(f"{text!r} is not a domain name: it is empty")
    return wire.lower()


@dataclass(frozen=True, slots=True)
class Sites:
    """The names that a distribution wants, inside the zone or not."""

    by_name: Mapping[bytes, Site]


def sites_of(distribution: configuration_pb2.Distribution) -> Sites:
    """What a router serves of a distribution."""
    site = Site(distribution.id, distribution.enabled, distribution.ipv6_enabled)
    return Sites({wire_name(name): site for name in (distribution.domain_name, *distribution.aliases)})


def zone_settings(table: configuration_pb2.RoutingTable) -> ZoneSettings:
    """Check a routing table; all its problems are reported at once."""
    problems: list[str] = []
    if table.maximum_answers > LARGEST_MAXIMUM_ANSWERS:
        problems.append(f"maximum_answers is {table.maximum_answers}, more than {LARGEST_MAXIMUM_ANSWERS}")
    if table.answer_ttl_seconds > LARGEST_TTL_SECONDS:
        problems.append(f"answer_ttl_seconds is {table.answer_ttl_seconds}, more than {LARGEST_TTL_SECONDS}")
    if not all(math.isfinite(latency.milliseconds) for latency in table.latencies):
        problems.append("a latency is not a number")
    subnets = _subnets(table.client_subnets, problems)
    apex = _apex(table.zone, problems)
    if problems:
        raise UnusableResourceError("; ".join(problems))
    routing_table = RoutingTable(
        default_region=table.default_region,
        client_subnets=ClientSubnetTable(subnets),
        nearest_regions=_nearest_regions(table),
        maximum_answers=table.maximum_answers or DEFAULT_MAXIMUM_ANSWERS,
    )
    return ZoneSettings(apex, routing_table, table.answer_ttl_seconds)


def _apex(zone: str, problems: list[str]) -> bytes:
    try:
        apex = wire_name(zone)
    except UnusableResourceError as error:
        problems.append(str(error))
        return b"\0"
    if len(apex) > LONGEST_APEX_BYTES:
        problems.append(f"zone {zone!r} leaves no room for names below it")
    return apex


def _subnets(lines: Iterable[configuration_pb2.ClientSubnet], problems: list[str]) -> list[SubnetRegion]:
    subnets: list[SubnetRegion] = []
    for line in lines:
        try:
            subnets.append(SubnetRegion(_network(line.cidr), line.region))
        except ValueError as error:
            problems.append(f"client subnet {line.cidr!r}: {error}")
    return subnets


def _network(cidr: str) -> ClientNetwork:
    network = ipaddress.ip_network(cidr)
    return client_network(_family(network.network_address), network.network_address.packed, network.prefixlen)


def _family(address: IPAddress) -> AddressFamily:
    return AddressFamily.IPV4 if address.version == 4 else AddressFamily.IPV6


def _nearest_regions(table: configuration_pb2.RoutingTable) -> Mapping[str, tuple[str, ...]]:
    latencies = {(line.from_region, line.to_region): line.milliseconds for line in table.latencies}
    return nearest_first({*table.regions, *(end for pair in latencies for end in pair)}, latencies)


def host_of(host_and_port: str) -> str:
    """The host of `host:port` or `[host]:port`."""
    return host_and_port.rpartition(":")[0].removeprefix("[").removesuffix("]")


def network_of_host(host: str) -> ClientNetwork:
    """A socket's peer: an address, perhaps with a zone index, perhaps IPv4 on an IPv6 socket."""
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    family = _family(address)
    return client_network(family, address.packed, family.width_bits)


def advertised_address(host_and_port: str) -> IPAddress | None:
    """The address of a node that others can connect to; None for a host name or "any address"."""
    try:
        address = ipaddress.ip_address(host_of(host_and_port))
    except ValueError:
        return None
    return None if address.is_unspecified else address


def address_record_data(host_and_port: str) -> dict[int, bytes]:
    """By record type, the data of the address record for what a node advertises."""
    address = advertised_address(host_and_port)
    if address is None:
        return {}
    record_type = RecordType.A if address.version == 4 else RecordType.AAAA
    return {record_type.value: address.packed}


def live_edges(message: sync_pb2.Directory) -> tuple[Directory, list[str]]:
    """The edges that can be answered with, and the ids of those that advertise no address."""
    edges: list[Edge] = []
    unroutable: list[str] = []
    for node in message.nodes:
        if node.role != sync_pb2.ROLE_EDGE:
            continue
        address = advertised_address(node.http_address)
        if address is None:
            unroutable.append(node.id)
        else:
            edges.append(Edge(node.region, node.pop, _family(address), address.packed))
    return build_directory(edges), sorted(unroutable)
