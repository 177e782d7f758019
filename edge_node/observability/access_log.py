"""The access log: CloudFront's 33 standard fields, tab-separated (reference 8.1).

Lines are made and written in batches (`delivery/request_recorder.py`). What the disk does not take is bounded: beyond it records are dropped and counted.
"""

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Final

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.request_record import HitRecord, LogRecord, Record
from edge_node.http.ranges import ByteRange
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.model.counters import Counters
from edge_node.policy.parse_cache import HeaderSection
from edge_node.policy.router import Route

FIELDS: Final = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type "
    "x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version "
    "fle-status fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end"
)
_LOGGED_BYTES: Final = tuple(
    chr(b) if 0x21 <= b <= 0x7E and b not in b"<>\"#%{}|\\^~[]`'" else f"%{b:02X}" for b in range(256)
)
_is_as_it_is: Final = re.compile(rb"[!$&()*+,\-./0-9:;=?@A-Z_a-z]*").fullmatch
LONGEST_REMEMBERED_TEXT_BYTES: Final = 512
"""Longer ones are not worth the memory: a viewer chooses them, and thousands are kept."""
MOST_REMEMBERED_TEXTS: Final = 4_096
_known_texts: Final[dict[bytes, str]] = {}
MAXIMUM_UNWRITTEN_BYTES = 16 * 1024 * 1024
LARGEST_FILE_BYTES = 128 * 1024 * 1024
"""A larger file becomes FILE.1, in place of the one before: the log never takes more than twice this."""

_RESULT_TYPES: Final = {
    Result.HIT: "Hit",
    Result.REFRESH_HIT: "RefreshHit",
    Result.MISS: "Miss",
    Result.PASS: "Miss",
    Result.REDIRECT: "Redirect",
    Result.ERROR: "Error",
}
_DETAILED_ERRORS: Final = {  # reference 8.1, detailed result type
    Reason.METHOD_NOT_ALLOWED: "InvalidRequestMethod",
    Reason.GET_WITH_BODY: "InvalidRequest",
    Reason.BAD_REQUEST: "InvalidRequest",
    Reason.GEO_BLOCKED: "ClientGeoBlocked",
    Reason.VIEWER_LEFT: "ClientCommError",
    Reason.UPSTREAM_FAILED: "OriginCommError",
    Reason.UPSTREAM_STATUS: "OriginError",
}


class AccessLog:
    """Records on their way to a file; without a file they are only counted as written."""

    def __init__(self, path: Path | None, pop: str, counters: Counters) -> None:
        self._pop = pop
        self._counters = counters
        self._file: FileIO | None = None
        self._unwritten = b""
        self._second = -1
        self._line_start = ""
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open(path)

    def _open(self, path: Path) -> FileIO:
        """A new file begins with the names of its fields; they wait for room as all lines do."""
        file = FileIO(path, "a")
        if file.tell() == 0:
            self._unwritten += f"#Version: 1.0\n#Fields: {FIELDS}\n".encode()
        return file

    @property
    def is_enabled(self) -> bool:
        """Whether records go anywhere."""
        return self._file is not None

    def write(self, records: Sequence[Record]) -> None:
        """Write a batch. What a full disk does not take waits for the next time, up to a bound; beyond it records are dropped and counted."""
        if self._file is None or not (records or self._unwritten):
            return
        if len(self._unwritten) > MAXIMUM_UNWRITTEN_BYTES:
            self._counters.log_records_dropped += len(records)
        else:
            self._unwritten += "".join(self._lines(records)).encode("latin-1", "replace")
        try:
            self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
            if self._file.tell() > LARGEST_FILE_BYTES and not self._unwritten:
                self._file = self._rotate(self._file)
        except OSError:
            return

    def _rotate(self, full: FileIO) -> FileIO:
        """Begin a new file; the full one takes the place of the one before it."""
        assert self._path is not None
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        fresh = self._open(self._path)
        full.close()
        return fresh

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self, records: Sequence[Record]) -> list[str]:
        lines: list[str] = []
        append = lines.append
        known: HitRecord | None = None
        before = host = protocol_texts = after = ""
        second, start = 0.0, ""
        for record in records:
            if isinstance(record, LogRecord):
                start_of_line = f"{self._start(record.ended_at)}{record.sent_bytes}\t{record.connection.address}"
                append(f"{start_of_line}{_rest_of_line(record)}")
                continue
            now, seconds, connection = record.ended_at, record.seconds, record.connection
            if not second <= now < second + 1.0:
                second, start = now // 1.0, self._start(now)
            if (
                known is None  # much of what is asked for is asked for again and again
                or record.route is not known.route
                or record.section is not known.section
                or record.template is not known.template
                or record.content_length != known.content_length
                or record.part is not known.part
                or connection.scheme != known.connection.scheme
            ):
                known = record
                texts = _describe(record)
                before, host, protocol_texts, after = texts.before, texts.host, texts.protocol, texts.after
            time_taken = _seconds_text(seconds)
            append(
                f"{start}{record.sent_bytes}\t{connection.address}{before}{record.request_id.decode('latin-1')}{host}{record.received_bytes}\t{time_taken}{protocol_texts}{connection.port}\t{time_taken}{after}"
            )
        return lines

    def _start(self, ended_at: float) -> str:
        """Date, time and place."""
        second = int(ended_at)
        if second != self._second:
            self._second = second
            self._line_start = time.strftime("%Y-%m-%d\t%H:%M:%S\t", time.gmtime(second)) + self._pop + "\t"
        return self._line_start


class _HitTexts:
    """What stands between the fields of a hit's line that are never the same."""

    __slots__ = ("after", "before", "host", "protocol")

    def __init__(self, before: str, host: str, protocol: str, after: str) -> None:
        self.before = before
        """Up to the request id."""
        self.host = host
        """From there to the bytes received."""
        self.protocol = protocol
        """From the time taken to the port."""
        self.after = after


