"""CSV with a header line that names its columns (docs/traces.md). Pure.

A record is a line: no field of a request has a line break, so a quote that is not closed on its line is a mistake and not the rest of the file.
"""

import csv
import math

from loadtests.traces.moments import seconds_of
from loadtests.traces.trace_reading import (
    TraceError,
    checked_method,
    checked_region,
    checked_size,
    checked_target,
)
from loadtests.traces.trace_request import TraceRequest

COLUMNS = ("time", "path", "target", "size", "region", "ttl", "method")
NEEDED_COLUMNS = ("time", "size")
_PATHS = {"path", "target"}


class CsvTrace:
    """Reads lines after the header, which says what stands where."""

    def __init__(self, header: str) -> None:
        columns = [name.strip() for name in fields_of(header.removeprefix("\ufeff"))]
        problems = _header_problems(columns)
        if problems:
            raise TraceError(f"line 1: {'; '.join(problems)}")
        self._count = len(columns)
        place = {name: number for number, name in enumerate(columns)}
        self._time = place["time"]
        self._target = place["path"] if "path" in place else place["target"]
        self._size = place["size"]
        self._region, self._lifetime, self._method = place.get("region"), place.get("ttl"), place.get("method")
        self._is_short = not {"region", "ttl", "method"} & place.keys()

    def request(self, line: str) -> TraceRequest | None:
        """Of a line; nothing of an empty one. ValueError says what is wrong with it."""
        fields = fields_of(line)
        if len(fields) != self._count:
            if not line.strip():
                return None
            raise ValueError(f"{len(fields)} fields, where the header has {self._count}")
        at_seconds, size = seconds_of(fields[self._time]), checked_size(fields[self._size])
        target = checked_target(fields[self._target])
        if self._is_short:
            return TraceRequest(at_seconds, target, size)
        region = "" if self._region is None else checked_region(fields[self._region])
        lifetime = None if self._lifetime is None else _lifetime(fields[self._lifetime])
        method = "GET" if self._method is None else checked_method(fields[self._method])
        return TraceRequest(at_seconds, target, size, region, lifetime, method)


class NumericCsv:
    """Three columns without a header: time in seconds, number of the object, size in bytes, as cache simulators have them.

    Columns may stand in another order in such a file, and nothing in it says so: that is why it is never recognised by its content.
    """

    def request(self, line: str) -> TraceRequest | None:
        """Of a line; nothing of an empty one. ValueError says what is wrong with it."""
        fields = line.replace(",", " ").split()
        if not fields:
            return None
        if len(fields) != 3:
            raise ValueError(f"{len(fields)} fields, where time, id and size are 3")
        at_seconds, number, size = fields
        if not (number.isdecimal() and number.isascii()):
            raise ValueError(
                f"id must be a whole number, not {number[:40]!r}; has the file a header line? Then it is csv"
            )
        return TraceRequest(_number(at_seconds), checked_target(f"/objects/{number}"), checked_size(size))


def fields_of(line: str) -> list[str]:
    """Of one record. ValueError for a quote that is not closed."""
    line = line.rstrip("\r\n")
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise ValueError(f"no CSV: {error}; a record is one line") from error


def _header_problems(columns: list[str]) -> list[str]:
    known = ", ".join(COLUMNS)
    unknown = sorted({name for name in columns if name not in COLUMNS})
    problems = []
    if unknown:
        problems.append(f"unknown columns: {', '.join(repr(name[:40]) for name in unknown[:20])} (there are {known})")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        problems.append(f"columns that are there twice: {', '.join(name[:40] for name in twice[:20])}")
    problems += [f"no column {name!r}" for name in NEEDED_COLUMNS if name not in columns]
    if len(_PATHS.intersection(columns)) != 1:
        problems.append("there must be either a column 'path' or a column 'target'")
    if problems and all(_is_number(name) for name in columns):
        problems = ["no header line but numbers: if they are time, id and size, the format is csv-numeric"]
    return problems


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"time must be a number of seconds, not {text[:40]!r}")
    return seconds


def _lifetime(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"ttl must be a number of seconds from 0, or empty, not {text[:40]!r}")
    return seconds
