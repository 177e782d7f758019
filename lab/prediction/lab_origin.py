"""What the lab's own origin answers to the paths that profiles of load ask for: size, Cache-Control, length of the head (docs/origin.md). Pure.

The origin is a black box here: the table says what it does, and a test compares it with a running one. A path that is not in it is refused, for a prediction about
an answer that nobody knows would be a guess.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from lab.errors import UsageError

_PAGE_BYTES: Final = """
    3363 6632 6958 11848 8614 9940 3401 10065 8160 10544 9608 4382 6456 8402 3768 3349 11697 6700 9047 11314
    4224 11272 5607 6072 7944 9423 5394 7851 6243 6312 11484 6504 4144 9513 5577 5134 5504 3210 4923 4876 3242
    3486 11308 5039 7310 6281 7632 6301 4712 6775 3440 8855 3298 5667 5253 5129 5922 5818 4137 9389 6315 4045
    4969 4450 8213 3061 4079 8818 11742 5938 11648 6433 4594 5299 8302 10082 5302 3397 5389 10656 9065 5201
    5940 6557 5018 6188 11182 8066 9082 6333 6254 11478 10108 8594 7682 11127 4803 9069 8829 10202 9764 8595
    7751 3923 5559 9318 12624 4878 10470 6661 7836 10035 4380 5249 11803 8856 8935 5204 10776 6026 5935 2814
    2929 12068 5827 6814 3777 3566 8498 4698 8909 10938 6160 8651 6358 8704 4657 4002 4528 3269 2285 3954 8937
    10381 5935 8788 3206 9362 3465 11476 9774 4401 5547 8494 4818 10967 5083 6299 2667 8896 4692 5730 11496
    11605 6059 5419 9867 10206 5126 10781 9373 8220 11138 5839 6984 5559 2959 9255 5145 10737 3564 6110 4316
    6758 9737 3346 9824 5592 3223 6250 5720 9196 2537 7938 5484 4372 9686 9133 7418 4481
"""
"""Of /pages/1.html and so on."""
_PRODUCT_PAGE_BYTES: Final = """
    1640 1668 1659 1673 1664 1704 1704 1707 1709 1703 1702 1711 1696 1694 1713 1697 1706 1700 1709 1707 1710
    1701 1705 1703 1705
"""
"""Of /api/products?page=1 and so on."""
_WHO_AM_I_BYTES: Final = 64
"""Of /api/me, which names the viewer: about."""

_PAGE = re.compile(r"/pages/([1-9][0-9]{0,2})\.html")
_PRODUCTS = re.compile(r"/api/products(?:\?page=([1-9][0-9]?))?")
_DOWNLOAD = re.compile(r"/download/([^/?]+)(?:\?(.*))?")
_ECHO = re.compile(r"/echo/[^?]*(?:\?(.*))?")
_NAMED_SIZE = re.compile(r"([0-9]+(?:[KMGT]i?B|B)?)\.bin")
_SIZE = re.compile(r"([0-9]{1,13})([KMGT]?)(i?)B?")
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

_COMMON: Final = (
    "Date: Tue, 01 Dec 2026 00:00:00 GMT\r\nX-Origin-Stamp: origin-1;;15613906332417;;\r\nContent-Length: \r\n\r\n"
)
_MODIFIED: Final = "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
_RANGES: Final = "Accept-Ranges: bytes\r\n"
_CHECKSUM_DIGITS: Final = 10
"""Of a CRC-32 in decimal, nearly always."""


@dataclass(frozen=True, slots=True)
class LabAnswer:
    """A 200 of the origin, as a cache stores it."""

    size_bytes: int
    cache_control: str | None
    head_bytes: int
    """Of the stored header section; a byte or two off where a checksum is short, or a node has a long name."""
    has_validator: bool = True


def lab_answer(target: str) -> LabAnswer:
    """To a GET of this path and query, as they reach the origin. UsageError when it is no 200, or not known here."""
    for pattern, answer_of in _TABLE:
        match = pattern.fullmatch(target)
        answer = answer_of(match) if match is not None else None
        if answer is not None:
            return answer
    raise UsageError(
        f"what the origin answers to {target} is not known here: a prediction needs paths of /pages/N.html, "
        "/download/SIZE.bin, /api/products, /api/me or /echo/ANYTHING?size=N (a behavior that keys no query sends none)"
    )


def _page(match: re.Match[str]) -> LabAnswer | None:
    number, sizes = int(match[1]), _PAGE_BYTES.split()
    if number > len(sizes):
        return None
    fields = f"Content-Type: text/html; charset=utf-8\r\n{_MODIFIED}{_RANGES}"
    return _answer(int(sizes[number - 1]), "public, max-age=60", fields, 12)


def _products(match: re.Match[str]) -> LabAnswer | None:
    number, sizes = int(match[1] or 1), _PRODUCT_PAGE_BYTES.split()
    if number > len(sizes):
        return None
    return _answer(int(sizes[number - 1]), "public, max-age=10", "Content-Type: application/json\r\n", 16)


def _who_am_i(match: re.Match[str]) -> LabAnswer | None:
    del match
    control = "private, no-store"
    return LabAnswer(_WHO_AM_I_BYTES, control, len(_COMMON) + len(control), has_validator=False)


def _download(match: re.Match[str]) -> LabAnswer | None:
    query = parse_qs(match[2] or "")
    named = _NAMED_SIZE.fullmatch(match[1])
    size = _bytes_of(query["size"][0] if "size" in query else named[1] if named else "")
    if size is None:
        return None
    fields = f"Content-Type: application/octet-stream\r\n{_MODIFIED}{_RANGES}"
    return _answer(size, "public, max-age=3600", fields, 16, checksum_digits=0)


def _echo(match: re.Match[str]) -> LabAnswer | None:
    """Shaped ones: without a size it is a document about the request, which differs."""
    query = parse_qs(match[1] or "")
    size = _bytes_of(query["size"][0]) if "size" in query else None
    if size is None or not query.keys() <= {"size", "cache-control", "etag", "n"}:
        return None
    control, tag = query.get("cache-control", [None])[0], query.get("etag", [""])[0]
    fields = f"Content-Type: application/json\r\nX-Origin-Request-Number: 1234\r\n{_RANGES}"
    fields += f"ETag: {tag}\r\n" if tag else ""
    control_bytes = len(f"Cache-Control: {control}\r\n") if control else 0
    version_bytes = len(f"00000000-{size:x}") + _CHECKSUM_DIGITS
    head_bytes = len(_COMMON) + len(fields) + control_bytes + version_bytes + len(str(size))
    return LabAnswer(size, control, head_bytes, has_validator=bool(tag))


def _answer(
    size: int, control: str, fields: str, tag_digits: int, checksum_digits: int = _CHECKSUM_DIGITS
) -> LabAnswer:
    """With an ETag of so many digits, which is the version in the stamp, too."""
    own = f'Cache-Control: {control}\r\nETag: ""\r\n'
    varying = 2 * tag_digits + checksum_digits + len(str(size))
    return LabAnswer(size, control, len(_COMMON) + len(own) + len(fields) + varying)


def _bytes_of(text: str) -> int | None:
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    unit: int = (1024 if match[3] else 1000) ** _POWERS[match[2]]
    return int(match[1]) * unit


_TABLE: Final = (
    (_PAGE, _page),
    (_PRODUCTS, _products),
    (re.compile(r"/api/me"), _who_am_i),
    (_DOWNLOAD, _download),
    (_ECHO, _echo),
)
