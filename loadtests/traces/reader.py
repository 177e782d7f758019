"""Reads recorded requests from a file, of whatever format it is, compressed or not: the only module here that opens one.

It streams: what is held of a trace is a window of its requests, and of a HAR, which is one document, the document (bounded).
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from loadtests.traces.cloudfront_log import CloudFrontLog
from loadtests.traces.compression import decompressed, uncompressed_name
from loadtests.traces.csv_trace import CsvTrace, NumericCsv
from loadtests.traces.har import LARGEST_HAR_BYTES, HarReader, har_entries
from loadtests.traces.oracle_general import RECORD, oracle_general_requests
from loadtests.traces.time_order import in_order
from loadtests.traces.trace_formats import BEGINNING_BYTES, FORMATS, checked_format, recognised_format
from loadtests.traces.trace_lines import LONGEST_LINE, bounded_lines, requests_of
from loadtests.traces.trace_reading import TraceError, TraceOptions, TraceProgress
from loadtests.traces.trace_request import TraceRequest

PIECE_BYTES = RECORD.size * 4_096


def trace_formats() -> tuple[str, ...]:
    """The names of formats, for help and for messages."""
    return FORMATS


def read_trace(
    path: Path, format_name: str = "", options: TraceOptions | None = None, progress: TraceProgress | None = None
) -> Iterator[TraceRequest]:
    """The requests of a file in the order of their times; without a format it is recognised by its name or its beginning.

    `progress` says, while the file is read and after, where the reader is and what it left out. TraceError, whose message has the file's
    name, for whatever is wrong with the file, when it is come upon: also for a file without requests.
    """
    progress = progress or TraceProgress()
    is_empty = True
    try:
        with path.open("rb") as compressed, decompressed(compressed, path.name) as file:
            for request in in_order(_requests(file, _format(file, path, format_name), options, progress), progress):
                is_empty = False
                yield request
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error
    except (EOFError, zlib.error) as error:
        place = f"{progress.unit} {progress.position:,}"
        raise TraceError(f"{path}: cut or damaged, cannot be decompressed behind {place}: {error}") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if is_empty:
        left_out = progress.summary()
        raise TraceError(f"{path}: no requests in it{f'; {left_out}' if left_out else ''}")


def _format(file: io.BufferedReader, path: Path, format_name: str) -> str:
    if format_name:
        return checked_format(format_name)
    return recognised_format(uncompressed_name(path.name), file.peek(BEGINNING_BYTES)[:BEGINNING_BYTES])


def _requests(
    file: io.BufferedReader, format_name: str, options: TraceOptions | None, progress: TraceProgress
) -> Iterator[TraceRequest]:
    options = options or TraceOptions()
    match format_name:
        case "oracleGeneral":
            return oracle_general_requests(iter(partial(file.read, PIECE_BYTES), b""), progress)
        case "har":
            progress.unit = "entry"
            return requests_of(
                har_entries(_document(file)), HarReader(options.host).request, progress, options.skip_bad
            )
    lines = bounded_lines(_text_lines(file), progress)
    match format_name:
        case "cloudfront":
            read = CloudFrontLog(options.host).request
        case "csv-numeric":
            read = NumericCsv().request
        case _:
            progress.position = 1
            read = CsvTrace(next(lines, "")).request
    return requests_of(lines, read, progress, options.skip_bad)


def _text_lines(file: io.BufferedReader) -> Iterator[str]:
    """The file stays its opener's to close: a wrapper that is simply dropped would close it, and complain."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n")
    try:
        yield from iter(partial(text.readline, LONGEST_LINE), "")
    finally:
        with suppress(ValueError):  # it is closed already, after an error in the middle of it
            text.detach()


def _document(file: io.BufferedReader) -> bytes:
    document = file.read(LARGEST_HAR_BYTES + 1)
    if len(document) > LARGEST_HAR_BYTES:
        raise TraceError(
            f"larger than {LARGEST_HAR_BYTES // 2**20} MiB; a HAR is read as a whole: export it without content"
        )
    return document
