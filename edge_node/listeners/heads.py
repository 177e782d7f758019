"""From parsed lines to a RequestHead, or the reason why there is none (RFC 9112 sections 2 to 6, reference 2.5)."""

from functools import lru_cache

from edge_node.errors import ViewerError
from edge_node.model import Header, RequestHead

MAXIMUM_TARGET_BYTES = 8_192
"""Reference 2.5: a longer URL is 414, then close."""
MAXIMUM_HEAD_BYTES = 32_768
"""Reference 2.5: a larger head is 494, then close."""

LONGEST_HOST_BYTES = 262
"""A name of 255 octets (RFC 1035 section 2.3.4), a colon and a port."""

_NOT_PLAIN = frozenset(
    {b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"if-range", b"range"}
)


def make_request_head(
    method: bytes, target: bytes, headers: list[Header], minor_version: int, is_keep_alive: bool
) -> RequestHead:
    """Check and combine; raises ViewerError."""
    if len(target) > MAXIMUM_TARGET_BYTES:
        raise ViewerError(414, "The URL is longer than 8,192 bytes.")
    fields: dict[bytes, bytes] = {}
    is_plain = True
    head_bytes = len(target) + len(method) + 12
    for name, value in headers:
        head_bytes += len(name) + len(value) + 4
        if name in fields:
            fields[name] = _join(name, fields[name], value)
        else:
            fields[name] = value
        if name in _NOT_PLAIN:
            is_plain = False
    if head_bytes > MAXIMUM_HEAD_BYTES:
        raise ViewerError(494, "The request line and headers are larger than 32,768 bytes.")
    target, host = _resolve_target(target, fields, minor_version)
    coding = fields.get(b"transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":  # RFC 9112 section 6.1
        raise ViewerError(501, "Transfer codings other than chunked are not supported.")
    if coding is not None and minor_version == 0:
        raise ViewerError(400, "An HTTP/1.0 request has no transfer coding.")
    has_body = coding is not None or fields.get(b"content-length", b"0").strip(b"0") != b""
    return RequestHead(method, target, host, tuple(headers), fields, minor_version, is_keep_alive, has_body, is_plain)


def _join(name: bytes, first: bytes, second: bytes) -> bytes:
    """Repeated fields (RFC 9110 section 5.3); two Hosts are an attack (RFC 9112 section 3.2)."""
    if name == b"host":
        raise ViewerError(400, "The request has more than one Host field.")
    return first + (b"; " if name == b"cookie" else b", ") + second


def _resolve_target(target: bytes, fields: dict[bytes, bytes], minor_version: int) -> tuple[bytes, bytes]:
    """Origin-form target and lower-case host without port; absolute-form (RFC 9112 section 3.2.2) must agree with Host."""
    host_field = fields.get(b"host")
    if host_field is None:
        if minor_version >= 1:
            raise ViewerError(400, "The request has no Host field.")
        host_field = b""
    if b"#" in target:
        raise ViewerError(400, "A request target has no fragment.")
    if target.startswith(b"/"):
        return target, _host_name(host_field)
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() != b"http":
        raise ViewerError(400, "The request target is not a path.")
    authority, slash, path = rest.partition(b"/")
    if b"?" in authority:
        authority, _, query = authority.partition(b"?")
        slash, path = b"/", b"?" + query
    if host_field and _host_name(authority) != _host_name(host_field):
        raise ViewerError(400, "The request target and the Host field name different hosts.")
    return (slash or b"/") + path, _host_name(authority)


@lru_cache(maxsize=1024)
def _host_name(field: bytes) -> bytes:
    """Without the port; an IPv6 address keeps its brackets."""
    if len(field) > LONGEST_HOST_BYTES:
        raise ViewerError(400, "The Host field is not a host name.")
    name = field.strip().lower()
    if name.startswith(b"["):
        return name.partition(b"]")[0] + b"]"
    name, _, port = name.partition(b":")
    if (port and not port.isdigit()) or any(byte in b" \t,/@?#" for byte in name):
        raise ViewerError(400, "The Host field is not a host name.")
    return name
