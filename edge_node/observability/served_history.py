"""The history's table `served`: a row for each request that this node has answered (lab/history/schema.py), made of the batches that the access log gets.

Lines are made here as text, since making rows into lines costs several times as much, and a hit is paid for each time. Moments of records are of the program's clock,
which may be wrong on purpose; rows have the host's.
"""

from collections.abc import Callable, Sequence
from typing import Final

from edge_node.delivery.request_record import HitRecord, LogRecord, Record
from edge_node.delivery.request_recorder import RecordSink
from edge_node.policy.router import Route
from proto.history_file import NULL, printable
from proto.history_recorder import HistoryRecorder
from proto.moments import NANOSECONDS_PER_SECOND

SERVED: Final = "served"
SERVED_COLUMNS: Final = (
    "node", "request_id", "started_ns", "first_byte_ns", "ended_ns", "peer", "method", "host", "path", "status", "sent_bytes", "result", "reason", "index",
)  # fmt: skip
MOST_REMEMBERED_ROUTES: Final = 4_096


class ServedHistory:
    """Batches of records on their way to the history."""

    def __init__(
        self, recorder: HistoryRecorder, applied_index: Callable[[], int], true_steady: Callable[[float], float]
    ) -> None:
        """`true_steady`: what the host's clock said when the one of the records said so."""
        self._recorder = recorder
        self._applied_index = applied_index
        self._true_steady = true_steady
        self._start = f"{printable(recorder.node)}\t"
        self._texts: dict[Route, str] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether records go anywhere."""
        return self._recorder.is_recording

    def write(self, records: Sequence[Record]) -> None:
        """A batch, in which all hits were answered at the index that is applied now."""
        if self._recorder.is_recording:
            self._recorder.add_lines(SERVED, self._lines(records))

    def _lines(self, records: Sequence[Record]) -> list[str]:
        start, true_steady = self._start, self._true_steady
        end_of_hit = f"\thit\tfresh\t{self._applied_index()}\n"
        known: Route | None = None
        texts = ""
        lines: list[str] = []
        append = lines.append
        for record in records:
            if isinstance(record, LogRecord):
                append(self._line(record))
                continue
            route, began = record.route, record.started_at
            if route is not known:  # much of what is asked for is asked for again and again
                known, texts = route, self._texts.get(route) or self._describe(record)
            started_ns = int(true_steady(began) * NANOSECONDS_PER_SECOND)
            ended_ns = int(true_steady(began + record.seconds) * NANOSECONDS_PER_SECOND)
            append(
                f"{start}{record.request_id.decode('latin-1')}\t{started_ns}\t{ended_ns}\t{ended_ns}\t{record.connection.address}{texts}{record.status}\t{record.sent_bytes}{end_of_hit}"
            )
        return lines

    def _describe(self, record: HitRecord) -> str:
        """What a hit's row says of its request, as far as the route determines it: the answer to one host and target."""
        texts = f"\tGET\t{_text(record.section.head.host)}\t{_text(record.route.raw_target)}\t"
        if len(self._texts) >= MOST_REMEMBERED_ROUTES:
            self._texts.clear()
        self._texts[record.route] = texts
        return texts

    def _line(self, record: LogRecord) -> str:
        head, began = record.head, record.started_at
        moments = [
            int(self._true_steady(began + seconds) * NANOSECONDS_PER_SECOND)
            for seconds in (0.0, record.first_byte_seconds, record.seconds)
        ]
        first_byte = str(moments[1]) if record.status else NULL
        return (
            f"{self._start}{_text(record.request_id)}\t{moments[0]}\t{first_byte}\t{moments[2]}\t{printable(record.connection.address)}\t"
            f"{_text(head.method)}\t{_text(head.host)}\t{_text(head.target)}\t{record.status}\t{record.sent_bytes}\t{record.result.value}\t{record.reason.value}\t{record.index}\n"
        )


class BothSinks:
    """The access log, and the history."""

    def __init__(self, access_log: RecordSink, history: RecordSink) -> None:
        self._access_log = access_log
        self._history = history

    @property
    def is_enabled(self) -> bool:
        """Whether records go anywhere."""
        return self._access_log.is_enabled or self._history.is_enabled

    def write(self, records: Sequence[Record]) -> None:
        """Write a batch."""
        if self._access_log.is_enabled:
            self._access_log.write(records)
        if self._history.is_enabled:
            self._history.write(records)


def _text(value: bytes) -> str:
    return printable(value.decode("latin-1"))
