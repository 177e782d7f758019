"""Tags through the whole API but its sockets: reference 1.1, and docs/decisions/0005-semantics-by-tag.md."""

from typing import Any

import pytest

from control_plane.aws_api.errors import ApiError, statuses_by_code
from control_plane.aws_api.model import load_model
from proto.cdn.v1 import configuration_pb2
from tests.api_builders import WireApi, behavior, cache_policy_config, distribution_config, quantified

CLOUDFRONT, RFC9111 = configuration_pb2.SEMANTICS_CLOUDFRONT, configuration_pb2.SEMANTICS_RFC9111
STATUSES = statuses_by_code(load_model())


@pytest.fixture
def api() -> WireApi:
    return WireApi()


def as_items(tags: dict[str, str]) -> dict[str, Any]:
    return {"Items": [{"Key": key, "Value": value} for key, value in tags.items()]}


def create(api: WireApi, tags: dict[str, str], **members: Any) -> Any:
    config = {"DistributionConfig": distribution_config(**members), "Tags": as_items(tags)}
    return api.do("CreateDistributionWithTags", DistributionConfigWithTags=config)


def tags_of(api: WireApi, arn: str) -> dict[str, str]:
    items = api.do("ListTagsForResource", Resource=arn)["Tags"]["Items"]
    return {item["Key"]: item["Value"] for item in items}


def tag(api: WireApi, arn: str, tags: dict[str, str]) -> None:
    api.do("TagResource", Resource=arn, Tags=as_items(tags))


def refused(api: WireApi, name: str, **parameters: Any) -> ApiError:
    """The operation is refused as a client's error, and has left nothing behind."""
    before = dict(api.store.documents), list(api.store.changes)
    with pytest.raises(ApiError) as caught:
        api.do(name, **parameters)
    assert (api.store.documents, api.store.changes) == before
    assert 400 <= STATUSES[caught.value.code] < 500
    return caught.value


def semantics(api: WireApi) -> list[int]:
    """Of the behaviors that were published last, the default one at the end."""
    newest = api.published[-1]
    return [each.semantics for each in (*newest.behaviors, newest.default_behavior)]


def test_a_distribution_is_created_with_its_tags(api: WireApi) -> None:
    created = create(api, {"team": "web", "cost centre": "", "Straße": "1.2:/=+-@_"})
    distribution = created["Distribution"]
    assert created["Location"].endswith(f"/2020-05-31/distribution/{distribution['Id']}")
    assert created["ETag"] == api.do("GetDistribution", Id=distribution["Id"])["ETag"]
    assert tags_of(api, distribution["ARN"]) == {"team": "web", "cost centre": "", "Straße": "1.2:/=+-@_"}
    assert semantics(api) == [CLOUDFRONT]


def test_a_distribution_may_be_without_tags(api: WireApi) -> None:
    arn = api.do("CreateDistribution", DistributionConfig=distribution_config())["Distribution"]["ARN"]
    assert api.do("ListTagsForResource", Resource=arn)["Tags"] == {"Items": []}
    config = {"DistributionConfig": distribution_config(CallerReference="second"), "Tags": {}}
    created = api.do("CreateDistributionWithTags", DistributionConfigWithTags=config)
    assert tags_of(api, created["Distribution"]["ARN"]) == {}


def test_tags_are_added_replaced_and_removed(api: WireApi) -> None:
    arn = create(api, {"a": "1", "b": "2"})["Distribution"]["ARN"]
    tag(api, arn, {"b": "3", "c": "4"})
    assert tags_of(api, arn) == {"a": "1", "b": "3", "c": "4"}
    api.do("UntagResource", Resource=arn, TagKeys={"Items": ["a", "never there", "c"]})
    assert tags_of(api, arn) == {"b": "3"}
    api.do("TagResource", Resource=arn, Tags={"Items": [{"Key": "b"}]})
    assert tags_of(api, arn) == {"b": ""}
    api.do("TagResource", Resource=arn, Tags={})
    api.do("UntagResource", Resource=arn, TagKeys={})
    assert tags_of(api, arn) == {"b": ""}


def test_ordinary_tags_are_no_news_for_nodes_and_change_no_version(api: WireApi) -> None:
    created = create(api, {})
    identifier, arn = created["Distribution"]["Id"], created["Distribution"]["ARN"]
    api.apply_everywhere()
    before = api.do("GetDistribution", Id=identifier)
    tag(api, arn, {"team": "web"})
    api.do("UntagResource", Resource=arn, TagKeys={"Items": ["team"]})
    assert api.do("GetDistribution", Id=identifier) == before
    assert len(api.store.entries) == 1


def test_a_reserved_tag_publishes_the_distribution_again(api: WireApi) -> None:
    created = create(api, {"team": "web"}, CacheBehaviors=quantified(behavior(PathPattern="/api/*")))
    identifier, arn = created["Distribution"]["Id"], created["Distribution"]["ARN"]
    api.apply_everywhere()

    tag(api, arn, {"cdnlab:semantics": "rfc9111"})
    read = api.do("GetDistribution", Id=identifier)
    assert read["Distribution"]["Status"] == "InProgress"
    assert read["ETag"] == created["ETag"]
    assert read["Distribution"]["LastModifiedTime"] == created["Distribution"]["LastModifiedTime"]
    assert semantics(api) == [RFC9111, RFC9111]
    api.apply_everywhere()
    assert api.do("GetDistribution", Id=identifier)["Distribution"]["Status"] == "Deployed"

    tag(api, arn, {"cdnlab:semantics:/api/=2A": "cloudfront"})
    assert semantics(api) == [CLOUDFRONT, RFC9111]
    api.do("UntagResource", Resource=arn, TagKeys={"Items": ["cdnlab:semantics"]})
    assert semantics(api) == [CLOUDFRONT, CLOUDFRONT]
    assert len(api.store.entries) == 4
    assert tags_of(api, arn) == {"team": "web", "cdnlab:semantics:/api/=2A": "cloudfront"}


def test_a_reserved_tag_with_the_value_that_it_has_publishes_nothing(api: WireApi) -> None:
    arn = create(api, {"cdnlab:semantics": "rfc9111"})["Distribution"]["ARN"]
    tag(api, arn, {"cdnlab:semantics": "rfc9111", "team": "web"})
    assert len(api.store.entries) == 1


def test_tags_survive_updates_of_the_distribution_and_of_its_cache_policy(api: WireApi) -> None:
    policy = api.do("CreateCachePolicy", CachePolicyConfig=cache_policy_config())
    own = behavior(CachePolicyId=policy["CachePolicy"]["Id"])
    created = create(api, {"team": "web", "cdnlab:semantics:=2A": "rfc9111"}, DefaultCacheBehavior=own)
    identifier, arn = created["Distribution"]["Id"], created["Distribution"]["ARN"]
    config = distribution_config(Comment="second", DefaultCacheBehavior=own)
    api.do("UpdateDistribution", Id=identifier, IfMatch=created["ETag"], DistributionConfig=config)
    assert semantics(api) == [RFC9111]
    api.do(
        "UpdateCachePolicy",
        Id=policy["CachePolicy"]["Id"],
        IfMatch=policy["ETag"],
        CachePolicyConfig=cache_policy_config(MinTTL=1),
    )
    assert len(api.store.entries) == 3 and semantics(api) == [RFC9111]
    assert tags_of(api, arn) == {"team": "web", "cdnlab:semantics:=2A": "rfc9111"}


def test_an_update_keeps_the_behaviors_that_tags_name(api: WireApi) -> None:
    behaviors = quantified(behavior(PathPattern="/api/*"))
    created = create(api, {"cdnlab:semantics:/api/=2A": "rfc9111"}, CacheBehaviors=behaviors)
    identifier, arn = created["Distribution"]["Id"], created["Distribution"]["ARN"]
    without = {"Id": identifier, "IfMatch": created["ETag"], "DistributionConfig": distribution_config()}
    error = refused(api, "UpdateDistribution", **without)
    assert error.code == "InvalidTagging"
    assert "cdnlab:semantics:/api/=2A names '/api/*', which is the path pattern of no behavior" in error.message
    assert error.message.endswith("(to remove a behavior that has a tag, untag it first).")
    assert api.do("GetDistribution", Id=identifier)["ETag"] == created["ETag"]
    api.do("UntagResource", Resource=arn, TagKeys={"Items": ["cdnlab:semantics:/api/=2A"]})
    api.do("UpdateDistribution", **without)
    assert semantics(api) == [CLOUDFRONT]


def test_a_deleted_distribution_takes_its_tags_with_it(api: WireApi) -> None:
    created = create(api, {"team": "web"}, Enabled=False)
    api.apply_everywhere()
    api.do("DeleteDistribution", Id=created["Distribution"]["Id"], IfMatch=created["ETag"])
    assert api.store.documents == {}
    assert refused(api, "ListTagsForResource", Resource=created["Distribution"]["ARN"]).code == "NoSuchResource"
    assert tags_of(api, create(api, {})["Distribution"]["ARN"]) == {}


