"""/misbehave/: trouble that the request itself asks for. Trouble by path, set from outside, is in `behaviors`."""

from dataclasses import replace

from origin.errors import InvalidInputError
from origin.gates import checked_gate_name
from origin.messages import PROMPT, Delivery, Generated, Request, Response
from origin.patterns import read

MAX_SECONDS = 300.0
MAX_BYTES = 1 << 30
_MAX_PIECE_BYTES = 65_536
_MAX_HEADER_BYTES = 1 << 20
_GARBAGE = b"\x00\xff\xfethis is not HTTP\r\n\r\n" + bytes(range(256))


def respond(request: Request) -> Response:
    """The answer to a GET or HEAD under /misbehave/."""
    values = dict(request.parameters())
    match request.path.removeprefix("/misbehave/"):
        case "slow-body":
            return _slow_body(values)
        case "delay":
            return _text("late\n", replace(PROMPT, delay_seconds=_number(values, "seconds", 1.0, MAX_SECONDS)))
        case "status":
            return _status(_whole(values, "code", 500, 599))
        case "truncate":
            return _truncate(values)
        case "reset":
            return _reset(values)
        case "drop":
            return _text("", replace(PROMPT, is_dropped=True))
        case "garbage":
            return _text("", replace(PROMPT, raw=_GARBAGE))
        case "huge-header":
            return _huge_header(values)
        case "gated":
            return _gated(values)
        case _:
            return Response(
                404, (("Content-Type", "text/plain"),), b"there is no such misbehaviour; see docs/origin.md\n"
            )


def _text(text: str, delivery: Delivery) -> Response:
    return Response(200, (("Content-Type", "text/plain"),), text.encode(), delivery=delivery)


def _bytes(length: int, delivery: Delivery) -> Response:
    body = Generated("misbehave", length)
    return Response(200, (("Content-Type", "application/octet-stream"),), body, delivery=delivery)


def expected_bytes(offset: int, length: int) -> bytes:
    """The body of all answers here that have a size."""
    return read("misbehave", offset, length)


def _slow_body(values: dict[str, str]) -> Response:
    length = _whole(values, "bytes", 1_000, MAX_BYTES)
    chunks = max(1, _whole(values, "chunks", 10, MAX_BYTES))
    interval_seconds = _number(values, "interval", 0.05, MAX_SECONDS)
    piece_bytes = max(1, -(-length // chunks))
    if piece_bytes > _MAX_PIECE_BYTES:
        raise InvalidInputError(f"bytes / chunks must be at most {_MAX_PIECE_BYTES}")
    return _bytes(length, replace(PROMPT, piece_bytes=piece_bytes, interval_seconds=interval_seconds))


def _status(code: int) -> Response:
    if code < 200:
        raise InvalidInputError("code must be a number from 200 to 599")
    headers = (
        (("Content-Type", "text/plain"), ("Retry-After", "1")) if code == 503 else (("Content-Type", "text/plain"),)
    )
    return Response(code, headers, f"status {code} as asked for\n".encode())


def _truncate(values: dict[str, str]) -> Response:
    length, send = _whole(values, "length", 1_000, MAX_BYTES), _whole(values, "send", 100, MAX_BYTES)
    return _bytes(length, replace(PROMPT, truncate_after_bytes=send))


def _reset(values: dict[str, str]) -> Response:
    """Before the head; or with `after`, so many bytes into the body."""
    if "after" not in values:
        return _text("", replace(PROMPT, is_reset=True))
    after = _whole(values, "after", 0, MAX_BYTES)
    return _bytes(_whole(values, "length", after + 1_000, 2 * MAX_BYTES), replace(PROMPT, reset_after_bytes=after))


def _huge_header(values: dict[str, str]) -> Response:
    size = _whole(values, "bytes", 100_000, _MAX_HEADER_BYTES)
    return _text("small\n", PROMPT).with_headers(("X-Huge", "h" * size))


def _gated(values: dict[str, str]) -> Response:
    gate = checked_gate_name(values.get("id", ""))
    return _bytes(_whole(values, "bytes", 1_000, MAX_BYTES), replace(PROMPT, gate_body=gate))


def _whole(values: dict[str, str], name: str, default: int, largest: int) -> int:
    text = values.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= largest):
        raise InvalidInputError(f"{name} must be a whole number up to {largest}")
    return int(text)


def _number(values: dict[str, str], name: str, default: float, largest: float) -> float:
    try:
        value = float(values.get(name, default))
    except ValueError as error:
        raise InvalidInputError(f"{name} must be a number of seconds") from error
    if not 0 <= value <= largest:  # also refuses NaN
        raise InvalidInputError(f"{name} must be from 0 to {largest:g} seconds")
    return value
