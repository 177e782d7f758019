"""Large downloads of any size, computed as they are sent, and the function that says what their bytes must be.

`/download/1GiB.bin`, `/download/setup.exe?size=300MiB`, both with `&v=2` for a second version of the same name.
"""

import re
from hashlib import sha256

from origin.conditions import http_date
from origin.errors import InvalidInputError
from origin.messages import Generated, Request, Response
from origin.patterns import read

MAX_DOWNLOAD_BYTES = 1 << 40
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_SIZE = re.compile(r"(\d{1,15})([KMGT]I?B|B)?", re.ASCII | re.IGNORECASE)
_CACHE_CONTROL = "public, max-age=3600"
# 2026-01-01; each version is a day newer than the one before.
_FIRST_PUBLISHED = 1_767_225_600
_DAY_SECONDS = 86_400


def expected_bytes(name: str, offset: int, length: int, version: int = 1) -> bytes:
    """The bytes of `/download/<name>` at `offset`: what a checker compares with. The size is no part of the content."""
    return read(_seed(name, version), offset, length)


def parse_size(text: str) -> int | None:
    """Bytes of a size such as 10MiB, 1GiB or 123; None if it is none."""
    match = _SIZE.fullmatch(text)
    return int(match.group(1)) * _UNITS[(match.group(2) or "").upper()] if match else None


def respond(request: Request) -> Response:
    """The answer to a GET or HEAD under /download/."""
    name = request.path.removeprefix("/download/")
    parameters = dict(request.parameters())
    size = parse_size(parameters["size"] if "size" in parameters else name.removesuffix(".bin"))
    if size is None and "size" not in parameters:
        return Response(
            404, (("Content-Type", "text/plain"),), b"ask for /download/<size>.bin or /download/<name>?size=<size>\n"
        )
    if size is None or size > MAX_DOWNLOAD_BYTES:
        raise InvalidInputError(
            f"size must be a number with an optional unit such as MiB, at most {MAX_DOWNLOAD_BYTES}"
        )
    version = parse_version(parameters.get("v", "1"))
    tag = sha256(f"{name} {version} {size}".encode()).hexdigest()[:16]
    headers = (
        ("Content-Type", "application/octet-stream"),
        ("Cache-Control", _CACHE_CONTROL),
        ("ETag", f'"{tag}"'),
        ("Last-Modified", http_date(_FIRST_PUBLISHED + _DAY_SECONDS * (version - 1))),
    )
    return Response(200, headers, Generated(_seed(name, version), size), accepts_ranges=True)


def parse_version(text: str) -> int:
    """The `v` parameter."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) > 0):
        raise InvalidInputError("v must be a version number from 1 to 99999")
    return int(text)


def _seed(name: str, version: int) -> str:
    return f"download/{name}#{version}"
