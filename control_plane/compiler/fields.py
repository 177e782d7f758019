"""Every member of the service's configuration, and what becomes of it: the one table that keeps anything from being accepted and ignored.

A path has no list positions (`Origins.Items[].Id`). Structures and lists need no rule of their own; a rule on one decides about all below it. A member without a
rule is refused, so a newer model cannot smuggle one in; a test walks the model and demands that the table is complete, and that docs/management-api.md shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Honoured:
    """The data plane does what the member says; its value is checked elsewhere in this package."""


@dataclass(frozen=True, slots=True)
class WithoutEffect:
    """Accepted and kept whatever it is, since in the lab it can change nothing, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Only:
    """Accepted with one of these values, which ask for nothing that is missing."""

    values: tuple[Any, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Accepted only empty or absent."""

    reason: str


Rule = Honoured | WithoutEffect | Only | Refused
Table = Mapping[str, Rule]

_HONOURED = Honoured()

_NO_TLS = "there is no TLS listener in this version"
_NO_ORIGIN_TLS = "nodes speak plain HTTP to origins in this version"
_NO_FUNCTIONS = "edge functions are not there in this version"
_NO_SIGNED_URLS = "signed URLs and cookies are not there in this version"
_NO_LOGS = "each node writes its own access log; delivery to a bucket or a stream is not there in this version"
_USE_POLICY = "use CachePolicyId, for example 658327ea-f89d-4fab-a63d-7e88639e58f6 (CachingOptimized)"
_NO_TENANTS = "multi-tenant distributions are not there in this version"
_NO_MTLS = "mutual TLS is not there in this version"

_QUANTITY_ONLY_ZERO = (0,)

_BEHAVIOR: Table = {
    "TargetOriginId": _HONOURED,
    "TrustedSigners.Enabled": Only((False,), _NO_SIGNED_URLS),
    "TrustedSigners.Quantity": Only(_QUANTITY_ONLY_ZERO, _NO_SIGNED_URLS),
    "TrustedSigners.Items": Refused(_NO_SIGNED_URLS),
    "TrustedKeyGroups.Enabled": Only((False,), _NO_SIGNED_URLS),
    "TrustedKeyGroups.Quantity": Only(_QUANTITY_ONLY_ZERO, _NO_SIGNED_URLS),
    "TrustedKeyGroups.Items": Refused(_NO_SIGNED_URLS),
    "ViewerProtocolPolicy": _HONOURED,
    "AllowedMethods.Quantity": _HONOURED,
    "AllowedMethods.Items[]": _HONOURED,
    "AllowedMethods.CachedMethods.Quantity": _HONOURED,
    "AllowedMethods.CachedMethods.Items[]": _HONOURED,
    "SmoothStreaming": Only((False,), "Smooth Streaming is not there in this version"),
    "Compress": _HONOURED,
    "LambdaFunctionAssociations.Quantity": Only(_QUANTITY_ONLY_ZERO, _NO_FUNCTIONS),
    "LambdaFunctionAssociations.Items": Refused(_NO_FUNCTIONS),
    "FunctionAssociations.Quantity": Only(_QUANTITY_ONLY_ZERO, _NO_FUNCTIONS),
    "FunctionAssociations.Items": Refused(_NO_FUNCTIONS),
    "FieldLevelEncryptionId": Refused("field-level encryption is not there in this version"),
    "RealtimeLogConfigArn": Refused(_NO_LOGS),
    "CachePolicyId": _HONOURED,
    "OriginRequestPolicyId": Refused("origin request policies are not there in this version"),
    "ResponseHeadersPolicyId": Refused("response headers policies are not there in this version"),
    "GrpcConfig.Enabled": Only((False,), "gRPC needs HTTP/2, which needs TLS, which is not there in this version"),
    "ForwardedValues": Refused(f"it forwards every header, also those outside the cache key; {_USE_POLICY}"),
    "MinTTL": Refused(f"it belongs to ForwardedValues; {_USE_POLICY}"),
    "DefaultTTL": Refused(f"it belongs to ForwardedValues; {_USE_POLICY}"),
    "MaxTTL": Refused(f"it belongs to ForwardedValues; {_USE_POLICY}"),
}

_ORIGIN: Table = {
    "Id": _HONOURED,
    "DomainName": _HONOURED,
    "OriginPath": _HONOURED,
    "CustomHeaders.Quantity": _HONOURED,
    "CustomHeaders.Items[].HeaderName": _HONOURED,
    "CustomHeaders.Items[].HeaderValue": _HONOURED,
    "S3OriginConfig": Refused("use CustomOriginConfig with the host and port of the lab's bucket"),
    "CustomOriginConfig.HTTPPort": _HONOURED,
    "CustomOriginConfig.HTTPSPort": WithoutEffect("nodes speak plain HTTP to origins, on HTTPPort"),
    # Viewers speak HTTP only, so "match-viewer" means HTTP.
    "CustomOriginConfig.OriginProtocolPolicy": Only(("http-only", "match-viewer"), _NO_ORIGIN_TLS),
    "CustomOriginConfig.OriginSslProtocols.Quantity": WithoutEffect("nodes speak plain HTTP to origins"),
    "CustomOriginConfig.OriginSslProtocols.Items[]": WithoutEffect("nodes speak plain HTTP to origins"),
    "CustomOriginConfig.OriginReadTimeout": _HONOURED,
    "CustomOriginConfig.OriginKeepaliveTimeout": _HONOURED,
    "CustomOriginConfig.IpAddressType": Only(("dualstack",), "nodes use whichever addresses a name has"),
    "CustomOriginConfig.OriginMtlsConfig": Refused(_NO_MTLS),
    "VpcOriginConfig": Refused("there is no VPC in the lab; use CustomOriginConfig with a local address"),
    "ConnectionAttempts": _HONOURED,
    "ConnectionTimeout": _HONOURED,
    "ResponseCompletionTimeout": _HONOURED,
    "OriginShield.Enabled": Only((False,), "Origin Shield is not there in this version"),
    "OriginShield.OriginShieldRegion": Refused("Origin Shield is not there in this version"),
    "OriginAccessControlId": Refused("origin access control is not there in this version"),
}

_DISTRIBUTION: Table = {
    "CallerReference": _HONOURED,
    "Aliases.Quantity": _HONOURED,
    "Aliases.Items[]": _HONOURED,
    "DefaultRootObject": _HONOURED,
    "Origins.Quantity": _HONOURED,
    "OriginGroups.Quantity": _HONOURED,
    "OriginGroups.Items[].Id": _HONOURED,
    "OriginGroups.Items[].FailoverCriteria.StatusCodes.Quantity": _HONOURED,
    "OriginGroups.Items[].FailoverCriteria.StatusCodes.Items[]": _HONOURED,
    "OriginGroups.Items[].Members.Quantity": _HONOURED,
    "OriginGroups.Items[].Members.Items[].OriginId": _HONOURED,
    # It asks MediaPackage for a score of each response, which no origin of the lab gives.
    "OriginGroups.Items[].SelectionCriteria": Only(("default",), "choosing by media quality needs MediaPackage v2"),
    "CacheBehaviors.Quantity": _HONOURED,
    "CacheBehaviors.Items[].PathPattern": _HONOURED,
    "CustomErrorResponses.Quantity": _HONOURED,
    "CustomErrorResponses.Items[].ErrorCode": _HONOURED,
    "CustomErrorResponses.Items[].ResponsePagePath": _HONOURED,
    "CustomErrorResponses.Items[].ResponseCode": _HONOURED,
    "CustomErrorResponses.Items[].ErrorCachingMinTTL": _HONOURED,
    "Comment": _HONOURED,
    "Logging.Enabled": Only((False,), _NO_LOGS),
    "Logging.IncludeCookies": Only((False,), _NO_LOGS),
    "Logging.Bucket": Refused(_NO_LOGS),
    "Logging.Prefix": Refused(_NO_LOGS),
    "PriceClass": Only(("PriceClass_All",), "every edge of the lab serves every distribution"),
    "Enabled": _HONOURED,
    "ViewerCertificate.CloudFrontDefaultCertificate": Only((True,), _NO_TLS),
    "ViewerCertificate.IAMCertificateId": Refused(_NO_TLS),
    "ViewerCertificate.ACMCertificateArn": Refused(_NO_TLS),
    # What the service itself answers beside its default certificate, so that a configuration read there can be used here.
    "ViewerCertificate.SSLSupportMethod": Only(("vip",), _NO_TLS),
    "ViewerCertificate.MinimumProtocolVersion": Only(("TLSv1",), _NO_TLS),
    "ViewerCertificate.Certificate": Refused(_NO_TLS),
    "ViewerCertificate.CertificateSource": Only(("cloudfront",), _NO_TLS),
    "Restrictions.GeoRestriction.RestrictionType": _HONOURED,
    "Restrictions.GeoRestriction.Quantity": _HONOURED,
    "Restrictions.GeoRestriction.Items[]": _HONOURED,
    "WebACLId": Refused("web ACLs are not there in this version"),
    # HTTP/2 is offered inside TLS only, so over plain HTTP both mean HTTP/1.1.
    "HttpVersion": Only(("http1.1", "http2"), "HTTP/3 is not there in this version"),
    "IsIPV6Enabled": _HONOURED,
    "ContinuousDeploymentPolicyId": Refused("continuous deployment is not there in this version"),
    "Staging": Only((False,), "continuous deployment is not there in this version"),
    "AnycastIpListId": Refused("anycast addresses are not there in this version"),
    "TenantConfig": Refused(_NO_TENANTS),
    "ConnectionMode": Only(("direct",), _NO_TENANTS),
    "ViewerMtlsConfig": Refused(_NO_MTLS),
    "ConnectionFunctionAssociation": Refused(_NO_MTLS),
    "CacheTagConfig": Refused("cache tags are not there in this version; invalidate paths"),
}


def _below(prefix: str, table: Table) -> Table:
    return {f"{prefix}.{path}": rule for path, rule in table.items()}


DISTRIBUTION_FIELDS: Table = {
    **_DISTRIBUTION,
    **_below("Origins.Items[]", _ORIGIN),
    **_below("DefaultCacheBehavior", _BEHAVIOR),
    **_below("CacheBehaviors.Items[]", _BEHAVIOR),
}

_CACHE_KEY = "ParametersInCacheKeyAndForwardedToOrigin"

CACHE_POLICY_FIELDS: Table = {
    "Name": _HONOURED,
    "Comment": _HONOURED,
    "MinTTL": _HONOURED,
    "DefaultTTL": _HONOURED,
    "MaxTTL": _HONOURED,
    f"{_CACHE_KEY}.EnableAcceptEncodingGzip": _HONOURED,
    f"{_CACHE_KEY}.EnableAcceptEncodingBrotli": _HONOURED,
    f"{_CACHE_KEY}.HeadersConfig.HeaderBehavior": _HONOURED,
    f"{_CACHE_KEY}.HeadersConfig.Headers.Quantity": _HONOURED,
    f"{_CACHE_KEY}.HeadersConfig.Headers.Items[]": _HONOURED,
    f"{_CACHE_KEY}.CookiesConfig.CookieBehavior": _HONOURED,
    f"{_CACHE_KEY}.CookiesConfig.Cookies.Quantity": _HONOURED,
    f"{_CACHE_KEY}.CookiesConfig.Cookies.Items[]": _HONOURED,
    f"{_CACHE_KEY}.QueryStringsConfig.QueryStringBehavior": _HONOURED,
    f"{_CACHE_KEY}.QueryStringsConfig.QueryStrings.Quantity": _HONOURED,
    f"{_CACHE_KEY}.QueryStringsConfig.QueryStrings.Items[]": _HONOURED,
}
