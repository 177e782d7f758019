"""Tags of distributions: reference 1.1. A change to a reserved one publishes the distribution again, since nodes serve by it; others are kept and answered."""

import re
from dataclasses import replace

from control_plane.aws_api.calls import Call
from control_plane.aws_api.codec import Parameters
from control_plane.aws_api.distributions import create_tagged, republish
from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.identifiers import distribution_arn
from control_plane.aws_api.publishing import refusal
from control_plane.aws_api.records import DistributionRecord, get_distribution, put_distribution
from control_plane.compiler.semantics import Tags, reserved_tags
from control_plane.compiler.tags import tag_problems

_ARN = re.compile(r"arn:aws(-cn)?:cloudfront::[0-9]+:.+")
"""The pattern in the service's model."""


def create_distribution(call: Call, parameters: Parameters) -> Parameters:
    """CreateDistributionWithTags."""
    requested = parameters["DistributionConfigWithTags"]
    return create_tagged(call, requested["DistributionConfig"], _added(requested["Tags"], {}))


def tag(call: Call, parameters: Parameters) -> Parameters:
    """TagResource: a tag that is there gets the new value."""
    record = _find(call, parameters["Resource"])
    _retag(call, record, _added(parameters["Tags"], record.tags))
    return {}


def untag(call: Call, parameters: Parameters) -> Parameters:
    """UntagResource: keys that are not there are no error."""
    record = _find(call, parameters["Resource"])
    removed = parameters["TagKeys"].get("Items") or ()
    _retag(call, record, {key: value for key, value in record.tags.items() if key not in removed})
    return {}


def list_all(call: Call, parameters: Parameters) -> Parameters:
    """ListTagsForResource."""
    record = _find(call, parameters["Resource"])
    return {"Tags": {"Items": [{"Key": key, "Value": value} for key, value in record.tags.items()]}}


def _find(call: Call, arn: str) -> DistributionRecord:
    """Distributions are the only resources of the lab that can have tags."""
    if not _ARN.fullmatch(arn):
        raise ApiError("InvalidArgument", f"Resource must be the ARN of a distribution, not {arn[:128]!r}.")
    prefix = distribution_arn("")
    record = get_distribution(call.transaction, arn.removeprefix(prefix)) if arn.startswith(prefix) else None
    if record is None:
        raise ApiError("NoSuchResource", f"The specified resource does not exist: {arn[:128]}.")
    return record


def _added(tags: Parameters, present: Tags) -> dict[str, str]:
    pairs = [(item["Key"], item.get("Value") or "") for item in tags.get("Items") or ()]
    problems = [*tag_problems(pairs, present)]
    if problems:
        raise refusal(problems)
    return {**present, **dict(pairs)}


def _retag(call: Call, record: DistributionRecord, tags: dict[str, str]) -> None:
    changed = replace(record, tags=tags)
    if reserved_tags(tags) == reserved_tags(record.tags):
        put_distribution(call.transaction, changed)
    else:
        republish(call, changed)
