"""Cache policies through the whole API but its sockets: reference 1.7."""

import re
from typing import Any

import pytest

from control_plane.aws_api.errors import ApiError
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import (
    AMPLIFY,
    CACHING_OPTIMIZED,
    WireApi,
    behavior,
    cache_policy_config,
    changed,
    distribution_config,
    quantified,
)

KEY = "ParametersInCacheKeyAndForwardedToOrigin"


@pytest.fixture
def api() -> WireApi:
    return WireApi()


def create(api: WireApi, name: str = "mine", /, **members: Any) -> Any:
    return api.do("CreateCachePolicy", CachePolicyConfig=cache_policy_config(name, **members))


def refusal_of(api: WireApi, name: str, **parameters: Any) -> ApiError:
    before = dict(api.store.documents), list(api.store.changes)
    with pytest.raises(ApiError) as caught:
        api.do(name, **parameters)
    assert (api.store.documents, api.store.changes) == before
    return caught.value


def test_a_created_policy_has_its_defaults_filled_in(api: WireApi) -> None:
    created = create(api)
    policy = created["CachePolicy"]
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", policy["Id"])
    assert created["Location"].endswith(f"/2020-05-31/cache-policy/{policy['Id']}")
    config = policy["CachePolicyConfig"]
    assert (config["MinTTL"], config["DefaultTTL"], config["MaxTTL"]) == (0, 86_400, 31_536_000)
    assert config[KEY]["EnableAcceptEncodingBrotli"] is False
    read = api.do("GetCachePolicyConfig", Id=policy["Id"])
    assert (read["CachePolicyConfig"], read["ETag"]) == (config, created["ETag"])
    assert api.store.changes == []  # nobody uses it yet


