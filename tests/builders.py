"""Values that tests begin from, with every part named that a test may want to change."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

from edge_node.control import resource_reader
from edge_node.model.configuration import Distribution
from proto.cdn.v1 import configuration_pb2, sync_pb2

IDLE_NODE_MIB = 50 if sys.version_info < (3, 12) else 56
"""What an idle node may have resident. 50 is the goal with Debian 12's interpreter; gRPC's extension alone takes 4.6 MiB more with CPython 3.13."""

NONE = configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_NONE)
ALL = configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_ALL)


def listed(*names: str) -> configuration_pb2.Selection:
    return configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_LIST, names=names)


def all_except(*names: str) -> configuration_pb2.Selection:
    return configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_ALL_EXCEPT, names=names)


def policy_message(**changes: Any) -> configuration_pb2.CachePolicy:
    """CachingOptimized with the query string in the key and no minimum TTL, unless told otherwise."""
    values: dict[str, Any] = {
        "id": "policy", "minimum_ttl_seconds": 0, "default_ttl_seconds": 86_400, "maximum_ttl_seconds": 31_536_000,
        "accept_encoding_gzip": False, "accept_encoding_brotli": False, "headers": NONE, "cookies": NONE, "query_strings": ALL,
    }  # fmt: skip
    return configuration_pb2.CachePolicy(**(values | changes))


def caching_disabled() -> configuration_pb2.CachePolicy:
    return policy_message(id="disabled", default_ttl_seconds=0, maximum_ttl_seconds=0)


def behavior_message(
    pattern: str = "*", policy: configuration_pb2.CachePolicy | None = None, **changes: Any
) -> configuration_pb2.Behavior:
    values: dict[str, Any] = {
        "path_pattern": pattern, "origin_id": "origin", "allowed_methods": ["GET", "HEAD"], "cached_methods": ["GET", "HEAD"],
        "cache_policy_id": policy_id(policy or policy_message()),
    }  # fmt: skip
    return configuration_pb2.Behavior(**(values | changes))


CACHING_OPTIMIZED_ID = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_OPTIMIZED = configuration_pb2.CachePolicy(
    minimum_ttl_seconds=1, default_ttl_seconds=86_400, maximum_ttl_seconds=31_536_000, headers=NONE, cookies=NONE, query_strings=NONE
).SerializeToString()  # fmt: skip
"""For what the real compiler has made."""


def policy_id(policy: configuration_pb2.CachePolicy) -> str:
    """Of a test's policy: what it says, so that a distribution has all that is needed to serve from it."""
    return policy.SerializeToString(deterministic=True).hex()


def policies_of(*distributions: configuration_pb2.Distribution) -> Iterator[configuration_pb2.CachePolicy]:
    """The policies that distributions of a test refer to, each once."""
    ids = [each for distribution in distributions for each in resource_reader.cache_policy_ids(distribution)]
    for identifier in filter(None, dict.fromkeys(ids)):
        said = CACHING_OPTIMIZED if identifier == CACHING_OPTIMIZED_ID else bytes.fromhex(identifier)
        policy = configuration_pb2.CachePolicy.FromString(said)
        policy.id = identifier
        yield policy


def read_distribution(message: configuration_pb2.Distribution) -> Distribution:
    """As a node reads it that has the policies too."""
    policies = {policy.id: resource_reader.read_cache_policy(policy) for policy in policies_of(message)}
    return resource_reader.read_distribution(message, policies)


KINDS = {
    configuration_pb2.Distribution: sync_pb2.RESOURCE_KIND_DISTRIBUTION,
    configuration_pb2.CachePolicy: sync_pb2.RESOURCE_KIND_CACHE_POLICY,
    configuration_pb2.RoutingTable: sync_pb2.RESOURCE_KIND_ROUTING_TABLE,
    configuration_pb2.GeoTable: sync_pb2.RESOURCE_KIND_GEO_TABLE,
    configuration_pb2.LabClock: sync_pb2.RESOURCE_KIND_LAB_CLOCK,
}


