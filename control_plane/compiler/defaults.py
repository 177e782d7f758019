"""What a configuration means where it says nothing (reference 1.3 to 1.7): the service answers with every member filled in, and so do we.

Only what the caller left out is added, member by member. Filling twice changes nothing.
"""

from copy import deepcopy

from control_plane.compiler.problems import Config

DEFAULT_TTL_SECONDS = 86_400
MAXIMUM_TTL_SECONDS = 31_536_000

_READ_METHODS = {"Quantity": 2, "Items": ["HEAD", "GET"]}

_DISTRIBUTION: Config = {
    "Aliases": {"Quantity": 0},
    "DefaultRootObject": "",
    "OriginGroups": {"Quantity": 0},
    "CacheBehaviors": {"Quantity": 0},
    "CustomErrorResponses": {"Quantity": 0},
    "Logging": {"Enabled": False, "IncludeCookies": False, "Bucket": "", "Prefix": ""},
    "PriceClass": "PriceClass_All",
    "ViewerCertificate": {
        "CloudFrontDefaultCertificate": True,
        "SSLSupportMethod": "vip",
        "MinimumProtocolVersion": "TLSv1",
        "CertificateSource": "cloudfront",
    },
    "Restrictions": {"GeoRestriction": {"RestrictionType": "none", "Quantity": 0}},
    "WebACLId": "",
    "HttpVersion": "http2",
    # The service's console turns it on; its API does not.
    "IsIPV6Enabled": False,
    "ContinuousDeploymentPolicyId": "",
    "Staging": False,
}

_ORIGIN: Config = {
    "OriginPath": "",
    "CustomHeaders": {"Quantity": 0},
    "ConnectionAttempts": 3,
    "ConnectionTimeout": 10,
    "OriginShield": {"Enabled": False},
    "OriginAccessControlId": "",
}

_CUSTOM_ORIGIN: Config = {"OriginReadTimeout": 30, "OriginKeepaliveTimeout": 5}

_ORIGIN_GROUP: Config = {"SelectionCriteria": "default"}

_ERROR_RESPONSE: Config = {"ResponsePagePath": "", "ResponseCode": "", "ErrorCachingMinTTL": 10}

_BEHAVIOR: Config = {
    "TrustedSigners": {"Enabled": False, "Quantity": 0},
    "TrustedKeyGroups": {"Enabled": False, "Quantity": 0},
    "AllowedMethods": {**_READ_METHODS, "CachedMethods": _READ_METHODS},
    "SmoothStreaming": False,
    "Compress": False,
    "LambdaFunctionAssociations": {"Quantity": 0},
    "FunctionAssociations": {"Quantity": 0},
    "FieldLevelEncryptionId": "",
    "GrpcConfig": {"Enabled": False},
}

_CACHE_KEY: Config = {
    "EnableAcceptEncodingGzip": False,
    "EnableAcceptEncodingBrotli": False,
    "HeadersConfig": {"HeaderBehavior": "none"},
    "CookiesConfig": {"CookieBehavior": "none"},
    "QueryStringsConfig": {"QueryStringBehavior": "none"},
}

_LISTED = (("CacheBehaviors", _BEHAVIOR), ("OriginGroups", _ORIGIN_GROUP), ("CustomErrorResponses", _ERROR_RESPONSE))


def fill_distribution(config: Config) -> Config:
    """The same distribution with every default spelled out."""
    full = _filled(config, _DISTRIBUTION)
    full["Origins"] = _with_items(full["Origins"], [_fill_origin(origin) for origin in full["Origins"]["Items"]])
    full["DefaultCacheBehavior"] = _filled(full["DefaultCacheBehavior"], _BEHAVIOR)
    for name, defaults in _LISTED:
        full[name] = _fill_items(full[name], defaults)
    return full


def fill_cache_policy(config: Config) -> Config:
    """The same cache policy with every default spelled out (reference 1.7)."""
    default_ttl = config.get("DefaultTTL", max(DEFAULT_TTL_SECONDS, config["MinTTL"]))
    maximum_ttl = config.get("MaxTTL", max(MAXIMUM_TTL_SECONDS, default_ttl))
    ttls = {"DefaultTTL": default_ttl, "MaxTTL": maximum_ttl}
    return _filled(config, {"Comment": "", **ttls, "ParametersInCacheKeyAndForwardedToOrigin": _CACHE_KEY})


def _fill_origin(origin: Config) -> Config:
    full = _filled(origin, _ORIGIN)
    if "CustomOriginConfig" in full:
        full["CustomOriginConfig"] = _filled(full["CustomOriginConfig"], _CUSTOM_ORIGIN)
    return full


def _fill_items(quantified: Config, defaults: Config) -> Config:
    """An empty list stays as the caller wrote it: with `Items` or without."""
    if not quantified.get("Items"):
        return quantified
    return _with_items(quantified, [_filled(item, defaults) for item in quantified["Items"]])


def _with_items(quantified: Config, items: list[Config]) -> Config:
    return {**quantified, "Items": items}


def _filled(config: Config, defaults: Config) -> Config:
    full = dict(config)
    for name, default in defaults.items():
        if name not in full:
            full[name] = deepcopy(default)
        elif isinstance(default, dict) and isinstance(full[name], dict):
            full[name] = _filled(full[name], default)
    return full
