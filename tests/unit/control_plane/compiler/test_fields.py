"""The table of fields against the service's model: nothing can be accepted and ignored, and the documentation says the same as the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape

from control_plane.aws_api.model import load_model
from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.fields import (
    CACHE_POLICY_FIELDS,
    DISTRIBUTION_FIELDS,
    Honoured,
    Only,
    Refused,
    Table,
    WithoutEffect,
)
from control_plane.compiler.fields_reference import BEGIN, END, render
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Problem
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import (
    CACHING_DISABLED,
    behavior,
    changed,
    custom_origin,
    distribution_config,
    origin_group,
    quantified,
)

MODEL = load_model()
DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "management-api.md"

TABLES = [("DistributionConfig", DISTRIBUTION_FIELDS), ("CachePolicyConfig", CACHE_POLICY_FIELDS)]


def leaves(shape: Shape, path: str, table: Table) -> Iterator[str]:
    """Every member that needs a rule: values, and whatever a rule decides about as a whole."""
    if path in table:
        yield path
    elif isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}".removeprefix("."), table)
    elif isinstance(shape, ListShape):
        yield from leaves(shape.member, f"{path}[]", table)
    else:
        yield path


@pytest.mark.parametrize(("shape", "table"), TABLES)
def test_every_member_of_the_model_has_a_rule_and_every_rule_a_member(shape: str, table: Table) -> None:
    assert set(leaves(MODEL.shape_for(shape), "", table)) == set(table)


@pytest.mark.parametrize(("shape", "table"), TABLES)
def test_every_rule_that_limits_says_why(shape: str, table: Table) -> None:
    for path, rule in table.items():
        if isinstance(rule, Only | Refused | WithoutEffect):
            assert rule.reason, path


KEPT_FOR_THE_CALLER = {"CallerReference", "Comment"}
"""Honoured by the API itself, which compares the one and answers both; nodes need neither."""

POSITION = re.compile(r"\[\]")

ALTERNATIVES: dict[str, Any] = {
    "Aliases.Items[]": "b.example.com",
    "DefaultRootObject": "home.html",
    "Enabled": False,
    "IsIPV6Enabled": True,
    "Origins.Items[].Id": "first",
    "Origins.Items[].DomainName": "localhost",
    "Origins.Items[].OriginPath": "/v2",
    "Origins.Items[].CustomHeaders.Items[].HeaderName": "X-B",
    "Origins.Items[].CustomHeaders.Items[].HeaderValue": "2",
    "Origins.Items[].CustomOriginConfig.HTTPPort": 8081,
    "Origins.Items[].CustomOriginConfig.OriginReadTimeout": 7,
    "Origins.Items[].CustomOriginConfig.OriginKeepaliveTimeout": 7,
    "Origins.Items[].ConnectionAttempts": 2,
    "Origins.Items[].ConnectionTimeout": 7,
    "Origins.Items[].ResponseCompletionTimeout": 60,
    "OriginGroups.Items[].Id": "second-choice",
    "OriginGroups.Items[].FailoverCriteria.StatusCodes.Items[]": 404,
    "OriginGroups.Items[].Members.Items[].OriginId": "unused",
    "CustomErrorResponses.Items[].ErrorCode": 403,
    "CustomErrorResponses.Items[].ResponsePagePath": "/gone.html",
    "CustomErrorResponses.Items[].ResponseCode": "404",
    "CustomErrorResponses.Items[].ErrorCachingMinTTL": 7,
    "CacheBehaviors.Items[].PathPattern": "/b/*",
    "Restrictions.GeoRestriction.RestrictionType": "blacklist",
    "Restrictions.GeoRestriction.Items[]": "DE",
    **{
        f"{behavior}.{name}": value
        for behavior in ("DefaultCacheBehavior", "CacheBehaviors.Items[]")
        for name, value in {
            "TargetOriginId": "web",
            "CachePolicyId": CACHING_DISABLED,
            "Compress": True,
            "ViewerProtocolPolicy": "https-only",
            "AllowedMethods": {**quantified("GET", "HEAD", "OPTIONS"), "CachedMethods": quantified("GET", "HEAD")},
            "AllowedMethods.CachedMethods": quantified("GET", "HEAD", "OPTIONS"),
        }.items()
    },
}
"""For each honoured member, or the list that it is in, another value, that makes a difference."""

METHODS = {
    **quantified("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"),
    "CachedMethods": quantified("GET", "HEAD"),
}
BASE = fill_distribution(
    distribution_config(
        Aliases=quantified("a.example.com"),
        Origins=quantified(
            custom_origin("unused", CustomHeaders=quantified({"HeaderName": "X-A", "HeaderValue": "1"})),
            custom_origin("web"),
            custom_origin("other"),
        ),
        OriginGroups=quantified(origin_group("pair", "web", "other")),
        CustomErrorResponses=quantified(
            {"ErrorCode": 404, "ResponsePagePath": "/none.html", "ResponseCode": "200", "ErrorCachingMinTTL": 5}
        ),
        Restrictions={"GeoRestriction": {"RestrictionType": "whitelist", **quantified("US")}},
        DefaultCacheBehavior=behavior(TargetOriginId="other", AllowedMethods=METHODS),
        CacheBehaviors=quantified(behavior(PathPattern="/a/*", TargetOriginId="other", AllowedMethods=METHODS)),
    )
)


def result_of(config: dict[str, Any]) -> configuration_pb2.Distribution | list[Problem]:
    return compile_distribution(Identity("E1", "d1.test"), config, MANAGED_CACHE_POLICIES, {})


HONOURED = {
    path
    for path, rule in DISTRIBUTION_FIELDS.items()
    if isinstance(rule, Honoured) and path not in KEPT_FOR_THE_CALLER and not path.endswith("Quantity")
}


@pytest.mark.parametrize("path", sorted(HONOURED))
def test_what_is_honoured_makes_a_difference(path: str) -> None:
    before = result_of(BASE)
    place = path if path in ALTERNATIVES else path.removesuffix(".Items[]")
    after = result_of(changed(BASE, POSITION.sub(".0", place), ALTERNATIVES[place]))
    assert isinstance(before, configuration_pb2.Distribution) and isinstance(after, configuration_pb2.Distribution), (
        after
    )
    assert after != before


def test_the_documentation_has_the_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == render(), (
        "run python -m control_plane.compiler.fields_reference and put what it prints between the markers"
    )
