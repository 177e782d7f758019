"""What this API can do: the one table of operations."""

from collections.abc import Mapping

from control_plane.aws_api import cache_policies, distributions, invalidations, tags
from control_plane.aws_api.calls import Operation

OPERATIONS: Mapping[str, Operation] = {
    "CreateDistribution": distributions.create,
    "CreateDistributionWithTags": tags.create_distribution,
    "GetDistribution": distributions.get,
    "GetDistributionConfig": distributions.get_config,
    "UpdateDistribution": distributions.update,
    "DeleteDistribution": distributions.delete,
    "ListDistributions": distributions.list_all,
    "TagResource": tags.tag,
    "UntagResource": tags.untag,
    "ListTagsForResource": tags.list_all,
    "CreateCachePolicy": cache_policies.create,
    "GetCachePolicy": cache_policies.get,
    "GetCachePolicyConfig": cache_policies.get_config,
    "UpdateCachePolicy": cache_policies.update,
    "DeleteCachePolicy": cache_policies.delete,
    "ListCachePolicies": cache_policies.list_all,
    "CreateInvalidation": invalidations.create,
    "GetInvalidation": invalidations.get,
    "ListInvalidations": invalidations.list_all,
}
