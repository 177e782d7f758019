"""Reads the end of a log, and what is added to it. Bounded: a log may be larger than memory."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

MAXIMUM_TAIL_BYTES = 1 << 20
_POLL_SECONDS = 0.2


def last_lines(path: Path, count: int) -> list[str]:
    """At most `count` lines, of at most the last MiB; none when there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAXIMUM_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-count:] if count > 0 else []


def follow(path: Path, is_over: Callable[[], bool]) -> Iterator[str]:
    """Whole lines that are added from now on, until `is_over` and nothing more has come."""
    with path.open("rb") as file:
        file.seek(0, 2)
        rest = b""
        while True:
            was_over = is_over()
            piece = file.read(MAXIMUM_TAIL_BYTES)
            if piece:
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
            elif was_over:
                return
            else:
                time.sleep(_POLL_SECONDS)