@pytest.mark.parametrize(
    ("ttls", "expected"),
    [
        ({"MinTTL": 100_000}, (100_000, 100_000, 31_536_000)),
        ({"MinTTL": 0, "DefaultTTL": 40_000_000}, (0, 40_000_000, 40_000_000)),
        ({"MinTTL": 5, "DefaultTTL": 5, "MaxTTL": 5}, (5, 5, 5)),
    ],
)
def test_lifetimes_that_are_left_out_follow_those_that_are_not(
    api: WireApi, ttls: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    config = create(api, **ttls)["CachePolicy"]["CachePolicyConfig"]
    assert (config["MinTTL"], config["DefaultTTL"], config["MaxTTL"]) == expected


def test_a_changed_policy_is_published_to_everything_that_uses_it(api: WireApi) -> None:
    created = create(api)
    policy_id = created["CachePolicy"]["Id"]
    own = behavior(CachePolicyId=policy_id)
    users = [
        distribution_config(CallerReference="default", DefaultCacheBehavior=own),
        distribution_config(CallerReference="other", CacheBehaviors=quantified(own | {"PathPattern": "/a"})),
    ]
    ids = {api.do("CreateDistribution", DistributionConfig=config)["Distribution"]["Id"] for config in users}
    bystander = api.do("CreateDistribution", DistributionConfig=distribution_config(CallerReference="none"))
    api.apply_everywhere()
    etags = {identifier: api.do("GetDistribution", Id=identifier)["ETag"] for identifier in ids}

    config = cache_policy_config(MinTTL=7, DefaultTTL=8, MaxTTL=9)
    updated = api.do("UpdateCachePolicy", Id=policy_id, IfMatch=created["ETag"], CachePolicyConfig=config)

    assert updated["ETag"] != created["ETag"]
    assert len(api.store.entries) == 4 and len(api.published) == 3, "one change for all that use it"
    policy = api.published_policy(policy_id)
    assert policy is not None and policy.default_ttl_seconds == 8
    for identifier in ids:
        answer = api.do("GetDistribution", Id=identifier)
        assert answer["Distribution"]["Status"] == "InProgress" and answer["ETag"] == etags[identifier]
    untouched = api.do("GetDistribution", Id=bystander["Distribution"]["Id"])
    assert untouched["Distribution"]["Status"] == "Deployed"


def test_a_used_policy_cannot_be_deleted(api: WireApi) -> None:
    created = create(api)
    policy_id = created["CachePolicy"]["Id"]
    config = distribution_config(DefaultCacheBehavior=behavior(CachePolicyId=policy_id))
    distribution = api.do("CreateDistribution", DistributionConfig=config)
    used = refusal_of(api, "DeleteCachePolicy", Id=policy_id, IfMatch=created["ETag"])
    assert used.code == "CachePolicyInUse" and distribution["Distribution"]["Id"] in used.message
    api.do(
        "UpdateDistribution",
        Id=distribution["Distribution"]["Id"],
        IfMatch=distribution["ETag"],
        DistributionConfig=distribution_config(),
    )
    api.do("DeleteCachePolicy", Id=policy_id, IfMatch=created["ETag"])
    assert refusal_of(api, "GetCachePolicy", Id=policy_id).code == "NoSuchCachePolicy"


def test_changes_need_the_version_that_was_read(api: WireApi) -> None:
    policy_id = create(api)["CachePolicy"]["Id"]
    for if_match, code in (("nonsense", "InvalidIfMatchVersion"), ("E0000000000000", "PreconditionFailed")):
        parameters = {"Id": policy_id, "IfMatch": if_match}
        update = refusal_of(api, "UpdateCachePolicy", CachePolicyConfig=cache_policy_config(), **parameters)
        assert update.code == code
        assert refusal_of(api, "DeleteCachePolicy", **parameters).code == code


def test_names_are_unique_also_against_managed_ones(api: WireApi) -> None:
    create(api)
    other = create(api, "other")
    for taken in ("mine", "Managed-CachingOptimized"):
        config = cache_policy_config(taken)
        assert refusal_of(api, "CreateCachePolicy", CachePolicyConfig=config).code == "CachePolicyAlreadyExists"
        update = refusal_of(
            api, "UpdateCachePolicy", Id=other["CachePolicy"]["Id"], IfMatch=other["ETag"], CachePolicyConfig=config
        )
        assert update.code == "CachePolicyAlreadyExists"
    api.do(
        "UpdateCachePolicy",
        Id=other["CachePolicy"]["Id"],
        IfMatch=other["ETag"],
        CachePolicyConfig=cache_policy_config("other"),
    )


def test_managed_policies_are_there_and_cannot_be_changed(api: WireApi) -> None:
    answer = api.do("GetCachePolicy", Id=CACHING_OPTIMIZED)
    assert answer["CachePolicy"]["CachePolicyConfig"]["Name"] == "Managed-CachingOptimized"
    parameters = {"Id": CACHING_OPTIMIZED, "IfMatch": answer["ETag"]}
    update = refusal_of(api, "UpdateCachePolicy", CachePolicyConfig=cache_policy_config(), **parameters)
    assert update.code == "IllegalUpdate"
    assert refusal_of(api, "DeleteCachePolicy", **parameters).code == "IllegalDelete"


def test_policies_are_listed_by_type_and_in_pages(api: WireApi) -> None:
    own = create(api)["CachePolicy"]["Id"]
    listed = {
        kind: api.do("ListCachePolicies", **({"Type": kind} if kind else {}))["CachePolicyList"]
        for kind in ("managed", "custom", "")
    }
    assert [item["CachePolicy"]["Id"] for item in listed["custom"]["Items"]] == [own]
    assert listed["managed"]["Quantity"] == 7 and {item["Type"] for item in listed["managed"]["Items"]} == {"managed"}
    assert listed[""]["Quantity"] == 8
    seen: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = api.do("ListCachePolicies", MaxItems="3", **marker)["CachePolicyList"]
        seen += [item["CachePolicy"]["Id"] for item in page["Items"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert sorted(seen) == sorted(item["CachePolicy"]["Id"] for item in listed[""]["Items"])


@pytest.mark.parametrize(
    ("path", "value", "code", "message"),
    [
        ("Name", " ", "InvalidArgument", "CachePolicyConfig.Name must not be empty"),
        ("Name", "x" * 129, "InvalidArgument", "CachePolicyConfig.Name must have at most 128"),
        ("Comment", "x" * 129, "InvalidArgument", "CachePolicyConfig.Comment"),
        ("MinTTL", -1, "InvalidArgument", "CachePolicyConfig.MinTTL must be 0 to"),
        ("MinTTL", 10**10, "InvalidArgument", "CachePolicyConfig.MinTTL must be 0 to"),
        ("DefaultTTL", 40_000_000, "InvalidTTLOrder", "MinTTL <= DefaultTTL <= MaxTTL"),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "whitelist"},
            "InvalidArgument",
            "must name at least one, because HeaderBehavior is whitelist",
        ),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "none", "Headers": quantified("A")},
            "InvalidArgument",
            "must be empty, because HeaderBehavior is none",
        ),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "whitelist", "Headers": quantified("A", "a")},
            "InvalidArgument",
            "must not name anything twice",
        ),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "whitelist", "Headers": quantified("Cookie")},
            "InvalidArgument",
            "must not name Cookie, which cannot be part of a cache key",
        ),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "whitelist", "Headers": quantified("CloudFront-Viewer-Country")},
            "InvalidArgument",
            "is not supported yet with CloudFront-Viewer-Country",
        ),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "whitelist", "Headers": quantified("a b")},
            "InvalidArgument",
            "which is no name",
        ),
        (
            f"{KEY}.HeadersConfig",
            {"HeaderBehavior": "whitelist", "Headers": quantified(*(f"H{number}" for number in range(11)))},
            "TooManyHeadersInCachePolicy",
            "must name at most 10, not 11",
        ),
        (
            f"{KEY}.CookiesConfig",
            {"CookieBehavior": "allExcept", "Cookies": quantified(*(f"c{number}" for number in range(11)))},
            "TooManyCookiesInCachePolicy",
            "must name at most 10, not 11",
        ),
        (
            f"{KEY}.CookiesConfig",
            {"CookieBehavior": "all", "Cookies": quantified("a")},
            "InvalidArgument",
            "must be empty, because CookieBehavior is all",
        ),
        (
            f"{KEY}.QueryStringsConfig",
            {"QueryStringBehavior": "whitelist", "QueryStrings": quantified(*map(str, range(11)))},
            "TooManyQueryStringsInCachePolicy",
            "must name at most 10, not 11",
        ),
        (
            f"{KEY}.QueryStringsConfig",
            {"QueryStringBehavior": "whitelist", "QueryStrings": quantified("a=b")},
            "InvalidArgument",
            "which is no name",
        ),
        (
            f"{KEY}.QueryStringsConfig",
            {"QueryStringBehavior": "whitelist", "QueryStrings": quantified("q" * 600, "r" * 600)},
            "InvalidArgument",
            "at most 1024 characters together",
        ),
        (
            f"{KEY}.QueryStringsConfig",
            {"QueryStringBehavior": "whitelist", "QueryStrings": {"Quantity": 2, "Items": ["a"]}},
            "InconsistentQuantities",
            "QueryStrings.Quantity is 2, Items are 1",
        ),
    ],
)
def test_what_a_policy_may_not_say(api: WireApi, path: str, value: Any, code: str, message: str) -> None:
    config = changed(cache_policy_config(MaxTTL=31_536_000), path, value)
    refused = refusal_of(api, "CreateCachePolicy", CachePolicyConfig=config)
    codes_and_message = (refused.code, message in refused.message)
    assert codes_and_message == (code, True), refused.message


