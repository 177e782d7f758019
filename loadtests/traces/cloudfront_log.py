"""CloudFront's standard logs, legacy W3C form: tab-separated, columns by `#Fields` (reference 8.1). The lab's edges write the same. Pure.

Values are percent-encoded, `%` itself too, so what a viewer sent is the value decoded once. A moment is when the answer was finished, by the second; the
request began `time-taken` earlier. Sizes are bodies where `sc-content-len` says so, else bytes sent with the head.
"""

import re
from urllib.parse import unquote_to_bytes

from loadtests.traces.moments import iso_seconds
from loadtests.traces.trace_reading import (
    LeftOut,
    TraceError,
    checked_method,
    checked_region,
    checked_size,
    checked_target,
)
from loadtests.traces.trace_request import TraceRequest

NEEDED_FIELDS = ("date", "time", "cs-uri-stem")
_SKIPPED_PROTOCOLS = {"ws", "wss"}
_NOT_IN_A_TARGET = re.compile(rb"[^!\"$-~]")
_seconds_of_day = re.compile(r"\d\d:\d\d:\d\d").fullmatch


class CloudFrontLog:
    """Reads lines; those that begin with `#` say what the following ones hold. Logs put one behind the other repeat them."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._names: dict[str, int] = {}
        self._moment = ("", "")
        self._moment_seconds = 0.0

    def request(self, line: str) -> TraceRequest | None:
        """Of a line; nothing of one that has none. ValueError says what is wrong with it; LeftOut: it is of another kind."""
        if line.startswith("#"):
            self._take_directive(line)
            return None
        values = line.rstrip("\r\n").split("\t")
        if values == [""]:
            return None
        names = self._names
        if not names:
            raise TraceError("no '#Fields:' line before the first request; is this a CloudFront standard log?")
        if len(values) != len(names):
            raise ValueError(f"{len(values)} fields, where #Fields has {len(names)}")
        self._leave_out_others(values)
        target = self._target(values)
        return TraceRequest(
            self._began_at(values), target, self._size(values), checked_region(self._value(values, "x-edge-location")),
            None, checked_method(self._value(values, "cs-method")),
        )  # fmt: skip

    def _take_directive(self, line: str) -> None:
        word, _, rest = line.partition(":")
        if word != "#Fields":
            return
        names = {name: number for number, name in enumerate(rest.split())}
        missing = [name for name in NEEDED_FIELDS if name not in names]
        if missing or len(names) != len(rest.split()):
            raise TraceError(f"#Fields has no {', '.join(missing)}" if missing else "#Fields names a field twice")
        self._names = names

    def _value(self, values: list[str], name: str) -> str:
        """Empty for what the log does not have, or has as `-`."""
        place = self._names.get(name)
        value = "-" if place is None else values[place]
        return "" if value == "-" else value

    def _leave_out_others(self, values: list[str]) -> None:
        if self._value(values, "cs-protocol") in _SKIPPED_PROTOCOLS:
            raise LeftOut("WebSockets")
        if not self._value(values, "cs-uri-stem"):
            raise LeftOut("that were no requests of HTTP")
        host = self._value(values, "cs(Host)")
        self._host = self._host or host
        if host and host != self._host and self._value(values, "x-host-header") != self._host:
            raise LeftOut(f"of other hosts than {self._host}")

    def _began_at(self, values: list[str]) -> float:
        moment = (values[self._names["date"]], values[self._names["time"]])
        if moment != self._moment:  # a second has many lines
            if not _seconds_of_day(moment[1]):
                raise ValueError(f"time must be HH:MM:SS, not {moment[1][:40]!r}")
            self._moment_seconds = iso_seconds("T".join(moment))
            self._moment = moment
        taken = self._value(values, "time-taken")
        return self._moment_seconds - (_seconds(taken) if taken else 0.0)

    def _target(self, values: list[str]) -> str:
        stem, query = self._value(values, "cs-uri-stem"), self._value(values, "cs-uri-query")
        target = f"{stem}?{query}" if query else stem
        return checked_target(_decoded(target) if "%" in target else target)

    def _size(self, values: list[str]) -> int:
        status = self._value(values, "sc-status")
        if status == "304":
            return 0
        end = self._value(values, "sc-range-end")
        if status == "206" and end:
            return checked_size(end) + 1  # of the whole it is known only that it is not smaller
        return checked_size(self._value(values, "sc-content-len") or self._value(values, "sc-bytes"))


def _seconds(text: str) -> float:
    whole, _, part = text.partition(".")
    if not ((whole + part).isdecimal() and text.isascii()):
        raise ValueError(f"time-taken must be seconds, not {text[:40]!r}")
    return float(text)


def _decoded(value: str) -> str:
    """Once. What cannot stand in a request line is encoded as a viewer would have: some logs encode a path no second time."""
    sent = unquote_to_bytes(value)
    return _NOT_IN_A_TARGET.sub(lambda byte: b"%%%02X" % ord(byte[0]), sent).decode("ascii")
