"""Buckets: versions that only go up, a budget that holds, and S3's words."""

import base64
import re
from hashlib import md5
from xml.etree import ElementTree as ET

import pytest

from origin import bucket_api
from origin.bucket import MAX_HISTORY, BucketStore
from origin.errors import StorageFullError
from origin.messages import Response
from tests.origin_builders import a_request

_NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}


class Lab:
    """A store and a clock that moves by one second per request."""

    def __init__(self, budget_bytes: int = 1 << 20) -> None:
        self.store = BucketStore(budget_bytes)
        self.now = 1_000_000.0

    def ask(self, method: str, target: str, *headers: tuple[str, str], body: bytes = b"") -> Response:
        self.now += 1
        return bucket_api.respond(self.store, a_request(method, f"/bucket/{target}", *headers, body=body), self.now)

    def put(self, target: str, body: bytes = b"x", *headers: tuple[str, str]) -> Response:
        return self.ask("PUT", target, *headers, body=body)

    def list(self, target: str) -> ET.Element:
        response = self.ask("GET", target)
        assert response.status == 200, response
        return ET.fromstring(bytes(response.body))  # type: ignore[arg-type]  # a listing is never generated


def texts(document: ET.Element, path: str) -> list[str | None]:
    return [element.text for element in document.findall(path, _NAMESPACE)]


def code_of(response: Response) -> str:
    match = re.search(rb"<Code>(\w+)</Code>", bytes(response.body))  # type: ignore[arg-type]  # errors are bytes
    assert match is not None, response
    return match.group(1).decode()


def test_what_was_put_comes_back_with_its_headers() -> None:
    lab = Lab()
    put = lab.put(
        "b/a/b.txt", b"hello", ("Content-Type", "text/plain"), ("x-amz-meta-Who", "me"), ("Cache-Control", "max-age=9")
    )
    got = lab.ask("GET", "b/a/b.txt")
    assert got.body == b"hello"
    assert got.header("etag") == put.header("etag") == f'"{md5(b"hello").hexdigest()}"'
    assert (got.header("content-type"), got.header("x-amz-meta-who"), got.header("cache-control")) == (
        "text/plain",
        "me",
        "max-age=9",
    )


def test_each_put_is_a_new_version_and_deleting_one_too() -> None:
    lab = Lab()
    assert [lab.put("b/k", bytes([n])).header("x-amz-version-id") for n in range(3)] == ["1", "2", "3"]
    assert lab.ask("DELETE", "b/k").header("x-amz-version-id") == "4"
    gone = lab.ask("GET", "b/k")
    assert (gone.status, code_of(gone), gone.header("x-amz-delete-marker")) == (404, "NoSuchKey", "true")
    assert lab.put("b/k").header("x-amz-version-id") == "5"
    assert lab.ask("GET", "b/k").header("x-amz-version-id") == "5"


def test_keys_are_compared_decoded() -> None:
    lab = Lab()
    lab.put("b/a%20b%C3%A4")
    assert lab.ask("GET", "b/a b%c3%a4").status == 200


def test_listing_pages_in_order() -> None:
    lab = Lab()
    for key in ("c", "a", "b/1", "b/2", "d"):
        lab.put(f"x/{key}")
    lab.ask("DELETE", "x/d")
    first = lab.list("x?list-type=2&max-keys=3")
    assert texts(first, "s3:Contents/s3:Key") == ["a", "b/1", "b/2"]
    token = first.findtext("s3:NextContinuationToken", namespaces=_NAMESPACE)
    second = lab.list(f"x?list-type=2&max-keys=3&continuation-token={token}")
    assert texts(second, "s3:Contents/s3:Key") == ["c"]
    assert second.findtext("s3:IsTruncated", namespaces=_NAMESPACE) == "false"


def test_a_prefix_and_a_delimiter_roll_up_folders_over_pages() -> None:
    lab = Lab()
    for key in ("a/1", "a/2", "b", "c/1", "c/2", "d"):
        lab.put(f"x/{key}")
    found: list[str | None] = []
    token = ""
    for _ in range(4):
        page = lab.list(f"x?list-type=2&delimiter=/&max-keys=1{token}")
        found += texts(page, "s3:Contents/s3:Key") + texts(page, "s3:CommonPrefixes/s3:Prefix")
        token = f"&continuation-token={page.findtext('s3:NextContinuationToken', namespaces=_NAMESPACE)}"
    assert found == ["a/", "b", "c/", "d"]
    assert texts(lab.list("x?list-type=2&prefix=c/"), "s3:Contents/s3:Key") == ["c/1", "c/2"]


