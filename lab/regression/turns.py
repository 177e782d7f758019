"""One session of a comparison of times: two labs that are up, asked in turns of a few tens of milliseconds, ABBA and BAAB,
so that whatever else the machine does meets both alike.

Processor time is that of the kernel's scheduler (/proc/PID/task/*/schedstat), in nanoseconds; it is there on Linux only.
"""

import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import fmean, median
from typing import Final

from lab.errors import LabError
from lab.regression.lab_under_test import LabUnderTest, Node
from lab.regression.viewer_connections import Viewers, request_bytes
from lab.regression.workloads import Ask

VIEWERS: Final = 4
HITS_A_TURN: Final = 300
MISSES_A_TURN: Final = 40
WARM_TURNS: Final = 3
_OBJECTS: Final = 50
_LASTING: Final = "size=1024&cache-control=max-age%3D86400"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one lab took for one turn, in seconds for each request."""

    processor: float
    mean: float
    latencies: Sequence[float]


class Side:
    """One of the two labs, and viewers of it."""

    def __init__(self, lab: LabUnderTest) -> None:
        self._lab = lab
        self._viewers = Viewers(lab.edge.http, lab.site)
        self._numbers = count()
        hits = (Ask(f"/echo/hit-{number % _OBJECTS}?{_LASTING}") for number in range(HITS_A_TURN))
        self._hits = [request_bytes(each, lab.site) for each in hits]

    async def hits(self) -> Turn:
        """Of objects that the edge has, once the first turn is over."""
        return await self._turn(self._hits, [self._lab.edge])

    async def misses(self) -> Turn:
        """Of objects that nobody has asked for."""
        asks = (Ask(f"/echo/miss-{next(self._numbers)}?{_LASTING}") for _ in range(MISSES_A_TURN))
        nodes = [each for each in self._lab.nodes if each.role in ("edge", "regional", "origin")]
        return await self._turn([request_bytes(each, self._lab.site) for each in asks], nodes)

    async def _turn(self, requests: Sequence[bytes], nodes: Sequence[Node]) -> Turn:
        processor, began = _processor_seconds(nodes), time.perf_counter()
        batch = await self._viewers.ask(requests, VIEWERS)
        took = time.perf_counter() - began
        if set(batch.statuses) != {200}:
            raise LabError(f"an edge answered {dict(batch.statuses)} where 200 was meant: no time is worth anything")
        used = _processor_seconds(nodes) - processor
        return Turn(used / len(requests), took / len(requests), batch.seconds)

    def close(self) -> None:
        self._viewers.close()


def _processor_seconds(nodes: Sequence[Node]) -> float:
    return sum(_of_process(each.pid) for each in nodes if each.pid is not None)


def _of_process(pid: int) -> float:
    total = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError):  # a thread that has ended
                total += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    except OSError as error:
        raise LabError(
            f"the processor time of process {pid} cannot be read ({error}): times are compared on Linux, and while both labs are up"
        ) from error
    return total / 1e9


async def measure_session(
    first: LabUnderTest, second: LabUnderTest, blocks: int, is_over: Callable[[], bool]
) -> dict[str, float]:
    """The logarithm of the second's time over the first's, for each of times.TIME_FIGURES: the median over all blocks that were done."""
    sides = (Side(first), Side(second))
    try:
        told: dict[str, float] = {}
        for kind, turn in (("hit", Side.hits), ("miss", Side.misses)):
            done = [block async for block in _blocks(sides, turn, blocks, is_over)]
            told |= {f"{kind}.{name}": value for name, value in _medians(done).items()}
        return told
    finally:
        for side in sides:
            side.close()


@dataclass(frozen=True, slots=True)
class Block:
    """Two turns of each side, next to each other."""

    first: Sequence[Turn]
    second: Sequence[Turn]


async def _blocks(
    sides: tuple[Side, Side], turn: Callable[[Side], Awaitable[Turn]], most: int, is_over: Callable[[], bool]
) -> AsyncIterator[Block]:
    """At least one, once both are warm."""
    for number in range(WARM_TURNS):
        for side in sides if number % 2 else sides[::-1]:
            await turn(side)
    for number in range(most):
        if number and is_over():
            return
        one, other = sides if number % 2 else sides[::-1]
        turns = [await turn(side) for side in (one, other, other, one)]
        outer, inner = (turns[0], turns[3]), (turns[1], turns[2])
        yield Block(outer, inner) if one is sides[0] else Block(inner, outer)


def _medians(blocks: Sequence[Block]) -> dict[str, float]:
    """Of the differences of all blocks; of the rarest latencies all turns of the session are one sample."""
    return {
        "processor": median(_difference(each, lambda turn: turn.processor) for each in blocks),
        "mean": median(_difference(each, lambda turn: turn.mean) for each in blocks),
        "median": median(_difference(each, lambda turn: median(turn.latencies)) for each in blocks),
        "p99": math.log(_p99(each.second for each in blocks) / _p99(each.first for each in blocks)),
    }


def _difference(block: Block, of: Callable[[Turn], float]) -> float:
    first, second = (fmean(math.log(max(of(each), 1e-9)) for each in turns) for turns in (block.first, block.second))
    return second - first


def _p99(turns: Iterable[Sequence[Turn]]) -> float:
    latencies = sorted(each for pair in turns for turn in pair for each in turn.latencies)
    return latencies[math.ceil(len(latencies) * 0.99) - 1]


def pin_alike(labs: Sequence[LabUnderTest]) -> str:
    """All nodes of both labs, and viewers, on one processor, where a process that wakes up does not interrupt the one that runs; what was done.

    Viewers and nodes on two processors would overlap, and how many requests a node then finds at once when it wakes depends on how fast it is: a slower node wakes
    less often, and its requests cost less. On one processor they take turns: a node always finds all that viewers have sent.
    """
    cores = sorted(os.sched_getaffinity(0))
    for lab in labs:
        for node in lab.nodes:
            if node.pid is not None:
                _pin(node.pid, cores[-1])
    os.sched_setaffinity(0, {cores[-1]})
    return f"viewers and nodes of both on processor {cores[-1]}"


def _pin(pid: int, core: int) -> None:
    for thread in os.listdir(f"/proc/{pid}/task"):
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {core})
            os.sched_setscheduler(int(thread), os.SCHED_BATCH, os.sched_param(0))
