"""All that is configured, as of one index of the change log, and the zone that follows from it.

An immutable value: an entry gives the next one, in which a resource that this router cannot use stays on its last good version
and is listed as rejected. What is written when is the business of `applier`.
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
from proto.rejected_changes import (
    NOTHING_REJECTED,
    ROUTING_TABLE,
    RejectedChanges,
    distribution_resource,
    read_kept,
    with_rejected,
    without,
)

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
    rejected: RejectedChanges = field(default_factory=lambda: NOTHING_REJECTED)
    """What is not served in its newest version."""


def from_snapshot(snapshot: sync_pb2.Snapshot, previous: Configuration) -> Configuration:
    """Replace everything; a resource that cannot be used is as `previous` of the same log has it, if it has it."""
    before = previous if previous.position.log_id == snapshot.log_id else Configuration()
    resources: dict[str, Resource] = {}
    rejected = NOTHING_REJECTED
    for message in snapshot.distributions:
        try:
            resources[message.id] = _resource(message)
        except UnusableResourceError as error:
            entry = _entry(snapshot, put_distribution=message)
            rejected = with_rejected(rejected, entry, str(error))
            if message.id in before.resources:
                resources[message.id] = before.resources[message.id]
    position = LogPosition(snapshot.log_id, snapshot.index, snapshot.digest)
    fresh = Configuration(position, resources, before.table, before.settings, rejected)
    if not snapshot.HasField("routing_table"):
        return fresh
    return with_entry(fresh, _entry(snapshot, put_routing_table=snapshot.routing_table))


def _entry(
    snapshot: sync_pb2.Snapshot,
    *,
    put_distribution: configuration_pb2.Distribution | None = None,
    put_routing_table: configuration_pb2.RoutingTable | None = None,
) -> sync_pb2.Entry:
    """A resource of a snapshot as an entry of its own."""
    return sync_pb2.Entry(
        log_id=snapshot.log_id,
        index=snapshot.index,
        digest=snapshot.digest,
        put_distribution=put_distribution,
        put_routing_table=put_routing_table,
    )


def to_kept(configuration: Configuration) -> sync_pb2.KeptConfiguration:
    """What is kept on disk: `from_kept` gives the same configuration again."""
    served = sync_pb2.Snapshot(
        log_id=configuration.position.log_id,
        index=configuration.position.index,
        digest=configuration.position.digest,
        distributions=[resource.message for resource in configuration.resources.values()],
        routing_table=configuration.table,
    )
    return sync_pb2.KeptConfiguration(served=served, rejected=configuration.rejected.values())


def from_kept(kept: sync_pb2.KeptConfiguration) -> Configuration:
    """What a process finds of the one before it; what that one rejected is used if this program can, else it is rejected as it was."""
    configuration = from_snapshot(kept.served, Configuration())
    rejected_before = read_kept(kept.rejected)
    for change in rejected_before.values():
        configuration = with_entry(configuration, change.entry)
    rejected = {resource: rejected_before.get(resource, c) for resource, c in configuration.rejected.items()}
    position = LogPosition(kept.served.log_id, kept.served.index, kept.served.digest)
    return replace(configuration, position=position, rejected=rejected)


def with_entry(configuration: Configuration, entry: sync_pb2.Entry) -> Configuration:
    """The configuration after `entry`; changes that do not concern a router only move the index."""
    position = replace(configuration.position, index=entry.index, digest=entry.digest)
    advanced = replace(configuration, position=position)
    try:
        return _changed(advanced, entry)
    except UnusableResourceError as error:
        return replace(advanced, rejected=with_rejected(configuration.rejected, entry, str(error)))


def _resource(message: configuration_pb2.Distribution) -> Resource:
    return Resource(routed_part(message), sites_of(message))


def _changed(before: Configuration, entry: sync_pb2.Entry) -> Configuration:
    match entry.WhichOneof("change"):
        case "put_distribution":
            message = entry.put_distribution
            resources = {**before.resources, message.id: _resource(message)}
            rejected = without(before.rejected, distribution_resource(message.id))
            return replace(before, resources=resources, rejected=rejected)
        case "remove_distribution_id":
            removed = entry.remove_distribution_id
            resources = {k: v for k, v in before.resources.items() if k != removed}
            rejected = without(before.rejected, distribution_resource(removed))
            return replace(before, resources=resources, rejected=rejected)
        case "put_routing_table":
            table = entry.put_routing_table
            rejected = without(before.rejected, ROUTING_TABLE)
            return replace(before, table=table, settings=zone_settings(table), rejected=rejected)
        case _:
            return before


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