def _describe(record: HitRecord) -> _HitTexts:
    """Worked out once for hits that follow each other and are alike."""
    section, route, template, part, connection = (
        record.section,
        record.route,
        record.template,
        record.part,
        record.connection,
    )
    viewer, host, protocol_texts = section.log_texts or _describe_section(section)
    stem, query = route.log_texts or _describe_route(route)
    ranges = "-\t-" if part is None else _range_texts(part.range)
    after = f"\tHit\t{_text(template.content_type)}\t{record.content_length}\t{ranges}\n"
    return _HitTexts(
        f"{stem}{record.status}\t{viewer}\t{query}",
        f"\t{host}\t{connection.scheme.decode()}\t",
        f"\t{protocol_texts}\t{_tls_texts(connection)}\tHit\tHTTP/1.1\t-\t-\t",
        after,
    )


def _range_texts(sent: ByteRange | None) -> str:
    return "-\t-" if sent is None else f"{sent.first}\t{sent.last}"


def _tls_texts(connection: ConnectionFacts) -> str:
    return f"{_repeated_text(connection.tls_protocol)}\t{_repeated_text(connection.tls_cipher)}"


def _describe_section(section: HeaderSection) -> tuple[str, str, str]:
    """What stands between the fields of a hit's line that differ from one to the next, as far as the header section says it."""
    field = section.head.fields.get
    section.log_texts = _viewer_texts(
        field(b"referer"), field(b"user-agent"), field(b"host"), field(b"x-forwarded-for")
    )
    return section.log_texts


def _describe_route(route: Route) -> tuple[str, str]:
    """The same, as far as host and target say it."""
    stem, _, query = route.raw_target.partition(b"?")
    route.log_texts = (
        f"\tGET\t{_text(route.distribution.domain_name)}\t{_text(stem)}\t",
        f"{_text(query)}\t-\tHit\t",
    )
    return route.log_texts


def _rest_of_line(record: LogRecord) -> str:
    """A line from cs-method on."""
    head = record.head
    field = head.fields.get
    stem, _, query = head.target.partition(b"?")
    viewer, host, protocol_texts = _viewer_texts(
        field(b"referer"), field(b"user-agent"), field(b"host"), field(b"x-forwarded-for")
    )
    is_error = record.status >= 400 or record.reason is Reason.VIEWER_LEFT or record.result is Result.ERROR
    result_type = "Error" if is_error else _RESULT_TYPES[record.result]
    detailed = _DETAILED_ERRORS.get(record.reason, result_type)
    length, connection = record.content_length, record.connection
    content_length = str(length) if length >= 0 else "-"
    ranges = _range_texts(record.byte_range)
    seconds = _seconds_text(record.seconds)
    first_byte = seconds if record.first_byte_seconds == record.seconds else _seconds_text(record.first_byte_seconds)
    # No format specifications in here: one of them makes compiled code format each of the fields for itself, at ten times the cost.
    return (
        f"\t{_repeated_text(head.method)}\t{_repeated_text(record.domain_name)}\t{_text(stem)}\t{_status_text(record.status)}\t{viewer}\t{_text(query)}\t-\t{result_type}\t"
        f"{record.request_id.decode('latin-1')}\t{host}\t{_protocol(record)}\t{record.received_bytes}\t{seconds}\t{protocol_texts}\t{_tls_texts(connection)}\t{result_type}\tHTTP/1.{head.minor_version}\t-\t-\t"
        f"{connection.port}\t{first_byte}\t{detailed}\t{_repeated_text(record.content_type)}\t{content_length}\t{ranges}\n"
    )


def _status_text(status: int) -> str:
    """Three digits: 000 where the viewer left before there was one."""
    return str(status) if status else "000"


def _seconds_text(seconds: float) -> str:
    """In milliseconds, as the log has it."""
    return "0.000" if seconds < 0.0005 else f"{seconds:.3f}"


def _protocol(record: LogRecord) -> str:
    """`cs-protocol`: a WebSocket is `ws` or `wss`."""
    scheme = record.connection.scheme
    if record.status != 101:
        return scheme.decode()
    return "wss" if scheme == b"https" else "ws"


def _viewer_texts(*fields: bytes | None) -> tuple[str, str, str]:
    """Referer and User-Agent, Host, X-Forwarded-For: what a viewer sends with each of its requests."""
    is_short = sum(len(field) for field in fields if field) <= LONGEST_REMEMBERED_TEXT_BYTES
    return _join_viewer_texts(*fields) if is_short else _join_viewer_texts.__wrapped__(*fields)


@lru_cache(maxsize=2048)
def _join_viewer_texts(
    referer: bytes | None, user_agent: bytes | None, host: bytes | None, forwarded_for: bytes | None
) -> tuple[str, str, str]:
    return f"{_text(referer)}\t{_text(user_agent)}", _text(host), _text(forwarded_for)


def _text(value: bytes | None) -> str:
    """A field as the log writes it: `-` for nothing. White space, non-ASCII and the characters of reference 8.1 are percent-encoded, so that a line stays a line."""
    if not value:
        return "-"
    return value.decode("ascii") if _is_as_it_is(value) else "".join(map(_LOGGED_BYTES.__getitem__, value))


def _repeated_text(value: bytes) -> str:
    """The same of what many lines have, such as a domain name: remembered."""
    text = _known_texts.get(value)
    if text is None:
        text = _text(value)
        if len(value) <= LONGEST_REMEMBERED_TEXT_BYTES:
            if len(_known_texts) >= MOST_REMEMBERED_TEXTS:
                _known_texts.clear()
            _known_texts[value] = text
    return text
