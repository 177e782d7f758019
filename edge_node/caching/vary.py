"""Which stored response a request selects where Vary names request fields (RFC 9111 section 4.1, RFC 9110 section 12.5.5).

Not for CloudFront's semantics, where Vary selects nothing (reference 2.4). A variant is the tuple of the named fields' values in a normal form: two requests
have equal variants exactly if their fields match. Only what cannot change a field's meaning is normalised: white space around the commas of lists and at the
ends; for the Accept fields also case, order, weights and repetition.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from edge_node.http.cache_control import split_list_checked
from edge_node.http.dates import parse_http_date

LONGEST_REMEMBERED_VALUE_BYTES: Final = 512


class VaryAny(Enum):
    """`Vary: *`: no request selects the response; it may be used only after validation."""

    VARY_ANY = "*"


VARY_ANY: Final = VaryAny.VARY_ANY

Variant = tuple[bytes | None, ...]
"""One value for each name; None where the request has no such field, which matches only where there is none either."""

_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")

_NO_LISTS: Final = frozenset({
    b"authorization", b"cookie", b"date", b"from", b"host", b"if-modified-since", b"if-range", b"if-unmodified-since", b"max-forwards",
    b"origin", b"proxy-authorization", b"referer", b"user-agent",
})  # fmt: skip
"""Their values have no members, so that a comma in them, and white space beside it, is content."""


def vary_names_of(response_fields: Mapping[bytes, bytes]) -> tuple[bytes, ...] | VaryAny:
    """The fields that select the response, in lower case, sorted, each once; empty when it has no Vary. A member that can be no name is as good as `*`."""
    value = response_fields.get(b"vary")
    if value is None:
        return ()
    return _names(value) if len(value) <= LONGEST_REMEMBERED_VALUE_BYTES else _names.__wrapped__(value)


@lru_cache(maxsize=512)
def _names(value: bytes) -> tuple[bytes, ...] | VaryAny:
    names = {member.strip(b" \t").lower() for member in value.split(b",")} - {b""}
    if b"*" in names or not all(_FIELD_NAME.fullmatch(name) for name in names):
        return VARY_ANY
    return tuple(sorted(names))


def variant_of(names: tuple[bytes, ...], request_fields: Mapping[bytes, bytes]) -> Variant:
    """What the request selects among the responses whose Vary has these names."""
    return tuple(
        None if (value := request_fields.get(name)) is None else normalise_selecting_field(name, value)
        for name in names
    )


def normalise_selecting_field(name: bytes, value: bytes) -> bytes:
    """The normal form of one field; short ones are remembered."""
    return (
        _normalise(name, value) if len(value) <= LONGEST_REMEMBERED_VALUE_BYTES else _normalise.__wrapped__(name, value)
    )


@lru_cache(maxsize=2048)
def _normalise(name: bytes, value: bytes) -> bytes:
    stripped = value.strip(b" \t")
    if name in _NO_LISTS:
        return stripped
    normalise_member = _PREFERENCES.get(name)
    if normalise_member is not None and b'"' not in stripped:
        members = [normalise_member(part.strip(b" \t")) for part in stripped.split(b",") if part.strip(b" \t")]
        if None not in members:
            return b",".join(sorted({member for member in members if member is not None}))
    return _without_white_space(stripped)


def _without_white_space(value: bytes) -> bytes:
    """White space beside the commas goes (RFC 9110 section 5.6.1), but no member, not even an empty one: the field may have no list syntax."""
    if b'"' not in value:
        return b",".join(part.strip(b" \t") for part in value.split(b","))
    members, is_closed = split_list_checked(value)
    return b",".join(members) if is_closed else value


def is_same_variant(fields: Mapping[bytes, bytes], varying: Sequence[tuple[bytes, bytes | None]]) -> bool:
    """Whether a request says the same as another one did in the fields that select the response (RFC 9111 section 4.1)."""
    if not varying:
        return True
    return variant_of(tuple(name for name, _ in varying), fields) == tuple(value for _, value in varying)


# -- preferences: RFC 9110 section 12.5. The order of members carries no meaning, a missing weight is 1.

_WEIGHT: Final = re.compile(rb"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


def _weighted(member: bytes) -> bytes | None:
    """A coding, charset or language range with its weight; None when it is malformed."""
    text, *parameters = (part.strip(b" \t") for part in member.lower().split(b";"))
    if not parameters:
        return text
    return _with_weight(text, parameters[0]) if len(parameters) == 1 else None


def _media_range(member: bytes) -> bytes | None:
    """A media range with its parameters, whose values keep their case, and its weight."""
    media_type, *parameters = (part.strip(b" \t") for part in member.split(b";"))
    pairs = [parameter.partition(b"=") for parameter in parameters]
    text = b";".join([media_type.lower(), *(name.lower() + equals + value for name, equals, value in pairs)])
    if not pairs or pairs[-1][0].lower() != b"q":
        return None if any(name.lower() == b"q" for name, _, _ in pairs) else text
    return _with_weight(text.rpartition(b";")[0], text.rpartition(b";")[2])


def _with_weight(text: bytes, parameter: bytes) -> bytes | None:
    name, _, weight = parameter.partition(b"=")
    if name != b"q" or not _WEIGHT.fullmatch(weight):
        return None
    thousandths = round(float(weight) * 1000)
    return text if thousandths == 1000 else b"%b;q=%d" % (text, thousandths)


_PREFERENCES: dict[bytes, Callable[[bytes], bytes | None]] = {
    b"accept": _media_range,
    b"accept-charset": _weighted,
    b"accept-encoding": _weighted,
    b"accept-language": _weighted,
}


# -- choosing among several stored responses that match


class Recency(NamedTuple):
    """The greatest of several is the one to use: with Vary before one that omits it, then the latest Date, then the latest received (sections 4 and 4.1)."""

    has_vary: bool
    date_seconds: float
    received_seconds: float


def recency_of(response_fields: Mapping[bytes, bytes], received_seconds: float) -> Recency:
    """Where a stored response stands among others of its URI; without a valid Date, the time of receipt is its date (RFC 9110 section 6.6.1)."""
    made = parse_http_date(response_fields.get(b"date", b""), received_seconds)
    has_vary = b"vary" in response_fields
    return Recency(has_vary, received_seconds if made is None else made, received_seconds)
