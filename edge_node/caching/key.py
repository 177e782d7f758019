"""What makes two requests the same: the cache key (reference 2.1) and the parts of a request that go into it.

The key is the distribution, the raw path, and what the cache policy selects of query string, headers and cookies. GET and HEAD share a key; OPTIONS has its own.
The same selections, in the same form, are what reaches the origin (`policy/forwarding.py`): what is not in the key is not forwarded.
"""

from dataclasses import dataclass
from functools import lru_cache

from edge_node.model import CachePolicy, Header, RequestHead, Selection, SelectionMode

LONGEST_REMEMBERED_FIELD_BYTES = 256
"""A viewer chooses its fields: longer ones are worked out anew each time, so that remembering has a bound in bytes."""

CacheKey = tuple[str, bytes, bytes, bytes, bytes | None, tuple[tuple[bytes, bytes | None], ...], tuple[Header, ...]]
"""Distribution id, method class, path, query, normalised Accept-Encoding, headers, cookies."""


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What the policy selected from one request, beyond the path and the query string."""

    accept_encoding: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]
    cookies: tuple[Header, ...]


def select_query(query: bytes, selection: Selection) -> bytes:
    """The query string as keyed and forwarded: chosen parameters in their order, only "&" separates, names and values case-sensitive (reference 2.1)."""
    match selection.mode:
        case SelectionMode.NONE:
            return b""
        case SelectionMode.ALL:
            return query
        case SelectionMode.LIST | SelectionMode.ALL_EXCEPT:
            return b"&".join(part for part in query.split(b"&") if part and selection.includes(part.partition(b"=")[0]))


def parse_cookies(field: bytes) -> tuple[Header, ...]:
    """Cookie pairs sorted by name; names that begin with "$" are dropped; a malformed field counts as none at all (reference 2.1)."""
    pairs: list[Header] = []
    for part in field.split(b";"):
        name, has_value, value = part.strip(b" \t").partition(b"=")
        if not has_value or not name:
            if part.strip(b" \t"):
                return ()
            continue
        if not name.startswith(b"$"):
            pairs.append((name, value))
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def select_cookies(field: bytes | None, selection: Selection) -> tuple[Header, ...]:
    """The cookies that are keyed and forwarded."""
    if field is None or selection.is_empty:
        return ()
    return tuple(pair for pair in parse_cookies(field) if selection.includes(pair[0]))


def normalise_accept_encoding(field: bytes | None, accepts_gzip: bool, accepts_brotli: bool) -> bytes | None:
    """The form of Accept-Encoding that is keyed (reference 2.7): None when it is not part of the key.

    A coding with q=0 is refused by the viewer (RFC 9110 section 12.4.2) and counts as not sent.
    """
    if field is None or not (accepts_gzip or accepts_brotli):
        return None
    normalise = _normalise if len(field) <= LONGEST_REMEMBERED_FIELD_BYTES else _normalise.__wrapped__
    return normalise(field, accepts_gzip, accepts_brotli)


@lru_cache(maxsize=1024)
def _normalise(field: bytes, accepts_gzip: bool, accepts_brotli: bool) -> bytes | None:
    codings = set()
    for member in field.lower().split(b","):
        coding, *parameters = (part.strip() for part in member.split(b";"))
        if not any(_is_zero_quality(parameter) for parameter in parameters):
            codings.add(coding)
    wanted = [
        coding
        for coding, accepts in ((b"br", accepts_brotli), (b"gzip", accepts_gzip))
        if accepts and coding in codings
    ]
    return b",".join(wanted) or None


def _is_zero_quality(parameter: bytes) -> bool:
    name, _, value = parameter.partition(b"=")
    return name.strip() == b"q" and value.strip().rstrip(b"0").rstrip(b".") in (b"", b"0")


def select_parts(head: RequestHead, policy: CachePolicy) -> KeyParts:
    """What the policy takes from the header section."""
    fields = head.fields
    headers = policy.headers
    return KeyParts(
        normalise_accept_encoding(fields.get(b"accept-encoding"), policy.accepts_gzip, policy.accepts_brotli),
        () if headers.is_empty else tuple((name, fields.get(name)) for name in headers.names),
        select_cookies(fields.get(b"cookie"), policy.cookies),
    )
