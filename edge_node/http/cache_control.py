"""Cache-Control of a response as values (RFC 9111 section 5.2.2, RFC 5861, RFC 8246), read tolerantly.

A directive that is not known is as good as absent (RFC 9111 section 5.2.3). What cannot be understood is read in its most restricting sense, as RFC 9111
section 4.2.1 encourages: a malformed lifetime is 0 ("stale"), a malformed list of field names is none (the unqualified directive), a malformed window is none.
Duplicates: the first lifetime wins (section 4.2.1); flags and field names add up. An argument of a directive that has none is ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST_LIFETIME_SECONDS: Final = 100 * 365 * 86_400
"""The largest lifetime that is accepted (reference 2.2); larger ones, and overflows (RFC 9111 section 1.2.2), mean this."""

LONGEST_REMEMBERED_VALUE_BYTES: Final = 512

_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LIFETIMES: Final = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})
_QUALIFIABLE: Final = frozenset({b"no-cache", b"private"})


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The directives of one response that this cache acts on; lifetimes and windows in seconds."""

    no_store: bool = False
    no_cache: bool = False
    """Unqualified: the whole response."""
    private: bool = False
    """Unqualified: the whole response."""
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    no_transform: bool = False
    public: bool = False
    immutable: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    without_fields: tuple[bytes, ...] = ()
    """Fields, in lower case, named by `no-cache="..."` or `private="..."`: the response is stored without them (reference 2.2, RFC 9111 sections 5.2.2.4 and 5.2.2.7)."""

    @property
    def forbids_reuse(self) -> bool:
        """One of the three that send every request to the origin when the minimum TTL is 0 (reference 2.2)."""
        return self.no_store or self.no_cache or self.private

    @property
    def forbids_stale(self) -> bool:
        """Once stale it must be validated, also when the origin is gone (RFC 9111 sections 5.2.2.2 and 5.2.2.8)."""
        return self.must_revalidate or self.proxy_revalidate


NOTHING_SAID: Final = CacheControl()


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated field, commas inside quoted strings left alone (RFC 9110 section 5.6.1)."""
    return split_list_checked(value)[0]


def split_list_checked(value: bytes) -> tuple[list[bytes], bool]:
    """The members, and whether every quoted string is closed; where one is not, quotes mean nothing, so that no directive hides behind a stray one."""
    if b'"' not in value:
        return _split_at_commas(value), True
    members: list[bytes] = []
    current = bytearray()
    is_quoted = is_escaped = False
    for byte in value:
        if byte == 0x2C and not is_quoted:
            members.append(bytes(current).strip(b" \t"))
            current.clear()
            continue
        if byte == 0x22 and not is_escaped:
            is_quoted = not is_quoted
        is_escaped = is_quoted and byte == 0x5C and not is_escaped
        current.append(byte)
    if is_quoted:
        return _split_at_commas(value), False
    members.append(bytes(current).strip(b" \t"))
    return [member for member in members if member], True


def _split_at_commas(value: bytes) -> list[bytes]:
    return [member for part in value.split(b",") if (member := part.strip(b" \t"))]


def split_directive(member: bytes) -> tuple[bytes, bytes | None, bool]:
    """Name in lower case, argument without its quotes (None: there is none), and whether it is well formed: no white space around "=" (RFC 9111 section 5.2)."""
    name, has_argument, argument = member.partition(b"=")
    bare_name, bare_argument = name.strip(b" \t"), argument.strip(b" \t")
    is_well_formed = bare_name == name and bare_argument == argument
    if len(bare_argument) >= 2 and bare_argument.startswith(b'"') and bare_argument.endswith(b'"'):
        bare_argument = re.sub(rb"\\(.)", rb"\1", bare_argument[1:-1], flags=re.DOTALL)
    return bare_name.lower(), bare_argument if has_argument else None, is_well_formed


def parse_delta_seconds(argument: bytes | None) -> int | None:
    """Delta-seconds (RFC 9111 section 1.2.2): too large is the largest; None when it is none, as a sign, a fraction or a letter makes it."""
    if argument is None or not argument.isdigit():
        return None
    return min(int(argument), LONGEST_LIFETIME_SECONDS) if len(argument) < 20 else LONGEST_LIFETIME_SECONDS


def parse_field_names(argument: bytes) -> tuple[bytes, ...]:
    """The field names in an argument, in lower case; none when there is none or one of them is no name."""
    names = [part.strip(b" \t").lower() for part in argument.split(b",")]
    named = tuple(name for name in names if name)
    return named if all(_FIELD_NAME.fullmatch(name) for name in named) else ()


def parse_cache_control(value: bytes) -> CacheControl:
    """Read one Cache-Control field value (several lines joined by a comma); short ones are remembered."""
    return _parse(value) if len(value) <= LONGEST_REMEMBERED_VALUE_BYTES else _parse.__wrapped__(value)


@lru_cache(maxsize=2048)
def _parse(value: bytes) -> CacheControl:
    members, is_closed = split_list_checked(value)
    flags: set[bytes] = set()
    lifetimes: dict[bytes, int] = {}
    without: list[bytes] = []
    for member in members:
        name, argument, is_well_formed = split_directive(member)
        is_understood = is_well_formed and is_closed
        if name in _LIFETIMES:
            lifetimes.setdefault(name, (parse_delta_seconds(argument) or 0) if is_understood else 0)
        elif name in _QUALIFIABLE and argument and is_understood and (names := parse_field_names(argument)):
            without += names
        else:
            flags.add(name)
    return make_cache_control(flags, lifetimes, tuple(without))


def make_cache_control(
    flags: set[bytes], lifetimes: Mapping[bytes, int], without_fields: tuple[bytes, ...]
) -> CacheControl:
    """From what was found: names of directives without argument, lifetimes and windows by name, field names."""
    return CacheControl(
        no_store=b"no-store" in flags,
        no_cache=b"no-cache" in flags,
        private=b"private" in flags,
        must_revalidate=b"must-revalidate" in flags,
        proxy_revalidate=b"proxy-revalidate" in flags,
        must_understand=b"must-understand" in flags,
        no_transform=b"no-transform" in flags,
        public=b"public" in flags,
        immutable=b"immutable" in flags,
        max_age=lifetimes.get(b"max-age"),
        s_maxage=lifetimes.get(b"s-maxage"),
        stale_while_revalidate=lifetimes.get(b"stale-while-revalidate"),
        stale_if_error=lifetimes.get(b"stale-if-error"),
        without_fields=without_fields,
    )
