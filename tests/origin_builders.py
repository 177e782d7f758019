"""Builders for the origin's unit tests: requests as the reader would make them."""

from hashlib import sha256

from origin.messages import BodyRule, Request, RequestBody
from origin.request_reader import path_and_query


def a_request(method: str, target: str, *headers: tuple[str, str], body: bytes = b"") -> Request:
    """A complete request; the body is kept."""
    path, query = path_and_query(target)
    fields = {name.lower(): value for name, value in headers}
    return Request(method, target, path, query, headers, fields, RequestBody(len(body), sha256(body).hexdigest(), body))


def a_get(target: str, *headers: tuple[str, str]) -> Request:
    """A GET."""
    return a_request("GET", target, *headers)


def keep_everything(_method: str, _path: str) -> BodyRule:
    """A body rule for readers: keep up to 1,000 bytes."""
    return BodyRule(is_kept=True, limit_bytes=1_000)
