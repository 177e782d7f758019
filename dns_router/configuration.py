"""Every kind of resource that a router serves from, one row each, and the zone that follows from all of them.

Which version of each is served is decided in `proto/served_configuration.py`. What is written when is the business of `applier`.
"""

from collections.abc import Mapping
from struct import Struct
from typing import Final

from dns_router.model import Records, RecordType
from dns_router.response_wire import address_records, record
from dns_router.translation import Sites, ZoneSettings, sites_of, zone_settings
from dns_router.zone import Site, Zone, is_within, parent_of
from proto import lab_clock
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.resources import ROUTING_TABLE
from proto.served_configuration import Configuration, Kind, Kinds, reading

# RFC 1912 section 2.2; nobody transfers this zone, so only the last of the five (negative TTL) has an effect.
REFRESH_SECONDS: Final = 3600
RETRY_SECONDS: Final = 600
EXPIRE_SECONDS: Final = 604_800

_SOA_NUMBERS: Final = Struct("!IIIII")
_NAME_SERVER_LABEL: Final = b"\x02ns"
_MAILBOX_LABEL: Final = b"\x0ahostmaster"
_SERIAL_MASK: Final = 0xFFFF_FFFF


KINDS: Final[Kinds] = {
    sync_pb2.RESOURCE_KIND_DISTRIBUTION: Kind(
        configuration_pb2.Distribution, reading(configuration_pb2.Distribution, lambda message, _: sites_of(message))
    ),
    sync_pb2.RESOURCE_KIND_ROUTING_TABLE: Kind(
        configuration_pb2.RoutingTable,
        reading(configuration_pb2.RoutingTable, lambda message, _: zone_settings(message)),
    ),
    sync_pb2.RESOURCE_KIND_LAB_CLOCK: lab_clock.REFUSED,
}

KINDS_OF_A_LAB: Final[Kinds] = {**KINDS, sync_pb2.RESOURCE_KIND_LAB_CLOCK: lab_clock.FOLLOWED}
"""Of a router that allows faults. Nothing that it answers depends on a wall clock: it knows what the lab's clock says, and tells it in its status."""


def build_zone(configuration: Configuration, own_addresses: Mapping[int, bytes]) -> Zone | None:
    """The zone to serve, None as long as no routing table says what it is. own_addresses: by record type."""
    settings = configuration.value(ROUTING_TABLE)
    if not isinstance(settings, ZoneSettings):
        return None
    apex, ttl_seconds = settings.apex, settings.answer_ttl_seconds
    sites = _sites_within(configuration.values(sync_pb2.RESOURCE_KIND_DISTRIBUTION), apex)
    name_server = _NAME_SERVER_LABEL + apex
    # RFC 2308 section 5: the TTL of the SOA in a negative answer; short, since a lab creates names while it runs.
    numbers = (configuration.position.index & _SERIAL_MASK, REFRESH_SECONDS, RETRY_SECONDS, EXPIRE_SECONDS, ttl_seconds)
    soa = name_server + _MAILBOX_LABEL + apex + _SOA_NUMBERS.pack(*numbers)
    return Zone(
        apex=apex,
        sites=sites,
        empty_non_terminals=_empty_non_terminals(sites, apex),
        soa=Records(1, record(apex, RecordType.SOA, ttl_seconds, soa)),
        name_servers=Records(1, record(apex, RecordType.NS, ttl_seconds, name_server)),
        name_server=name_server,
        name_server_addresses={
            record_type: address_records(RecordType(record_type), ttl_seconds, (address,))
            for record_type, address in own_addresses.items()
        },
        routing_table=settings.routing_table,
        answer_ttl_seconds=ttl_seconds,
    )


def _sites_within(distributions: Mapping[str, object], apex: bytes) -> dict[bytes, Site]:
    """Two distributions never share a name (CNAMEAlreadyExists, reference 1.3); should they, the smaller id has it."""
    sites: dict[bytes, Site] = {}
    for distribution_id in sorted(distributions, reverse=True):
        wanted = distributions[distribution_id]
        if isinstance(wanted, Sites):
            sites.update(wanted.by_name)
    return {name: site for name, site in sites.items() if is_within(name, apex)}


def _empty_non_terminals(sites: Mapping[bytes, Site], apex: bytes) -> frozenset[bytes]:
    ancestors: set[bytes] = set()
    for name in sites:
        ancestor = name
        while len(ancestor) > len(apex):
            ancestor = parent_of(ancestor)
            ancestors.add(ancestor)
    return frozenset(ancestors - sites.keys() - {apex})