def resource_message(body: Message, revision: int) -> sync_pb2.Resource:
    """The resource with this body, as the entry of that index has put it."""
    kind = KINDS[type(body)]
    return sync_pb2.Resource(
        kind=kind, id=getattr(body, "id", ""), revision=revision, body=body.SerializeToString(deterministic=True)
    )


def with_policies(bodies: Iterable[Message]) -> list[Message]:
    """With what the distributions among them refer to."""
    given = list(bodies)
    distributions = [each for each in given if isinstance(each, configuration_pb2.Distribution)]
    return [*policies_of(*distributions), *given]


_Body = TypeVar("_Body", bound=Message)


def bodies_in(message: sync_pb2.Snapshot | sync_pb2.Entry, body: type[_Body]) -> list[_Body]:
    """What a snapshot has, or an entry puts, of one kind."""
    resources = message.resources if isinstance(message, sync_pb2.Snapshot) else [each.put for each in message.changes]
    found = []
    for resource in resources:
        if resource.kind == KINDS[body]:
            read = body()
            read.ParseFromString(resource.body)
            found.append(read)
    return found


def distributions_in(message: sync_pb2.Snapshot | sync_pb2.Entry) -> list[configuration_pb2.Distribution]:
    return bodies_in(message, configuration_pb2.Distribution)


def snapshot_message(index: int, *bodies: Message, log_id: str = "log-1", digest: bytes = b"") -> sync_pb2.Snapshot:
    """All that is configured, each by an entry of its own."""
    resources = [resource_message(body, number) for number, body in enumerate(with_policies(bodies), 1)]
    return sync_pb2.Snapshot(log_id=log_id, index=index, digest=digest, resources=resources)


def entry_message(
    index: int, *bodies: Message, deleted_distributions: Iterable[str] = (), log_id: str = "log-1", digest: bytes = b""
) -> sync_pb2.Entry:
    """An entry that puts and deletes these, or invalidates."""
    entry = sync_pb2.Entry(log_id=log_id, index=index, digest=digest)
    for body in with_policies(bodies):
        if isinstance(body, configuration_pb2.Invalidation):
            entry.invalidations.append(body)
        else:
            entry.changes.add(put=resource_message(body, index))
    for identifier in deleted_distributions:
        entry.changes.add().delete.MergeFrom(
            sync_pb2.ResourceName(kind=sync_pb2.RESOURCE_KIND_DISTRIBUTION, id=identifier)
        )
    return entry


def origin_message(host: str, port: int, **changes: Any) -> configuration_pb2.Origin:
    values: dict[str, Any] = {
        "id": "origin", "host": host, "port": port, "path_prefix": "", "connection_attempts": 3, "connection_timeout_milliseconds": 2_000,
        "read_timeout_milliseconds": 10_000, "keepalive_timeout_milliseconds": 5_000,
    }  # fmt: skip
    return configuration_pb2.Origin(**(values | changes))


def distribution_message(
    origin: configuration_pb2.Origin, *behaviors: configuration_pb2.Behavior, **changes: Any
) -> configuration_pb2.Distribution:
    """The last behavior given is the default one."""
    *ordered, default = behaviors or (behavior_message(),)
    values: dict[str, Any] = {
        "id": "E1", "domain_name": "d1.cdn.localhost", "enabled": True, "origins": [origin], "behaviors": ordered, "default_behavior": default,
    }  # fmt: skip
    return configuration_pb2.Distribution(**(values | changes))


def geo_table_message(countries: dict[str, str]) -> configuration_pb2.GeoTable:
    """A country for each network."""
    rows = [configuration_pb2.GeoNetwork(cidr=cidr, country=country) for cidr, country in countries.items()]
    return configuration_pb2.GeoTable(networks=rows)