def test_what_the_nodes_get_of_a_policy(api: WireApi) -> None:
    key: dict[str, Any] = {
        "EnableAcceptEncodingGzip": True,
        "EnableAcceptEncodingBrotli": True,
        "HeadersConfig": {"HeaderBehavior": "whitelist", "Headers": quantified("Origin", "Host")},
        "CookiesConfig": {"CookieBehavior": "allExcept", "Cookies": quantified("session*")},
        "QueryStringsConfig": {"QueryStringBehavior": "all"},
    }
    policy_id = create(api, **{KEY: key})["CachePolicy"]["Id"]
    config = distribution_config(DefaultCacheBehavior=behavior(CachePolicyId=policy_id))
    api.do("CreateDistribution", DistributionConfig=config)
    assert api.published[-1].default_behavior.cache_policy_id == policy_id
    assert api.published_policy(policy_id) == configuration_pb2.CachePolicy(
        id=policy_id,
        minimum_ttl_seconds=0,
        default_ttl_seconds=86_400,
        maximum_ttl_seconds=31_536_000,
        accept_encoding_gzip=True,
        accept_encoding_brotli=True,
        headers=configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_LIST, names=["Origin", "Host"]),
        cookies=configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_ALL_EXCEPT, names=["session*"]),
        query_strings=configuration_pb2.Selection(mode=configuration_pb2.Selection.MODE_ALL),
    )


def test_a_managed_policy_that_edges_cannot_honour_cannot_be_used(api: WireApi) -> None:
    config = distribution_config(DefaultCacheBehavior=behavior(CachePolicyId=AMPLIFY))
    refused = refusal_of(api, "CreateDistribution", DistributionConfig=config)
    assert refused.code == "InvalidArgument" and "CloudFront-Viewer-Country" in refused.message
    assert "DistributionConfig.DefaultCacheBehavior.CachePolicyId" in refused.message


def test_quota_of_policies(api: WireApi) -> None:
    for number in range(20):
        create(api, f"policy {number}")
    config = cache_policy_config("one more")
    assert refusal_of(api, "CreateCachePolicy", CachePolicyConfig=config).code == "TooManyCachePolicies"
