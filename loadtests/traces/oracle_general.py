"""libCacheSim's `oracleGeneral`: packed records of 24 bytes, little-endian, without a head. Pure.

Time in seconds (32 bits), number of the object (64), its size in bytes (32), and which request asks for it next (64, not used here).
https://github.com/1a1a11a/libCacheSim, traceReader/customizedReader/oracle/oracleGeneralBin.h.
"""

from collections.abc import Iterable, Iterator
from struct import Struct

from loadtests.traces.trace_reading import TraceError, TraceProgress
from loadtests.traces.trace_request import TraceRequest

RECORD = Struct("<IQIq")


def oracle_general_requests(pieces: Iterable[bytes], progress: TraceProgress) -> Iterator[TraceRequest]:
    """Of pieces of any size. TraceError where the end is not the end of a record."""
    progress.unit = "record"
    rest = b""
    for piece in pieces:
        data = rest + piece if rest else piece
        whole = len(data) - len(data) % RECORD.size
        rest = data[whole:]
        for seconds, number, size, _ in RECORD.iter_unpack(data[:whole] if rest else data):
            progress.position += 1
            yield TraceRequest(float(seconds), f"/objects/{number}", size)
    if rest:
        offset = progress.position * RECORD.size
        raise TraceError(
            f"offset {offset:,}: {len(rest)} bytes are left, which are no record of {RECORD.size}; the file is cut, or no oracleGeneral"
        )
