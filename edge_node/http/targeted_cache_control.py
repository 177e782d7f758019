"""Targeted cache control (RFC 9213): CDN-Cache-Control decides alone where it is valid and not empty; Cache-Control and Expires then mean nothing to this cache.

It is a structured field, so it is read strictly: one mistake, and the field is as good as absent and Cache-Control holds. A directive of the wrong type is not
consumed (section 2.1): a flag counts as absent; a lifetime counts as invalid freshness information, which is stale (RFC 9111 section 4.2.1).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from edge_node.http.cache_control import (
    LONGEST_LIFETIME_SECONDS,
    LONGEST_REMEMBERED_VALUE_BYTES,
    NOTHING_SAID,
    CacheControl,
    make_cache_control,
    parse_cache_control,
    parse_field_names,
)
from edge_node.http.structured_fields import Member, parse_dictionary

TARGET_LIST = (b"cdn-cache-control",)
"""Section 2.2: the fields that are meant for this cache, most specific first."""

_LIFETIMES: Final = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_QUALIFIABLE: Final = frozenset({"no-cache", "private"})


class Directives(NamedTuple):
    """What decides about one response."""

    control: CacheControl
    is_targeted: bool
    """Expires means nothing."""


def directives_of(fields: Mapping[bytes, bytes]) -> Directives:
    """The directives of the first targeted field that is valid and not empty, else those of Cache-Control (section 2.2)."""
    for name in TARGET_LIST:
        value = fields.get(name)
        targeted = None if value is None else parse_targeted(value)
        if targeted is not None:
            return Directives(targeted, is_targeted=True)
    said = fields.get(b"cache-control")
    return Directives(NOTHING_SAID if said is None else parse_cache_control(said), is_targeted=False)


def parse_targeted(value: bytes) -> CacheControl | None:
    """The directives of a targeted field; None when it is empty or no dictionary. Short ones are remembered."""
    return _parse(value) if len(value) <= LONGEST_REMEMBERED_VALUE_BYTES else _parse.__wrapped__(value)


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> CacheControl | None:
    members = parse_dictionary(value)
    if not members:
        return None
    flags: set[bytes] = set()
    lifetimes: dict[bytes, int] = {}
    without: list[bytes] = []
    for name, argument in members.items():
        if name in _LIFETIMES:
            lifetimes[name.encode("ascii")] = _seconds(argument)
        elif argument is True:
            flags.add(name.encode("ascii"))
        elif name in _QUALIFIABLE and isinstance(argument, str):
            names = parse_field_names(argument.encode("ascii"))
            without += names
            if not names:  # as in Cache-Control: a list that is none does not limit the directive
                flags.add(name.encode("ascii"))
    return make_cache_control(flags, lifetimes, tuple(without))


def _seconds(argument: Member) -> int:
    is_integer = isinstance(argument, int) and not isinstance(argument, bool)
    return min(max(argument, 0), LONGEST_LIFETIME_SECONDS) if is_integer and isinstance(argument, int) else 0
