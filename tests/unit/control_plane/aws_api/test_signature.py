"""Signature Version 4, with botocore as the signer; and every part of a signed request altered."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.signature import SignedRequest, verify

KEYS = {"cdnlab": "cdnlab-secret"}
URL = "http://127.0.0.1:4566/2020-05-31/distribution/E1%2F2/config?Marker=a%20b%2Bc&MaxItems=10&Flag"


def signed(
    url: str = URL,
    *,
    method: str = "PUT",
    body: bytes = b"<x/>",
    headers: dict[str, str] | None = None,
    credentials: Credentials | None = None,
    service: str = "cloudfront",
    region: str = "us-east-1",
) -> SignedRequest:
    request = AWSRequest(method=method, url=url, data=body, headers={"If-Match": "E  1", **(headers or {})})
    SigV4Auth(credentials or Credentials("cdnlab", "cdnlab-secret"), service, region).add_auth(request)
    parts = urlsplit(url)
    on_wire = {"host": parts.netloc, **{name.lower(): value for name, value in request.headers.items()}}
    return SignedRequest(method, parts.path, parts.query, on_wire, body)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "http://localhost:4566/2020-05-31/distribution",
        "http://localhost/",
        "http://localhost",
        "http://localhost/a/../b//./c/",
        "http://localhost/a%20b/%C3%A9/~x",
        "http://localhost/x?b=2&a=1&a=0&c",
    ],
)
def test_what_botocore_signs_is_accepted(url: str) -> None:
    assert verify(signed(url), KEYS, now()) == "cdnlab"
    assert verify(signed(url, method="GET", body=b""), KEYS, now()) == "cdnlab"


def test_any_region_will_do() -> None:
    assert verify(signed(region="eu-central-1"), KEYS, now()) == "cdnlab"


def test_a_signed_payload_hash_is_verified() -> None:
    right = hashlib.sha256(b"<x/>").hexdigest()
    assert verify(signed(headers={"X-Amz-Content-SHA256": right}), KEYS, now()) == "cdnlab"
    for wrong in (hashlib.sha256(b"<y/>").hexdigest(), "UNSIGNED-PAYLOAD"):
        with pytest.raises(ApiError, match="X-Amz-Content-SHA256") as refused:
            verify(signed(headers={"X-Amz-Content-SHA256": wrong}), KEYS, now())
        assert refused.value.code == "SignatureDoesNotMatch"


def with_header(name: str, value: str | None) -> Callable[[SignedRequest], SignedRequest]:
    def alter(request: SignedRequest) -> SignedRequest:
        headers = {key: old for key, old in request.headers.items() if key != name}
        return replace(request, headers=headers if value is None else {**headers, name: value})

    return alter


def in_authorization(old: str, new: str) -> Callable[[SignedRequest], SignedRequest]:
    def alter(request: SignedRequest) -> SignedRequest:
        said = request.headers["authorization"]
        assert old in said
        return with_header("authorization", said.replace(old, new))(request)

    return alter


def with_another_signature(request: SignedRequest) -> SignedRequest:
    said = request.headers["authorization"]
    return with_header("authorization", said[:-1] + ("0" if said[-1] != "0" else "1"))(request)


@pytest.mark.parametrize(
    ("alter", "code"),
    [
        (lambda request: replace(request, method="POST"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, raw_path="/2020-05-31/distribution/E2"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, raw_path=request.raw_path.replace("%2F", "/")), "SignatureDoesNotMatch"),
        (lambda request: replace(request, raw_query=request.raw_query + "&x=1"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, raw_query=request.raw_query.replace("10", "11")), "SignatureDoesNotMatch"),
        (lambda request: replace(request, raw_query=request.raw_query.replace("%2B", "%20")), "SignatureDoesNotMatch"),
        (lambda request: replace(request, raw_query=""), "SignatureDoesNotMatch"),
        (lambda request: replace(request, body=b"<y/>"), "SignatureDoesNotMatch"),
        (lambda request: replace(request, body=b""), "SignatureDoesNotMatch"),
        (with_header("if-match", "E2"), "SignatureDoesNotMatch"),
        (with_header("if-match", None), "SignatureDoesNotMatch"),
        (with_header("host", "elsewhere:4566"), "SignatureDoesNotMatch"),
        (with_header("x-amz-new", "1"), "SignatureDoesNotMatch"),
        (with_another_signature, "SignatureDoesNotMatch"),
        (in_authorization("us-east-1", "us-east-2"), "SignatureDoesNotMatch"),
        (in_authorization("cloudfront", "s3"), "SignatureDoesNotMatch"),
        (in_authorization("host;if-match;x-amz-date", "host;x-amz-date"), "SignatureDoesNotMatch"),
        (in_authorization("host;if-match;x-amz-date", "if-match;x-amz-date"), "SignatureDoesNotMatch"),
        (in_authorization("host;if-match;x-amz-date", "host;if-match"), "SignatureDoesNotMatch"),
        (in_authorization("host;if-match;x-amz-date", "if-match;host;x-amz-date"), "SignatureDoesNotMatch"),
        (in_authorization("Credential=cdnlab/", "Credential=somebody/"), "InvalidClientTokenId"),
        (with_header("x-amz-security-token", "token"), "InvalidClientTokenId"),
        (with_header("authorization", None), "MissingAuthenticationToken"),
        (with_header("authorization", "Basic Y2RubGFiOng="), "IncompleteSignature"),
        (with_header("authorization", "AWS4-HMAC-SHA256"), "IncompleteSignature"),
        (in_authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), "IncompleteSignature"),
        (in_authorization("Signature=", "Signature=zz"), "IncompleteSignature"),
        (in_authorization("SignedHeaders=host", "SignedHeaders=;host"), "IncompleteSignature"),
        (in_authorization("/aws4_request", ""), "IncompleteSignature"),
        (with_header("x-amz-date", "yesterday"), "IncompleteSignature"),
        (with_header("x-amz-date", "20010101T000000Z"), "SignatureDoesNotMatch"),
    ],
)
def test_whatever_is_altered_is_refused(alter: Callable[[SignedRequest], SignedRequest], code: str) -> None:
    with pytest.raises(ApiError) as refused:
        verify(alter(signed()), KEYS, now())
    assert refused.value.code == code


def test_another_secret_or_service_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        verify(signed(credentials=Credentials("cdnlab", "guessed")), KEYS, now())
    assert refused.value.code == "SignatureDoesNotMatch"
    with pytest.raises(ApiError) as refused:
        verify(signed(service="s3"), KEYS, now())
    assert "correct service: 'cloudfront'" in refused.value.message


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_date_beyond_a_quarter_of_an_hour_is_refused(minutes: int) -> None:
    request = signed()
    assert verify(request, KEYS, now() + timedelta(minutes=14 if minutes > 0 else -14))
    with pytest.raises(ApiError, match=r"Signature (expired|not yet current)") as refused:
        verify(request, KEYS, now() + timedelta(minutes=minutes))
    assert refused.value.code == "SignatureDoesNotMatch"


def test_without_x_amz_date_the_date_header_counts() -> None:
    request = signed(headers={"Date": "Sat, 21 Nov 2026 01:02:03 GMT"})
    assert "x-amz-date" not in request.headers
    signed_at = datetime.now(UTC)
    assert verify(request, KEYS, signed_at)
    with pytest.raises(ApiError, match="Signature expired"):
        verify(request, KEYS, signed_at + timedelta(minutes=16))
