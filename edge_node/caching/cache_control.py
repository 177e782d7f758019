"""Cache-Control of a response as values (RFC 9111 section 5.2.2).

A directive that cannot be understood is as good as absent, but a malformed lifetime means "stale" (RFC 9111 section 4.2.1): better one request too many
than old content. Duplicates: the first lifetime wins, as RFC 9111 section 4.2.1 allows.
"""

from dataclasses import dataclass
from functools import lru_cache

LONGEST_LIFETIME_SECONDS = 100 * 365 * 86_400
"""The largest lifetime that is accepted (reference 2.2); larger ones, and overflows (RFC 9111 section 1.2.2), mean this."""


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The directives of one response that this cache acts on; lifetimes in seconds."""

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    must_revalidate: bool = False
    public: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    stale_if_error: int | None = None
    without_fields: tuple[bytes, ...] = ()
    """Fields named by `no-cache="..."` or `private="..."`: the response is stored without them (reference 2.2)."""

    @property
    def forbids_reuse(self) -> bool:
        """One of the three that send every request to the origin when the minimum TTL is 0 (reference 2.2)."""
        return self.no_store or self.no_cache or self.private


def split_list(value: bytes) -> list[bytes]:
    """The members of a comma-separated field, commas inside quoted strings left alone (RFC 9110 section 5.6.1)."""
    if b'"' not in value:
        return [member for part in value.split(b",") if (member := part.strip(b" \t"))]
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
    members.append(bytes(current).strip(b" \t"))
    return [member for member in members if member]


def parse_delta_seconds(argument: bytes) -> int:
    """Delta-seconds (RFC 9111 section 1.2.2): malformed or negative is 0, too large is the largest."""
    text = argument.strip(b'"')
    return (
        min(int(text), LONGEST_LIFETIME_SECONDS)
        if text.isdigit() and len(text) < 20
        else (LONGEST_LIFETIME_SECONDS if text.isdigit() else 0)
    )


LONGEST_REMEMBERED_VALUE_BYTES = 512


def parse_cache_control(value: bytes) -> CacheControl:
    """Read one Cache-Control field value (several lines joined by a comma); short ones are remembered."""
    return _parse(value) if len(value) <= LONGEST_REMEMBERED_VALUE_BYTES else _parse.__wrapped__(value)


@lru_cache(maxsize=2048)
def _parse(value: bytes) -> CacheControl:
    flags: set[bytes] = set()
    lifetimes: dict[bytes, int] = {}
    without: list[bytes] = []
    for member in split_list(value):
        name, has_argument, argument = member.partition(b"=")
        name = name.strip().lower()
        if name in (b"max-age", b"s-maxage", b"stale-if-error"):
            lifetimes.setdefault(name, parse_delta_seconds(argument.strip()))
        elif name in (b"no-cache", b"private") and has_argument:
            without += [field.lower() for field in split_list(argument.strip().strip(b'"'))]
        else:
            flags.add(name)
    return CacheControl(
        no_store=b"no-store" in flags,
        no_cache=b"no-cache" in flags,
        private=b"private" in flags,
        must_revalidate=b"must-revalidate" in flags or b"proxy-revalidate" in flags,
        public=b"public" in flags,
        max_age=lifetimes.get(b"max-age"),
        s_maxage=lifetimes.get(b"s-maxage"),
        stale_if_error=lifetimes.get(b"stale-if-error"),
        without_fields=tuple(without),
    )
