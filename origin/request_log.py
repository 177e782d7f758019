"""What the origin was asked: counts per path, the last requests, and a file if wanted. Everything is bounded and says what it left out.

No sockets and no files here: the owner takes the lines and writes them.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from origin.messages import Headers, Request

MAX_RECORDS = 10_000
# Heads are up to 64 KiB: without this bound the ring could grow to 640 MB.
MAX_RECORDED_BYTES = 16 << 20
MAX_COUNTED_PATHS = 100_000
MAX_COUNTED_BYTES = 16 << 20
MAX_UNWRITTEN_LINES = 20_000
# What a record costs besides the text of its headers.
_RECORD_OVERHEAD_BYTES = 300
_HEADER_OVERHEAD_BYTES = 180


class RequestRecord(NamedTuple):
    """One request as it was answered. A tuple, as one is made per request on the hot path."""

    number: int
    time: float
    """For people."""
    monotonic_ns: int
    method: str
    target: str
    path: str
    headers: Headers
    body_bytes: int
    status: int
    kind: str
    connection_number: int
    cost_bytes: int

    def as_json(self) -> dict[str, object]:
        """For the admin answer and the file."""
        return {
            "number": self.number,
            "time": round(self.time, 6),
            "monotonic_ns": self.monotonic_ns,
            "method": self.method,
            "target": self.target,
            "headers": [list(pair) for pair in self.headers],
            "body_bytes": self.body_bytes,
            "status": self.status,
            "kind": self.kind,
            "connection": self.connection_number,
        }


def _cost(request: Request) -> int:
    """About what a record of this request keeps in memory."""
    text = len(request.target) + sum([len(name) + len(value) for name, value in request.headers])
    return _RECORD_OVERHEAD_BYTES + text + _HEADER_OVERHEAD_BYTES * len(request.headers)


class RequestLog:
    """Counts and the ring; with `is_written` also the lines that wait for the file."""

    def __init__(self, is_written: bool = False) -> None:
        self._is_written = is_written
        self._records: deque[RequestRecord] = deque()
        self._recorded_bytes = 0
        self._counts: dict[str, int] = {}
        self._counted_bytes = 0
        self._total = 0
        self._uncounted = 0
        self._unwritten: deque[RequestRecord] = deque()
        self._unwritten_bytes = 0
        self.dropped_lines = 0

    @property
    def total(self) -> int:
        """All requests since the last reset."""
        return self._total

    def record(self, request: Request, status: int, kind: str, wall: float, monotonic_ns: int) -> None:
        """Note one request, when its answer is decided, which may be long before it is sent."""
        self._total += 1
        record = RequestRecord(
            self._total,
            wall,
            monotonic_ns,
            request.method,
            request.target,
            request.path,
            request.headers,
            request.body.length,
            status,
            kind,
            request.connection_number,
            _cost(request),
        )
        self._count(request.path)
        self._remember(record)
        if self._is_written:
            self._queue_line(record)

    def count(self, path: str) -> int:
        """How often this path was asked for, whatever the query."""
        return self._counts.get(path, 0)

    def count_under(self, path_prefix: str) -> int:
        """How often paths with this prefix were asked for."""
        return sum(count for path, count in self._counts.items() if path.startswith(path_prefix))

    def describe(self, path_prefix: str, limit: int) -> dict[str, object]:
        """Counts and the newest records under a prefix, oldest first."""
        counts = {path: count for path, count in self._counts.items() if path.startswith(path_prefix)}
        newest = islice((item for item in reversed(self._records) if item.path.startswith(path_prefix)), limit)
        return {
            "total": sum(counts.values()),
            "counts": counts,
            "uncounted": self._uncounted,
            "requests": [record.as_json() for record in reversed(list(newest))],
        }

    def reset(self) -> None:
        """Forget everything but what waits for the file."""
        self._records.clear()
        self._counts.clear()
        self._recorded_bytes = self._counted_bytes = self._total = self._uncounted = 0

    def take_lines(self) -> Iterator[str]:
        """The lines that wait for the file, which wait no longer."""
        taken, self._unwritten, self._unwritten_bytes = self._unwritten, deque(), 0
        return _lines(taken)

    def _count(self, path: str) -> None:
        count = self._counts.get(path)
        if count is not None:
            self._counts[path] = count + 1
        elif len(self._counts) < MAX_COUNTED_PATHS and self._counted_bytes + len(path) <= MAX_COUNTED_BYTES:
            self._counts[path] = 1
            self._counted_bytes += len(path)
        else:
            self._uncounted += 1

    def _remember(self, record: RequestRecord) -> None:
        self._records.append(record)
        self._recorded_bytes += record.cost_bytes
        while len(self._records) > MAX_RECORDS or self._recorded_bytes > MAX_RECORDED_BYTES:
            self._recorded_bytes -= self._records.popleft().cost_bytes

    def _queue_line(self, record: RequestRecord) -> None:
        if (
            len(self._unwritten) >= MAX_UNWRITTEN_LINES
            or self._unwritten_bytes + record.cost_bytes > MAX_RECORDED_BYTES
        ):
            self.dropped_lines += 1
            return
        self._unwritten_bytes += record.cost_bytes
        self._unwritten.append(record)


def _lines(records: Iterable[RequestRecord]) -> Iterator[str]:
    return (json.dumps(record.as_json(), separators=(",", ":")) + "\n" for record in records)
