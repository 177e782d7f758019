"""HAR 1.2, what browsers export of a page's requests (http://www.softwareishard.com/blog/har-12-spec/). Pure.

A document is read as a whole, so its size is bounded. Only requests of one host are of use to a replay, which has one distribution.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from loadtests.traces.moments import iso_seconds
from loadtests.traces.trace_reading import (
    LARGEST_SIZE_BYTES,
    LeftOut,
    TraceError,
    checked_method,
    checked_target,
)
from loadtests.traces.trace_request import TraceRequest

LARGEST_HAR_BYTES = 128 * 1024 * 1024
_NOT_IN_A_TARGET = re.compile(r"[^!\"$-~]")
_MAX_AGE = re.compile(r"(s-maxage|max-age)\s*=\s*\"?(\d{1,10})\"?", re.ASCII)
_TOTAL = re.compile(r"bytes \d+-\d+/(\d{1,16})", re.ASCII)


def har_entries(document: bytes) -> Iterator[Any]:
    """Of a whole document. TraceError for what is no HAR."""
    try:
        har = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"no JSON, so no HAR: {error}") from error
    log = har.get("log") if isinstance(har, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise TraceError("no HAR: it must be an object whose 'log' has a list 'entries'")
    yield from entries


class HarReader:
    """Reads entries, those of one host."""

    def __init__(self, host: str = "") -> None:
        self._host = host

    def request(self, entry: Any) -> TraceRequest:
        """Of an entry. ValueError says what is wrong with it; LeftOut: it is of another kind."""
        if not isinstance(entry, dict):
            raise ValueError("an entry must be an object")
        request, response = _part(entry, "request"), _part(entry, "response")
        url = _split(_text(request, "url"))
        if url.scheme not in ("http", "https"):
            raise LeftOut("not over HTTP")
        self._host = self._host or url.netloc
        if url.netloc != self._host:
            raise LeftOut(f"of other hosts than {self._host}")
        fields = _fields(response)
        return TraceRequest(
            iso_seconds(_text(entry, "startedDateTime")), _target(url), _size(response, fields), "",
            lifetime_seconds(fields.get("cache-control")), checked_method(_text(request, "method").upper()),
        )  # fmt: skip


def lifetime_seconds(cache_control: str | None) -> float | None:
    """For how long a shared cache may reuse an answer with this field (RFC 9111 section 5.2.2); None: it does not say."""
    if cache_control is None:
        return None
    directives = cache_control.lower()
    words = {word.strip().partition("=")[0] for word in directives.split(",")}
    if words & {"no-store", "no-cache", "private"}:
        return 0.0
    ages = {name: float(seconds) for name, seconds in _MAX_AGE.findall(directives)}
    return ages.get("s-maxage", ages.get("max-age"))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ValueError(f"request.url is no URL: {error}") from error


def _target(url: SplitResult) -> str:
    target = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
    return checked_target(_NOT_IN_A_TARGET.sub(_encoded, target))


def _encoded(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _size(response: Mapping[str, Any], fields: Mapping[str, str]) -> int:
    """Of the body as it was sent, else as the page saw it. A part says how large the whole is; -1 and 0 say nothing."""
    total = _TOTAL.fullmatch(fields.get("content-range", ""))
    if total:
        return min(int(total[1]), LARGEST_SIZE_BYTES)
    content = response.get("content")
    sizes = [response.get("bodySize"), content.get("size") if isinstance(content, dict) else None]
    for size in sizes:
        if isinstance(size, int) and not isinstance(size, bool) and 0 < size <= LARGEST_SIZE_BYTES:
            return size
    return 0


def _fields(response: Mapping[str, Any]) -> dict[str, str]:
    headers = response.get("headers")
    found: dict[str, str] = {}
    for header in headers if isinstance(headers, list) else ():
        if isinstance(header, dict):
            name, value = str(header.get("name", "")).lower(), str(header.get("value", ""))
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _part(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = entry.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"no object {name!r}")
    return part


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise ValueError(f"no text {name!r}")
    return value
