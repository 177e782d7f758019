"""Requests in the order of their times, counted from the first. Pure.

Logs are not quite in order: they are written when answers end, and by several servers. What stands less than a window too late is put in its place;
what stands later would need the whole file in memory.
"""

from collections.abc import Iterable, Iterator
from operator import itemgetter

from loadtests.traces.trace_reading import TraceProgress
from loadtests.traces.trace_request import TraceRequest

SORTED_WINDOW = 32_768
"""Requests that one may stand behind its place. Twice as many are held, some 20 MiB."""


def in_order(
    requests: Iterable[TraceRequest], progress: TraceProgress, window: int = SORTED_WINDOW
) -> Iterator[TraceRequest]:
    """Sorted by time, those of one time as they stood. TraceError for one that is too late for its place."""
    time_of = itemgetter(0)
    held: list[TraceRequest] = []
    last = first = float("-inf")
    for request in requests:
        if request[0] < last:
            raise progress.problem(_too_late(request[0], last, window))
        held.append(request)
        if len(held) >= 2 * window:
            held.sort(key=time_of)
            first = held[0][0] if first == float("-inf") else first
            yield from _counted_from(first, held[:window])
            last = held[window - 1][0]
            del held[:window]
    held.sort(key=time_of)
    if held:
        yield from _counted_from(held[0][0] if first == float("-inf") else first, held)


def _counted_from(first: float, requests: list[TraceRequest]) -> Iterator[TraceRequest]:
    for at_seconds, target, size, region, lifetime, method in requests:
        yield TraceRequest(at_seconds - first, target, size, region, lifetime, method)


def _too_late(at_seconds: float, last: float, window: int) -> str:
    return (
        f"its time {at_seconds:.3f} is before {last:.3f}, which stood at least {window:,} requests earlier; "
        "traces are put in order no further than that: sort it by time first"
    )
