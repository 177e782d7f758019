"""The quick start's distribution, made with boto3 exactly as it would be made at CloudFront.

Four behaviors in front of origin-1: the site and downloads with the managed policy CachingOptimized, `/api/*` with query
strings and identities in the key (so that nothing private is shared), `/bucket/*` for the object that is changed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Managed policies have the same ids everywhere (reference, section on managed cache policies).
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
DEPLOY_SECONDS = 20.0


class ApiError(Exception):
    """The management API refused or could not be reached; the message is its own."""


@dataclass(frozen=True, slots=True)
class Distribution:
    id: str
    domain_name: str


class ManagementApi:
    """The few operations that the quick start needs."""

    def __init__(self, api: Mapping[str, Any]) -> None:
        endpoint = str(api["endpoint"])
        self._client = boto3.client(
            "cloudfront",
            endpoint_url=endpoint if "://" in endpoint else f"http://{endpoint}",
            region_name=str(api["region"]),
            aws_access_key_id=str(api["access_key_id"]),
            aws_secret_access_key=str(api["secret_access_key"]),
            config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 2}),
        )

    def create_distribution(self, origin_address: str) -> Distribution:
        reference = f"quickstart-{time.time_ns()}"
        policy_id = self._call(
            lambda: self._client.create_cache_policy(CachePolicyConfig=api_policy(reference))["CachePolicy"]["Id"]
        )
        config = distribution_config(reference, origin_address, policy_id)
        created = self._call(lambda: self._client.create_distribution(DistributionConfig=config)["Distribution"])
        return Distribution(created["Id"], created["DomainName"])

    def wait_deployed(self, distribution: Distribution) -> None:
        waiter = self._client.get_waiter("distribution_deployed")
        attempts = {"Delay": 1, "MaxAttempts": int(DEPLOY_SECONDS)}
        self._call(lambda: waiter.wait(Id=distribution.id, WaiterConfig=attempts))

    def invalidate(self, distribution: Distribution, paths: list[str]) -> str:
        batch = {
            "Paths": {"Quantity": len(paths), "Items": paths},
            "CallerReference": f"quickstart-{time.time_ns()}",
        }
        response = self._call(
            lambda: self._client.create_invalidation(DistributionId=distribution.id, InvalidationBatch=batch)
        )
        return str(response["Invalidation"]["Id"])

    def close(self) -> None:
        self._client.close()

    def _call(self, operation: Callable[[], Any]) -> Any:
        try:
            return operation()
        except (BotoCoreError, ClientError) as error:
            raise ApiError(str(error)) from error


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
        "Comment": "cdnlab quick start",
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
