"""Our edge node beside nginx, Varnish, Apache Traffic Server and HAProxy on one core: `python -m benchmarks.peers [--only ROW ...]`.

docs/benchmarks.md explains the method. With `--compare OTHER_CHECKOUT` beside another build of itself instead.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.install_peers import PACKAGES, missing_packages
from benchmarks.peers import compare, instructions, invalidations, rows, stages, throughput, websockets
from benchmarks.peers.processes import BenchmarkError, UnsupportedError
from benchmarks.peers.results import Figure, lines_of, machine, table, write_results
from benchmarks.peers.session import PEERS, Session, session
from benchmarks.peers.throughput import ROWS

IN_MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory, in a folder of our own
ON_DISK = Path("/var/tmp")  # noqa: S108  unlike /tmp never a file system in memory


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"5; {compare.ROUNDS} when builds are compared, {instructions.ROUNDS} by instructions",
    )
    parser.add_argument(
        "--only", action="append", metavar="WORDS", help="rows whose name contains these words; may be repeated"
    )
    parser.add_argument("--peers", type=_peers, default=list(PEERS), help=f"separated by commas: {','.join(PEERS)}")
    parser.add_argument(
        "--compare", type=Path, metavar="OTHER_CHECKOUT", help="our edge beside the one of another checkout, no peers"
    )
    parser.add_argument(
        "--instructions",
        action="store_true",
        help="with --compare: count instructions instead of seconds (needs valgrind)",
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help="stored when everything is invalidated")
    parser.add_argument("--results", type=Path, default=Path("runs/bench") / f"{time.strftime('%Y%m%d-%H%M%S')}.json")
    given = parser.parse_args()
    if given.instructions and not given.compare:
        parser.error(
            "--instructions needs --compare OTHER_CHECKOUT: what an edge costs is told beside another build of it"
        )
    if given.rounds is None:
        given.rounds = instructions.ROUNDS if given.instructions else compare.ROUNDS if given.compare else 5
    if given.rounds < 1 or given.seconds < 1:
        parser.error("at least one round of one second")
    names = [row.name for row in ROWS] if given.compare else list(measurements(given.entries))
    if given.only and not any(is_wanted(name, given.only) for name in names):
        parser.error(f"--only names no row; there are: {', '.join(names)}")
    return given


def _peers(text: str) -> list[str]:
    names = text.split(",") if text else []
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def is_wanted(name: str, only: list[str] | None) -> bool:
    """Whether a row is to be measured."""
    return not only or any(words in name for words in only)


def measurements(entries: int) -> dict[str, Callable[[Session], Awaitable[list[Figure]]]]:
    """By the name that `--only` looks at, in the order of the table."""
    found: dict[str, Callable[[Session], Awaitable[list[Figure]]]] = {}
    for row in ROWS:
        found[row.name] = partial(throughput.measure, row=row)
    for variant in stages.VARIANTS:
        found[variant.row] = partial(stages.measure, variant=variant)
    return found | {
        "1,000 idle": rows.idle,
        "p99 one": partial(rows.latency, work="one"),
        "p99 zipf": partial(rows.latency, work="zipf"),
        "collapse": rows.collapse,
        "websocket echo": websockets.echoes,
        "memory": rows.memory,
        "memory: idle edge": rows.idle_edge,
        "invalidations": invalidations.lookups,
        "/*": partial(invalidations.everything, largest=entries),
    }


@dataclass
class Measured:
    """What came out, and what could not be measured."""

    figures: list[Figure] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def row(self, name: str, measuring: Awaitable[list[Figure]]) -> None:
        """One that cannot be measured does not take the others along."""
        try:
            figures = await measuring
        except UnsupportedError as error:
            print(f"{name}: not supported by this build: {error}", flush=True)
            return
        except (BenchmarkError, TimeoutError, OSError) as error:
            print(f"{name}: NOT MEASURED: {error!r}", flush=True)
            self.refused.append(name)
            return
        self.figures += figures
        print("\n".join(line for figure in figures for line in lines_of(figure)), flush=True)


async def run(given: argparse.Namespace, folders: tuple[Path, Path], facts: dict[str, Any]) -> Measured:
    """All rows that are wanted."""
    measured = Measured()
    end_when_terminated()
    async with session(folders, given.peers, given.seconds, given.rounds) as here:
        here.running = await here.start_all()
        facts["servers"] = {name: f"{server.version}; {server.note}" for name, server in here.running.items()}
        is_compiled = await asyncio.to_thread(here.metric, here.running["edge"], "cdn_edge_compiled")
        facts["edge_code"] = "compiled ahead of time" if is_compiled else "run from source (make compiled)"
        facts["servers"]["edge"] += f"; {facts['edge_code']}"
        print("\n".join(f"{name}: {words}" for name, words in facts["servers"].items()), flush=True)
        for name, measure in measurements(given.entries).items():
            if is_wanted(name, given.only):
                await measured.row(name, measure(here))
    return measured


async def run_compared(given: argparse.Namespace, folders: tuple[Path, Path], facts: dict[str, Any]) -> Measured:
    """Two builds of ours, in all rows of throughput that are wanted."""
    measured = Measured()
    end_when_terminated()
    builds = await asyncio.to_thread(compare.comparison, given.compare)
    facts["builds"] = builds.facts()
    print("\n".join(f"{name}: {words}" for name, words in facts["builds"].items()), flush=True)
    async with session(folders, (), given.seconds, given.rounds) as here:
        for row in ROWS:
            if is_wanted(row.name, given.only):
                measuring = instructions.measure(here, row, builds) if given.instructions else builds.measure(here, row)
                await measured.row(row.name, measuring)
    return measured


def end_when_terminated() -> None:
    """What was started has to end too."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def main() -> int:
    """0 also when goals are missed: a busy machine is no mistake; 1 when something could not be measured at all."""
    given = arguments()
    missing = missing_packages(PACKAGES)
    if missing:
        print(f"not measured: {', '.join(missing)} not installed: make bench-setup")
        return 0
    facts = machine()
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), flush=True)
    in_memory = IN_MEMORY if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) else None
    on_disk = ON_DISK if ON_DISK.is_dir() and os.access(ON_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=in_memory) as folder, tempfile.TemporaryDirectory(dir=on_disk) as disk:
        try:
            work = run_compared if given.compare else run
            measured = uvloop.run(work(given, (Path(folder), Path(disk)), facts))
        except asyncio.CancelledError:
            return 1
        except BenchmarkError as error:
            print(f"nothing was measured: {error}", file=sys.stderr)
            return 1
    print(table(measured.figures, [compare.OTHER] if given.compare else given.peers))
    write_results(given.results, facts, measured.figures)
    print(f"written: {given.results}")
    for name in measured.refused:
        print(f"NOT MEASURED: {name}", file=sys.stderr)
    return 1 if measured.refused else 0


if __name__ == "__main__":
    sys.exit(main())
