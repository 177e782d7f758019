"""What the zone says to a question: which names exist, which types they have, and what is answered where nothing is.

RFC 1034 section 4.3.2 (authoritative answers), RFC 2308 (negative answers carry the SOA), RFC 4592 (wildcards),
RFC 8020 (a name with names below it exists). A distribution's name and those of its aliases that lie in the zone have
addresses and nothing else; which addresses is decided in `routing`. Pure: values in, a `Resolution` out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dns_router.model import (
    CLASS_IN,
    AddressFamily,
    ClientNetwork,
    Query,
    Reason,
    Records,
    RecordType,
    Resolution,
    ResponseCode,
)
from dns_router.response_wire import address_records
from dns_router.routing import Directory, RoutingTable, route

WILDCARD_LABEL: Final = b"\x01*"

_FAMILIES: Final = {
    RecordType.A.value: (RecordType.A, AddressFamily.IPV4),
    RecordType.AAAA.value: (RecordType.AAAA, AddressFamily.IPV6),
    # RFC 8482 section 4.1: one of the sets that exist is enough for ANY, and every distribution has the A set.
    RecordType.ANY.value: (RecordType.A, AddressFamily.IPV4),
}
# An alias may be the apex itself; it then has addresses beside what makes it a zone.
_APEX_ONLY: Final = frozenset((RecordType.SOA.value, RecordType.NS.value))
_TRANSFERS: Final = frozenset((RecordType.AXFR.value, RecordType.IXFR.value))


@dataclass(frozen=True, slots=True)
class Site:
    """A distribution as far as names are concerned."""

    distribution_id: str
    is_enabled: bool
    is_ipv6_enabled: bool


@dataclass(frozen=True, slots=True)
class Zone:
    """One version of everything that is configured; replaced as a whole, never changed. Names are lower case."""

    apex: bytes
    sites: Mapping[bytes, Site]
    # Names without data of their own that exist because names below them do.
    empty_non_terminals: frozenset[bytes]
    soa: Records
    name_servers: Records
    # The name in the NS record, and this router's own address by type; empty when it advertises none.
    name_server: bytes
    name_server_addresses: Mapping[int, Records]
    routing_table: RoutingTable
    answer_ttl_seconds: int


def resolve(zone: Zone, directory: Directory, query: Query, client: ClientNetwork, rotation: int) -> Resolution:
    """Answer a query about any name; `rotation` picks the turn among equally near edges."""
    name = query.name.lower()
    if query.record_class != CLASS_IN:
        return _refused(Reason.OTHER_CLASS)
    site = zone.sites.get(name)
    if site is None:
        if not is_within(name, zone.apex):
            return _refused(Reason.OUTSIDE_ZONE)
        site = _wildcard_site(zone, name)
    if query.record_type in _TRANSFERS:
        return _refused(Reason.TRANSFER_REFUSED)
    if site is None or (name == zone.apex and query.record_type in _APEX_ONLY):
        return _resolve_infrastructure(zone, name, query.record_type)
    return _resolve_site(zone, directory, site, query.record_type, client, rotation)


def is_within(name: bytes, apex: bytes) -> bool:
    """Whether `name` is `apex` or below it, label by label."""
    while len(name) > len(apex):
        name = parent_of(name)
    return name == apex


def parent_of(name: bytes) -> bytes:
    """The name without its first label; `name` is not the root."""
    return name[name[0] + 1 :]


def _refused(reason: Reason) -> Resolution:
    return Resolution(reason, ResponseCode.REFUSED, is_authoritative=False)


def _wildcard_site(zone: Zone, name: bytes) -> Site | None:
    """The site of `*.parent` for the closest parent that exists (RFC 4592 section 3.3.1); aliases may be wildcards
    of any depth (reference 1.11)."""
    if _exists(zone, name):
        return None
    while name != zone.apex:
        name = parent_of(name)
        if _exists(zone, name):
            return zone.sites.get(WILDCARD_LABEL + name)
    return None


def _exists(zone: Zone, name: bytes) -> bool:
    return name in (zone.apex, zone.name_server) or name in zone.sites or name in zone.empty_non_terminals


def _resolve_infrastructure(zone: Zone, name: bytes, record_type: int) -> Resolution:
    """The apex, the name server, and names without anything."""
    if name == zone.apex:
        apex_records = {RecordType.NS.value: zone.name_servers}
        records = zone.soa if record_type in (RecordType.SOA, RecordType.ANY) else apex_records.get(record_type)
    elif name == zone.name_server:
        records = zone.name_server_addresses.get(record_type)
    elif name in zone.empty_non_terminals:
        return _no_data(zone, Reason.EMPTY_NON_TERMINAL)
    else:
        return Resolution(Reason.UNKNOWN_NAME, ResponseCode.NXDOMAIN, authority=zone.soa)
    return Resolution(Reason.ZONE_RECORD, answers=records) if records else _no_data(zone, Reason.NO_SUCH_TYPE)


def _no_data(zone: Zone, reason: Reason, scope_prefix_bits: int = 0) -> Resolution:
    return Resolution(reason, authority=zone.soa, scope_prefix_bits=scope_prefix_bits)


def _resolve_site(
    zone: Zone, directory: Directory, site: Site, record_type: int, client: ClientNetwork, rotation: int
) -> Resolution:
    if not site.is_enabled:
        return _no_data(zone, Reason.DISTRIBUTION_DISABLED)
    if record_type not in _FAMILIES:
        return _no_data(zone, Reason.NO_SUCH_TYPE)
    answer_type, family = _FAMILIES[record_type]
    if family is AddressFamily.IPV6 and not site.is_ipv6_enabled:
        return _no_data(zone, Reason.IPV6_NOT_ENABLED)
    chosen = route(zone.routing_table, directory, client, family, rotation)
    if chosen.reason is Reason.NO_LIVE_EDGE:
        # Not an empty answer, which resolvers would keep: SERVFAIL makes them ask again, here or elsewhere.
        return Resolution(chosen.reason, ResponseCode.SERVFAIL)
    if not chosen.addresses:
        return _no_data(zone, chosen.reason)
    answers = address_records(answer_type, zone.answer_ttl_seconds, chosen.addresses)
    return Resolution(chosen.reason, answers=answers, scope_prefix_bits=chosen.scope_prefix_bits)
