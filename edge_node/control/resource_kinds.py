"""Every kind of resource that a cache node serves from: one row each (DESIGN section 3). What a message says is read in `resource_reader.py`."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from google.protobuf.message import Message

from edge_node.control.resource_reader import (
    cache_policy_ids,
    latencies_from,
    read_cache_policy,
    read_distribution,
    read_geo_table,
)
from edge_node.model.configuration import CachePolicy, Distribution
from edge_node.model.errors import RejectedResourceError
from edge_node.policy.geo import GeoTable
from edge_node.storage.node_state import ServedResources
from proto import lab_clock
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.resources import GEO_TABLE, ROUTING_TABLE, ResourceName, cache_policy_name
from proto.served_configuration import Configuration, Kind, Kinds, UnusableResourceError, Values, reading

_Message = TypeVar("_Message", bound=Message)


def _reading(body: type[_Message], read: Callable[[_Message, Values], object]) -> Callable[[Message, Values], object]:
    """As a row has it; what this node refuses is unusable."""

    def refusing(message: _Message, references: Values) -> object:
        try:
            return read(message, references)
        except RejectedResourceError as error:
            raise UnusableResourceError(str(error)) from error

    return reading(body, refusing)


def _distribution(message: configuration_pb2.Distribution, references: Values) -> object:
    policies = {name.identifier: value for name, value in references.items() if isinstance(value, CachePolicy)}
    return read_distribution(message, policies)


def _distribution_references(message: Message) -> Sequence[ResourceName]:
    if not isinstance(message, configuration_pb2.Distribution):
        return ()
    return [cache_policy_name(policy_id) for policy_id in cache_policy_ids(message)]


KINDS: Final[Kinds] = {
    sync_pb2.RESOURCE_KIND_CACHE_POLICY: Kind(
        configuration_pb2.CachePolicy,
        _reading(configuration_pb2.CachePolicy, lambda message, _: read_cache_policy(message)),
        is_seen_by_itself=False,
    ),
    sync_pb2.RESOURCE_KIND_DISTRIBUTION: Kind(
        configuration_pb2.Distribution,
        _reading(configuration_pb2.Distribution, _distribution),
        _distribution_references,
    ),
    sync_pb2.RESOURCE_KIND_GEO_TABLE: Kind(
        configuration_pb2.GeoTable,
        _reading(configuration_pb2.GeoTable, lambda message, _: read_geo_table(message)),
    ),
    sync_pb2.RESOURCE_KIND_ROUTING_TABLE: Kind(
        configuration_pb2.RoutingTable,
        lambda message, _: message,
    ),
    sync_pb2.RESOURCE_KIND_LAB_CLOCK: lab_clock.REFUSED,
}

KINDS_OF_A_LAB: Final[Kinds] = {**KINDS, sync_pb2.RESOURCE_KIND_LAB_CLOCK: lab_clock.FOLLOWED}
"""Of a node that allows faults."""


def served_resources(configuration: Configuration, region: str) -> ServedResources:
    """What a node in a region serves from."""
    of_kind = configuration.values(sync_pb2.RESOURCE_KIND_DISTRIBUTION)
    distributions = {name: value for name, value in of_kind.items() if isinstance(value, Distribution)}
    routing_table, geo_table = configuration.value(ROUTING_TABLE), configuration.value(GEO_TABLE)
    if not isinstance(routing_table, configuration_pb2.RoutingTable):
        routing_table = configuration_pb2.RoutingTable()
    latencies = latencies_from(region, routing_table)
    countries = geo_table if isinstance(geo_table, GeoTable) else GeoTable()
    return ServedResources(distributions, latencies, countries, lab_clock.ahead_of(configuration))
