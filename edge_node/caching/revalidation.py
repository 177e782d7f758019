"""What a later response changes in a stored one: a 304 that validates it (RFC 9111 sections 4.3.4 and 3.2) and a HEAD (section 4.3.5)."""

from collections.abc import Mapping
from email.utils import formatdate
from enum import Enum
from math import ceil
from typing import Final

from edge_node.http.cache_control import split_list
from edge_node.model.http import Headers

_NOT_UPDATED: Final = frozenset({
    b"content-length", b"content-encoding", b"content-range",
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
"""Section 3.2: Content-Length and Content-Range as named there; Content-Encoding, because the stored bytes depend on it (this cache may have coded them
itself); the fields that are not stored at all (section 3.1). Every other field is updated, Content-Type too."""


def with_date(fields: Headers, received_seconds: float) -> Headers:
    """A response that came without Date gets the time of receipt (RFC 9110 section 6.6.1), so that nothing is reckoned from another response's date.

    Rounded up to a whole second: what Expires says must not seem longer than it is.
    """
    if any(name == b"date" for name, _ in fields):
        return fields
    return (*fields, (b"date", formatdate(ceil(received_seconds), usegmt=True).encode("ascii")))


def update_fields(stored: Headers, received: Headers, received_seconds: float) -> Headers:
    """The stored fields, those of a response received now in place of every one of the same name (section 3.2)."""
    update = with_date(received, received_seconds)
    excepted = _NOT_UPDATED | {
        name.lower() for field, value in update if field == b"connection" for name in split_list(value)
    }
    changed = tuple(pair for pair in update if pair[0] not in excepted)
    names = {name for name, _ in changed}
    return tuple(pair for pair in stored if pair[0] not in names) + changed


def is_validated_by(stored: Mapping[bytes, bytes], not_modified: Mapping[bytes, bytes]) -> bool:
    """Whether this 304 is about this stored response, the only one that the conditions named (section 4.3.4).

    A strong validator in it must be the stored one, or the one that was weakened when the body was coded on its way (RFC 9110 section 8.8.1); a weak one must
    correspond. Without any validator it can only mean the one that was named: the RFC says so
    for a stored response without validators, and servers that forget to repeat theirs (RFC 9110 section 15.4.5) mean the same.
    """
    etag = not_modified.get(b"etag")
    if etag is not None:
        own = stored.get(b"etag")
        if not etag.startswith(b"W/"):
            return etag == own or (b"content-encoding" in stored and own == b"W/" + etag)
        return own is not None and own.removeprefix(b"W/") == etag.removeprefix(b"W/")
    modified = not_modified.get(b"last-modified")
    return modified is None or modified == stored.get(b"last-modified")


class HeadEffect(Enum):
    """What the 200 answer to a HEAD means for a stored response to GET that the request selects."""

    UPDATE = "update"
    """Its fields are updated with those of the answer."""
    STALE = "stale"
    """It is of another representation: stale from now on."""


def effect_of_head(stored: Mapping[bytes, bytes], stored_length: int, head: Mapping[bytes, bytes]) -> HeadEffect:
    """Section 4.3.5: validators that the answer has must be the stored ones, and so must Content-Length."""
    has_other_validator = any(head[name] != stored.get(name) for name in (b"etag", b"last-modified") if name in head)
    length = head.get(b"content-length")
    has_other_length = length is not None and length.strip(b" \t") != b"%d" % stored_length
    return HeadEffect.STALE if has_other_validator or has_other_length else HeadEffect.UPDATE
