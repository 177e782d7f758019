"""The quick start's distribution, made with boto3 exactly as it would be made at CloudFront.

Four behaviors in front of origin-1: the site and downloads with the managed policy CachingOptimized, `/api/*` with query
strings and identities in the key (so that nothing private is shared), `/bucket/*` for the object that is changed.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lab.errors import LabError
from lab.management_api import CACHING_OPTIMIZED, Distribution

DEPLOY_SECONDS = 20
COMMENT = "cdnlab quick start"


class ApiError(LabError):
    """The management API refused or could not be reached; the message is its own."""


class ManagementApi:
    """The operations of the quick start, as an application developer would call them: boto3 and its own waiter."""

    def __init__(self, api: Mapping[str, str]) -> None:
        """`api`: the member of that name in `cdnlab status --json`."""
        self._client = boto3.client(
            "cloudfront",
            endpoint_url=api["endpoint"],
            region_name=api["region"],
            aws_access_key_id=api["access_key_id"],
            aws_secret_access_key=api["secret_access_key"],
            config=Config(connect_timeout=2, read_timeout=10, retries={"max_attempts": 2}),
        )

    def create_distribution(self, origin_address: str) -> Distribution:
        """Returns at once, as creating does; `wait_deployed` comes next."""
        reference = f"quickstart-{time.time_ns()}"
        policy = _call(lambda: self._client.create_cache_policy(CachePolicyConfig=api_policy(reference)))
        config = distribution_config(reference, origin_address, policy["CachePolicy"]["Id"])
        created = _call(lambda: self._client.create_distribution(DistributionConfig=config))["Distribution"]
        return Distribution(created["Id"], created["DomainName"])

    def find_distribution(self) -> Distribution | None:
        """The one that was made here before, as `cdnlab load` wants it: it has the behaviors that the profiles need."""
        pages = _call(lambda: list(self._client.get_paginator("list_distributions").paginate()))
        listed = (each for page in pages for each in page["DistributionList"].get("Items", ()))
        own = (each for each in listed if each["Comment"] == COMMENT and each["Enabled"])
        return next((Distribution(each["Id"], each["DomainName"]) for each in own), None)

    def wait_deployed(self, distribution: Distribution) -> None:
        """Until every live node has it."""
        waiter = self._client.get_waiter("distribution_deployed")
        patience = {"Delay": 1, "MaxAttempts": DEPLOY_SECONDS}
        _call(lambda: waiter.wait(Id=distribution.id, WaiterConfig=patience))

    def invalidate(self, distribution: Distribution, paths: list[str]) -> str:
        """The id of the invalidation."""
        batch = {"Paths": {"Quantity": len(paths), "Items": paths}, "CallerReference": f"quickstart-{time.time_ns()}"}
        answer = _call(
            lambda: self._client.create_invalidation(DistributionId=distribution.id, InvalidationBatch=batch)
        )
        return str(answer["Invalidation"]["Id"])

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _call(operation: Callable[[], Any]) -> Any:
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
