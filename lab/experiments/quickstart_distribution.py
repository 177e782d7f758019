"""The quick start's distribution, made with boto3 exactly as it would be made at CloudFront.

Four behaviors in front of origin-1: the site and downloads with the managed policy CachingOptimized, `/api/*` with query
strings and identities in the key (so that nothing private is shared), `/bucket/*` for the object that is changed.
"""

import time
from typing import Any

from lab.clients.management_api import CACHING_OPTIMIZED, Distribution, ManagementApi

COMMENT = "cdnlab quick start"


def create_distribution(api: ManagementApi, origin_address: str) -> Distribution:
    """Returns at once, as creating does; `wait_deployed` comes next."""
    reference = f"quickstart-{time.time_ns()}"
    policy_id = api.create_cache_policy(api_policy(reference))
    return api.create(distribution_config(reference, origin_address, policy_id))


def find_distribution(api: ManagementApi) -> Distribution | None:
    """The one that was made here before, as `cdnlab load` wants it: it has the behaviors that the profiles need."""
    return api.find_distribution(COMMENT)


def api_policy(name: str) -> dict[str, Any]:
    """Whoever is named by a cookie or by Authorization has entries of their own; the origin's max-age decides how long."""
    return {
        "Name": name,
        "Comment": "query strings and identities are part of the key",
        "MinTTL": 0,
        "DefaultTTL": 0,
        "MaxTTL": 3600,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": False,
            "EnableAcceptEncodingBrotli": False,
            "HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": {"Quantity": 1, "Items": ["Authorization"]}},
            "CookiesConfig": {"CookieBehavior": "whitelist", "Cookies": {"Quantity": 1, "Items": ["session"]}},
            "QueryStringsConfig": {"QueryStringBehavior": "all"},
        },
    }


def distribution_config(reference: str, origin_address: str, api_policy_id: str) -> dict[str, Any]:
    host, _, port = origin_address.rpartition(":")
    origin = {
        "Id": "origin-1",
        "DomainName": host,
        "CustomOriginConfig": {"HTTPPort": int(port), "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"},
    }
    behaviors = [
        {"PathPattern": "/api/*", **_behavior(api_policy_id)},
        {"PathPattern": "/bucket/*", **_behavior(CACHING_OPTIMIZED)},
        {"PathPattern": "/hls/*", **_behavior(CACHING_OPTIMIZED)},
    ]
    return {
        "CallerReference": reference,
        "Comment": COMMENT,
        "Enabled": True,
        "DefaultRootObject": "index.html",
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": _behavior(CACHING_OPTIMIZED),
        "CacheBehaviors": {"Quantity": len(behaviors), "Items": behaviors},
    }


def _behavior(cache_policy_id: str) -> dict[str, Any]:
    methods = ["GET", "HEAD"]
    return {
        "TargetOriginId": "origin-1",
        "ViewerProtocolPolicy": "allow-all",
        "AllowedMethods": {"Quantity": 2, "Items": methods, "CachedMethods": {"Quantity": 2, "Items": methods}},
        "CachePolicyId": cache_policy_id,
    }
