"""The compiler: what each member becomes, and the sentence that refuses what cannot be honoured. Reference 1.3 to 1.6."""

from typing import Any

import pytest

from control_plane.compiler.defaults import fill_distribution
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Problem
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import CACHING_OPTIMIZED, behavior, changed, custom_origin, distribution_config, quantified

IDENTITY = Identity("E1", "d1.cdn.localhost")
ALL_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
DEFAULT = "DefaultCacheBehavior"
ORIGIN = "Origins.Items.0"


def compiled(config: dict[str, Any]) -> configuration_pb2.Distribution:
    result = compile_distribution(IDENTITY, fill_distribution(config), MANAGED_CACHE_POLICIES, {})
    assert isinstance(result, configuration_pb2.Distribution), result
    return result


def problems(config: dict[str, Any]) -> list[Problem]:
    result = compile_distribution(IDENTITY, fill_distribution(config), MANAGED_CACHE_POLICIES, {})
    assert isinstance(result, list), result
    return result


def test_a_distribution_becomes_what_nodes_serve_from() -> None:
    methods = {**quantified(*ALL_METHODS), "CachedMethods": quantified("GET", "HEAD", "OPTIONS")}
    config = distribution_config(
        Aliases=quantified("WWW.example.com"),
        DefaultRootObject="index.html",
        IsIPV6Enabled=True,
        Enabled=False,
        Origins=quantified(custom_origin(), custom_origin("other", DomainName="::1", OriginPath="/v1")),
        CacheBehaviors=quantified(behavior(PathPattern="/api/*", TargetOriginId="other", AllowedMethods=methods)),
    )
    distribution = compiled(config)
    assert (distribution.id, distribution.domain_name) == ("E1", "d1.cdn.localhost")
    assert list(distribution.aliases) == ["www.example.com"]
    assert not distribution.enabled and distribution.ipv6_enabled
    assert distribution.default_root_object == "index.html"
    assert [(origin.id, origin.host, origin.port, origin.path_prefix) for origin in distribution.origins] == [
        ("web", "127.0.0.1", 8080, ""),
        ("other", "::1", 8080, "/v1"),
    ]
    (ordered,) = distribution.behaviors
    assert (ordered.path_pattern, ordered.origin_id) == ("/api/*", "other")
    assert list(ordered.allowed_methods) == ALL_METHODS
    assert list(ordered.cached_methods) == ["GET", "HEAD", "OPTIONS"]
    default = distribution.default_behavior
    assert (default.path_pattern, list(default.allowed_methods)) == ("*", ["HEAD", "GET"])
    assert default.cache_policy_id == CACHING_OPTIMIZED


def test_times_of_an_origin() -> None:
    config = changed(distribution_config(), f"{ORIGIN}.ConnectionAttempts", 1)
    config = changed(config, f"{ORIGIN}.ConnectionTimeout", 2)
    config = changed(config, f"{ORIGIN}.CustomOriginConfig.OriginReadTimeout", 3)
    config = changed(config, f"{ORIGIN}.CustomOriginConfig.OriginKeepaliveTimeout", 4)
    (origin,) = compiled(config).origins
    assert origin.connection_attempts == 1
    assert origin.connection_timeout_milliseconds == 2_000
    assert origin.read_timeout_milliseconds == 3_000
    assert origin.keepalive_timeout_milliseconds == 4_000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{ORIGIN}.DomainName", "localhost"),
        (f"{ORIGIN}.DomainName", "my_app"),
        (f"{ORIGIN}.DomainName", "origin.example.com"),
        (f"{ORIGIN}.DomainName", "127.0.0.1"),
        (f"{ORIGIN}.CustomOriginConfig.HTTPPort", 80),
        (f"{ORIGIN}.CustomOriginConfig.HTTPPort", 65535),
        (f"{ORIGIN}.CustomOriginConfig.OriginProtocolPolicy", "match-viewer"),
        (f"{ORIGIN}.CustomOriginConfig.OriginSslProtocols", quantified("TLSv1.2")),
        (f"{ORIGIN}.CustomOriginConfig.IpAddressType", "dualstack"),
        (f"{ORIGIN}.OriginShield", {"Enabled": False}),
        (f"{ORIGIN}.OriginAccessControlId", ""),
        (f"{ORIGIN}.CustomHeaders", quantified({"HeaderName": "X-A", "HeaderValue": ""})),
        ("HttpVersion", "http1.1"),
        ("PriceClass", "PriceClass_All"),
        ("ViewerCertificate", {"CloudFrontDefaultCertificate": True}),
        ("OriginGroups", {"Quantity": 0, "Items": []}),
        ("CustomErrorResponses", {"Quantity": 0, "Items": []}),
        (f"{ORIGIN}.ResponseCompletionTimeout", 0),
        (f"{ORIGIN}.ResponseCompletionTimeout", 30),
        (f"{ORIGIN}.ResponseCompletionTimeout", 2**31 - 1),
        (f"{DEFAULT}.Compress", True),
        ("Restrictions", {"GeoRestriction": {"RestrictionType": "none", "Quantity": 0, "Items": []}}),
        ("Comment", "x" * 128),
        ("DefaultRootObject", "a/b.html"),
        (f"{DEFAULT}.TrustedSigners", {"Enabled": False, "Quantity": 0}),
    ],
)
def test_what_is_accepted(path: str, value: Any) -> None:
    compiled(changed(distribution_config(), path, value))


