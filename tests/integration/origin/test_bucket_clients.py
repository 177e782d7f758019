"""The bucket with a real S3 client, boto3, and versions through plain HTTP."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.origin_process import OriginProcess


@pytest.fixture(scope="module")
def origin() -> Iterator[OriginProcess]:
    with OriginProcess("127.14.1.4") as process:
        yield process


@pytest.fixture
def s3(origin: OriginProcess) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{origin.host}:{origin.port}/bucket",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def test_objects_come_and_go(s3: Any) -> None:
    s3.create_bucket(Bucket="boto")
    put = s3.put_object(
        Bucket="boto",
        Key="a/ä b.txt",
        Body=b"hello",
        ContentType="text/plain",
        Metadata={"who": "me"},
        CacheControl="max-age=5",
    )
    got = s3.get_object(Bucket="boto", Key="a/ä b.txt")
    assert got["Body"].read() == b"hello" and got["ETag"] == put["ETag"] and got["VersionId"] == put["VersionId"] == "1"
    assert (got["ContentType"], got["Metadata"], got["CacheControl"]) == ("text/plain", {"who": "me"}, "max-age=5")
    assert s3.head_object(Bucket="boto", Key="a/ä b.txt")["ContentLength"] == 5
    assert s3.get_object(Bucket="boto", Key="a/ä b.txt", Range="bytes=1-2")["Body"].read() == b"el"
    s3.delete_object(Bucket="boto", Key="a/ä b.txt")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="boto", Key="a/ä b.txt")
    s3.delete_bucket(Bucket="boto")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket="boto")


def test_paginators_see_everything_once(s3: Any) -> None:
    keys = [f"p/{number:02d} &<x>" for number in range(7)]
    for key in keys:
        s3.put_object(Bucket="pages", Key=key, Body=b"1")
        s3.put_object(Bucket="pages", Key=key, Body=b"2")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="pages", PaginationConfig={"PageSize": 3})
    assert [item["Key"] for page in pages for item in page["Contents"]] == keys
    versions = s3.get_paginator("list_object_versions").paginate(Bucket="pages", PaginationConfig={"PageSize": 3})
    listed = [(item["Key"], item["VersionId"]) for page in versions for item in page["Versions"]]
    assert listed == [(key, version) for key in keys for version in ("2", "1")]
    rolled_up = s3.list_objects_v2(Bucket="pages", Delimiter="/")
    assert [item["Prefix"] for item in rolled_up["CommonPrefixes"]] == ["p/"] and "Contents" not in rolled_up


def test_errors_are_botocores_own(s3: Any) -> None:
    s3.put_object(Bucket="errors", Key="k", Body=b"1")
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.get_object_acl(Bucket="errors", Key="k")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="errors", Key="k", Body=b"2", IfNoneMatch="*")


def test_each_change_is_a_version_that_a_viewer_can_tell(origin: OriginProcess) -> None:
    seen = []
    for number in range(3):
        origin.ask("PUT", "/bucket/fresh/k", f"content {number}".encode(), Cache_Control="max-age=60")
        answer = origin.ask("GET", "/bucket/fresh/k")
        seen.append((answer.headers["x-amz-version-id"], answer.headers["Cache-Control"], answer.body))
    assert seen == [(str(number + 1), "max-age=60", f"content {number}".encode()) for number in range(3)]


def test_revalidation_notices_the_change(origin: OriginProcess) -> None:
    tag = origin.ask("PUT", "/bucket/fresh/r", b"1").headers["ETag"]
    unchanged = origin.ask("GET", "/bucket/fresh/r", If_None_Match=tag)
    assert unchanged.status == 304 and unchanged.headers["x-amz-version-id"] == "1"
    origin.ask("PUT", "/bucket/fresh/r", b"2")
    assert origin.ask("GET", "/bucket/fresh/r", If_None_Match=tag).status == 200


def test_a_large_object_passes_whole_and_one_byte_more_does_not(origin: OriginProcess) -> None:
    content = bytes(64 << 20)
    assert origin.ask("PUT", "/bucket/large/k", content).status == 200
    assert len(origin.ask("GET", "/bucket/large/k").body) == 64 << 20
    assert origin.ask("GET", "/bucket/large/k", Range="bytes=1-70000").body == bytes(70_000)
    assert [origin.ask("PUT", f"/bucket/large/{n}", content).status for n in range(3)] == [200, 200, 507]
    for key in ("k", "0", "1"):
        origin.ask("DELETE", f"/bucket/large/{key}")
    assert origin.admin("GET", "/status")["bucket_bytes"] < 1 << 20
