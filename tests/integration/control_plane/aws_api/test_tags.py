"""Tags, origin groups and error responses with boto3 and the real `aws` command, over the real store: what clients send is what nodes get."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proto.cdn.v1 import configuration_pb2
from tests.api_builders import behavior, custom_origin, distribution_config, origin_group, quantified
from tests.builders import distributions_in
from tests.integration.api_server import ApiServer, client, running_api

AWS = Path(sys.executable).with_name("aws")
QUICK = {"Delay": 0.05, "MaxAttempts": 100}
STRICT = {"Key": "cdnlab:semantics", "Value": "rfc9111"}
CLOUDFRONT, RFC9111 = configuration_pb2.SEMANTICS_CLOUDFRONT, configuration_pb2.SEMANTICS_RFC9111


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with running_api(tmp_path / "state") as server:
        yield server


@pytest.fixture
def cloudfront(api: ApiServer) -> Iterator[Any]:
    opened = client(api.endpoint)
    yield opened
    opened.close()


def create(cloudfront: Any, *tags: dict[str, str], **members: Any) -> Any:
    config = {"DistributionConfig": distribution_config(**members), "Tags": {"Items": list(tags)}}
    return cloudfront.create_distribution_with_tags(DistributionConfigWithTags=config)["Distribution"]


def newest(api: ApiServer) -> configuration_pb2.Distribution:
    """What nodes serve the only distribution from."""
    (distribution,) = distributions_in(api.store.snapshot())
    return distribution


def test_the_life_of_tags(api: ApiServer, cloudfront: Any) -> None:
    distribution = create(cloudfront, {"Key": "cost centre", "Value": "a/b=c+d"}, {"Key": "Straße", "Value": ""})
    arn = distribution["ARN"]
    cloudfront.tag_resource(Resource=arn, Tags={"Items": [{"Key": "team", "Value": "web"}]})
    cloudfront.untag_resource(Resource=arn, TagKeys={"Items": ["Straße"]})
    assert cloudfront.list_tags_for_resource(Resource=arn)["Tags"]["Items"] == [
        {"Key": "cost centre", "Value": "a/b=c+d"},
        {"Key": "team", "Value": "web"},
    ]
    assert api.store.head_index == 1

    exceptions = cloudfront.exceptions
    with pytest.raises(exceptions.InvalidTagging, match=r"must have 1 to 128 letters"):
        cloudfront.tag_resource(Resource=arn, Tags={"Items": [{"Key": "a*", "Value": ""}]})
    with pytest.raises(exceptions.NoSuchResource):
        cloudfront.list_tags_for_resource(Resource=arn + "X")


def test_semantics_are_chosen_by_a_tag_and_deployed_like_an_update(api: ApiServer, cloudfront: Any) -> None:
    distribution = create(cloudfront, STRICT, CacheBehaviors=quantified(behavior(PathPattern="/api/*")))
    assert [newest(api).behaviors[0].semantics, newest(api).default_behavior.semantics] == [RFC9111, RFC9111]
    api.apply_everywhere()
    etag = cloudfront.get_distribution(Id=distribution["Id"])["ETag"]

    one = {"Key": "cdnlab:semantics:/api/=2A", "Value": "cloudfront"}
    cloudfront.tag_resource(Resource=distribution["ARN"], Tags={"Items": [one]})
    assert [newest(api).behaviors[0].semantics, newest(api).default_behavior.semantics] == [CLOUDFRONT, RFC9111]
    read = cloudfront.get_distribution(Id=distribution["Id"])
    assert (read["Distribution"]["Status"], read["ETag"]) == ("InProgress", etag)
    api.apply_everywhere()
    cloudfront.get_waiter("distribution_deployed").wait(Id=distribution["Id"], WaiterConfig=QUICK)

    config = read["Distribution"]["DistributionConfig"]
    without = {**config, "CacheBehaviors": {"Quantity": 0}}
    with pytest.raises(cloudfront.exceptions.InvalidTagging, match=r"=2A names '/api/\*', which is the path pattern"):
        cloudfront.update_distribution(Id=distribution["Id"], IfMatch=etag, DistributionConfig=without)
    cloudfront.untag_resource(Resource=distribution["ARN"], TagKeys={"Items": [one["Key"]]})
    cloudfront.update_distribution(Id=distribution["Id"], IfMatch=etag, DistributionConfig=without)
    assert newest(api).default_behavior.semantics == RFC9111


def test_tags_are_there_after_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path) as server:
        first = client(server.endpoint)
        arn = create(first, STRICT)["ARN"]
        first.close()
    with running_api(tmp_path) as server:
        second = client(server.endpoint)
        assert second.list_tags_for_resource(Resource=arn)["Tags"]["Items"] == [STRICT]
        second.close()


FAILOVER_AND_ERRORS = {
    "Origins": quantified(custom_origin("web", ResponseCompletionTimeout=60), custom_origin("spare")),
    "OriginGroups": quantified(origin_group("pair", "web", "spare", 500, 503)),
    "DefaultCacheBehavior": behavior(TargetOriginId="pair", Compress=True),
    "CustomErrorResponses": quantified(
        {"ErrorCode": 404, "ResponsePagePath": "/404.html", "ResponseCode": "200", "ErrorCachingMinTTL": 5},
        {"ErrorCode": 503, "ErrorCachingMinTTL": 0},
    ),
}


def test_failover_compression_and_error_pages_reach_the_nodes(api: ApiServer, cloudfront: Any) -> None:
    created = cloudfront.create_distribution(DistributionConfig=distribution_config(**FAILOVER_AND_ERRORS))
    published = newest(api)
    assert published.origins[0].completion_timeout_milliseconds == 60_000
    assert list(published.origin_groups[0].failover_statuses) == [500, 503]
    default = published.default_behavior
    assert (default.origin_id, default.origin_group_id, default.compress) == ("web", "pair", True)
    assert [(each.error_status, each.page_path) for each in published.error_responses] == [
        (404, "/404.html"),
        (503, ""),
    ]

    config = created["Distribution"]["DistributionConfig"]
    assert config["CustomErrorResponses"]["Items"][1] == {
        "ErrorCode": 503,
        "ResponsePagePath": "",
        "ResponseCode": "",
        "ErrorCachingMinTTL": 0,
    }
    cloudfront.update_distribution(Id=created["Distribution"]["Id"], IfMatch=created["ETag"], DistributionConfig=config)
    assert newest(api) == published, "what was read can be sent back"


def test_refusals_are_the_exceptions_that_clients_catch(api: ApiServer, cloudfront: Any) -> None:
    exceptions = cloudfront.exceptions
    wrong = [
        (exceptions.InvalidErrorCode, {"CustomErrorResponses": quantified({"ErrorCode": 412})}),
        (
            exceptions.InvalidResponseCode,
            {"CustomErrorResponses": quantified({"ErrorCode": 404, "ResponsePagePath": "/", "ResponseCode": "302"})},
        ),
        (
            exceptions.InvalidArgument,
            {"CustomErrorResponses": quantified({"ErrorCode": 404, "ResponsePagePath": "/404.html"})},
        ),
        (
            exceptions.InvalidRelativePath,
            {"CustomErrorResponses": quantified({"ErrorCode": 404, "ResponsePagePath": "x", "ResponseCode": "200"})},
        ),
        (exceptions.NoSuchOrigin, {"OriginGroups": quantified(origin_group("pair", "web", "nowhere"))}),
        (exceptions.InvalidArgument, {"Origins": quantified(custom_origin("web", ResponseCompletionTimeout=1))}),
        (
            exceptions.TooManyOriginGroupsPerDistribution,
            {
                "Origins": FAILOVER_AND_ERRORS["Origins"],
                "OriginGroups": quantified(*(origin_group(str(number), "web", "spare") for number in range(11))),
            },
        ),
    ]
    for expected, members in wrong:
        with pytest.raises(expected):
            cloudfront.create_distribution(DistributionConfig=distribution_config(**members))
    assert api.store.head_index == 0


@pytest.mark.slow
def test_the_aws_command_with_tags(api: ApiServer, tmp_path: Path) -> None:
    def aws(*arguments: str) -> Any:
        command = [str(AWS), "--endpoint-url", api.endpoint, "--output", "json", "cloudfront", *arguments]
        completed = subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
        )
        assert completed.returncode == 0, completed.stderr
        return json.loads(completed.stdout) if completed.stdout else None

    configuration = tmp_path / "distribution.json"
    tags = {"Items": [{"Key": "team", "Value": "web"}]}
    config = distribution_config(**FAILOVER_AND_ERRORS)
    configuration.write_text(json.dumps({"DistributionConfig": config, "Tags": tags}))
    with_tags = f"file://{configuration}"
    created = aws("create-distribution-with-tags", "--distribution-config-with-tags", with_tags)
    arn = created["Distribution"]["ARN"]
    aws("tag-resource", "--resource", arn, "--tags", "Items=[{Key=cdnlab:semantics,Value=rfc9111}]")
    assert newest(api).default_behavior.semantics == RFC9111
    aws(
        "tag-resource",
        "--resource",
        arn,
        "--tags",
        '{"Items": [{"Key": "cdnlab:semantics:=2A", "Value": "cloudfront"}]}',
    )
    assert newest(api).default_behavior.semantics == CLOUDFRONT
    aws("untag-resource", "--resource", arn, "--tag-keys", "Items=[team,cdnlab:semantics]")
    assert aws("list-tags-for-resource", "--resource", arn) == {
        "Tags": {"Items": [{"Key": "cdnlab:semantics:=2A", "Value": "cloudfront"}]}
    }


def environment(folder: Path) -> dict[str, str]:
    """For the `aws` command: the lab's credentials, and nothing of the user's own."""
    configuration = folder / "aws-config"
    configuration.write_text("")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": "cdnlab",
        "AWS_SECRET_ACCESS_KEY": "cdnlab-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(configuration),
        "AWS_SHARED_CREDENTIALS_FILE": str(configuration),
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }
