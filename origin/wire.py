"""How a response's head becomes bytes (RFC 9112). Pure; how the body follows is in `delivery`."""

from http import HTTPStatus

from origin.messages import Framing, Request, Response
from proto.origin_stamp import STAMP_FIELD

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = frozenset((204, 304))


def has_body(request: Request, response: Response) -> bool:
    """Whether bytes follow the head (RFC 9110, 6.4.1)."""
    return request.method != "HEAD" and response.status not in _BODILESS


def framing_of(request: Request, response: Response) -> Framing:
    """An HTTP/1.0 client knows no chunks: for it the end of the connection is the end of the body."""
    if response.framing is Framing.CHUNKED and request.http_version == "1.0":
        return Framing.CLOSE
    return response.framing


def must_close(request: Request, response: Response) -> bool:
    """Whether this response ends its connection, as far as the two messages say."""
    if not request.is_keep_alive or response.must_close:
        return True
    return framing_of(request, response) is Framing.CLOSE and has_body(request, response)


def encode_head(request: Request, response: Response, date: str, is_last: bool, stamp: str = "") -> bytes:
    """Status line and headers. `is_last` says that the connection closes afterwards; `stamp` is the value of X-Origin-Stamp, empty for none."""
    status = response.status
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"]
    if not response.has_own_date:
        lines.append(f"Date: {date}\r\n")
    lines.extend([f"{name}: {value}\r\n" for name, value in response.headers])
    if stamp:
        lines.append(f"{STAMP_FIELD}: {stamp}\r\n")
    if response.accepts_ranges:
        lines.append("Accept-Ranges: bytes\r\n")
    lines.append(_framing_header(request, response))
    if is_last:
        lines.append("Connection: close\r\n")
    elif request.http_version == "1.0":
        lines.append("Connection: keep-alive\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1")


def _framing_header(request: Request, response: Response) -> str:
    # RFC 9110, 8.6: no Content-Length in a 204; in a 304 it would have to be that of the 200, which is not at hand here.
    if response.status in _BODILESS:
        return ""
    match framing_of(request, response):
        case Framing.LENGTH:
            return f"Content-Length: {len(response.body)}\r\n"
        case Framing.CHUNKED:
            return "Transfer-Encoding: chunked\r\n"
        case Framing.CLOSE:
            return ""


def encode_chunk(data: bytes | memoryview) -> tuple[bytes, bytes | memoryview, bytes]:
    """One chunk of a chunked body (RFC 9112, 7.1), in parts that need not be joined."""
    return f"{len(data):x}\r\n".encode(), data, b"\r\n"
