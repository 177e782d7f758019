"""What a stored 1 KiB response costs in memory beyond its body, and what the store counts for it against its budget, which has to cover it.

Looked at from outside: resident memory of an edge before and after it has fetched many objects through HTTP, and its own metrics. `ENTRY_OVERHEAD_BYTES`, which the
store's budget counts for each entry beside its key and its block, comes from here. Needs nginx as the origin (`make bench-setup`).
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.rows import OBJECT_BYTES, Stored, store_objects
from benchmarks.peers.session import session


async def measure(count: int, folders: tuple[Path, Path]) -> Stored:
    """With an edge of its own."""
    async with session(folders, (), 1, 1) as here:
        return await store_objects(here, count)


def main() -> int:
    """Print the cost per entry and what the budget counts."""
    parser = argparse.ArgumentParser(description="memory of stored responses beyond their bodies")
    parser.add_argument("--entries", type=int, default=100_000)
    count = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as disk:
        stored = asyncio.run(measure(count, (Path(folder), Path(disk))))
    print(f"{count:,} entries of {OBJECT_BYTES} bytes: {stored.resident_bytes:,.0f} bytes each beyond the body")
    verdict = "good" if stored.counted_bytes >= stored.resident_bytes else "TOO LITTLE"
    print(f"counted against the budget: {stored.counted_bytes:,.0f}; it must not be less: {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
