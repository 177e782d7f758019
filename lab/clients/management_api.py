"""The few operations of the management API that the laboratory needs, through boto3 as at CloudFront.

What a scenario's distribution comes to is scenarios/site.py's.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lab.errors import LabError

# Managed policies have the same ids everywhere (reference, section on managed cache policies).
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
USE_ORIGIN_CACHE_CONTROL_HEADERS_QUERY_STRINGS = "4cc15a8a-d715-48a4-82b8-cc0b614638fe"

READ_METHODS = ("GET", "HEAD")
ALL_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")

DEPLOY_SECONDS = 15.0
# boto3's own waiters ask once a minute; in the lab a change is everywhere within milliseconds.
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class OriginAddress:
    """Where content comes from; `path` is prefixed to every request (CloudFront's OriginPath), empty for none."""

    host: str
    port: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """A distribution with one origin and one behavior."""

    comment: str
    origin: OriginAddress
    cache_policy_id: str
    allowed_methods: tuple[str, ...] = READ_METHODS
    default_root_object: str = ""

    def to_api(self, reference: str) -> dict[str, Any]:
        origin = {
            "Id": "origin",
            "DomainName": self.origin.host,
            "OriginPath": self.origin.path,
            "CustomOriginConfig": {
                "HTTPPort": self.origin.port,
                "HTTPSPort": 443,
                "OriginProtocolPolicy": "http-only",
            },
        }
        return {
            "CallerReference": reference,
            "Comment": self.comment,
            "Enabled": True,
            "DefaultRootObject": self.default_root_object,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "origin",
                "ViewerProtocolPolicy": "allow-all",
                "AllowedMethods": {
                    **_list(self.allowed_methods),
                    "CachedMethods": _list(READ_METHODS),
                },
                "CachePolicyId": self.cache_policy_id,
            },
        }


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution that exists."""

    id: str
    domain_name: str


class ApiUnreachableError(LabError):
    """Nobody answers at its address, or not in time."""


class ManagementApi:
    """A signed client of one lab."""

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

    def create_distribution(self, site: SiteConfig) -> Distribution:
        """Returns at once; `wait_deployed` returns when every live node has it."""
        return self.create(site.to_api(new_reference()))

    def create(self, config: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> Distribution:
        """A distribution of any shape, in the API's own words."""
        items = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        with_tags = {"DistributionConfig": config, "Tags": {"Items": items}}
        created = _call(lambda: self._client.create_distribution_with_tags(DistributionConfigWithTags=with_tags))
        return Distribution(created["Distribution"]["Id"], created["Distribution"]["DomainName"])

    def update(self, distribution_id: str, change: Mapping[str, Any]) -> None:
        """Lays what is given over the configuration; returns at once."""
        answer = _call(lambda: self._client.get_distribution_config(Id=distribution_id))
        config = answer["DistributionConfig"] | dict(change)
        _call(
            lambda: self._client.update_distribution(
                Id=distribution_id, IfMatch=answer["ETag"], DistributionConfig=config
            )
        )

    def create_cache_policy(self, config: Mapping[str, Any]) -> str:
        """The id of the policy."""
        created = _call(lambda: self._client.create_cache_policy(CachePolicyConfig=config))
        return str(created["CachePolicy"]["Id"])

    def find_distribution(self, comment: str) -> Distribution | None:
        """An enabled distribution with this comment."""
        pages = _call(lambda: list(self._client.get_paginator("list_distributions").paginate()))
        listed = (each for page in pages for each in page["DistributionList"].get("Items", ()))
        found = (each for each in listed if each["Comment"] == comment and each["Enabled"])
        return next((Distribution(each["Id"], each["DomainName"]) for each in found), None)

    def wait_deployed(self, distribution_id: str) -> None:
        """LabError when some live node does not take it."""

        def is_deployed() -> bool:
            found = _call(lambda: self._client.get_distribution(Id=distribution_id))["Distribution"]
            return bool(found["Status"] == "Deployed")

        _wait_until(is_deployed, f"distribution {distribution_id} is not Deployed after {DEPLOY_SECONDS:g} s")

    def delete_distribution(self, distribution_id: str) -> None:
        """Disables it, waits until that is everywhere, deletes it: CloudFront's own order (DistributionNotDisabled)."""
        answer = _call(lambda: self._client.get_distribution_config(Id=distribution_id))
        config = answer["DistributionConfig"] | {"Enabled": False}
        changed = _call(
            lambda: self._client.update_distribution(
                Id=distribution_id, IfMatch=answer["ETag"], DistributionConfig=config
            )
        )
        self.wait_deployed(distribution_id)
        _call(lambda: self._client.delete_distribution(Id=distribution_id, IfMatch=changed["ETag"]))

    def invalidate(self, distribution_id: str, paths: list[str], reference: str = "") -> str:
        """The id of the invalidation. With one `reference` it is one, however often it is asked for."""
        batch = {"Paths": _list(paths), "CallerReference": reference or new_reference()}
        answer = _call(
            lambda: self._client.create_invalidation(DistributionId=distribution_id, InvalidationBatch=batch)
        )
        return str(answer["Invalidation"]["Id"])

    def wait_invalidated(self, distribution_id: str, invalidation_id: str) -> None:
        """LabError when it is not complete in time."""

        def is_complete() -> bool:
            answer = _call(lambda: self._client.get_invalidation(DistributionId=distribution_id, Id=invalidation_id))
            return bool(answer["Invalidation"]["Status"] == "Completed")

        _wait_until(is_complete, f"invalidation {invalidation_id} is not Completed after {DEPLOY_SECONDS:g} s")

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _call(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except ClientError as error:
        raise LabError(f"the management API refused: {error}") from error
    except BotoCoreError as error:
        raise ApiUnreachableError(f"the management API cannot be reached: {error}") from error


def _wait_until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + DEPLOY_SECONDS
    while not is_so():
        if time.monotonic() >= deadline:
            raise LabError(complaint)
        time.sleep(_POLL_SECONDS)


def _list(items: tuple[str, ...] | list[str]) -> dict[str, Any]:
    return {"Quantity": len(items), "Items": list(items)}


def new_reference() -> str:
    """CallerReference makes a repeated request the same request; every call here means a new one."""
    return f"cdnlab-{time.time_ns()}"
