"""A reserved tag over the whole system: set with boto3, deployed when the waiter says so, and every edge caches by other rules (decision 5)."""

import time
from typing import Any

import pytest

from tests.integration.system_lab import ORIGIN, Site, SystemLab, behavior, distribution_config, quantified

STRICT_API = {"Key": "cdnlab:semantics:/echo/api/=2A", "Value": "rfc9111"}


@pytest.fixture
def site(lab: SystemLab) -> Site:
    """Two behaviors, of which one is strict from the beginning."""
    ordered = quantified(behavior() | {"PathPattern": "/echo/api/*"})
    config = distribution_config(f"tagged-{time.time_ns()}", lab.http(ORIGIN)) | {"CacheBehaviors": ordered}
    tagged = {"DistributionConfig": config, "Tags": {"Items": [STRICT_API]}}
    made: dict[str, Any] = lab.cloudfront.create_distribution_with_tags(DistributionConfigWithTags=tagged)
    distribution = made["Distribution"]
    lab.wait_deployed(distribution["Id"])
    return Site(distribution["Id"], distribution["DomainName"])


def asked_twice(lab: SystemLab, site: Site, path: str) -> int:
    """How often the origin was asked, when every edge was asked twice, for a response that says nothing about caching.

    CloudFront's rules give it the default TTL; RFC 9111 section 4.2.2 leaves nothing to guess a lifetime from.
    """
    for edge in lab.edges() * 2:
        assert lab.get(edge, site.host, path).status == 200
    return lab.origin_count(path)


def test_semantics_are_chosen_by_tags_on_every_edge(lab: SystemLab, site: Site) -> None:
    edges, regionals = len(lab.edges()), len(lab.regionals())
    assert asked_twice(lab, site, "/echo/page") <= regionals
    assert asked_twice(lab, site, "/echo/api/page") == 2 * edges

    arn = lab.cloudfront.get_distribution(Id=site.id)["Distribution"]["ARN"]
    lab.cloudfront.tag_resource(Resource=arn, Tags={"Items": [{"Key": "cdnlab:semantics", "Value": "rfc9111"}]})
    lab.wait_deployed(site.id)
    assert asked_twice(lab, site, "/echo/other") == 2 * edges

    lab.cloudfront.untag_resource(Resource=arn, TagKeys={"Items": ["cdnlab:semantics", STRICT_API["Key"]]})
    lab.wait_deployed(site.id)
    assert asked_twice(lab, site, "/echo/third") <= regionals
    assert asked_twice(lab, site, "/echo/api/third") <= regionals
