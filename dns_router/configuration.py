"""All that is configured, as of one index of the change log, and the zone that follows from it.

An immutable value: an entry gives the next one, or `UnusableResourceError` when this router must stay on the last good version
of that resource. What must be durable when is the business of `applier`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import Final

from dns_router.model import Records, RecordType
from dns_router.response_wire import address_records, record
from dns_router.translation import UnusableResourceError, ZoneSettings, routed_part, sites_of, zone_settings
from dns_router.zone import Site, Zone, is_within, parent_of
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition

# RFC 1912 section 2.2; nobody transfers this zone, so only the last of the five (negative TTL) has an effect.
REFRESH_SECONDS: Final = 3600
RETRY_SECONDS: Final = 600
EXPIRE_SECONDS: Final = 604_800

_SOA_NUMBERS: Final = Struct("!IIIII")
_NAME_SERVER_LABEL: Final = b"\x02ns"
_MAILBOX_LABEL: Final = b"\x0ahostmaster"
_SERIAL_MASK: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Resource:
    """A distribution as it was received, cut to what a router needs, and the names that it wants."""

    message: configuration_pb2.Distribution
    sites: Mapping[bytes, Site]


@dataclass(frozen=True, slots=True)
class Configuration:
    """At no position, and nothing else, until something was heard."""

    position: LogPosition = field(default_factory=LogPosition)
    resources: Mapping[str, Resource] = field(default_factory=dict)
    table: configuration_pb2.RoutingTable | None = None
    settings: ZoneSettings | None = None


def from_snapshot(snapshot: sync_pb2.Snapshot, previous: Configuration) -> tuple[Configuration, list[str]]:
    """Replace everything; also why a resource, if any, stays on the last good version that `previous` of the same log has."""
    rejections: list[str] = []
    kept = previous if previous.position.log_id == snapshot.log_id else Configuration()
    resources: dict[str, Resource] = {}
    for message in snapshot.distributions:
        try:
            resources[message.id] = Resource(routed_part(message), sites_of(message))
        except UnusableResourceError as error:
            rejections.append(f"distribution {message.id}: {error}")
            if message.id in kept.resources:
                resources[message.id] = kept.resources[message.id]
    position = LogPosition(snapshot.log_id, snapshot.index, snapshot.digest)
    fresh = Configuration(position, resources, kept.table, kept.settings)
    if snapshot.HasField("routing_table"):
        try:
            fresh = _with_table(fresh, snapshot.routing_table)
        except UnusableResourceError as error:
            rejections.append(f"routing table: {error}")
    return fresh, rejections


def to_snapshot(configuration: Configuration) -> sync_pb2.Snapshot:
    """What is kept on disk: `from_snapshot` gives the same configuration again."""
    return sync_pb2.Snapshot(
        log_id=configuration.position.log_id,
        index=configuration.position.index,
        digest=configuration.position.digest,
        distributions=[resource.message for resource in configuration.resources.values()],
        routing_table=configuration.table,
    )


def with_entry(configuration: Configuration, entry: sync_pb2.Entry) -> Configuration:
    """The configuration after `entry`; changes that do not concern a router only move the index."""
    advanced = after_entry(configuration, entry)
    match entry.WhichOneof("change"):
        case "put_distribution":
            message = entry.put_distribution
            resource = Resource(routed_part(message), sites_of(message))
            return replace(advanced, resources={**configuration.resources, message.id: resource})
        case "remove_distribution_id":
            removed = entry.remove_distribution_id
            return replace(advanced, resources={k: v for k, v in configuration.resources.items() if k != removed})
        case "put_routing_table":
            return _with_table(advanced, entry.put_routing_table)
        case _:
            return advanced


def after_entry(configuration: Configuration, entry: sync_pb2.Entry) -> Configuration:
    """The same resources, `entry` counted as applied."""
    position = replace(configuration.position, index=entry.index, digest=entry.digest)
    return replace(configuration, position=position)


def _with_table(configuration: Configuration, table: configuration_pb2.RoutingTable) -> Configuration:
    return replace(configuration, table=table, settings=zone_settings(table))


def build_zone(configuration: Configuration, own_addresses: Mapping[int, bytes]) -> Zone | None:
    """The zone to serve, None as long as no routing table says what it is. own_addresses: by record type."""
    settings = configuration.settings
    if settings is None:
        return None
    apex, ttl_seconds = settings.apex, settings.answer_ttl_seconds
    sites = _sites_within(configuration.resources, apex)
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


def _sites_within(resources: Mapping[str, Resource], apex: bytes) -> dict[bytes, Site]:
    """Two distributions never share a name (CNAMEAlreadyExists, reference 1.3); should they, the smaller id has it."""
    sites: dict[bytes, Site] = {}
    for distribution_id in sorted(resources, reverse=True):
        sites.update(resources[distribution_id].sites)
    return {name: site for name, site in sites.items() if is_within(name, apex)}


def _empty_non_terminals(sites: Mapping[bytes, Site], apex: bytes) -> frozenset[bytes]:
    ancestors: set[bytes] = set()
    for name in sites:
        ancestor = name
        while len(ancestor) > len(apex):
            ancestor = parent_of(ancestor)
            ancestors.add(ancestor)
    return frozenset(ancestors - sites.keys() - {apex})
