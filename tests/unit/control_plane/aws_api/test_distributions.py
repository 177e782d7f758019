"""Distributions through the whole API but its sockets: reference 1.1 and 1.3."""

import re
from typing import Any

import pytest

from control_plane.aws_api.errors import ApiError
from control_plane.resource_kinds import delete_distribution
from control_plane.state import Delete
from proto.resources import cache_policy_name
from tests.api_builders import (
    CACHING_DISABLED,
    CACHING_OPTIMIZED,
    NOW,
    WireApi,
    behavior,
    cache_policy_config,
    changed,
    custom_origin,
    distribution_config,
    quantified,
)


@pytest.fixture
def api() -> WireApi:
    return WireApi()


def create(api: WireApi, **members: Any) -> Any:
    return api.do("CreateDistribution", DistributionConfig=distribution_config(**members))


def refused(api: WireApi, name: str, **parameters: Any) -> ApiError:
    """The operation is refused, and has left nothing behind."""
    before = dict(api.store.documents), list(api.store.changes)
    with pytest.raises(ApiError) as caught:
        api.do(name, **parameters)
    assert (api.store.documents, api.store.changes) == before
    return caught.value


def test_a_created_distribution_is_published_and_in_progress(api: WireApi) -> None:
    created = create(api)
    distribution = created["Distribution"]
    assert re.fullmatch("E[A-Z0-9]{13}", distribution["Id"])
    assert re.fullmatch(r"d[a-z0-9]{13}\.cdn\.localhost", distribution["DomainName"])
    assert distribution["ARN"] == f"arn:aws:cloudfront::000000000000:distribution/{distribution['Id']}"
    assert distribution["Status"] == "InProgress"
    assert distribution["LastModifiedTime"] == NOW
    assert created["Location"] == f"http://127.0.0.1:4566/2020-05-31/distribution/{distribution['Id']}"
    (entry,), (published,) = api.store.entries, api.published
    assert len(entry) == 2, "with the policy that it refers to"
    assert (published.id, published.domain_name) == (distribution["Id"], distribution["DomainName"])


def test_the_status_page_finds_what_it_reads(api: WireApi) -> None:
    distribution = create(api)["Distribution"]
    body = api.store.documents["distribution", distribution["Id"]].body
    assert (body["id"], body["domain_name"], body["index"]) == (distribution["Id"], distribution["DomainName"], 1)


def test_it_is_deployed_when_every_node_has_it(api: WireApi) -> None:
    identifier = create(api)["Distribution"]["Id"]
    assert api.do("GetDistribution", Id=identifier)["Distribution"]["Status"] == "InProgress"
    api.apply_everywhere()
    assert api.do("GetDistribution", Id=identifier)["Distribution"]["Status"] == "Deployed"
    assert api.do("ListDistributions")["DistributionList"]["Items"][0]["Status"] == "Deployed"


def test_what_a_node_refuses_is_in_progress_and_cannot_be_deleted(api: WireApi) -> None:
    """It still serves the version of before."""
    created, other = create(api, Enabled=False), create(api, CallerReference="other")
    identifier = created["Distribution"]["Id"]
    api.deployment.refused_ids.add(identifier)
    api.apply_everywhere()
    statuses = {item["Id"]: item["Status"] for item in api.do("ListDistributions")["DistributionList"]["Items"]}
    assert statuses == {identifier: "InProgress", other["Distribution"]["Id"]: "Deployed"}
    assert refused(api, "DeleteDistribution", Id=identifier, IfMatch=created["ETag"]).code == "DistributionNotDisabled"


def test_what_was_left_out_is_answered_with_its_default(api: WireApi) -> None:
    created = create(api)
    answer = api.do("GetDistributionConfig", Id=created["Distribution"]["Id"])
    config = answer["DistributionConfig"]
    assert answer["ETag"] == created["ETag"]
    assert config["PriceClass"] == "PriceClass_All" and config["HttpVersion"] == "http2"
    assert config["Aliases"] == {"Quantity": 0}
    assert config["DefaultCacheBehavior"]["AllowedMethods"]["CachedMethods"]["Items"] == ["HEAD", "GET"]
    assert config["Origins"]["Items"][0]["CustomOriginConfig"]["OriginReadTimeout"] == 30


def test_a_configuration_that_was_read_can_be_sent_back(api: WireApi) -> None:
    created = create(
        api, CacheBehaviors=quantified(behavior(PathPattern="/a/*")), Aliases=quantified("www.example.com")
    )
    config = created["Distribution"]["DistributionConfig"]
    updated = api.do(
        "UpdateDistribution", Id=created["Distribution"]["Id"], IfMatch=created["ETag"], DistributionConfig=config
    )
    assert updated["Distribution"]["DistributionConfig"] == config
    (_, first), (second,) = api.store.entries  # the first with the policy, which is there then
    assert first == second


