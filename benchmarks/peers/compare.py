"""Two builds of our edge in one run, this checkout's and another one's, in turn in each round: `python -m benchmarks.peers --compare OTHER_CHECKOUT`.

The other one's edge is run by the same interpreter, in its own folder and with its own PYTHONPATH, and with its own compiled modules: both from source, or both
compiled. Both are started anew for each few rounds, since two processes of one build differ by a few percent for as long as they run (where their memory lies). The
figure is the ratio ours/other within a round, with an interval in which its median lies with a probability of at least 95 %, whatever the distribution: "nothing may
cost more than 3 %" is shown only if that whole interval is above 0.97.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import comb
from pathlib import Path

from benchmarks.peers.processes import BenchmarkError
from benchmarks.peers.results import Figure, compared
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session
from benchmarks.peers.throughput import Row, Taken, figure_of, take, values_of, words_of
from edge_node.code_loader import COMPILED, SETTING, SOURCE

OTHER = "other"
ROUNDS = 15
STARTS = 3
"""Pairs of processes among which the rounds are divided."""
LOWEST_RATIO = 0.97
CONFIDENCE = 0.95
ROOT = Path(__file__).resolve().parent.parent.parent


CONTRACT, CONTRACT_MARK = Path("proto/cdn/v1/sync.proto"), "repeated Change changes = 9;"
"""Builds from before entries were sets of changes do not understand the control plane that tells both what to serve."""


@dataclass(frozen=True)
class Checkout:
    """The tree of one build."""

    folder: Path

    def before(self, code: str) -> list[str]:
        """What stands before a command so that it runs this tree's code."""
        settings = {"PYTHONPATH": str(self.folder), SETTING: code}
        return ["env", "-C", str(self.folder), *(f"{name}={value}" for name, value in settings.items())]

    def has_compiled(self) -> bool:
        """Whether there are compiled modules of its sources as they are now."""
        return self._run(COMPILED, "import edge_node").returncode == 0

    def check(self) -> None:
        """Its edge is really its own, not one that is installed somewhere."""
        done = self._run(SOURCE, "import edge_node; print(edge_node.__file__)")
        place = Path(done.stdout.strip() or "/")
        if done.returncode != 0 or not place.is_relative_to(self.folder):
            raise BenchmarkError(f"{self.folder} has no edge of its own: {done.stdout}{done.stderr}"[:2_000])

    def _run(self, code: str, program: str) -> "subprocess.CompletedProcess[str]":
        command = [*self.before(code), sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def revision(self) -> str:
        """By git, and whether files were changed since; empty without git."""
        done = subprocess.run(
            ["git", "-C", str(self.folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()


def code_of(ours: Checkout, other: Checkout, wanted: str) -> str:
    """What both are run as: what was asked for, else compiled where both have compiled modules."""
    if wanted == COMPILED:
        for each in (ours, other):
            if not each.has_compiled():
                raise BenchmarkError(f"{each.folder} has no compiled modules of its sources: make compiled")
    return wanted or (COMPILED if ours.has_compiled() and other.has_compiled() else SOURCE)


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Two of the values between which the median of all that could be measured lies, and the probability of that (order statistics, no assumption but independence).

    The narrowest with at least 95 %; with fewer than six values the lowest and the highest have less.
    """
    ordered = sorted(values)
    count = len(ordered)
    outside = 2.0 * 0.5**count
    left_out = 0
    while left_out + 1 < (count + 1) // 2:
        more = outside + 2.0 * comb(count, left_out + 1) * 0.5**count
        if more > 1 - CONFIDENCE:
            break
        outside, left_out = more, left_out + 1
    return ordered[left_out], ordered[count - 1 - left_out], 1.0 - outside


def verdict(values: Sequence[float], is_cost: bool = False) -> str:
    """Of ratios of rates, or of costs: shown, missed, or neither."""
    low, high, probability = median_interval(values)
    words = f"median between {low:.3f} and {high:.3f} ({probability:.0%})"
    if probability < CONFIDENCE:
        return f"{words}: TOO FEW ROUNDS for a verdict"
    worst, best = (1 / high, 1 / low) if is_cost else (low, high)
    words += f": costs at most {1 - LOWEST_RATIO:.0%}: "
    if worst >= LOWEST_RATIO:
        return words + "shown"
    return words + ("MISSED" if best < LOWEST_RATIO else "not decided, more rounds")


def parts(rounds: int, starts: int = STARTS) -> list[range]:
    """Which rounds each pair of processes has; none is empty."""
    bounds = [rounds * number // starts for number in range(starts + 1)]
    return [range(first, last) for first, last in pairwise(bounds) if first < last]


def by_round(values: dict[str, list[float]]) -> list[float]:
    """Ours by the other's."""
    return [ours / others for ours, others in zip(values["edge"], values[OTHER], strict=True)]


@dataclass(frozen=True)
class Comparison:
    """The two trees, and as what both are run."""

    ours: Checkout
    other: Checkout
    code: str

    def facts(self) -> dict[str, str]:
        """For the file of results."""
        return {
            "edge": f"{self.ours.folder} at {self.ours.revision()}, {self.code}",
            OTHER: f"{self.other.folder} at {self.other.revision()}, {self.code}",
        }

    async def measure(self, session: Session, row: Row) -> list[Figure]:
        """One row."""
        taken = Taken.of(("edge", OTHER))
        for rounds in parts(session.rounds):
            here = await asyncio.to_thread(self._start, session, row.is_disk)
            try:
                await take(session, row, here, taken, rounds)
            finally:
                await asyncio.to_thread(session.stop, here)
        rate = compared(words_of(row), values_of(row, taken), (), figure_of(replace(row, goals=()), taken).note)
        cost = compared((f"{row.name}: CPU", "CPU time of an answer", "us"), taken.microseconds, ())
        verdicts = verdict(by_round(values_of(row, taken))), verdict(by_round(taken.microseconds), is_cost=True)
        return [
            replace(rate, note=f"{verdicts[0]}; {rate.note}"),
            replace(cost, note=f"{verdicts[1]}; other programs are in it only as far as they take caches away"),
        ]

    def _start(self, session: Session, is_disk: bool) -> dict[str, Server]:
        here: dict[str, Server] = {}
        try:
            for name, checkout in (("edge", self.ours), (OTHER, self.other)):
                here[name] = session.start_other(name, checkout.before(self.code), is_disk)
                is_compiled = bool(session.metric(here[name], "cdn_edge_compiled"))
                if is_compiled != (self.code == COMPILED):
                    raise BenchmarkError(f"{checkout.folder} runs other code than asked for: not {self.code}")
        except BenchmarkError:
            session.stop(here)
            raise
        return here


def comparison(other: Path) -> Comparison:
    """Checked; BenchmarkError when the two cannot be compared."""
    trees = Checkout(ROOT), Checkout(other.resolve())
    for each in trees:
        each.check()
    if CONTRACT_MARK not in (other / CONTRACT).read_text(encoding="utf-8"):
        raise BenchmarkError(
            f"{other} speaks another contract with its control plane (docs/decisions/0024-a-log-of-resources.md)"
        )
    return Comparison(*trees, code_of(*trees, os.environ.get(SETTING, "")))
