"""The buckets over HTTP, in the words of the S3 REST API as far as it goes: objects, ListObjectsV2, ListObjectVersions.

What is not there (ACLs, multipart uploads, old contents, aws-chunked bodies ...) is refused with NotImplemented, never ignored.
Signatures are neither asked for nor checked: any S3 client may talk to it with any credentials.
"""

import base64
import re
from hashlib import md5
from urllib.parse import unquote

from origin.bucket import Bucket, BucketStore, StoredObject
from origin.bucket_listing import list_objects, list_versions
from origin.conditions import is_any_tag_matching, is_precondition_met
from origin.errors import StorageFullError
from origin.messages import Headers, Request, Response
from origin.s3_errors import s3_error

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_MAX_KEY_BYTES = 1_024
_MAX_METADATA_BYTES = 8_192
# Headers of the PUT that come back with the object (S3 API, PutObject).
_STORED_HEADERS = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
_METADATA_PREFIX = "x-amz-meta-"
# Query parameters that select another operation of S3 (its "subresources"), or clients' notes that change nothing.
_LIST_PARAMETERS = ("list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "fetch-owner")
_VERSION_PARAMETERS = ("versions", "key-marker", "version-id-marker")
_BUCKET_PARAMETERS = frozenset((*_LIST_PARAMETERS, *_VERSION_PARAMETERS, "encoding-type", "x-id"))
_OBJECT_PARAMETERS = frozenset(("versionId", "x-id"))


def respond(store: BucketStore, request: Request, now: float) -> Response:
    """The answer to a request under /bucket/."""
    name, _, raw_key = request.path.removeprefix("/bucket/").partition("/")
    key = unquote(raw_key)
    if not _BUCKET_NAME.fullmatch(name):
        return s3_error("InvalidBucketName", name)
    parameters = dict(request.parameters())
    known = _OBJECT_PARAMETERS if key else _BUCKET_PARAMETERS
    unknown = next((parameter for parameter in parameters if parameter not in known), None)
    if unknown is not None:
        return s3_error("NotImplemented", request.path, f"The parameter {unknown} is not supported here.")
    if not key:
        return _respond_bucket(store, request, name, parameters)
    if len(key.encode()) > _MAX_KEY_BYTES:
        return s3_error("KeyTooLongError", key)
    return _respond_object(store, request, (name, key), now)


def _respond_bucket(store: BucketStore, request: Request, name: str, parameters: dict[str, str]) -> Response:
    bucket = store.bucket(name)
    if request.method == "PUT":
        store.create(name)
        return Response(200, (("Location", f"/bucket/{name}"),))
    if bucket is None:
        return s3_error("NoSuchBucket", name)
    match request.method:
        case "HEAD":
            return Response(200)
        case "DELETE":
            return _remove_bucket(store, bucket)
        case "GET" if "versions" in parameters:
            return list_versions(bucket, parameters)
        case "GET" if parameters.get("list-type") == "2":
            return list_objects(bucket, parameters)
        case "GET":
            return s3_error("NotImplemented", name, "Listing needs list-type=2 (ListObjectsV2) or versions.")
        case _:
            return s3_error("MethodNotAllowed", name).with_headers(("Allow", "GET, HEAD, PUT, DELETE"))


def _remove_bucket(store: BucketStore, bucket: Bucket) -> Response:
    if not bucket.is_empty():
        return s3_error("BucketNotEmpty", bucket.name)
    store.remove(bucket.name)
    return Response(204)


def _respond_object(store: BucketStore, request: Request, place: tuple[str, str], now: float) -> Response:
    name, key = place
    bucket = store.bucket(name)
    if request.method == "PUT":
        return _put(store, request, place, now)
    if bucket is None:
        return s3_error("NoSuchBucket", name)
    match request.method:
        case "GET" | "HEAD":
            return _get(bucket, key, request.parameter("versionId"))
        case "DELETE" if request.parameter("versionId"):
            return s3_error("NotImplemented", key, "Single versions cannot be deleted here.")
        case "DELETE":
            return _delete(store, bucket, key, now)
        case _:
            return s3_error("MethodNotAllowed", key).with_headers(("Allow", "GET, HEAD, PUT, DELETE"))


def _get(bucket: Bucket, key: str, version_id: str) -> Response:
    stored, latest = bucket.get(key), bucket.latest(key)
    if version_id and (stored is None or version_id != str(stored.version.number)):
        if any(str(version.number) == version_id for version in bucket.history(key)):
            return s3_error("NotImplemented", key, "Only the current version's content is kept.")
        return s3_error("NoSuchVersion", key)
    if stored is None:
        missing = s3_error("NoSuchKey", key)
        if latest is None:
            return missing
        return missing.with_headers(("x-amz-delete-marker", "true"), ("x-amz-version-id", str(latest.number)))
    return stored.response


def _delete(store: BucketStore, bucket: Bucket, key: str, now: float) -> Response:
    marker = store.delete(bucket, key, now)
    if marker is None:
        return Response(204)
    return Response(204, (("x-amz-version-id", str(marker.number)), ("x-amz-delete-marker", "true")))


def _put(store: BucketStore, request: Request, place: tuple[str, str], now: float) -> Response:
    bucket_name, key = place
    refusal = _refused_put(store, request, place)
    if refusal is not None:
        return refusal
    try:
        stored = store.put(bucket_name, key, request.body.content, _stored_headers(request), now)
    except StorageFullError as full:
        # S3 has no such code; 507 is WebDAV's (RFC 4918, 11.5).
        return s3_error("InsufficientStorage", key, f"{full}.")
    return Response(200, (("ETag", stored.version.entity_tag), ("x-amz-version-id", str(stored.version.number))))


def _refused_put(store: BucketStore, request: Request, place: tuple[str, str]) -> Response | None:
    """Why this PUT is not done, if it is not."""
    bucket_name, key = place
    if "x-amz-copy-source" in request.fields:
        return s3_error("NotImplemented", key, "Objects cannot be copied here.")
    if (request.field_value("x-amz-content-sha256") or "").startswith("STREAMING-"):
        return s3_error("NotImplemented", key, "aws-chunked bodies are not supported; send the content as it is.")
    if sum(len(name) + len(value) for name, value in _stored_headers(request)) > _MAX_METADATA_BYTES:
        return s3_error("MetadataTooLarge", key)
    digest = request.field_value("content-md5")
    if (
        digest is not None
        and base64.b64encode(md5(request.body.content, usedforsecurity=False).digest()).decode() != digest
    ):
        return s3_error("BadDigest", key)
    bucket = store.bucket(bucket_name)
    current = bucket.get(key) if bucket is not None else None
    if not _is_put_wanted(request, current):
        return s3_error("PreconditionFailed", key)
    return None


def _is_put_wanted(request: Request, current: StoredObject | None) -> bool:
    """If-Match and If-None-Match on a PUT (RFC 9110, 13.1.1 and 13.1.2)."""
    tag = current.version.entity_tag if current is not None else None
    if_none_match = request.field_value("if-none-match")
    modified = current.response.header("last-modified") if current is not None else None
    if if_none_match is not None and is_any_tag_matching(if_none_match, tag):
        return False
    return is_precondition_met(request, tag, modified)


def _stored_headers(request: Request) -> Headers:
    kept = [
        (name, value)
        for name, value in request.headers
        if name.lower() in _STORED_HEADERS or name.lower().startswith(_METADATA_PREFIX)
    ]
    if "content-type" not in request.fields:
        kept.append(("Content-Type", "binary/octet-stream"))  # S3's own default
    return tuple(kept)