def test_an_update_replaces_the_whole(api: WireApi) -> None:
    created = create(api, Comment="first", Aliases=quantified("a.example.com"))
    api.apply_everywhere()
    identifier = created["Distribution"]["Id"]
    updated = api.do(
        "UpdateDistribution", Id=identifier, IfMatch=created["ETag"], DistributionConfig=distribution_config()
    )
    assert updated["ETag"] != created["ETag"]
    assert updated["Distribution"]["Status"] == "InProgress"
    assert updated["Distribution"]["LastModifiedTime"] > created["Distribution"]["LastModifiedTime"]
    config = api.do("GetDistributionConfig", Id=identifier)["DistributionConfig"]
    assert config["Comment"] == "" and config["Aliases"] == {"Quantity": 0}
    assert api.published[-1].aliases == []


@pytest.mark.parametrize(
    ("if_match", "code"),
    [
        (None, "InvalidIfMatchVersion"),
        ("", "InvalidIfMatchVersion"),
        ("*", "InvalidIfMatchVersion"),
        ("not a version", "InvalidIfMatchVersion"),
        ("E0000000000000", "PreconditionFailed"),
    ],
)
def test_a_change_needs_the_version_that_was_read(api: WireApi, if_match: str | None, code: str) -> None:
    created = create(api, Enabled=False)
    api.apply_everywhere()
    parameters = {"Id": created["Distribution"]["Id"]} | ({} if if_match is None else {"IfMatch": if_match})
    update = refused(api, "UpdateDistribution", DistributionConfig=distribution_config(), **parameters)
    assert update.code == code
    assert refused(api, "DeleteDistribution", **parameters).code == code


def test_a_stale_version_is_refused_and_a_quoted_one_accepted(api: WireApi) -> None:
    created = create(api)
    identifier = created["Distribution"]["Id"]
    config = distribution_config(Comment="second")
    api.do("UpdateDistribution", Id=identifier, IfMatch=f'"{created["ETag"]}"', DistributionConfig=config)
    stale = refused(api, "UpdateDistribution", Id=identifier, IfMatch=created["ETag"], DistributionConfig=config)
    assert stale.code == "PreconditionFailed"


def test_the_caller_reference_is_unique_and_cannot_change(api: WireApi) -> None:
    created = create(api)
    assert (
        refused(api, "CreateDistribution", DistributionConfig=distribution_config()).code == "DistributionAlreadyExists"
    )
    other = distribution_config(CallerReference="second")
    parameters = {"Id": created["Distribution"]["Id"], "IfMatch": created["ETag"]}
    assert refused(api, "UpdateDistribution", DistributionConfig=other, **parameters).code == "IllegalUpdate"


def test_deleting_needs_disabling_first_and_everywhere(api: WireApi) -> None:
    created = create(api)
    identifier, etag = created["Distribution"]["Id"], created["ETag"]
    api.apply_everywhere()
    assert refused(api, "DeleteDistribution", Id=identifier, IfMatch=etag).code == "DistributionNotDisabled"
    etag = api.do(
        "UpdateDistribution", Id=identifier, IfMatch=etag, DistributionConfig=distribution_config(Enabled=False)
    )["ETag"]
    in_progress = refused(api, "DeleteDistribution", Id=identifier, IfMatch=etag)
    assert in_progress.code == "DistributionNotDisabled" and "in progress" in in_progress.message
    api.do(
        "CreateInvalidation",
        DistributionId=identifier,
        InvalidationBatch={"CallerReference": "r", "Paths": quantified("/*")},
    )
    api.apply_everywhere()
    api.do("DeleteDistribution", Id=identifier, IfMatch=etag)
    deleted = [delete_distribution(identifier), Delete(cache_policy_name(CACHING_OPTIMIZED))]
    assert list(api.store.entries[-1]) == deleted, "with the policy, to which nobody else refers"
    assert api.store.documents == {}
    assert refused(api, "GetDistribution", Id=identifier).code == "NoSuchDistribution"
    create(api)  # the caller reference is free again


@pytest.mark.parametrize(
    "name", ["GetDistribution", "GetDistributionConfig", "DeleteDistribution", "ListInvalidations"]
)
def test_what_does_not_exist(api: WireApi, name: str) -> None:
    key = "DistributionId" if name == "ListInvalidations" else "Id"
    assert refused(api, name, **{key: "EUNKNOWN"}).code == "NoSuchDistribution"


def test_an_alias_belongs_to_one_distribution(api: WireApi) -> None:
    created = create(api, Aliases=quantified("www.example.com"))
    taken = distribution_config(CallerReference="second", Aliases=quantified("WWW.example.com"))
    error = refused(api, "CreateDistribution", DistributionConfig=taken)
    assert error.code == "CNAMEAlreadyExists" and created["Distribution"]["Id"] in error.message
    own_name = changed(taken, "Aliases", quantified(created["Distribution"]["DomainName"]))
    assert refused(api, "CreateDistribution", DistributionConfig=own_name).code == "CNAMEAlreadyExists"
    second = create(api, CallerReference="second")
    parameters = {"Id": second["Distribution"]["Id"], "IfMatch": second["ETag"]}
    assert refused(api, "UpdateDistribution", DistributionConfig=taken, **parameters).code == "CNAMEAlreadyExists"
    keep = distribution_config(Aliases=quantified("www.example.com", "b.example.com"))
    api.do("UpdateDistribution", Id=created["Distribution"]["Id"], IfMatch=created["ETag"], DistributionConfig=keep)


