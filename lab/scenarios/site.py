"""A scenario's distribution in a few lines, and the DistributionConfig that it means at the management API. Pure.

The short form has what experiments need; whatever else the API takes is written as `config:` in its own words and laid over it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lab.clients.management_api import CACHING_OPTIMIZED

CACHING_DISABLED: Final = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""Managed policies have the same ids everywhere (reference, section on managed cache policies)."""
FAILOVER_STATUSES: Final = (400, 403, 404, 416, 429, 500, 502, 503, 504)
_GROUP_ID: Final = "failover"
_READ_METHODS: Final = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class CacheRule:
    """What is kept and for how long: a managed policy by its id, or one of the scenario's own."""

    managed_id: str = CACHING_OPTIMIZED
    name: str = ""
    """Of its own policy; empty: the managed one."""
    min_ttl_seconds: int = 0
    default_ttl_seconds: int = 86_400
    max_ttl_seconds: int = 31_536_000
    query_strings: bool = False
    cookies: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()

    def policy(self, name: str) -> dict[str, Any]:
        """A cache policy of this name, as the API has it."""
        return {
            "Name": name,
            "Comment": "of a scenario",
            "MinTTL": self.min_ttl_seconds,
            "DefaultTTL": self.default_ttl_seconds,
            "MaxTTL": self.max_ttl_seconds,
            "ParametersInCacheKeyAndForwardedToOrigin": {
                "EnableAcceptEncodingGzip": False,
                "EnableAcceptEncodingBrotli": False,
                "HeadersConfig": _whitelist("Header", self.headers),
                "CookiesConfig": _whitelist("Cookie", self.cookies),
                "QueryStringsConfig": {"QueryStringBehavior": "all" if self.query_strings else "none"},
            },
        }


@dataclass(frozen=True, slots=True)
class Behavior:
    """Which rule holds for paths of a pattern; the default one has none."""

    pattern: str
    cache: CacheRule


@dataclass(frozen=True, slots=True)
class Failover:
    """To the second origin on these statuses of the first."""

    second_origin: str
    statuses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of an edge or a regional cache toward origins, in whole seconds, as the API has them."""

    connect_seconds: int = 10
    attempts: int = 3
    response_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Site:
    """A distribution of a scenario. Origins are nodes of the lab."""

    name: str
    origin: str
    cache: CacheRule = field(default_factory=CacheRule)
    behaviors: tuple[Behavior, ...] = ()
    failover: Failover | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    error_caching_seconds: Mapping[int, int] = field(default_factory=dict)
    default_root_object: str = "index.html"
    semantics: str = "cloudfront"
    is_strict: bool = False
    """Whether a node without a lease serves nothing unconfirmed."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """In the API's words, laid over what the rest comes to."""

    @property
    def rules(self) -> tuple[CacheRule, ...]:
        """All of them, the default one first."""
        return (self.cache, *(behavior.cache for behavior in self.behaviors))

    @property
    def origins(self) -> tuple[str, ...]:
        """Nodes that it needs."""
        return (self.origin,) if self.failover is None else (self.origin, self.failover.second_origin)

    @property
    def tags(self) -> dict[str, str]:
        """Those by which the lab is told what the service does not know (docs/management-api.md, Tags)."""
        semantics = {} if self.semantics == "cloudfront" else {"cdnlab:semantics": self.semantics}
        return semantics | ({"cdnlab:strict-invalidation": "true"} if self.is_strict else {})

    def to_api(self, reference: str, addresses: Mapping[str, str], policy_ids: Mapping[str, str]) -> dict[str, Any]:
        """`addresses`: host:port of each origin; `policy_ids`: of the scenario's own policies, by their names."""
        behaviors = [{"PathPattern": each.pattern, **self._behavior(each.cache, policy_ids)} for each in self.behaviors]
        errors = [
            {"ErrorCode": status, "ErrorCachingMinTTL": seconds}
            for status, seconds in self.error_caching_seconds.items()
        ]
        made = {
            "CallerReference": reference,
            "Comment": self.comment,
            "Enabled": True,
            "DefaultRootObject": self.default_root_object,
            "Origins": _list([self._origin(name, addresses[name]) for name in self.origins]),
            "DefaultCacheBehavior": self._behavior(self.cache, policy_ids),
            "CacheBehaviors": _list(behaviors),
            "CustomErrorResponses": _list(errors),
        }
        if self.failover is not None:
            made["OriginGroups"] = _list([self._group(self.failover)])
        return made | dict(self.config)

    @property
    def comment(self) -> str:
        """By which it is found again."""
        return f"cdnlab scenario: {self.name}"

    def _origin(self, name: str, address: str) -> dict[str, Any]:
        host, _, port = address.rpartition(":")
        return {
            "Id": name,
            "DomainName": host,
            "ConnectionTimeout": self.timeouts.connect_seconds,
            "ConnectionAttempts": self.timeouts.attempts,
            "CustomOriginConfig": {
                "HTTPPort": int(port),
                "HTTPSPort": 443,
                "OriginProtocolPolicy": "http-only",
                "OriginReadTimeout": self.timeouts.response_seconds,
            },
        }

    def _group(self, failover: Failover) -> dict[str, Any]:
        members = [{"OriginId": name} for name in self.origins]
        criteria = {"StatusCodes": _list(list(failover.statuses))}
        return {"Id": _GROUP_ID, "FailoverCriteria": criteria, "Members": _list(members)}

    def _behavior(self, rule: CacheRule, policy_ids: Mapping[str, str]) -> dict[str, Any]:
        return {
            "TargetOriginId": self.origin if self.failover is None else _GROUP_ID,
            "ViewerProtocolPolicy": "allow-all",
            "AllowedMethods": {**_list(list(_READ_METHODS)), "CachedMethods": _list(list(_READ_METHODS))},
            "CachePolicyId": policy_ids[rule.name] if rule.name else rule.managed_id,
        }


def _list(items: list[Any]) -> dict[str, Any]:
    return {"Quantity": len(items), "Items": items} if items else {"Quantity": 0}


def _whitelist(what: str, names: tuple[str, ...]) -> dict[str, Any]:
    behavior = {f"{what}Behavior": "whitelist" if names else "none"}
    return behavior | ({f"{what}s": _list(list(names))} if names else {})
