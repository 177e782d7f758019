"""What the disk store costs: puts and gets per second, bytes per second, the time to open it per GiB after each kind of end, memory per record, and the longest
single call.

The page cache is warm and nothing is synchronised to the disk, as in a running node. Figures and what they mean: docs/disk-format.md.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edge_node.storage.disk.store import DiskStore

KEY = b"/images/a-folder/of-the-usual-length/%012d.png|E1234567890"
METADATA = bytes(range(256)) * 2
BOOT = "benchmark"
MIB = 1024 * 1024
PIECE_BYTES = 256 * 1024


class Timer:
    """Time of many calls, and the most processor time that one of them took (not wall-clock time: other processes would be in it)."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self.total_seconds = 0.0

    def run(self, call: Callable[[int], None], count: int) -> None:
        """Each number once."""
        for number in range(count):
            start, processor_start = time.perf_counter(), time.thread_time()
            call(number)
            self.longest_seconds = max(self.longest_seconds, time.thread_time() - processor_start)
            self.total_seconds += time.perf_counter() - start

    def line(self, name: str, count: int, body_bytes: int) -> str:
        """As printed."""
        rate = count / self.total_seconds
        return f"{name:28} {rate:>10,.0f}/s {rate * body_bytes / MIB:>8,.0f} MiB/s, longest call {self.longest_seconds * 1000:.1f} ms"


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def put(store: DiskStore, number: int, body: bytes) -> None:
    """One record, as a fill stores it, and now and then the flush that the owner does every 100 ms."""
    writer = store.open_writer(KEY % number, len(body))
    if writer is not None and all(writer.write(body[at : at + PIECE_BYTES]) for at in range(0, len(body), PIECE_BYTES)):
        writer.commit(METADATA, number, b"log")
    if number % 1000 == 999:
        store.flush()


def get(store: DiskStore, number: int) -> None:
    """One record with its whole body."""
    record = store.lookup(KEY % number)
    if record is not None:
        for _ in record.body.chunks():
            pass


def end_without_closing(folder: Path, capacity: int) -> None:
    """A process that opens the store, puts something and ends as kill -9 would end it."""
    child = os.fork()
    if child == 0:
        store = DiskStore(folder, capacity, BOOT)
        put(store, 0, b"later")
        store.flush()
        os._exit(0)
    os.waitpid(child, 0)


def forget_indexes(folder: Path) -> None:
    """So that all records have to be walked: a byte more behind each index."""
    for path in (folder / "records").glob("*.segment"):
        with path.open("ab") as file:
            file.write(b"x")


def open_again(name: str, folder: Path, capacity: int) -> None:
    """Open, and ask what is noted, as a node does when it starts."""
    start, processor_start = time.perf_counter(), time.process_time()
    with closing(DiskStore(folder, capacity, BOOT)) as store:
        noted = sum(1 for _ in store.noted_records())
        seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
        gibibytes = store.statistics.used_bytes / 1024 / MIB
        print(
            f"  open {name:23} {seconds:>9.2f} s, {seconds / gibibytes:.2f} s a GiB, {processor_seconds / gibibytes:.2f} s of processor time a GiB"
            f" ({store.statistics.records:,} records, {noted} noted)"
        )


def measure(folder: Path, body_bytes: int, total_bytes: int) -> None:
    """One size of body: fill, read, open again, and go on for as much again, when the oldest leave."""
    count = total_bytes // (body_bytes + 1024)
    body = os.urandom(body_bytes)
    capacity = int(total_bytes * 1.05) + 8 * MIB
    before = resident_bytes()
    with closing(DiskStore(folder, capacity, BOOT)) as store:
        puts, gets, churn = Timer(), Timer(), Timer()
        puts.run(lambda number: put(store, number, body), count)
        store.flush()
        held = (resident_bytes() - before) / count
        gets.run(lambda number: get(store, number * 7919 % count), count)
        print(f"{count:,} records of {body_bytes:,} bytes")
        print(puts.line("  put", count, body_bytes))
        print(gets.line("  get", count, body_bytes))
    open_again("after a clean end", folder, capacity)
    end_without_closing(folder, capacity)
    open_again("after kill -9", folder, capacity)
    forget_indexes(folder)
    open_again("without any index", folder, capacity)
    with closing(DiskStore(folder, capacity, BOOT)) as store:
        for number in range(0, count, 2):
            store.lookup(KEY % number)
        churn.run(lambda number: put(store, count + number, body), count)
        print(churn.line("  put, half of all were used", count, body_bytes))
        statistics = store.statistics
        print(
            f"  copied {statistics.copied_records:,}, evicted {statistics.evictions:,}; {held:,.0f} bytes of memory a record"
        )
        print(f"  used {statistics.used_bytes / capacity:.2%} of the capacity")


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description="speed of the disk store")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 16 * 1024, 64 * 1024, 10 * MIB])
    parser.add_argument("--mebibytes", type=int, default=1024, help="stored for each size")
    parser.add_argument("--folder", type=Path, help="where; a temporary folder by default")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {sys.executable}")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            measure(Path(folder), size, arguments.mebibytes * MIB)
    return 0


if __name__ == "__main__":
    sys.exit(main())
