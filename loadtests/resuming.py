"""The arithmetic of a download in ranges that survives failures (RFC 9110 section 14).

Pure: which bytes to ask for next, and what an answer means for what is already on disk. Fetching is download.py's.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from random import Random

MEBIBYTE = 1 << 20

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Verdict(Enum):
    """What a response to a range request turned out to be."""

    CONTINUED = auto()  # the bytes asked for, or the first of them
    RESTARTED = auto()  # 200: the object changed since (If-Range), or ranges are not served; bytes begin at 0
    WRONG = auto()  # other bytes than asked for, or an error status


@dataclass(frozen=True, slots=True)
class ContentRange:
    first: int
    last: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """What is on disk. `total` is unknown until the first answer; `etag` ties the parts to one version."""

    received: int = 0
    total: int | None = None
    etag: str = ""

    @property
    def is_complete(self) -> bool:
        return self.total is not None and self.received >= self.total


def parse_content_range(value: str) -> ContentRange | None:
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        return None
    first, last = int(match.group(1)), int(match.group(2))
    total = None if match.group(3) == "*" else int(match.group(3))
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def pick_range_bytes(rng: Random) -> int:
    """Download managers ask for parts of 1 to 8 MiB."""
    return rng.randint(1, 8) * MEBIBYTE


def range_headers(progress: Progress, range_bytes: int) -> dict[str, str]:
    """The next part; If-Range makes a changed object start again instead of giving a mixture."""
    last = progress.received + range_bytes - 1
    if progress.total is not None:
        last = min(last, progress.total - 1)
    headers = {"range": f"bytes={progress.received}-{last}"}
    if progress.received and progress.etag and not progress.etag.startswith("W/"):
        headers["if-range"] = progress.etag  # section 13.1.5: a strong validator only
    return headers


def judge_part(progress: Progress, status: int, headers: dict[str, str]) -> tuple[Verdict, Progress]:
    """Where the body of this response belongs; the progress returned has none of its bytes yet."""
    etag = headers.get("etag", "")
    if status == 200:
        length = headers.get("content-length", "")
        return Verdict.RESTARTED, Progress(0, int(length) if length.isdigit() else None, etag)
    content_range = parse_content_range(headers.get("content-range", ""))
    if status != 206 or content_range is None or content_range.first != progress.received:
        return Verdict.WRONG, progress
    if progress.etag and etag and etag != progress.etag:
        return Verdict.WRONG, progress  # a part of another version in answer to If-Range
    return Verdict.CONTINUED, replace(progress, total=content_range.total or progress.total, etag=etag or progress.etag)


def with_bytes(progress: Progress, received_bytes: int) -> Progress:
    """Bytes that arrived count even when the connection broke after them: the next range starts behind them."""
    return replace(progress, received=progress.received + received_bytes)