def test_versions_are_listed_newest_first_over_pages() -> None:
    lab = Lab()
    for _ in range(3):
        lab.put("x/k")
    lab.ask("DELETE", "x/k")
    lab.put("x/m")
    first = lab.list("x?versions&max-keys=3")
    assert texts(first, "s3:DeleteMarker/s3:VersionId") == ["4"] and texts(first, "s3:Version/s3:VersionId") == [
        "3",
        "2",
    ]
    assert texts(first, "s3:DeleteMarker/s3:IsLatest") == ["true"]
    second = lab.list("x?versions&max-keys=3&key-marker=k&version-id-marker=2")
    assert texts(second, "s3:Version/s3:Key") == ["k", "m"] and texts(second, "s3:Version/s3:VersionId") == ["1", "1"]


def test_the_budget_refuses_and_changes_nothing() -> None:
    lab = Lab(budget_bytes=10_000)
    lab.put("b/k", b"a" * 4_000)
    used = lab.store.used_bytes
    full = lab.put("b/other", b"a" * 9_000)
    assert (full.status, code_of(full)) == (507, "InsufficientStorage")
    assert lab.store.used_bytes == used and lab.ask("GET", "b/other").status == 404
    assert lab.put("b/k", b"b" * 5_000).status == 200  # a new version releases the old content


def test_the_budget_also_bounds_tiny_objects() -> None:
    store = BucketStore(budget_bytes=100_000)

    def fill() -> None:
        for number in range(1_000):
            store.put("b", str(number), b"", (), 0.0)

    with pytest.raises(StorageFullError):
        fill()


def test_deleting_gives_everything_back() -> None:
    lab = Lab()
    for _ in range(3):
        lab.put("b/k", b"a" * 1_000)
    lab.ask("DELETE", "b/k")
    assert lab.store.used_bytes < 5_000
    assert lab.ask("DELETE", "b").status == 204 and lab.store.used_bytes == 0


def test_history_is_bounded_and_the_counter_is_not() -> None:
    lab = Lab()
    for _ in range(MAX_HISTORY + 50):
        lab.put("b/k")
    bucket = lab.store.bucket("b")
    assert bucket is not None and len(bucket.history("k")) == MAX_HISTORY
    assert lab.ask("HEAD", "b/k").header("x-amz-version-id") == str(MAX_HISTORY + 50)
    assert lab.store.used_bytes < 100 * 1_024


def test_conditional_puts() -> None:
    lab = Lab()
    tag = lab.put("b/k", b"1").header("etag")
    assert tag is not None
    assert code_of(lab.put("b/k", b"2", ("If-None-Match", "*"))) == "PreconditionFailed"
    assert lab.put("b/k", b"2", ("If-Match", tag)).status == 200
    assert code_of(lab.put("b/k", b"3", ("If-Match", tag))) == "PreconditionFailed"
    assert lab.put("b/new", b"3", ("If-None-Match", "*")).status == 200


def test_a_wrong_digest_is_refused_and_a_right_one_not() -> None:
    lab = Lab()
    right = base64.b64encode(md5(b"1").digest()).decode()
    assert lab.put("b/k", b"1", ("Content-MD5", right)).status == 200
    assert code_of(lab.put("b/k", b"2", ("Content-MD5", right))) == "BadDigest"


@pytest.mark.parametrize(
    ("method", "target", "header", "code"),
    [
        ("GET", "none/k", ("A", ""), "NoSuchBucket"),
        ("GET", "b/none", ("A", ""), "NoSuchKey"),
        ("GET", "b/k?versionId=9", ("A", ""), "NoSuchVersion"),
        ("GET", "b/k?versionId=1", ("A", ""), "NotImplemented"),
        ("GET", "b/k?acl", ("A", ""), "NotImplemented"),
        ("GET", "b?list-type=2&max-keys=x", ("A", ""), "InvalidArgument"),
        ("GET", "b?list-type=2&continuation-token=%25", ("A", ""), "InvalidArgument"),
        ("GET", "b", ("A", ""), "NotImplemented"),
        ("POST", "b/k", ("A", ""), "MethodNotAllowed"),
        ("PUT", "b/k", ("x-amz-copy-source", "/b/j"), "NotImplemented"),
        ("PUT", "b/k", ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), "NotImplemented"),
        ("PUT", "b/k", ("x-amz-meta-a", "a" * 9_000), "MetadataTooLarge"),
        ("PUT", "B_B/k", ("A", ""), "InvalidBucketName"),
        ("PUT", "b/" + "k" * 1_025, ("A", ""), "KeyTooLongError"),
        ("DELETE", "b", ("A", ""), "BucketNotEmpty"),
        ("DELETE", "b/k?versionId=1", ("A", ""), "NotImplemented"),
    ],
)
def test_errors(method: str, target: str, header: tuple[str, str], code: str) -> None:
    lab = Lab()
    lab.put("b/k", b"1")
    lab.put("b/k", b"2")
    assert code_of(lab.ask(method, target, header)) == code
