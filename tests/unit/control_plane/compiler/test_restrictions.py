"""Who a distribution is for, by country and by protocol: reference 1.3, 6.1, 6.5."""

from typing import Any

import botocore.session
import pytest

from control_plane.aws_api.errors import ApiError
from control_plane.compiler.countries import COUNTRY_CODES
from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Problem
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import WireApi, behavior, changed, distribution_config, quantified

WHITELIST = configuration_pb2.GeoRestriction.TYPE_ALLOW_LIST
BLACKLIST = configuration_pb2.GeoRestriction.TYPE_DENY_LIST


def result_of(config: dict[str, Any]) -> configuration_pb2.Distribution | list[Problem]:
    return compile_distribution(Identity("E1", "d1.test"), fill_distribution(config), MANAGED_CACHE_POLICIES, {})


def compiled(config: dict[str, Any]) -> configuration_pb2.Distribution:
    result = result_of(config)
    assert isinstance(result, configuration_pb2.Distribution), result
    return result


def restricted(kind: str, *countries: str) -> dict[str, Any]:
    return distribution_config(Restrictions={"GeoRestriction": {"RestrictionType": kind, **quantified(*countries)}})


@pytest.mark.parametrize(("kind", "type_"), [("whitelist", WHITELIST), ("blacklist", BLACKLIST)])
def test_a_restriction_is_published(kind: str, type_: configuration_pb2.GeoRestriction.Type.ValueType) -> None:
    restriction = compiled(restricted(kind, "US", "DE")).geo_restriction
    assert (restriction.type, list(restriction.countries)) == (type_, ["DE", "US"])


@pytest.mark.parametrize("config", [distribution_config(), restricted("none")])
def test_without_a_restriction_there_is_none(config: dict[str, Any]) -> None:
    assert not compiled(config).HasField("geo_restriction")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (restricted("none", "US"), "Items must be empty with the RestrictionType none"),
        (restricted("whitelist"), "Items must hold at least one country with the RestrictionType whitelist"),
        (restricted("blacklist"), "Items must hold at least one country with the RestrictionType blacklist"),
        (restricted("whitelist", "US", "US"), "Items must not hold a country twice"),
        (restricted("whitelist", "US", "us"), "Items[1] must be US, not 'us'"),
        (restricted("blacklist", "UK"), "Items[0] must be a country code of ISO 3166-1 alpha-2, not 'UK'"),
        (restricted("blacklist", "EU"), "Items[0] must be a country code"),
        (restricted("blacklist", "USA"), "Items[0] must be a country code"),
        (restricted("blacklist", ""), "Items[0] must be a country code"),
        (restricted("greylist", "US"), "RestrictionType must be none, whitelist or blacklist, not 'greylist'"),
    ],
)
def test_what_is_no_restriction(config: dict[str, Any], message: str) -> None:
    problems = result_of(config)
    assert isinstance(problems, list)
    (problem,) = problems
    assert problem.code == "InvalidGeoRestrictionParameter"
    assert problem.message.startswith(f"DistributionConfig.Restrictions.GeoRestriction.{message}")


def test_countries_are_those_that_the_services_know() -> None:
    """The list of WAF, which has Kosovo beside those of ISO 3166-1."""
    model = botocore.session.get_session().get_service_model("wafv2")
    assert set(model.shape_for("CountryCode").enum) - {"XK"} == COUNTRY_CODES


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        ("allow-all", configuration_pb2.VIEWER_PROTOCOL_POLICY_ALLOW_ALL),
        ("https-only", configuration_pb2.VIEWER_PROTOCOL_POLICY_HTTPS_ONLY),
        ("redirect-to-https", configuration_pb2.VIEWER_PROTOCOL_POLICY_REDIRECT_TO_HTTPS),
    ],
)
def test_each_behavior_has_its_own_viewer_protocol_policy(
    policy: str, value: configuration_pb2.ViewerProtocolPolicy.ValueType
) -> None:
    config = distribution_config(CacheBehaviors=quantified(behavior(PathPattern="/a", ViewerProtocolPolicy=policy)))
    distribution = compiled(config)
    assert distribution.behaviors[0].viewer_protocol_policy == value
    assert distribution.default_behavior.viewer_protocol_policy == configuration_pb2.VIEWER_PROTOCOL_POLICY_ALLOW_ALL


def test_another_viewer_protocol_policy_is_refused() -> None:
    problems = result_of(changed(distribution_config(), "DefaultCacheBehavior.ViewerProtocolPolicy", "http-only"))
    assert isinstance(problems, list)
    assert [problem.message for problem in problems] == [
        "DistributionConfig.DefaultCacheBehavior.ViewerProtocolPolicy must be allow-all, https-only, redirect-to-https"
    ]


def test_the_api_takes_it_publishes_it_and_answers_it() -> None:
    api = WireApi()
    config = changed(restricted("whitelist", "US"), "DefaultCacheBehavior.ViewerProtocolPolicy", "redirect-to-https")
    created = api.do("CreateDistribution", DistributionConfig=config)
    answered = created["Distribution"]["DistributionConfig"]
    assert answered["Restrictions"] == config["Restrictions"]
    assert answered["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    identifier = created["Distribution"]["Id"]
    open_again = changed(answered, "Restrictions.GeoRestriction", {"RestrictionType": "none", "Quantity": 0})
    api.do("UpdateDistribution", Id=identifier, IfMatch=created["ETag"], DistributionConfig=open_again)
    before, after = api.published
    assert list(before.geo_restriction.countries) == ["US"] and not after.HasField("geo_restriction")


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("Restrictions.GeoRestriction", {"RestrictionType": "whitelist", **quantified("ZZ")}, "InvalidGeoRestrictionParameter"),
        ("Restrictions.GeoRestriction", {"RestrictionType": "whitelist", "Quantity": 2, "Items": ["US"]}, "InconsistentQuantities"),
        ("Restrictions.GeoRestriction", {"RestrictionType": "grey", "Quantity": 0}, "InvalidArgument"),
        ("DefaultCacheBehavior.ViewerProtocolPolicy", "http-only", "InvalidArgument"),
    ],
)  # fmt: skip
def test_what_the_api_refuses(path: str, value: Any, code: str) -> None:
    api = WireApi()
    with pytest.raises(ApiError) as refused:
        api.do("CreateDistribution", DistributionConfig=changed(distribution_config(), path, value))
    assert refused.value.code == code and not api.store.changes
