"""The heads of requests and responses, as everything else speaks about them.

Text that goes to or comes from the wire is bytes, field names in lower case. All values are immutable. Nothing here decides anything.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Header = tuple[bytes, bytes]


Headers = tuple[Header, ...]


class RequestHead:
    """A request line and its header section, parsed and checked for framing, once."""

    __slots__ = (
        "fields", "has_body", "headers", "host", "is_keep_alive", "is_plain", "memo", "method", "minor_version", "target",
        "upgrade",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        method: bytes,
        target: bytes,
        host: bytes,
        headers: Headers,
        fields: Mapping[bytes, bytes],
        minor_version: int,
        is_keep_alive: bool,
        has_body: bool,
        is_plain: bool,
        memo: dict[object, object] | None = None,
        upgrade: bytes = b"",
    ) -> None:
        self.method: Final = method
        self.target: Final = target
        """As the viewer sent it: origin-form, never decoded."""
        self.host: Final = host
        """Lower case, without a port."""
        self.headers: Final = headers
        self.fields: Final = fields
        """The same by name; repeated fields are joined as RFC 9110 section 5.3 says (Cookie by "; ", RFC 9113 8.2.3)."""
        self.minor_version: Final = minor_version
        self.is_keep_alive: Final = is_keep_alive
        self.has_body: Final = has_body
        self.is_plain: Final = is_plain
        """No conditional or range field: a stored response can be sent as it is."""
        self.memo: Final = memo
        """What has been worked out of the header section, where other requests have the very same one (`policy/parse_cache.py`); at most one item per behavior
        and tier."""
        self.upgrade: Final = upgrade
        """The protocols that the viewer would rather speak on this connection, as it named them (RFC 9110 section 7.8); empty: none."""

    def as_get(self) -> "RequestHead":
        """A GET of the same."""
        return self.of(b"GET", self.target, self.memo)

    def of(self, method: bytes, target: bytes, memo: dict[object, object] | None) -> "RequestHead":
        """A request with this header section and another line."""
        return RequestHead(
            method, target, self.host, self.headers, self.fields, self.minor_version, self.is_keep_alive, self.has_body,
            self.is_plain, memo, self.upgrade,
        )  # fmt: skip


class ResponseHead:
    """A status and header section from upstream, hop-by-hop fields included."""

    __slots__ = ("content_length", "fields", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        reason: bytes,
        headers: Headers,
        content_length: int | None,
        fields: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        self.status: Final = status
        self.reason: Final = reason
        self.headers: Final = headers
        self.content_length: Final = content_length
        self.fields: Final = fields
