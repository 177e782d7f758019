"""What a stored 1 KiB response costs in memory beyond its body: resident memory of a store with many of them, by their number.

`edge_node.caching.entry.ENTRY_OVERHEAD_BYTES`, which the store's budget counts for each entry beside body, head and target, has to cover it.
"""

import argparse
import os
import sys
from pathlib import Path

from edge_node.caching.entries import Arrival, make_entry, with_body
from edge_node.caching.entry import ENTRY_OVERHEAD_BYTES, Entry
from edge_node.caching.freshness import Lifetime, LifetimeRule
from edge_node.fills import prepare_head
from edge_node.model import Role
from edge_node.policy.answers import NodeFacts
from edge_node.storage.memory import MemoryStore

BODY_BYTES = 1024
NODE = NodeFacts(Role.EDGE, b"FRA56-P1", b"1.1 %b.cloudfront.net (CloudFront)" % (b"0" * 32))


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stored(number: int) -> Entry:
    """An entry as a fill makes it; no two share a value that would be their own in a real store."""
    path = b"/images/%d.png" % number
    fields = (
        (b"content-type", b"image/png"),
        (b"cache-control", b"max-age=86400"),
        (b"etag", b'"%012x"' % number),
        (b"last-modified", b"Thu, 01 Jan 2026 00:00:%02d GMT" % (number % 60)),
        (b"date", b"Sat, 21 Nov 2026 02:39:%02d GMT" % (number % 60)),
    )
    key = ("E1", b"", path, b"", None, (), ())
    arrival = Arrival(number, 1_800_000_000.0 + number, 0.0)
    entry = make_entry(key, path.decode(), (200, b"OK"), fields, Lifetime(86_400.0, LifetimeRule.MAX_AGE), arrival)
    with_body(entry, [os.urandom(BODY_BYTES)], BODY_BYTES)
    prepare_head(entry, NODE)
    return entry


def main() -> int:
    """Print the cost per entry and what the budget counts."""
    parser = argparse.ArgumentParser(description="memory of stored responses beyond their bodies")
    parser.add_argument("--entries", type=int, default=100_000)
    count = parser.parse_args().entries
    store = MemoryStore(1 << 40)
    stored(0)  # what the first one imports and remembers is not its own cost
    before = resident_bytes()
    for number in range(count):
        store.put(stored(number))
    overhead = (resident_bytes() - before) / count - BODY_BYTES
    counted = store.statistics.used_bytes / count - BODY_BYTES
    print(f"{count:,} entries of {BODY_BYTES} bytes: {overhead:,.0f} bytes each beyond the body")
    print(
        f"counted against the budget: {counted:,.0f}, of which {ENTRY_OVERHEAD_BYTES} flat; it must not be less: {'good' if counted >= overhead else 'TOO LITTLE'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