UNSUPPORTED = [
    ("DefaultCacheBehavior.SmoothStreaming", True),
    ("DefaultCacheBehavior.TrustedKeyGroups.Enabled", True),
    ("DefaultCacheBehavior.FieldLevelEncryptionId", "F1"),
    ("DefaultCacheBehavior.RealtimeLogConfigArn", "arn"),
    ("DefaultCacheBehavior.OriginRequestPolicyId", "216adef6-5c7f-47e4-b989-5492eafa07d3"),
    ("DefaultCacheBehavior.ResponseHeadersPolicyId", "60669652-455b-4ae9-85a4-c4c02393f86c"),
    ("DefaultCacheBehavior.GrpcConfig.Enabled", True),
    ("DefaultCacheBehavior.MinTTL", 0),
    ("DefaultCacheBehavior.ForwardedValues", {"QueryString": False, "Cookies": {"Forward": "none"}}),
    ("Origins.Items.0.S3OriginConfig", {"OriginAccessIdentity": ""}),
    ("Origins.Items.0.VpcOriginConfig", {"VpcOriginId": "v"}),
    ("Origins.Items.0.CustomOriginConfig.OriginProtocolPolicy", "https-only"),
    ("Origins.Items.0.CustomOriginConfig.IpAddressType", "ipv6"),
    ("Origins.Items.0.OriginShield.Enabled", True),
    ("Origins.Items.0.OriginAccessControlId", "x"),
    ("PriceClass", "PriceClass_100"),
    ("ViewerCertificate.ACMCertificateArn", "arn"),
    ("ViewerCertificate.CloudFrontDefaultCertificate", False),
    ("WebACLId", "arn"),
    ("HttpVersion", "http2and3"),
    ("Logging.Enabled", True),
    ("Logging.Bucket", "logs"),
    ("Staging", True),
    ("ContinuousDeploymentPolicyId", "x"),
    ("AnycastIpListId", "x"),
    ("TenantConfig", {"ParameterDefinitions": []}),
    ("ConnectionMode", "tenant-only"),
    ("CacheTagConfig", {"HeaderName": "tags"}),
]


