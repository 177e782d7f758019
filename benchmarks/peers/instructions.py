"""What an answer of one build costs beside one of another, in instructions of user space: `python -m benchmarks.peers --compare OTHER_CHECKOUT --instructions`.

Where other work shares the machine, times differ by a tenth from one run to the next, so that "nothing may cost more than 3 %" can seldom be shown by them. The number
of instructions hardly varies. Both edges run under valgrind (callgrind) and are asked by wrk for the same rows as otherwise; what each has executed during a run, by its
own count, is divided by the answers. What this leaves out is the kernel's part, and how long an instruction takes: where memory is cold, or is used in another way, the
times of `--compare` are the judge.
"""

import asyncio
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.peers.compare import LOWEST_RATIO, OTHER, Checkout, Comparison, by_round
from benchmarks.peers.processes import BenchmarkError, program
from benchmarks.peers.results import Figure, compared
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, turns
from benchmarks.peers.throughput import Row
from benchmarks.peers.viewers import fill
from benchmarks.peers.wrk import run_wrk

ROUNDS = 3
START_SECONDS = 120.0
"""Everything is a few times slower under valgrind, and some fifty times while it counts."""
CONTROL_SECONDS = 60.0
CONNECTIONS = 4
"""So many answers may be cut off at the end of a run; they are counted by nobody, so there must be few of them."""
FEWEST_ANSWERS = 100
_ANSWERS = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_COUNTED = re.compile(r"^\s*Th \d+\s+([\d,]+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class CountedEdge:
    """One that runs under valgrind."""

    server: Server
    process_id: int

    @property
    def _pipes(self) -> str:
        return f"--vgdb-prefix={self.server.place.folder / 'vgdb'}"

    def control(self, *words: str) -> str:
        """What callgrind says to this."""
        command = [program("callgrind_control"), self._pipes, *words, str(self.process_id)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CONTROL_SECONDS)
        if done.returncode != 0:
            raise BenchmarkError(f"callgrind_control {' '.join(words)}: {done.stdout}{done.stderr}"[:2_000])
        return done.stdout

    def instructions(self) -> int:
        """So far, of all threads, while it counted."""
        said = self.control("-e")
        by_thread = [int(count.replace(",", "")) for count in _COUNTED.findall(said)]
        if not by_thread:
            raise BenchmarkError(f"callgrind_control tells no count: {said[:2_000]}")
        return sum(by_thread)


def start(session: Session, name: str, checkout: Checkout, code: str, is_disk: bool) -> CountedEdge:
    """An edge that does not count yet."""
    place = session.place(name, is_disk)
    valgrind = [program("valgrind"), "--tool=callgrind", "--instr-atstart=no", f"--vgdb-prefix={place.folder / 'vgdb'}"]
    before = [*checkout.before(code), *valgrind, f"--callgrind-out-file={place.folder / 'callgrind.out'}"]
    server = session.edge_behind(name, place, before)
    return CountedEdge(server, session.start(server, START_SECONDS).pid)


def answers(output: str) -> int:
    """How many wrk got; BenchmarkError when they are too few for a figure."""
    found = _ANSWERS.search(output)
    count = int(found[1]) if found else 0
    if count < FEWEST_ANSWERS:
        raise BenchmarkError(f"{count} answers are too few to count by: more --seconds\n{output}")
    return count


def count(session: Session, row: Row, edge: CountedEdge) -> float:
    """Instructions for an answer, once what the first ones import and remember is done."""
    load = replace(row.load(), connections=CONNECTIONS)
    before = edge.instructions()
    sample = run_wrk(edge.server.place.address, load, session.seconds, session.folder)
    spent = edge.instructions() - before
    session.forget_logs()
    return spent / answers(sample.output)


def verdict(ratios: Sequence[float]) -> str:
    """Of ours by the other's: the largest of them decides."""
    words = f"between {min(ratios):.3f} and {max(ratios):.3f}: costs at most {1 - LOWEST_RATIO:.0%}: "
    return words + ("shown" if max(ratios) <= 1 / LOWEST_RATIO else "MISSED")


async def measure(session: Session, row: Row, builds: Comparison) -> list[Figure]:
    """One row, on two edges of its own."""
    values: dict[str, list[float]] = {"edge": [], OTHER: []}
    here: dict[str, CountedEdge] = {}
    try:
        for name, checkout in (("edge", builds.ours), (OTHER, builds.other)):
            here[name] = await asyncio.to_thread(start, session, name, checkout, builds.code, row.is_disk)
            await _warm_up(session, row, here[name])
        for name in turns(list(here), session.rounds):
            values[name].append(await asyncio.to_thread(count, session, row, here[name]))
    finally:
        await asyncio.to_thread(session.stop, {name: edge.server for name, edge in here.items()})
    words = (f"{row.name}: instructions", "in user space, for an answer", "instructions")
    return [replace(compared(words, values, ()), note=verdict(by_round(values)))]


async def _warm_up(session: Session, row: Row, edge: CountedEdge) -> None:
    """Filled and verified before it counts, which would take ten times as long."""
    address = edge.server.place.address
    if row.filled is not None:
        path, number_of = row.filled
        await fill(address, (f"{path}{number}" for number in range(1, number_of + 1)))
    load = replace(row.load(), connections=CONNECTIONS)
    await asyncio.to_thread(run_wrk, address, load, session.seconds, session.folder)
    await asyncio.to_thread(session.verify, edge.server, *row.checked)
    await asyncio.to_thread(edge.control, "-i", "on")
    await asyncio.to_thread(run_wrk, address, load, 1, session.folder)
