"""Cache policies: reference 1.7. Managed ones can be read and used, never changed; a change to one of the user's own goes to every distribution that uses it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from control_plane.aws_api.calls import Call
from control_plane.aws_api.codec import Parameters
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.identifiers import check_if_match, new_entity_tag, new_uuid
from control_plane.aws_api.pagination import page_by_id
from control_plane.aws_api.publishing import publish_cache_policy, refusal
from control_plane.aws_api.records import (
    CachePolicyRecord,
    DistributionRecord,
    delete_cache_policy,
    get_cache_policy,
    list_cache_policies,
    list_distributions,
    put_cache_policy,
    put_distribution,
)
from control_plane.compiler.behaviors import cache_policy_ids
from control_plane.compiler.cache_policies import cache_policy_problems
from control_plane.compiler.defaults import fill_cache_policy
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Config

MAXIMUM_CACHE_POLICIES = 20

_MANAGED_ENTITY_TAG = "EMANAGEDPOLICY"
_MANAGED_SINCE = datetime(2020, 5, 31, tzinfo=UTC)
"""They never change; any moment before every distribution does."""


def create(call: Call, parameters: Parameters) -> Parameters:
    """CreateCachePolicy."""
    config = _checked(parameters["CachePolicyConfig"])
    existing = list_cache_policies(call.transaction)
    _check_name(config, existing)
    if len(existing) >= MAXIMUM_CACHE_POLICIES:
        raise ApiError("TooManyCachePolicies", f"There are {MAXIMUM_CACHE_POLICIES} cache policies already.")
    record = CachePolicyRecord(new_uuid(call.rng), new_entity_tag(call.rng), call.now, config)
    put_cache_policy(call.transaction, record)
    location = call.location(f"cache-policy/{record.id}")
    return {"CachePolicy": _to_policy(record), "Location": location, "ETag": record.etag}


def get(call: Call, parameters: Parameters) -> Parameters:
    """GetCachePolicy."""
    record = _find(call, parameters["Id"])
    return {"CachePolicy": _to_policy(record), "ETag": record.etag}


def get_config(call: Call, parameters: Parameters) -> Parameters:
    """GetCachePolicyConfig."""
    record = _find(call, parameters["Id"])
    return {"CachePolicyConfig": record.config, "ETag": record.etag}


def update(call: Call, parameters: Parameters) -> Parameters:
    """UpdateCachePolicy: the whole policy is replaced, for every distribution that uses it: one change, and all of them are being deployed (reference 1.7)."""
    record = _find_own(call, parameters["Id"], "IllegalUpdate")
    check_if_match(parameters.get("IfMatch"), record.etag)
    config = _checked(parameters["CachePolicyConfig"])
    _check_name(config, [other for other in list_cache_policies(call.transaction) if other.id != record.id])
    changed = CachePolicyRecord(record.id, new_entity_tag(call.rng), call.now, config)
    put_cache_policy(call.transaction, changed)
    index = publish_cache_policy(call.transaction, record.id, config)
    if index is not None:
        for distribution in _users(call, record.id):
            put_distribution(call.transaction, replace(distribution, index=index))
    return {"CachePolicy": _to_policy(changed), "ETag": changed.etag}


def delete(call: Call, parameters: Parameters) -> Parameters:
    """DeleteCachePolicy."""
    record = _find_own(call, parameters["Id"], "IllegalDelete")
    check_if_match(parameters.get("IfMatch"), record.etag)
    users = [distribution.id for distribution in _users(call, record.id)]
    if users:
        raise ApiError("CachePolicyInUse", f"The cache policy is used by {', '.join(users)}.")
    delete_cache_policy(call.transaction, record.id)
    return {}


def list_all(call: Call, parameters: Parameters) -> Parameters:
    """ListCachePolicies, of one type when asked."""
    wanted = parameters.get("Type")
    managed = [_managed(identifier) for identifier in MANAGED_CACHE_POLICIES] if wanted != "custom" else []
    own = list_cache_policies(call.transaction) if wanted != "managed" else []
    page = page_by_id([*managed, *own], lambda record: record.id, parameters)
    listed = page.to_list(_to_summary)
    # The model of this list has fewer members than that of others.
    return {"CachePolicyList": {name: listed[name] for name in listed if name not in ("Marker", "IsTruncated")}}


def _checked(config: Config) -> Config:
    full = fill_cache_policy(config)
    problems = cache_policy_problems(full)
    if problems:
        raise refusal(problems)
    return full


def _check_name(config: Config, others: Sequence[CachePolicyRecord]) -> None:
    taken = {other.config["Name"] for other in others} | {policy["Name"] for policy in MANAGED_CACHE_POLICIES.values()}
    if config["Name"] in taken:
        raise ApiError("CachePolicyAlreadyExists", f"A cache policy with the name {config['Name']} exists already.")


def _find(call: Call, identifier: str) -> CachePolicyRecord:
    if identifier in MANAGED_CACHE_POLICIES:
        return _managed(identifier)
    record = get_cache_policy(call.transaction, identifier)
    if record is None:
        raise ApiError("NoSuchCachePolicy", f"The cache policy does not exist: {identifier[:64]}.")
    return record


def _find_own(call: Call, identifier: str, refused_code: str) -> CachePolicyRecord:
    if identifier in MANAGED_CACHE_POLICIES:
        name = MANAGED_CACHE_POLICIES[identifier]["Name"]
        raise ApiError(refused_code, f"{name} is a managed cache policy: it cannot be updated or deleted.")
    return _find(call, identifier)


def _managed(identifier: str) -> CachePolicyRecord:
    return CachePolicyRecord(identifier, _MANAGED_ENTITY_TAG, _MANAGED_SINCE, MANAGED_CACHE_POLICIES[identifier])


def _users(call: Call, policy_id: str) -> list[DistributionRecord]:
    distributions = list_distributions(call.transaction)
    return [record for record in distributions if policy_id in cache_policy_ids(record.config)]


def _to_policy(record: CachePolicyRecord) -> Parameters:
    return {"Id": record.id, "LastModifiedTime": record.last_modified, "CachePolicyConfig": record.config}


def _to_summary(record: CachePolicyRecord) -> Parameters:
    kind = "managed" if record.id in MANAGED_CACHE_POLICIES else "custom"
    return {"Type": kind, "CachePolicy": _to_policy(record)}
