"""What readers of traces share: how a trace is to be read, how far it was, what of it was left out, what is wrong with it. Pure."""

import re
from collections import Counter
from dataclasses import dataclass, field

_is_target = re.compile(r"/[!\"$-~]*").fullmatch
_is_region = re.compile(r"[^\x00-\x1f\x7f]{0,64}").fullmatch
_is_method = re.compile(r"[A-Z]{1,20}").fullmatch
LARGEST_SIZE_BYTES = 2**53
"""Beyond it a number of JSON is no longer exact."""
LONGEST_TARGET = 8_192
"""Characters: CloudFront takes no longer URL (reference 8.1)."""


class TraceError(ValueError):
    """The trace cannot be read; the message is whole and says where."""


class LeftOut(Exception):  # noqa: N818  # no error: part of the trace that is no request of it
    """This line is none of the requests that were asked for; says which kind it is."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """How to read a trace."""

    skip_bad: bool = False
    """Leave out what cannot be read, and count it, in place of ending there."""
    host: str = ""
    """The host whose requests are wanted, where a format names one; empty: that of the first request."""


@dataclass(slots=True)
class TraceProgress:
    """Where a reader is, and what it has left out so far."""

    unit: str = "line"
    """What `position` counts, from 1."""
    position: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """How many, by what they are."""
    first_bad: str = ""
    """What was wrong with the first that could not be read."""

    def problem(self, what: str) -> TraceError:
        """An error at this place."""
        return TraceError(f"{self.unit} {self.position:,}: {what}")

    def skip_bad(self, what: str) -> None:
        """Count one that cannot be read."""
        self.left_out["cannot be read"] += 1
        self.first_bad = self.first_bad or str(self.problem(what))

    def summary(self) -> str:
        """What was left out, in words; empty: nothing."""
        parts = [f"{count:,} {what}" for what, count in self.left_out.most_common()]
        if not parts:
            return ""
        first = f" (the first: {self.first_bad})" if self.first_bad else ""
        return f"left out: {', '.join(parts)}{first}"


def checked_target(target: str) -> str:
    """As it is. ValueError for what no viewer can send as a path and query (RFC 9112 section 3.2.1)."""
    if len(target) > LONGEST_TARGET:
        raise ValueError(f"a path of {len(target):,} characters; at most {LONGEST_TARGET:,}")
    if not _is_target(target):
        raise ValueError(f"a path must begin with '/' and be percent-encoded, without '#', not {target[:80]!r}")
    return target


def checked_size(text: str) -> int:
    """A size in bytes; an empty one is 0. ValueError for what is none."""
    if not text:
        return 0
    if text.isdecimal() and text.isascii() and len(text) <= 16 and int(text) <= LARGEST_SIZE_BYTES:
        return int(text)
    raise ValueError(f"size must be a whole number of bytes from 0 to 2^53, not {text[:40]!r}")


def checked_region(region: str) -> str:
    """As it is. ValueError for a name that is too long or not printable."""
    if not _is_region(region):
        raise ValueError(f"region must be at most 64 printable characters, not {region[:80]!r}")
    return region


def checked_method(method: str) -> str:
    """As it is; an empty one is GET. ValueError for what is none (RFC 9110 section 9.1)."""
    if not method or method == "GET":
        return "GET"
    if not _is_method(method):
        raise ValueError(f"method must be capital letters, not {method[:40]!r}")
    return method
