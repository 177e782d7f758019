"""Listing a bucket: ListObjectsV2 and ListObjectVersions in S3's XML, a page at a time."""

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from urllib.parse import quote

from origin.bucket import Bucket, Version
from origin.errors import InvalidInputError
from origin.messages import Response
from origin.s3_errors import s3_error, xml_response, xml_text

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_MAX_PAGE = 1_000

_Encode = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of a listing: a key, or a common prefix of several."""

    name: str
    is_common_prefix: bool


def list_objects(bucket: Bucket, parameters: dict[str, str]) -> Response:
    """One page of current objects, rolled up at the delimiter if there is one (S3 API, ListObjectsV2)."""
    try:
        limit = _page_size(parameters)
        after = _after(parameters)
    except InvalidInputError as error:
        return s3_error("InvalidArgument", bucket.name, f"{error}.")
    prefix, delimiter = parameters.get("prefix", ""), parameters.get("delimiter", "")
    found = list(islice(_entries(bucket, prefix, delimiter, after), limit + 1))
    shown, is_truncated = found[:limit], len(found) > limit
    encode = _encoder(parameters)
    lines = [f"<Name>{bucket.name}</Name>", f"<Prefix>{encode(prefix)}</Prefix>", f"<MaxKeys>{limit}</MaxKeys>"]
    lines += [f"<KeyCount>{len(shown)}</KeyCount>", f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>"]
    if delimiter:
        lines.append(f"<Delimiter>{encode(delimiter)}</Delimiter>")
    if "encoding-type" in parameters:
        lines.append("<EncodingType>url</EncodingType>")
    if is_truncated and shown:
        lines.append(f"<NextContinuationToken>{_token(shown[-1].name)}</NextContinuationToken>")
    lines += [_entry_xml(bucket, entry, encode) for entry in shown]
    return xml_response(200, f'<ListBucketResult xmlns="{_NAMESPACE}">{"".join(lines)}</ListBucketResult>')


def _entries(bucket: Bucket, prefix: str, delimiter: str, after: str) -> Iterator[_Entry]:
    """Keys that have an object, and common prefixes once each, in order."""
    last_prefix = ""
    for key in bucket.keys(prefix, after):
        if bucket.get(key) is None:
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            yield _Entry(key, is_common_prefix=False)
            continue
        common_prefix = key[: cut + len(delimiter)]
        # A page that ended with a common prefix continues after everything below it.
        if common_prefix not in (last_prefix, after):
            yield _Entry(common_prefix, is_common_prefix=True)
        last_prefix = common_prefix


def _entry_xml(bucket: Bucket, entry: _Entry, encode: _Encode) -> str:
    if entry.is_common_prefix:
        return f"<CommonPrefixes><Prefix>{encode(entry.name)}</Prefix></CommonPrefixes>"
    stored = bucket.get(entry.name)
    assert stored is not None
    return f"<Contents><Key>{encode(entry.name)}</Key>{_facts(stored.version)}</Contents>"


def list_versions(bucket: Bucket, parameters: dict[str, str]) -> Response:
    """One page of versions and delete markers, newest first within a key (S3 API, ListObjectVersions)."""
    try:
        limit = _page_size(parameters)
    except InvalidInputError as error:
        return s3_error("InvalidArgument", bucket.name, f"{error}.")
    if "delimiter" in parameters:
        return s3_error("NotImplemented", bucket.name, "Versions are listed without a delimiter.")
    prefix, encode = parameters.get("prefix", ""), _encoder(parameters)
    found = list(islice(_versions(bucket, prefix, parameters), limit + 1))
    shown, is_truncated = found[:limit], len(found) > limit
    lines = [f"<Name>{bucket.name}</Name>", f"<Prefix>{encode(prefix)}</Prefix>", f"<MaxKeys>{limit}</MaxKeys>"]
    lines.append(f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>")
    if "encoding-type" in parameters:
        lines.append("<EncodingType>url</EncodingType>")
    if is_truncated and shown:
        key, version = shown[-1]
        lines.append(f"<NextKeyMarker>{encode(key)}</NextKeyMarker>")
        lines.append(f"<NextVersionIdMarker>{version.number}</NextVersionIdMarker>")
    lines += [_version_xml(bucket, version, key, encode(key)) for key, version in shown]
    return xml_response(200, f'<ListVersionsResult xmlns="{_NAMESPACE}">{"".join(lines)}</ListVersionsResult>')


def _versions(bucket: Bucket, prefix: str, parameters: dict[str, str]) -> Iterator[tuple[str, Version]]:
    marker, below = parameters.get("key-marker", ""), parameters.get("version-id-marker", "")
    if marker.startswith(prefix) and below.isascii() and below.isdigit():
        yield from ((marker, version) for version in bucket.history(marker) if version.number < int(below))
    for key in bucket.keys(prefix, marker):
        yield from ((key, version) for version in bucket.history(key))


def _version_xml(bucket: Bucket, version: Version, key: str, encoded: str) -> str:
    element = "DeleteMarker" if version.is_delete_marker else "Version"
    is_latest = str(version == bucket.latest(key)).lower()
    return (
        f"<{element}><Key>{encoded}</Key><VersionId>{version.number}</VersionId><IsLatest>{is_latest}</IsLatest>"
        f"{_facts(version)}</{element}>"
    )


def _facts(version: Version) -> str:
    modified = datetime.fromtimestamp(version.modified_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    dated = f"<LastModified>{modified}</LastModified>"
    if version.is_delete_marker:
        return dated
    size = f"<ETag>{xml_text(version.entity_tag)}</ETag><Size>{version.size_bytes}</Size>"
    return f"{dated}{size}<StorageClass>STANDARD</StorageClass>"


def _encoder(parameters: dict[str, str]) -> _Encode:
    """Names as the client wants them: percent-encoded with encoding-type=url, else as XML text."""
    return partial(quote, safe="/~") if parameters.get("encoding-type") == "url" else xml_text


def _page_size(parameters: dict[str, str]) -> int:
    text = parameters.get("max-keys", str(_MAX_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInputError("max-keys must be a whole number")
    return min(_MAX_PAGE, int(text))


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode()


def _after(parameters: dict[str, str]) -> str:
    token = parameters.get("continuation-token")
    if token is None:
        return parameters.get("start-after", "")
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError("the continuation token is not one of mine") from error
