"""Values that tests begin from, with every part named that a test may want to change."""

import sys
from typing import Any

from proto.cdn.v1 import configuration_pb2

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
        "cache_policy": policy or policy_message(),
    }  # fmt: skip
    return configuration_pb2.Behavior(**(values | changes))


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
