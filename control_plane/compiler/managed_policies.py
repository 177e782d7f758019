"""The cache policies that the service comes with, under their public ids (reference 1.7). Nobody can change or delete them."""

from collections.abc import Mapping, Sequence

from control_plane.compiler.defaults import fill_cache_policy
from control_plane.compiler.problems import Config

MANAGED_PREFIX = "Managed-"
"""The service's API puts it before the names that its guide has."""

_DAY, _YEAR = 86_400, 31_536_000
_ORIGIN_CONTROL_HEADERS = ("host", "origin", "x-http-method-override", "x-http-method", "x-method-override")


def _policy(name: str, comment: str, ttls: tuple[int, int, int], key: Config) -> Config:
    minimum, default, maximum = ttls
    return fill_cache_policy(
        {
            "Name": f"{MANAGED_PREFIX}{name}",
            "Comment": comment,
            "MinTTL": minimum,
            "DefaultTTL": default,
            "MaxTTL": maximum,
            "ParametersInCacheKeyAndForwardedToOrigin": key,
        }
    )


def _encodings(*, gzip: bool, brotli: bool) -> Config:
    return {"EnableAcceptEncodingGzip": gzip, "EnableAcceptEncodingBrotli": brotli}


def _headers(names: Sequence[str]) -> Config:
    return {"HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": {"Quantity": len(names), "Items": list(names)}}}


_ALL_COOKIES: Config = {"CookiesConfig": {"CookieBehavior": "all"}}
_ALL_QUERY_STRINGS: Config = {"QueryStringsConfig": {"QueryStringBehavior": "all"}}
_BOTH_ENCODINGS = _encodings(gzip=True, brotli=True)
_MANIFEST_QUERY_STRINGS: Config = {
    "QueryStringsConfig": {
        "QueryStringBehavior": "whitelist",
        "QueryStrings": {"Quantity": 4, "Items": ["aws.manifestfilter", "start", "end", "m"]},
    }
}

MANAGED_CACHE_POLICIES: Mapping[str, Config] = {
    "658327ea-f89d-4fab-a63d-7e88639e58f6": _policy(
        "CachingOptimized", "Long lifetimes, compressed variants apart.", (1, _DAY, _YEAR), _BOTH_ENCODINGS
    ),
    "b2884449-e4de-46a7-ac36-70bc7f1ddd6d": _policy(
        "CachingOptimizedForUncompressedObjects", "Long lifetimes, no compressed variants.", (1, _DAY, _YEAR), {}
    ),
    "4135ea2d-6df8-44a3-9df3-4b5a84be39ad": _policy("CachingDisabled", "Nothing is cached.", (0, 0, 0), {}),
    "83da9c7e-98b4-4e11-a168-04f0df8e2c65": _policy(
        "UseOriginCacheControlHeaders",
        "The origin decides; query strings are not forwarded.",
        (0, 0, _YEAR),
        {**_BOTH_ENCODINGS, **_headers(_ORIGIN_CONTROL_HEADERS), **_ALL_COOKIES},
    ),
    "4cc15a8a-d715-48a4-82b8-cc0b614638fe": _policy(
        "UseOriginCacheControlHeaders-QueryStrings",
        "The origin decides; query strings are part of the key.",
        (0, 0, _YEAR),
        {**_BOTH_ENCODINGS, **_headers(_ORIGIN_CONTROL_HEADERS), **_ALL_COOKIES, **_ALL_QUERY_STRINGS},
    ),
    "08627262-05a9-4f76-9ded-b50ca2e3a84f": _policy(
        "Elemental-MediaPackage",
        "For origins that package video.",
        (0, _DAY, _YEAR),
        {**_encodings(gzip=True, brotli=False), **_headers(("origin",)), **_MANIFEST_QUERY_STRINGS},
    ),
    "2e54312d-136d-493c-8eb9-b001f22f67d2": _policy(
        "Amplify",
        "For web applications hosted by Amplify.",
        (2, 2, 600),
        {
            **_BOTH_ENCODINGS,
            **_headers(("Authorization", "CloudFront-Viewer-Country", "Host")),
            **_ALL_COOKIES,
            **_ALL_QUERY_STRINGS,
        },
    ),
}
