"""Distributions: reference 1.1 and 1.3. What a configuration may say is the compiler's affair; here is what may happen to a distribution, and when."""

from dataclasses import replace

from control_plane.aws_api.calls import Call
from control_plane.aws_api.codec import Parameters
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.identifiers import (
    check_if_match,
    distribution_arn,
    new_distribution_id,
    new_domain_name,
    new_entity_tag,
)
from control_plane.aws_api.pagination import page_by_id
from control_plane.aws_api.publishing import publish, withdraw
from control_plane.aws_api.records import (
    DistributionRecord,
    delete_distribution,
    get_distribution,
    list_distributions,
    put_distribution,
)
from control_plane.compiler.behaviors import cache_policy_ids
from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, aliases_of
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Config

MAXIMUM_DISTRIBUTIONS = 500
MAXIMUM_DISTRIBUTIONS_PER_POLICY = 100

_NOBODY: Parameters = {"Enabled": False, "Quantity": 0}

_SUMMARIZED = (
    "Aliases", "Origins", "OriginGroups", "DefaultCacheBehavior", "CacheBehaviors", "CustomErrorResponses", "Comment", "PriceClass",
    "Enabled", "ViewerCertificate", "Restrictions", "WebACLId", "HttpVersion", "IsIPV6Enabled", "Staging",
)  # fmt: skip
"""Members of the configuration that are in a list too."""


def create(call: Call, parameters: Parameters) -> Parameters:
    """CreateDistribution."""
    return create_tagged(call, parameters["DistributionConfig"], {})


def create_tagged(call: Call, requested: Config, tags: dict[str, str]) -> Parameters:
    """A new distribution that has these tags from its beginning; the answer."""
    config = fill_distribution(requested)
    existing = list_distributions(call.transaction)
    for record in existing:
        if record.config["CallerReference"] == config["CallerReference"]:
            raise ApiError(
                "DistributionAlreadyExists",
                f"The caller reference that you are using to create a distribution is associated with {record.id}.",
            )
    if len(existing) >= MAXIMUM_DISTRIBUTIONS:
        raise ApiError("TooManyDistributions", f"There are {MAXIMUM_DISTRIBUTIONS} distributions already.")
    identity = Identity(new_distribution_id(call.rng), new_domain_name(call.rng, call.zone))
    record = _published(call, identity, config, tags)
    location = call.location(f"distribution/{record.id}")
    return {"Distribution": _to_distribution(call, record), "Location": location, "ETag": record.etag}


def get(call: Call, parameters: Parameters) -> Parameters:
    """GetDistribution."""
    record = find(call, parameters["Id"])
    return {"Distribution": _to_distribution(call, record), "ETag": record.etag}


def get_config(call: Call, parameters: Parameters) -> Parameters:
    """GetDistributionConfig."""
    record = find(call, parameters["Id"])
    return {"DistributionConfig": record.config, "ETag": record.etag}


def update(call: Call, parameters: Parameters) -> Parameters:
    """UpdateDistribution: the whole configuration is replaced; tags stay, and it must still have every behavior that they name."""
    record = find(call, parameters["Id"])
    check_if_match(parameters.get("IfMatch"), record.etag)
    config = fill_distribution(parameters["DistributionConfig"])
    if config["CallerReference"] != record.config["CallerReference"]:
        raise ApiError("IllegalUpdate", "DistributionConfig.CallerReference cannot be changed.")
    changed = _published(call, Identity(record.id, record.domain_name), config, record.tags)
    return {"Distribution": _to_distribution(call, changed), "ETag": changed.etag}


def delete(call: Call, parameters: Parameters) -> Parameters:
    """DeleteDistribution: only when no node serves it any more (reference 1.1, delete order)."""
    record = find(call, parameters["Id"])
    check_if_match(parameters.get("IfMatch"), record.etag)
    if record.config["Enabled"]:
        raise ApiError("DistributionNotDisabled", "The distribution you are trying to delete has not been disabled.")
    if not call.deployment.is_deployed(record.id, record.index):
        raise ApiError("DistributionNotDisabled", "Disabling it is still in progress: wait until it is Deployed.")
    call.transaction.invalidations.forget_all(record.id)
    delete_distribution(call.transaction, record.id)
    withdraw(call.transaction, record.id)
    return {}


def list_all(call: Call, parameters: Parameters) -> Parameters:
    """ListDistributions."""
    page = page_by_id(list_distributions(call.transaction), lambda record: record.id, parameters)
    return {"DistributionList": page.to_list(lambda record: _to_summary(call, record))}


def find(call: Call, identifier: str) -> DistributionRecord:
    """The distribution, or NoSuchDistribution."""
    record = get_distribution(call.transaction, identifier)
    if record is None:
        raise ApiError("NoSuchDistribution", f"The specified distribution does not exist: {identifier[:64]}.")
    return record


def republish(call: Call, record: DistributionRecord) -> None:
    """Append it again because its tags or something that it refers to have changed. The caller's own version of it, the ETag, stays."""
    index = publish(call.transaction, Identity(record.id, record.domain_name), record.config, record.tags)
    put_distribution(call.transaction, replace(record, index=index))


def _published(call: Call, identity: Identity, config: Config, tags: dict[str, str]) -> DistributionRecord:
    index = publish(call.transaction, identity, config, tags)
    others = [other for other in list_distributions(call.transaction) if other.id != identity.distribution_id]
    _check_aliases(config, others)
    _check_policy_quota(config, others)
    record = DistributionRecord(
        identity.distribution_id, identity.domain_name, index, new_entity_tag(call.rng), call.now, config, tags
    )
    put_distribution(call.transaction, record)
    return record


def _check_aliases(config: Config, others: list[DistributionRecord]) -> None:
    """A name belongs to one distribution (reference 1.3)."""
    owners = {name: other.id for other in others for name in (other.domain_name, *aliases_of(other.config))}
    for alias in aliases_of(config):
        if alias in owners:
            raise ApiError("CNAMEAlreadyExists", f"The alias {alias} is associated with {owners[alias]} already.")


def _check_policy_quota(config: Config, others: list[DistributionRecord]) -> None:
    for policy_id in cache_policy_ids(config) - MANAGED_CACHE_POLICIES.keys():
        if sum(policy_id in cache_policy_ids(other.config) for other in others) >= MAXIMUM_DISTRIBUTIONS_PER_POLICY:
            raise ApiError(
                "TooManyDistributionsAssociatedToCachePolicy",
                f"{MAXIMUM_DISTRIBUTIONS_PER_POLICY} distributions use the cache policy {policy_id} already.",
            )


def _to_distribution(call: Call, record: DistributionRecord) -> Parameters:
    in_progress = call.transaction.invalidations.in_progress(record.id, call.deployment.completed_index())
    return {
        **_to_identity(call, record),
        "InProgressInvalidationBatches": in_progress.batches,
        "ActiveTrustedSigners": _NOBODY,
        "ActiveTrustedKeyGroups": _NOBODY,
        "DistributionConfig": record.config,
    }


def _to_summary(call: Call, record: DistributionRecord) -> Parameters:
    summarized = {name: record.config[name] for name in _SUMMARIZED}
    return {**_to_identity(call, record), "ETag": record.etag, **summarized}


def _to_identity(call: Call, record: DistributionRecord) -> Parameters:
    return {
        "Id": record.id,
        "ARN": distribution_arn(record.id),
        "Status": "Deployed" if call.deployment.is_deployed(record.id, record.index) else "InProgress",
        "LastModifiedTime": record.last_modified,
        "DomainName": record.domain_name,
    }
