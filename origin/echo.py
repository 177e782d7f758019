"""/echo/: tells what the origin was asked, and answers as the query wants it. The tests of the CDN are made of it.

Without shaping the body is JSON about this very request. Unknown parameters are left alone: they are what cache keys are tested with.
"""

import json
from collections.abc import Callable
from dataclasses import replace

from origin.behaviors import is_header_valid
from origin.conditions import http_date
from origin.downloads import MAX_DOWNLOAD_BYTES, parse_size, parse_version
from origin.errors import InvalidInputError
from origin.gates import checked_gate_name
from origin.messages import PROMPT, Delivery, Framing, Generated, Headers, Request, Response
from origin.patterns import read

# Parameters that are headers as they stand.
_PLAIN_HEADERS = {
    "cache-control": "Cache-Control",
    "etag": "ETag",
    "age": "Age",
    "vary": "Vary",
    "set-cookie": "Set-Cookie",
}


def respond(request: Request, now: float, number: int) -> Response:
    """The answer to any method under /echo/. `number` counts the origin's requests and tells one fetch from another."""
    parameters = request.parameters()
    headers = _merged(_default_headers(number), tuple(_shaped_headers(parameters, now)))
    values = dict(parameters)
    is_sized = "size" in values
    body = _sized_body(request, values) if is_sized else described(request)
    return Response(
        _status(values.get("status", "200")),
        headers,
        body,
        _framing(values),
        _delivery(values),
        accepts_ranges=is_sized,
        must_close=any(name.lower() == "connection" for name, _ in headers),
        has_own_date="no-date" in values or any(name.lower() == "date" for name, _ in headers),
    )


def expected_bytes(path: str, offset: int, length: int, version: int = 1) -> bytes:
    """The body of an echo with `size`: what a checker compares with."""
    return read(_seed(path, version), offset, length)


def described(request: Request) -> bytes:
    """The request as JSON."""
    document = {
        "method": request.method,
        "target": request.target,
        "http_version": request.http_version,
        "headers": [list(pair) for pair in request.headers],
        "body": {"length": request.body.length, "sha256": request.body.sha256},
        "connection": request.connection_number,
    }
    return json.dumps(document).encode() + b"\n"


def _seed(path: str, version: int) -> str:
    return f"echo{path}#{version}"


def _default_headers(number: int) -> Headers:
    return ("Content-Type", "application/json"), ("X-Origin-Request-Number", str(number))


def _merged(defaults: Headers, wanted: Headers) -> Headers:
    """A wanted header takes the place of a default one."""
    names = {name.lower() for name, _ in wanted}
    return tuple(pair for pair in defaults if pair[0].lower() not in names) + wanted


def _shaped_headers(parameters: list[tuple[str, str]], now: float) -> list[tuple[str, str]]:
    shaped = []
    for key, value in parameters:
        if key in _PLAIN_HEADERS:
            shaped.append((_PLAIN_HEADERS[key], value))
        elif key in _DERIVED_HEADERS:
            shaped.append(_DERIVED_HEADERS[key](value, now))
    for name, value in shaped:
        if not is_header_valid(name, value):
            raise InvalidInputError(f"the header {name[:60]!r} with value {value[:60]!r} cannot be sent")
    return shaped


def _given_header(value: str, _now: float) -> tuple[str, str]:
    name, separator, content = value.partition(":")
    if not separator:
        raise InvalidInputError("header must be Name:Value")
    return name.strip(), content.strip()


def _expires(value: str, now: float) -> tuple[str, str]:
    return "Expires", http_date(now + _seconds("expires", value))


def _last_modified(value: str, now: float) -> tuple[str, str]:
    """An HTTP date as it stands, or so many seconds ago."""
    is_number = value.lstrip("-").isdigit()
    return "Last-Modified", http_date(now - _seconds("last-modified", value)) if is_number else value


_DERIVED_HEADERS: dict[str, Callable[[str, float], tuple[str, str]]] = {
    "header": _given_header,
    "expires": _expires,
    "last-modified": _last_modified,
}


def _seconds(name: str, text: str) -> int:
    try:
        seconds = int(text)
    except ValueError as error:
        raise InvalidInputError(
            f"{name} must be a whole number of seconds, for Expires that is no date use header="
        ) from error
    if abs(seconds) > 10**9:
        raise InvalidInputError(f"{name} is too far away")
    return seconds


def _status(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 3 and 200 <= int(text) <= 599):
        raise InvalidInputError("status must be a number from 200 to 599")
    return int(text)


def _sized_body(request: Request, values: dict[str, str]) -> bytes | Generated:
    size = parse_size(values["size"])
    if size is None or size > MAX_DOWNLOAD_BYTES:
        raise InvalidInputError("size must be a number with an optional unit such as KiB")
    body = Generated(_seed(request.path, parse_version(values.get("v", "1"))), size)
    # A small body is made at once, which keeps it on the short way out.
    return read(body.seed, 0, size) if size <= 65_536 else body


def _framing(values: dict[str, str]) -> Framing:
    if _is_on(values, "no-length"):
        return Framing.CLOSE
    return Framing.CHUNKED if _is_on(values, "chunked") else Framing.LENGTH


def _is_on(values: dict[str, str], name: str) -> bool:
    return values.get(name, "0") not in ("0", "false", "no")


def _delivery(values: dict[str, str]) -> Delivery:
    if "gate" not in values and "gate-body" not in values:
        return PROMPT
    gates = [checked_gate_name(values[name]) if name in values else "" for name in ("gate", "gate-body")]
    return replace(PROMPT, gate=gates[0], gate_body=gates[1])
