"""From parsed lines to a RequestHead, or the reason why there is none (RFC 9112 sections 2 to 6, reference 2.5)."""

import re
from functools import lru_cache
from typing import Final

from edge_node.model.errors import ViewerError
from edge_node.model.http import Header, RequestHead

MAXIMUM_TARGET_BYTES: Final = 8_192
"""Reference 2.5: a longer URL is 414, then close."""
MAXIMUM_HEAD_BYTES: Final = 32_768
"""Reference 2.5: a larger head is 494, then close."""
MAXIMUM_HEAD_BYTES_OF_EDGES: Final = 2 * MAXIMUM_HEAD_BYTES
"""At a regional cache: whatever an edge has taken of a viewer, its own fields, and a validator of what it has stored."""

LONGEST_HOST_BYTES: Final = 262
"""A name of 255 octets (RFC 1035 section 2.3.4), a colon and a port."""

_NOT_PLAIN: Final = frozenset(
    {b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"if-range", b"range"}
)

_NOTHING_NAMED: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
_NEVER_ENDED: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"cdn-loop"}
)
"""What frames and routes a message is not the viewer's to take out of it; whatever Connection says of these is ignored."""


def make_request_head(
    method: bytes,
    target: bytes,
    headers: list[Header],
    minor_version: int,
    is_keep_alive: bool,
    maximum_bytes: int = MAXIMUM_HEAD_BYTES,
) -> RequestHead:
    """Check and combine; raises ViewerError."""
    if method == b"CONNECT":  # RFC 9112 section 3.2.3: there is nothing to connect to here
        raise ViewerError(400, "CONNECT is not supported.")
    if len(target) > MAXIMUM_TARGET_BYTES:
        raise ViewerError(414, "The URL is longer than 8,192 bytes.")
    fields: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    is_plain = True
    head_bytes = len(target) + len(method) + 12
    for name, value in headers:
        head_bytes += len(name) + len(value) + 4
        if name in fields:
            repeated.setdefault(name, [fields[name]]).append(value)
        else:
            fields[name] = value
        if name in _NOT_PLAIN:
            is_plain = False
    if head_bytes > maximum_bytes:
        raise head_too_large(maximum_bytes)
    for name, values in repeated.items():
        fields[name] = _join(name, values)
    ended = _named_by_connection(fields)
    upgrade = fields[b"upgrade"] if b"upgrade" in ended and minor_version >= 1 else b""
    if ended:
        headers = [pair for pair in headers if pair[0] not in ended]
        is_plain = is_plain or not any(name in _NOT_PLAIN for name, _ in headers)
        for name in ended:
            del fields[name]
    target, host = _resolve_target(target, fields, minor_version)
    has_body = _has_body(fields, minor_version)
    may_follow = upgrade == b"" or has_body or not is_websocket(upgrade)  # behind a WebSocket's head stand frames
    return RequestHead(
        method, target, host, tuple(headers), fields, minor_version, is_keep_alive and may_follow, has_body, is_plain, None, upgrade,
    )  # fmt: skip


def head_too_large(maximum_bytes: int) -> ViewerError:
    """What is said of a head that goes on beyond the limit."""
    return ViewerError(494, f"The request line and headers are larger than {maximum_bytes:,} bytes.")


def _has_body(fields: dict[bytes, bytes], minor_version: int) -> bool:
    coding = fields.get(b"transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":  # RFC 9112 section 6.1
        raise ViewerError(501, "Transfer codings other than chunked are not supported.")
    if coding is not None and minor_version == 0:
        raise ViewerError(400, "An HTTP/1.0 request has no transfer coding.")
    return coding is not None or fields.get(b"content-length", b"0").strip(b"0") != b""


def is_websocket(upgrade: bytes) -> bool:
    """Whether these protocols are, or have among them, WebSocket (RFC 6455 section 4.1). HTTP/1.0 cannot upgrade (RFC 9110 section 7.8)."""
    return b"websocket" in [protocol.strip(b" \t").lower() for protocol in upgrade.split(b",")]


def is_websocket_handshake(head: RequestHead) -> bool:
    """Whether a viewer asks for a tunnel (RFC 6455 section 4.2.1): GET, in HTTP/1.1, without a body, with what a server needs to answer.

    What is wrong with these fields, the origin says.
    """
    if not head.upgrade or head.method != b"GET" or head.has_body or not is_websocket(head.upgrade):
        return False
    return b"sec-websocket-key" in head.fields and b"sec-websocket-version" in head.fields


def _named_by_connection(fields: dict[bytes, bytes]) -> set[bytes]:
    """Fields that end at this hop (RFC 9110 section 7.6.1): as if they had not been sent, or the cache would select by what the origin never sees."""
    value = fields.get(b"connection")
    if value is None or value in _NOTHING_NAMED:
        return set()
    named = {name.strip(b" \t").lower() for name in value.split(b",")} - _NEVER_ENDED
    return named.intersection(fields)


def _join(name: bytes, values: list[bytes]) -> bytes:
    """Repeated fields, joined once, whatever their number (RFC 9110 section 5.3); two Hosts are an attack (RFC 9112 section 3.2)."""
    if name == b"host":
        raise ViewerError(400, "The request has more than one Host field.")
    return (b"; " if name == b"cookie" else b", ").join(values)


def _resolve_target(target: bytes, fields: dict[bytes, bytes], minor_version: int) -> tuple[bytes, bytes]:
    """Origin-form target and lower-case host without port; absolute-form (RFC 9112 section 3.2.2) must agree with Host."""
    host_field = fields.get(b"host")
    if host_field is None:
        if minor_version >= 1:
            raise ViewerError(400, "The request has no Host field.")
        host_field = b""
    if b"#" in target:
        raise ViewerError(400, "A request target has no fragment.")
    name, port = _host_and_port(host_field)
    if target.startswith(b"/"):
        return target, name
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() != b"http":
        raise ViewerError(400, "The request target is not a path.")
    authority = _PATH_OR_QUERY.split(rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    target_name, target_port = _host_and_port(authority)
    if not target_name:
        raise ViewerError(400, "The request target has no host.")
    if host_field and (target_name, target_port) != (name, port):
        raise ViewerError(400, "The request target and the Host field name different hosts.")
    if (
        not host_field
    ):  # of HTTP/1.0: whatever is keyed by or sent as Host is what the target says (RFC 9112 section 3.2.2)
        fields[b"host"] = authority
    return path if path.startswith(b"/") else b"/" + path, target_name


_PATH_OR_QUERY: Final = re.compile(rb"[/?]")
"""What ends an authority (RFC 3986 section 3.2)."""
_AUTHORITY: Final = re.compile(rb"(\[[0-9a-f:.]+\]|[0-9a-z._~!$&'()*+;=%-]*)(?::([0-9]*))?")
"""uri-host and port (RFC 3986 section 3.2.2), in lower case."""


@lru_cache(maxsize=1024)
def _host_and_port(field: bytes) -> tuple[bytes, int]:
    """Name and port, 80 where none is said; an IPv6 address keeps its brackets."""
    match = _AUTHORITY.fullmatch(field.strip(b" \t").lower()) if len(field) <= LONGEST_HOST_BYTES else None
    if match is None or len(match[2] or b"") > 5:
        raise ViewerError(400, "The Host field is not a host name.")
    return match[1], int(match[2]) if match[2] else 80
