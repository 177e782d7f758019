"""What an origin of the lab says of each answer in `X-Origin-Stamp`, and who a viewer says to be: for histories (docs/origin.md). Pure.

`<node>;<version>;<produced_ns>;<checksum>;<identity>`: the last one may hold any character of a field value, the others none of `;`. Caches keep the field with
the answer, so a viewer sees which version it was given, when an origin made or last confirmed it, and for whom.
"""

from typing import NamedTuple

STAMP_FIELD = "X-Origin-Stamp"
_PARTS = 5


class OriginStamp(NamedTuple):
    """Of one answer of an origin."""

    node: str
    version: str
    """Of the object: differs whenever its bytes do."""
    produced_ns: int
    """When the answer was decided, of the host's clock (host_clock.py)."""
    checksum: int | None
    """CRC-32 of the whole body; None: not known beforehand."""
    identity: str | None
    """For whom it was made; None: it does not depend on that, or nobody said who it is."""

    def field_value(self) -> str:
        """As it is sent."""
        checksum = "" if self.checksum is None else self.checksum
        return f"{self.node};{self.version};{self.produced_ns};{checksum};{self.identity or ''}"


def parse_stamp(value: str) -> OriginStamp | None:
    """None for what is no stamp: what other origins, or something on the way, have made of the field."""
    parts = value.split(";", _PARTS - 1)
    if len(parts) != _PARTS:
        return None
    node, version, produced, checksum, identity = parts
    if not (is_number(produced) and (not checksum or is_number(checksum))):
        return None
    return OriginStamp(node, version, int(produced), int(checksum) if checksum else None, identity or None)


def is_number(text: str) -> bool:
    """Whether it is an integer of a field (digits) that a column of a history holds."""
    return text.isascii() and text.isdigit() and (len(text) < 19 or (len(text) == 19 and int(text) < 1 << 63))


def identity_of(authorization: str | None, cookie: str | None) -> str | None:
    """Who asks, by the two fields of a request, as it was sent: `Authorization` if there are credentials in it, else the cookie `session`."""
    if authorization is not None and authorization.strip().partition(" ")[2].strip():
        return authorization.strip()
    if cookie is None:
        return None
    pairs = (pair.strip().partition("=") for pair in cookie.split(";"))
    return next((value for name, _, value in pairs if name == "session" and value), None)
