"""Every kind of resource that the log carries: one row each (DESIGN section 3). What a resource is compiled from is the business of `aws_api/` and `compiler/`.

A kind goes to a role from its first version on. Were a role added to a kind that has resources already, nodes of that role would lack those until their next snapshot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from control_plane.nodes import Role
from control_plane.state import Delete, Put
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.resources import GEO_TABLE, LAB_CLOCK, ROUTING_TABLE, ResourceName, cache_policy_name, distribution_name

CACHES: Final = frozenset({Role.EDGE, Role.REGIONAL})
"""Who stores responses, and so gets invalidations."""
EVERYBODY: Final = frozenset(Role)


def _no_references(_body: bytes) -> Sequence[ResourceName]:
    return ()


def _cache_policies(body: bytes) -> Sequence[ResourceName]:
    distribution = configuration_pb2.Distribution.FromString(body)
    behaviors = (distribution.default_behavior, *distribution.behaviors)
    return [cache_policy_name(policy_id) for policy_id in sorted({each.cache_policy_id for each in behaviors} - {""})]


@dataclass(frozen=True, slots=True)
class Kind:
    """What the control plane has to know of a kind."""

    number: int
    """A value of sync_pb2.ResourceKind."""
    roles: frozenset[Role]
    """Who gets it."""
    references: Callable[[bytes], Sequence[ResourceName]] = _no_references
    """What a body of it refers to: it has to be there as long as this is."""


KINDS: Final = (
    Kind(sync_pb2.RESOURCE_KIND_DISTRIBUTION, EVERYBODY, _cache_policies),
    Kind(sync_pb2.RESOURCE_KIND_CACHE_POLICY, CACHES),
    Kind(sync_pb2.RESOURCE_KIND_ROUTING_TABLE, EVERYBODY),
    Kind(sync_pb2.RESOURCE_KIND_GEO_TABLE, CACHES),
    Kind(sync_pb2.RESOURCE_KIND_LAB_CLOCK, EVERYBODY),
)

_BY_NUMBER: Final = {kind.number: kind for kind in KINDS}


def references_of(name: ResourceName, body: bytes) -> Sequence[ResourceName]:
    """What a resource refers to."""
    return _BY_NUMBER[name.kind].references(body)


def kinds_for(role: Role) -> frozenset[int]:
    """What nodes of a role get."""
    return frozenset(kind.number for kind in KINDS if role in kind.roles)


def _put(name: ResourceName, message: Message) -> Put:
    return Put(name, message.SerializeToString(deterministic=True))


def put_distribution(distribution: configuration_pb2.Distribution) -> Put:
    """Publish this compiled distribution, new or changed."""
    return _put(distribution_name(distribution.id), distribution)


def delete_distribution(distribution_id: str) -> Delete:
    """Withdraw a distribution from every node."""
    return Delete(distribution_name(distribution_id))


def put_cache_policy(policy: configuration_pb2.CachePolicy) -> Put:
    """Publish a cache policy, to all distributions that refer to it."""
    return _put(cache_policy_name(policy.id), policy)


def put_routing_table(table: configuration_pb2.RoutingTable) -> Put:
    """Publish where viewers are and how far places are from each other."""
    return _put(ROUTING_TABLE, table)


def put_geo_table(table: configuration_pb2.GeoTable) -> Put:
    """Publish which country the networks of viewers are in."""
    return _put(GEO_TABLE, table)


def put_lab_clock(ahead_seconds: float) -> Put:
    """Publish how far the lab's wall clock is ahead of the true one."""
    return _put(LAB_CLOCK, configuration_pb2.LabClock(ahead_seconds=ahead_seconds))