@pytest.mark.parametrize(("path", "value"), UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_name(path: str, value: Any) -> None:
    config = changed(distribution_config(), path, value)
    named = f"DistributionConfig.{path.replace('Items.0', 'Items[0]')} is not supported yet"
    assert any(problem.code == "InvalidArgument" and named in problem.message for problem in problems(config))


def test_what_is_not_supported_is_refused_in_ordered_behaviors_too() -> None:
    config = distribution_config(CacheBehaviors=quantified(behavior(PathPattern="/a", SmoothStreaming=True)))
    (problem,) = problems(config)
    assert problem.message.startswith("DistributionConfig.CacheBehaviors.Items[0].SmoothStreaming is not supported yet")


def test_lists_that_must_be_empty() -> None:
    config = changed(distribution_config(), f"{DEFAULT}.TrustedSigners", {"Enabled": False, **quantified("self")})
    messages = [problem.message for problem in problems(config)]
    assert any("DefaultCacheBehavior.TrustedSigners.Items is not supported yet" in message for message in messages)


def test_a_member_that_a_newer_model_may_bring_is_refused() -> None:
    (problem,) = problems(changed(distribution_config(), "Teleport", {"Enabled": True}))
    assert problem.message == "DistributionConfig.Teleport.Enabled is not supported"


def header(name: str, value: str = "v") -> dict[str, Any]:
    return quantified({"HeaderName": name, "HeaderValue": value})


@pytest.mark.parametrize(
    ("path", "value", "code", "message"),
    [
        ("CallerReference", "", "InvalidArgument", "CallerReference must have 1 to 1024"),
        ("Comment", "x" * 129, "InvalidArgument", "Comment must have at most 128"),
        ("DefaultRootObject", "/index.html", "InvalidDefaultRootObject", "must not begin with /"),
        ("DefaultRootObject", "x" * 256, "InvalidDefaultRootObject", "at most 255"),
        ("DefaultRootObject", "a b", "InvalidDefaultRootObject", "must be letters"),
        ("DefaultRootObject", "a\r\nb", "InvalidDefaultRootObject", "must be letters"),
        ("Aliases", quantified("*.example.com"), "InvalidArgument", "not supported yet with the wildcard"),
        ("Aliases", quantified("a b"), "InvalidArgument", "must be a host name"),
        ("Aliases", quantified("127.0.0.1"), "InvalidArgument", "must be a host name"),
        ("Aliases", quantified("a.example.com", "A.example.com"), "InvalidArgument", "a name twice"),
        ("Aliases", quantified(*(f"h{n}.test" for n in range(101))), "TooManyDistributionCNAMEs", "not 101"),
        ("Aliases", {"Quantity": 1}, "InconsistentQuantities", "Quantity is 1, Items are 0"),
        ("Origins", quantified(custom_origin(), custom_origin()), "InvalidArgument", "one Id twice"),
        ("Origins", quantified(*(custom_origin(str(n)) for n in range(101))), "TooManyOrigins", "not 101"),
        (f"{ORIGIN}.DomainName", "localhost:3000", "InvalidArgument", "the port goes to CustomOriginConfig.HTTPPort"),
        (f"{ORIGIN}.DomainName", "http://localhost", "InvalidArgument", "without scheme"),
        (f"{ORIGIN}.DomainName", "", "InvalidArgument", "DomainName must be a host name"),
        (f"{ORIGIN}.DomainName", "a" * 64 + ".test", "InvalidArgument", "DomainName must be a host name"),
        (f"{ORIGIN}.DomainName", "fe80::1%eth0", "InvalidArgument", "DomainName must be a host name"),
        (f"{ORIGIN}.Id", "", "InvalidArgument", "Id must have 1 to 128"),
        (f"{ORIGIN}.OriginPath", "v1", "InvalidArgument", "must begin with / and not end with it"),
        (f"{ORIGIN}.OriginPath", "/v1/", "InvalidArgument", "must begin with / and not end with it"),
        (f"{ORIGIN}.OriginPath", "/a b", "InvalidArgument", "must be the path of a URL"),
        (f"{ORIGIN}.OriginPath", "/a?b", "InvalidArgument", "must be the path of a URL"),
        (f"{ORIGIN}.ConnectionAttempts", 4, "InvalidArgument", "must be 1 to 3"),
        (f"{ORIGIN}.ConnectionTimeout", 0, "InvalidArgument", "must be 1 to 10"),
        (f"{ORIGIN}.ResponseCompletionTimeout", 29, "InvalidArgument", "at least OriginReadTimeout, which is 30 sec"),
        (f"{ORIGIN}.ResponseCompletionTimeout", -1, "InvalidArgument", "must be 0 for no bound, or at least"),
        (f"{ORIGIN}.CustomOriginConfig.HTTPPort", 22, "InvalidArgument", "HTTPPort must be 80, 443 or 1024 to 65535"),
        (f"{ORIGIN}.CustomOriginConfig.HTTPSPort", 70000, "InvalidArgument", "HTTPSPort must be 80, 443 or"),
        (f"{ORIGIN}.CustomOriginConfig.OriginReadTimeout", 121, "InvalidOriginReadTimeout", "1 to 120"),
        (f"{ORIGIN}.CustomOriginConfig.OriginKeepaliveTimeout", 0, "InvalidOriginKeepaliveTimeout", "1 to 120"),
        (f"{ORIGIN}.CustomHeaders", header("Host"), "InvalidArgument", "must not be Host"),
        (f"{ORIGIN}.CustomHeaders", header("x-edge-log-index"), "InvalidArgument", "must not be x-edge-log-index"),
        (f"{ORIGIN}.CustomHeaders", header("CDN-Loop"), "InvalidArgument", "must not be CDN-Loop"),
        (f"{ORIGIN}.CustomHeaders", header("X-Amz-Cf-Id"), "InvalidArgument", "must not be X-Amz-Cf-Id"),
        (f"{ORIGIN}.CustomHeaders", header("a b"), "InvalidArgument", "must be a header name"),
        (f"{ORIGIN}.CustomHeaders", header(""), "InvalidArgument", "must be a header name"),
        (f"{ORIGIN}.CustomHeaders", header("a" * 257), "InvalidArgument", "at most 256 bytes"),
        (f"{ORIGIN}.CustomHeaders", header("a", "x\r\nHost: y"), "InvalidArgument", "without line breaks"),
        (f"{ORIGIN}.CustomHeaders", header("a", "x\n"), "InvalidArgument", "without line breaks"),
        (f"{ORIGIN}.CustomHeaders", header("a", "€"), "InvalidArgument", "printable Latin-1"),
        (f"{ORIGIN}.CustomHeaders", header("a", "x" * 1784), "InvalidArgument", "at most 1783 bytes"),
        (
            f"{ORIGIN}.CustomHeaders",
            quantified(*({"HeaderName": f"h{n}", "HeaderValue": ""} for n in range(31))),
            "TooManyOriginCustomHeaders",
            "at most 30",
        ),
        (
            f"{ORIGIN}.CustomHeaders",
            quantified(*({"HeaderName": f"h{n}", "HeaderValue": "x" * 1700} for n in range(7))),
            "InvalidArgument",
            "at most 10240 bytes together",
        ),
        (
            f"{ORIGIN}.CustomHeaders",
            quantified(*({"HeaderName": name, "HeaderValue": ""} for name in ("a", "A"))),
            "InvalidArgument",
            "must not name a header twice",
        ),
        (
            f"{DEFAULT}.TargetOriginId",
            "nowhere",
            "NoSuchOrigin",
            "names 'nowhere', which no origin and no origin group has",
        ),
        (f"{DEFAULT}.CachePolicyId", "", "InvalidArgument", "CachePolicyId is required, for example 658327ea"),
        (
            f"{DEFAULT}.CachePolicyId",
            "unknown",
            "NoSuchCachePolicy",
            "names 'unknown', which does not exist; ListCachePolicies has",
        ),
        (
            f"{DEFAULT}.CachePolicyId",
            "CachingDisabled",
            "NoSuchCachePolicy",
            "names 'CachingDisabled', which is a name; its id is 4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
        ),
        (f"{DEFAULT}.AllowedMethods", quantified("GET"), "InvalidArgument", "AllowedMethods must be GET, HEAD; or"),
        (f"{DEFAULT}.AllowedMethods", quantified("GET", "HEAD", "HEAD"), "InvalidArgument", "must be GET, HEAD; or"),
        (
            f"{DEFAULT}.AllowedMethods",
            {**quantified(*ALL_METHODS), "CachedMethods": quantified("GET", "HEAD", "POST")},
            "InvalidArgument",
            "CachedMethods must be GET, HEAD; or GET, HEAD, OPTIONS",
        ),
        (
            f"{DEFAULT}.AllowedMethods",
            {**quantified("GET", "HEAD"), "CachedMethods": quantified("GET", "HEAD", "OPTIONS")},
            "InvalidArgument",
            "must not hold a method that is not allowed",
        ),
        (
            "CacheBehaviors",
            quantified(*(behavior(PathPattern=f"/{n}") for n in range(76))),
            "TooManyCacheBehaviors",
            "not 76",
        ),
        ("CacheBehaviors", quantified(behavior(PathPattern="")), "InvalidArgument", "PathPattern must have 1 to 255"),
        ("CacheBehaviors", quantified(behavior(PathPattern="/a b")), "InvalidArgument", "PathPattern must have"),
        ("CacheBehaviors", quantified(behavior(PathPattern="x" * 256)), "InvalidArgument", "PathPattern must have"),
        (
            "CacheBehaviors",
            quantified(behavior(PathPattern="/a"), behavior(PathPattern="a")),
            "InvalidArgument",
            "one PathPattern twice",
        ),
    ],
)
def test_what_a_distribution_may_not_say(path: str, value: Any, code: str, message: str) -> None:
    found = problems(changed(distribution_config(), path, value))
    assert (code, True) in [(problem.code, message in problem.message) for problem in found], found


def test_an_origin_needs_to_say_how_to_reach_it() -> None:
    config = distribution_config(Origins=quantified({"Id": "web", "DomainName": "localhost"}))
    assert [problem.message for problem in problems(config)] == [
        "DistributionConfig.Origins.Items[0].CustomOriginConfig is required"
    ]


def test_every_problem_is_found_at_once() -> None:
    config = distribution_config(Comment="x" * 129, DefaultRootObject="/x", HttpVersion="http3")
    config = changed(config, f"{ORIGIN}.ConnectionAttempts", 9)
    config = changed(config, f"{DEFAULT}.TargetOriginId", "nowhere")
    assert [problem.code for problem in problems(config)] == [
        "InvalidArgument",
        "InvalidArgument",
        "InvalidDefaultRootObject",
        "InvalidArgument",
        "NoSuchOrigin",
    ]


def test_filling_in_defaults_twice_changes_nothing_and_touches_no_argument() -> None:
    config = distribution_config(CacheBehaviors=quantified(behavior(PathPattern="/a")))
    kept = changed(config, "Comment", config["Comment"])
    full = fill_distribution(config)
    assert fill_distribution(full) == full
    assert config == kept
