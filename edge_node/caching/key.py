"""What makes two requests the same: the cache key (reference 2.1) and the parts of a request that go into it.

The key is the distribution, the raw path, and what the cache policy selects of query string, headers and cookies. GET and HEAD share a key; OPTIONS has its own.
The same selections, in the same form, are what reaches the origin (`policy/origin_request_headers.py`): what is not in the key is not forwarded.

A key is one byte string, because it is made once and then hashed, compared, kept in memory and written to disk. Its lines are separated by LF, which no part can
hold (RFC 9110 section 5.5), and all but the first two begin with what they are:

    E1234567890ABC            the distribution
    /path?query               the target as keyed; "OPTIONS/path" for OPTIONS
    +br,gzip                  Accept-Encoding as normalised, where it is part of the key
    h name: value             a field of the header section, "h name" when the request has none
    c name=value              a cookie
    v name: value             a field that Vary names (RFC 9111 section 4.1), as "h"
"""

from collections.abc import Sequence
from typing import Final

from edge_node.http.accept_encoding import accepted_codings
from edge_node.model.configuration import CachePolicy, Selection, SelectionMode, Semantics
from edge_node.model.http import Header, RequestHead

LONGEST_REMEMBERED_FIELD_BYTES: Final = 256
"""A viewer chooses its fields: longer ones are worked out anew each time, so that remembering has a bound in bytes."""

CacheKey = bytes
KeyedField = tuple[bytes, bytes | None]
"""A name and the value that the request has for it, None for none."""


class KeyParts:
    """What the policy selected from one request, beyond the path and the query string."""

    __slots__ = ("accept_encoding", "cookies", "headers")

    def __init__(
        self,
        accept_encoding: bytes | None,
        headers: tuple[KeyedField, ...],
        cookies: tuple[Header, ...],
    ) -> None:
        self.accept_encoding: Final = accept_encoding
        self.headers: Final = headers
        self.cookies: Final = cookies


def make_key(distribution_id: str, method_class: bytes, target: bytes, parts: KeyParts) -> CacheKey:
    """Put a key together; `target` is the path with the keyed query string."""
    lines = [distribution_id.encode(), method_class + target]
    if parts.accept_encoding is not None:
        lines.append(b"+" + parts.accept_encoding)
    lines += [_keyed_field(b"h", field) for field in parts.headers]
    lines += [b"c %b=%b" % cookie for cookie in parts.cookies]
    return b"\n".join(lines)


def variant_key(key: CacheKey, varying: Sequence[KeyedField]) -> CacheKey:
    """The key of one variant: what the fields that Vary names say."""
    return b"\n".join((key, *(_keyed_field(b"v", field) for field in varying)))


def primary_key(key: CacheKey) -> CacheKey:
    """The key without its variant."""
    return key.partition(b"\nv ")[0]


def varying_names(key: CacheKey) -> tuple[bytes, ...]:
    """The fields that tell this variant from others."""
    return tuple(line[2:].partition(b": ")[0] for line in key.split(b"\n") if line.startswith(b"v "))


def varying_fields(key: CacheKey) -> tuple[KeyedField, ...]:
    """The same with what they say."""
    lines = (line[2:].partition(b": ") for line in key.split(b"\n") if line.startswith(b"v "))
    return tuple((name, value if has_value else None) for name, has_value, value in lines)


def distribution_of(key: CacheKey) -> str:
    """The distribution that a key belongs to."""
    return key.partition(b"\n")[0].decode()


def target_of(key: CacheKey) -> str:
    """Path and keyed query: what invalidation paths are compared with."""
    line = key.split(b"\n", 2)[1]
    return line[line.index(b"/") :].decode("latin-1")


def _keyed_field(kind: bytes, field: KeyedField) -> bytes:
    name, value = field
    return b"%b %b" % (kind, name) if value is None else b"%b %b: %b" % (kind, name, value)


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


def select_parts(head: RequestHead, policy: CachePolicy, semantics: Semantics) -> KeyParts:
    """What the policy takes from the header section."""
    headers = policy.headers
    fields = head.fields
    return KeyParts(
        accepted_codings(head, policy, semantics),
        () if headers.is_empty else tuple((name, fields.get(name)) for name in headers.names),
        select_cookies(fields.get(b"cookie"), policy.cookies),
    )