def test_a_distribution_that_was_stored_before_there_were_tags_has_none(api: WireApi) -> None:
    distribution = create(api, {"team": "web"})["Distribution"]
    del api.store.documents["distribution", distribution["Id"]].body["tags"]
    assert tags_of(api, distribution["ARN"]) == {}
    tag(api, distribution["ARN"], {"cdnlab:semantics": "rfc9111"})
    assert semantics(api) == [RFC9111]


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:aws:cloudfront::000000000000:distribution/EUNKNOWN", "NoSuchResource"),
        ("arn:aws:cloudfront::000000000000:distribution/", "NoSuchResource"),
        ("arn:aws:cloudfront::111111111111:distribution/{id}", "NoSuchResource"),
        ("arn:aws:cloudfront::000000000000:streaming-distribution/{id}", "NoSuchResource"),
        ("arn:aws-cn:cloudfront::000000000000:distribution/{id}", "NoSuchResource"),
        ("arn:aws:cloudfront:us-east-1:000000000000:distribution/{id}", "InvalidArgument"),
        ("arn:aws:s3:::bucket", "InvalidArgument"),
        ("{id}", "InvalidArgument"),
    ],
)
@pytest.mark.parametrize("name", ["ListTagsForResource", "TagResource", "UntagResource"])
def test_what_has_no_tags(api: WireApi, name: str, arn: str, code: str) -> None:
    identifier = create(api, {})["Distribution"]["Id"]
    parameters = {"TagResource": {"Tags": as_items({"a": "1"})}, "UntagResource": {"TagKeys": {"Items": ["a"]}}}
    error = refused(api, name, Resource=arn.replace("{id}", identifier), **parameters.get(name, {}))
    assert error.code == code
    assert STATUSES["NoSuchResource"] == 404


def test_at_most_fifty_tags(api: WireApi) -> None:
    fifty = {str(number): "" for number in range(50)}
    arn = create(api, fifty)["Distribution"]["ARN"]
    tag(api, arn, {"49": "again"})
    error = refused(api, "TagResource", Resource=arn, Tags=as_items({"50": ""}))
    assert (error.code, error.message) == (
        "InvalidTagging",
        "A distribution has at most 50 tags; there would be 51.",
    )
    config = {"DistributionConfig": distribution_config(CallerReference="2"), "Tags": as_items({**fifty, "50": ""})}
    assert refused(api, "CreateDistributionWithTags", DistributionConfigWithTags=config).code == "InvalidTagging"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("", "x", "The key of the tag '' must have 1 to 128 letters, digits, spaces and _.:/=+-@."),
        ("x" * 129, "x", "must have 1 to 128 letters"),
        ("a*", "x", "The key of the tag 'a*' must have 1 to 128 letters"),
        ("a,b", "x", "must have 1 to 128 letters"),
        ("a\tb", "x", "must have 1 to 128 letters"),
        ("a\nb", "x", "must have 1 to 128 letters"),
        ("aws:createdBy", "x", "The key of the tag 'aws:createdBy' must not begin with aws:."),
        ("AWS:x", "x", "must not begin with aws:"),
        ("a", "x" * 257, "The value of the tag 'a' must have 0 to 256 letters, digits, spaces and _.:/=+-@."),
        ("a", "1 < 2", "The value of the tag 'a' must have 0 to 256 letters"),
        ("cdnlab:semantics", "rfc911", "The tag cdnlab:semantics must be cloudfront or rfc9111, not 'rfc911'."),
        ("cdnlab:region", "x", "The tag cdnlab:region is not known"),
        ("cdnlab:semantics:/api/=2A", "rfc9111", "there are cdnlab:semantics:=2A (to remove"),
        (
            "cdnlab:semantics:/api/*",
            "rfc9111",
            "spaces and _.:/=+-@; in a path pattern * is written =2A, ? is =3F, ~ is =7E.",
        ),
    ],
)
def test_tags_that_are_refused(api: WireApi, key: str, value: str, message: str) -> None:
    arn = create(api, {})["Distribution"]["ARN"]
    error = refused(api, "TagResource", Resource=arn, Tags=as_items({"fine": "", key: value}))
    assert error.code == "InvalidTagging" and message in error.message
    config = {"DistributionConfig": distribution_config(CallerReference="2"), "Tags": as_items({key: value})}
    error = refused(api, "CreateDistributionWithTags", DistributionConfigWithTags=config)
    assert error.code == "InvalidTagging" and message in error.message


def test_the_longest_tags_and_letters_of_every_script(api: WireApi) -> None:
    tags = {"k" * 128: "v" * 256, "ключ": "値", "٣": "Ⅷ"}
    assert tags_of(api, create(api, tags)["Distribution"]["ARN"]) == tags


def test_one_key_twice_is_refused(api: WireApi) -> None:
    arn = create(api, {})["Distribution"]["ARN"]
    twice = {"Items": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "1"}]}
    error = refused(api, "TagResource", Resource=arn, Tags=twice)
    assert (error.code, error.message) == ("InvalidTagging", "The tag 'a' is there 2 times.")


def test_what_is_wrong_with_the_configuration_and_with_reserved_tags_is_said_together(api: WireApi) -> None:
    config = {
        "DistributionConfig": distribution_config(HttpVersion="http3"),
        "Tags": as_items({"cdnlab:semantics": "strict"}),
    }
    error = refused(api, "CreateDistributionWithTags", DistributionConfigWithTags=config)
    assert error.code == "InvalidArgument"
    assert "HttpVersion is not supported yet" in error.message
    assert "The tag cdnlab:semantics must be cloudfront or rfc9111" in error.message
