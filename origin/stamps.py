"""What the origin says of the content of its answers in `X-Origin-Stamp` (proto/origin_stamp.py): which version it is, and its checksum where that is known cheaply.

Pure but for what it remembers. A version differs whenever the bytes do: it is the number of an object in a bucket, or a digest of what the content is a function of.
Generated bodies are as large as anyone likes and are never read for this; of larger ones that are there, the checksum is made once for a version.
"""

from collections import OrderedDict
from typing import NamedTuple

from isal.isal_zlib import crc32

from origin.messages import Generated, Request, Response
from proto.origin_stamp import OriginStamp, identity_of

_DIGEST_TAGGED = frozenset(("site", "hls", "api", "download"))
"""Kinds of content whose entity tags are digests of what it is a function of. Of an echo it is whatever was asked for."""
_NUMBERED = "bucket"
_CHECKED_AT_ONCE_BYTES = 16_384
_MOST_REMEMBERED = 4_096
_LONGEST_IDENTITY = 1_024
"""Longer ones are not told: a field of the answer has to be taken by whoever is on the way."""


class Content(NamedTuple):
    """What an answer has to say, whole: also that of which only a part is sent, or nothing."""

    version: str
    checksum: int | None
    """None: not known beforehand."""


class Stamps:
    """Of one origin."""

    def __init__(self, node_id: str) -> None:
        # What would end the part of a stamp, or be no field value, is of no use in a name.
        self._node_id = "".join(mark if "!" <= mark <= "~" and mark != ";" else "_" for mark in node_id)
        self._checksums: OrderedDict[str, int] = OrderedDict()

    def content_of(self, kind: str, response: Response) -> Content:
        """Of a response before preconditions and ranges."""
        number, tag = None, None
        for name, value in response.headers:
            if name == "x-amz-version-id":
                number = value
            elif name == "ETag":
                tag = value
        body, own_tag = response.body, tag if kind in _DIGEST_TAGGED or kind == _NUMBERED else None
        if isinstance(body, Generated):
            version = own_tag or f"{crc32(body.seed.encode()):08x}-{len(body):x}"
            return Content(version.strip('"'), None)
        checksum = self._checksum(bytes(body), own_tag)
        version = (number if kind == _NUMBERED else own_tag) or f"{checksum:08x}-{len(body):x}"
        return Content(version.strip('"'), checksum)

    def stamp(self, content: Content, produced_ns: int, identity: str | None) -> str:
        """The value of the field."""
        told = identity if identity is not None and len(identity) <= _LONGEST_IDENTITY else None
        return OriginStamp(self._node_id, content.version, produced_ns, content.checksum, told).field_value()

    def _checksum(self, body: bytes, own_tag: str | None) -> int:
        if own_tag is None or len(body) <= _CHECKED_AT_ONCE_BYTES:
            return crc32(body)
        key = f"{own_tag}/{len(body)}"
        known = self._checksums.get(key)
        if known is None:
            known = self._checksums[key] = crc32(body)
            if len(self._checksums) > _MOST_REMEMBERED:
                self._checksums.popitem(last=False)
        return known


def identity_in(request: Request, kind: str) -> str | None:
    """For whom the answer is, where it depends on that: what is private of the API, and an echo that tells what it was asked."""
    fields = request.fields
    if "authorization" not in fields and "cookie" not in fields:
        return None
    is_private = kind == "api" and request.path in ("/api/me", "/api/cart")
    if not is_private and (kind != "echo" or request.parameter("size")):
        return None
    return identity_of(fields.get("authorization"), fields.get("cookie"))
