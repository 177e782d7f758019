"""AWS Signature Version 4 in the Authorization header: who signed, and whether this is what was signed.

The canonical request is computed again from the bytes that arrived; nothing that the client says about it is believed except the names of the signed headers.
Not here: query-string (presigned) signatures, which no CloudFront client makes, session tokens, which nobody issues here, and what a caller may do: one key may do all.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.model import SERVICE
from control_plane.aws_api.routing import parse_query

ALGORITHM = "AWS4-HMAC-SHA256"
MAXIMUM_SKEW = timedelta(minutes=15)

_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_UNRESERVED = "-_.~"
_CREDENTIAL = re.compile(r"(?P<key_id>[^/]+)/(?P<date>[0-9]{8})/(?P<region>[a-z0-9-]+)/(?P<service>[^/]+)/aws4_request")
_SIGNATURE = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it was on the wire: path and query still encoded, header names lower case, repeated headers joined by a comma."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Authorization:
    key_id: str
    date: str
    region: str
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{SERVICE}/aws4_request"


def verify(request: SignedRequest, credentials: Mapping[str, str], now: datetime) -> str:
    """The access key id that signed the request; ApiError when nobody known did, or not this request, or not now."""
    authorization = _parse_authorization(request.headers.get("authorization", ""))
    if "x-amz-security-token" in request.headers or authorization.key_id not in credentials:
        raise ApiError("InvalidClientTokenId", "The security token included in the request is invalid.")
    _check_signed_headers(authorization, request.headers)
    timestamp = _signing_time(request.headers)
    _check_time(authorization, timestamp, now)
    payload_hash = hashlib.sha256(request.body).hexdigest()
    if request.headers.get("x-amz-content-sha256", payload_hash) != payload_hash:
        raise _mismatch("X-Amz-Content-SHA256 is not the hash of the body.")
    canonical = canonical_request(request, authorization.signed_headers, payload_hash)
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((ALGORITHM, timestamp.strftime(_TIMESTAMP), authorization.scope, hashed))
    expected = _sign(credentials[authorization.key_id], authorization, text)
    if not hmac.compare_digest(expected, authorization.signature):
        raise _mismatch(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method."
        )
    return authorization.key_id


def canonical_request(request: SignedRequest, signed_headers: Sequence[str], payload_hash: str) -> str:
    """The text whose hash is signed."""
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed_headers)
    parts = (
        request.method,
        quote(_without_dot_segments(request.raw_path), safe="/~"),
        _canonical_query(request.raw_query),
        headers,
        ";".join(signed_headers),
        payload_hash,
    )
    return "\n".join(parts)


def _parse_authorization(header: str) -> _Authorization:
    if not header:
        raise ApiError("MissingAuthenticationToken", "The request is missing an Authorization header: sign it.")
    algorithm, _, rest = header.partition(" ")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    credential = _CREDENTIAL.fullmatch(fields.get("Credential", ""))
    names = tuple(fields.get("SignedHeaders", "").split(";"))
    signature = fields.get("Signature", "")
    if algorithm != ALGORITHM or credential is None or not all(names) or not _SIGNATURE.fullmatch(signature):
        raise ApiError(
            "IncompleteSignature",
            f"Authorization must be {ALGORITHM} with Credential, SignedHeaders and Signature.",
        )
    if credential["service"] != SERVICE:
        raise _mismatch(f"Credential should be scoped to correct service: '{SERVICE}'.")
    return _Authorization(credential["key_id"], credential["date"], credential["region"], names, signature)


def _check_signed_headers(authorization: _Authorization, headers: Mapping[str, str]) -> None:
    """Host and every X-Amz-* header must be signed: what is not signed could have been added on the way."""
    signed = authorization.signed_headers
    unsigned = [name for name in headers if (name == "host" or name.startswith("x-amz-")) and name not in signed]
    absent = [name for name in signed if name not in headers]
    if unsigned or absent or "host" not in signed or sorted(set(signed)) != list(signed):
        raise _mismatch("SignedHeaders must be sorted, and name 'host' and every X-Amz-* header of the request.")


def _signing_time(headers: Mapping[str, str]) -> datetime:
    try:
        if "x-amz-date" in headers:
            return datetime.strptime(headers["x-amz-date"], _TIMESTAMP).replace(tzinfo=UTC)
        said = parsedate_to_datetime(headers["date"])
        # "-0000" says nothing about a zone (RFC 5322 section 3.3); HTTP dates are in UTC.
        return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise ApiError("IncompleteSignature", "X-Amz-Date must be there, as YYYYMMDDTHHMMSSZ.") from error


def _check_time(authorization: _Authorization, timestamp: datetime, now: datetime) -> None:
    said, is_now = timestamp.strftime(_TIMESTAMP), now.astimezone(UTC).strftime(_TIMESTAMP)
    if not said.startswith(authorization.date):
        raise _mismatch(f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {said}.")
    if timestamp < now - MAXIMUM_SKEW:
        raise _mismatch(f"Signature expired: {said} is more than 15 minutes before {is_now}.")
    if timestamp > now + MAXIMUM_SKEW:
        raise _mismatch(f"Signature not yet current: {said} is more than 15 minutes after {is_now}.")


def _canonical_query(raw_query: str) -> str:
    pairs = ((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in parse_query(raw_query))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _without_dot_segments(path: str) -> str:
    """Empty, "." and ".." segments resolved, as clients do before they sign."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    is_directory = bool(segments) and path.endswith("/")
    return f"/{'/'.join(segments)}{'/' if is_directory else ''}"


def _sign(secret: str, authorization: _Authorization, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (authorization.date, authorization.region, SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def _mismatch(message: str) -> ApiError:
    return ApiError("SignatureDoesNotMatch", message)
