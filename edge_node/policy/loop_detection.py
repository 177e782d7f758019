"""Requests that go in circles: `CDN-Loop`, RFC 8586.

Each pass of a request through this CDN adds one member with its cdn-id at the end of the field, and takes nothing away, so that other CDNs find theirs. Only edges add
and count: a regional cache is the second half of the pass that its edge has counted, and sends on what the edge wrote. So both tiers of a distribution are one pass, and
a chain of distributions (the origin of one is the name of the next) is one for each of them.

Two passes are a chain that the service allows (reference 11; 12, number 14). More are a loop or a chain that is too long. These two cannot be told apart, and need not
be: both get the 403 that the service documents for a chain that is too long (reference 2.5, 5.1). A distribution that is met again is no loop yet: an origin may well ask
another path of it for what it needs.
"""

import re
from typing import Final

from edge_node.caching.lookup import Reason, Refuse

CDN_ID: Final = b"cdnlab"
"""A pseudonym (RFC 8586 section 2), the same at all edges."""
MAXIMUM_PASSES: Final = 2
"""Reference 11: distributions in a chain."""

LOOP_DETECTED: Final = Refuse(
    403,
    Reason.LOOP_DETECTED,
    "The request has passed through as many distributions as a chain may have, or goes in circles.",
)

LONGEST_PARSED_BYTES: Final = 1_024
"""A hundred CDNs fit in. A longer field is a viewer's own, and reading 32 KiB of members strictly would cost more than the rest of its request."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED_STRING: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_IP_LITERAL: Final = rb"\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+=:]+)\]"
_NAME: Final = rb"(?:[A-Za-z0-9\-._~!$&'()*+=]|%[0-9A-Fa-f]{2})+"
"""reg-name without the two sub-delims that separate members and parameters here."""
_HOST_ID: Final = re.compile(rb"(?:%b|%b)(?::[0-9]*)?" % (_IP_LITERAL, _NAME))
_PSEUDONYM: Final = re.compile(_TOKEN)
_PARAMETER: Final = re.compile(rb"[ \t]*;[ \t]*(%b)=(%b|%b)" % (_TOKEN, _TOKEN, _QUOTED_STRING))
_NO_MEMBERS: Final = re.compile(rb"[ \t,]*")
_END_OF_MEMBER: Final = re.compile(rb"[ \t]*(?:,[ \t,]*|\Z)")
"""Empty members are skipped (RFC 9110 section 5.6.1.2)."""
_ESCAPED: Final = re.compile(rb"\\(.)")


class CdnInfo:
    """A member of the field: who passed the request on, and what it says about that."""

    __slots__ = ("cdn_id", "parameters")

    def __init__(self, cdn_id: bytes, parameters: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.cdn_id: Final = cdn_id
        self.parameters: Final = parameters
        """Names in lower case; quoted values without their quotation marks."""


def parse_cdn_loop(value: bytes) -> list[CdnInfo] | None:
    """The members of the field, strictly as RFC 8586 section 2 has them; None: it is no such list."""
    members: list[CdnInfo] = []
    position = _end(_NO_MEMBERS, value, 0)
    while position < len(value):
        after_id = max(_end(_HOST_ID, value, position), _end(_PSEUDONYM, value, position))
        parameters: list[tuple[bytes, bytes]] = []
        reached = after_id
        while (found := _PARAMETER.match(value, reached)) is not None:
            parameters.append((found[1].lower(), _unquoted(found[2])))
            reached = found.end()
        separator = _END_OF_MEMBER.match(value, reached)
        if after_id == position or separator is None:
            return None
        members.append(CdnInfo(value[position:after_id], tuple(parameters)))
        position = separator.end()
    return members


def count_passes(value: bytes | None, own_id: bytes) -> int:
    """How often the request has passed through the CDN with this id.

    In a field that is no proper list, or is too long to be read as one, whatever begins a part between commas counts: who breaks it, on purpose or not, must not
    thereby hide a member.
    """
    own = own_id.lower()  # hosts have no case (RFC 3986 section 3.2.2); of a pseudonym, one too many is the safe side
    if value is None or own not in value.lower():
        return 0
    members = parse_cdn_loop(value) if len(value) <= LONGEST_PARSED_BYTES else None
    if members is not None:
        return sum(member.cdn_id.lower() == own for member in members)
    parts = value.lower().split(b",")
    return sum(part.partition(b";")[0].split(maxsplit=1)[:1] == [own] for part in parts if own in part)


def is_loop(value: bytes | None, own_id: bytes = CDN_ID, limit: int = MAXIMUM_PASSES) -> bool:
    """Whether a request that arrives at an edge with this field has made all the passes that it may."""
    return count_passes(value, own_id) >= limit


def cdn_loop_for_upstream(value: bytes | None, own_id: bytes = CDN_ID) -> bytes:
    """The field as an edge sends it on: what came, as it came, and this pass (RFC 8586 section 2)."""
    return own_id if value is None or not value.strip(b" \t") else value + b", " + own_id


def _end(pattern: re.Pattern[bytes], value: bytes, position: int) -> int:
    """Where the match ends; the position itself if there is none."""
    found = pattern.match(value, position)
    return position if found is None else found.end()


def _unquoted(value: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", value[1:-1]) if value.startswith(b'"') else value