def test_all_problems_are_named_at_once(api: WireApi) -> None:
    config = changed(distribution_config(), "DefaultCacheBehavior.SmoothStreaming", True)
    config = changed(config, "HttpVersion", "http3")
    config = changed(config, "Aliases", {"Quantity": 2, "Items": ["a.example.com"]})
    error = refused(api, "CreateDistribution", DistributionConfig=config)
    assert error.code == "InvalidArgument"
    assert "DistributionConfig.DefaultCacheBehavior.SmoothStreaming is not supported yet" in error.message
    assert "DistributionConfig.HttpVersion is not supported yet" in error.message
    assert "DistributionConfig.Aliases.Quantity is 2, Items are 1." in error.message


def test_lists_come_in_pages_and_survive_deletion_between_them(api: WireApi) -> None:
    ids = sorted(create(api, CallerReference=str(number), Enabled=False)["Distribution"]["Id"] for number in range(5))
    page = api.do("ListDistributions", MaxItems="2")["DistributionList"]
    assert [item["Id"] for item in page["Items"]] == ids[:2]
    assert page["IsTruncated"] and page["NextMarker"] == ids[1] and page["MaxItems"] == 2 and page["Quantity"] == 2
    api.apply_everywhere()
    api.do("DeleteDistribution", Id=ids[1], IfMatch=api.do("GetDistribution", Id=ids[1])["ETag"])
    page = api.do("ListDistributions", MaxItems="2", Marker=ids[1])["DistributionList"]
    assert [item["Id"] for item in page["Items"]] == ids[2:4] and page["Marker"] == ids[1]
    page = api.do("ListDistributions", MaxItems="2", Marker=ids[3])["DistributionList"]
    assert [item["Id"] for item in page["Items"]] == ids[4:]
    assert not page["IsTruncated"] and "NextMarker" not in page


@pytest.mark.parametrize("maximum", ["0", "-1", "x", "", "1.5", "٣"])
def test_max_items_is_a_positive_number(api: WireApi, maximum: str) -> None:
    assert refused(api, "ListDistributions", MaxItems=maximum).code == "InvalidArgument"


def test_an_empty_list_and_a_greedy_page(api: WireApi) -> None:
    empty = api.do("ListDistributions", MaxItems="1000")["DistributionList"]
    assert empty == {"Marker": "", "MaxItems": 100, "IsTruncated": False, "Quantity": 0}


def test_quotas_of_distributions(api: WireApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.aws_api.distributions.MAXIMUM_DISTRIBUTIONS", 2)
    monkeypatch.setattr("control_plane.aws_api.distributions.MAXIMUM_DISTRIBUTIONS_PER_POLICY", 1)
    policy_id = api.do("CreateCachePolicy", CachePolicyConfig=cache_policy_config())["CachePolicy"]["Id"]
    own = behavior(CachePolicyId=policy_id)
    create(api, DefaultCacheBehavior=own)
    second = distribution_config(CallerReference="second", DefaultCacheBehavior=own)
    error = refused(api, "CreateDistribution", DistributionConfig=second)
    assert error.code == "TooManyDistributionsAssociatedToCachePolicy"
    create(api, CallerReference="second", DefaultCacheBehavior=behavior(CachePolicyId=CACHING_DISABLED))
    third = distribution_config(CallerReference="third")
    assert refused(api, "CreateDistribution", DistributionConfig=third).code == "TooManyDistributions"


def test_origins_keep_everything_that_was_said_about_them(api: WireApi) -> None:
    origin = custom_origin(
        DomainName="my_app",
        OriginPath="/v1",
        CustomHeaders=quantified({"HeaderName": "X-Key", "HeaderValue": "s & t"}),
        ConnectionAttempts=1,
        ConnectionTimeout=2,
    )
    created = create(api, Origins=quantified(origin))
    read = api.do("GetDistributionConfig", Id=created["Distribution"]["Id"])["DistributionConfig"]["Origins"]["Items"][
        0
    ]
    assert {name: read[name] for name in origin if name != "CustomOriginConfig"} == {
        name: value for name, value in origin.items() if name != "CustomOriginConfig"
    }
    (published,) = api.published[-1].origins
    assert (published.host, published.port, published.path_prefix) == ("my_app", 8080, "/v1")
    assert [(header.name, header.value) for header in published.custom_headers] == [("X-Key", "s & t")]
