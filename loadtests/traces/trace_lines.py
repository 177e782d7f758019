"""Requests of the lines of a text, or of the entries of a document: what is a mistake, and what is left out. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from loadtests.traces.trace_reading import LeftOut, TraceError, TraceProgress
from loadtests.traces.trace_request import TraceRequest

LONGEST_LINE = 65_536
"""Characters. A line of a log has a target, a referer and cookies: of up to 8 KiB each."""
Item = TypeVar("Item")


def requests_of(
    items: Iterable[Item], read: Callable[[Item], TraceRequest | None], progress: TraceProgress, skip_bad: bool
) -> Iterator[TraceRequest]:
    """What `read` makes of each. TraceError at the first that it refuses with ValueError, unless those are to be skipped; what it leaves out is counted."""
    for item in items:
        progress.position += 1
        try:
            request = read(item)
        except TraceError as error:
            raise progress.problem(str(error)) from error
        except ValueError as error:
            if not skip_bad:
                raise progress.problem(str(error)) from error
            progress.skip_bad(str(error))
            continue
        except LeftOut as kind:
            progress.left_out[str(kind)] += 1
            continue
        if request is not None:
            yield request


def bounded_lines(lines: Iterable[str], progress: TraceProgress) -> Iterator[str]:
    """The same lines. TraceError for one that is cut at the bound, because what follows is none."""
    for line in lines:
        if len(line) >= LONGEST_LINE:
            progress.position += 1
            raise progress.problem(f"longer than {LONGEST_LINE:,} characters; is this a text of that format?")
        yield line
