"""Two subjects from what was typed to what was found: labs side by side, counters first, then sessions of times until the time is over.

Each session has both labs anew, the first one brought up first in every other; their addresses on loopback change sides with it.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import uvloop

from lab.errors import UsageError
from lab.interrupts import uninterrupted
from lab.regression.builds import compile_edges, find_build
from lab.regression.counters import CounterFinding, Counts, compare_counts
from lab.regression.counting import count_all
from lab.regression.lab_under_test import DOWN_SECONDS, LabPlan, LabUnderTest
from lab.regression.subject import Subject
from lab.regression.times import Session, TimeFinding, judge_times
from lab.regression.turns import measure_session, pin_alike
from lab.regression.workloads import VERSION, counted_workloads
from lab.regression_options import Wanted
from lab.scenarios.reader import find_scenario
from lab.scenarios.site import CacheRule, Site

TOPOLOGY: Final = Path(__file__).parent / "files" / "regression.yaml"
BLOCKS: Final = 24
"""Turns of a session, each four measurements of hits, and four of misses."""
_RUNS_OF_A_COUNTER: Final = 2
Say = Callable[[str], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Side:
    """A subject that can be brought up, or counters of one that were written down."""

    subject: Subject
    plan: LabPlan | None
    written: Mapping[str, Sequence[Counts]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As it was typed, with its commit."""
        commit = self.plan.build.commit[:12] if self.plan is not None else ""
        return f"{self.subject} ({commit})" if commit and commit != self.subject.build else str(self.subject)


@dataclass(slots=True)
class Compared:
    """All that was found."""

    first: str
    second: str
    counters: list[CounterFinding] = field(default_factory=list)
    counts: tuple[dict[str, list[Counts]], dict[str, list[Counts]]] = field(default_factory=lambda: ({}, {}))
    times: list[TimeFinding] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def side_of(subject: Subject, builds: Path) -> Side:
    """UsageError for what is none."""
    path = Path(subject.build)
    if path.suffix == ".json":
        return Side(subject, None, read_counts(path))
    build = find_build(subject.build, builds)
    if subject.code == "compiled":
        compile_edges(build)
    topology = str(Path(subject.topology).resolve()) if Path(subject.topology).suffix else subject.topology
    site = find_scenario(subject.scenario).sites[0] if subject.scenario else _SITE
    return Side(subject, LabPlan(build, topology or str(TOPOLOGY), site, subject.code))


_SITE: Final = Site(
    "regression",
    "origin-1",
    CacheRule(name="by-origin", default_ttl_seconds=0, query_strings=True),
    default_root_object="",
)
"""What the origin says of reuse holds, and query strings are part of the key."""


def read_counts(path: Path) -> dict[str, list[Counts]]:
    """Counters that `write_counts` wrote. UsageError when they are none, or of other workloads."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        workloads: dict[str, list[Counts]] = {
            str(name): [dict(each) for each in runs] for name, runs in document["workloads"].items()
        }
        version = document["version"]
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: no counters that `cdnlab regress` has written: {error}") from error
    if version != VERSION:
        raise UsageError(f"{path}: counters of workloads of version {version}, and this is {VERSION}: write them anew")
    return workloads


def counts_document(counts: Mapping[str, Sequence[Counts]]) -> dict[str, Any]:
    """For `read_counts`."""
    return {"version": VERSION, "workloads": {name: list(runs) for name, runs in counts.items()}}


class Comparison:
    """One of two sides."""

    def __init__(self, first: Side, second: Side, wanted: Wanted, say: Say) -> None:
        if first.plan is None and second.plan is None:
            raise UsageError("both are counters that were written down: at least one of them must be a build")
        self._sides = (first, second)
        self._wanted = wanted
        self._say = say
        self.result = Compared(first.label, second.label)

    def run(self) -> Compared:
        """LabError when a lab does not come up, or does not answer."""
        self._count()
        if any(side.plan is None for side in self._sides):
            self.result.remarks.append("times are not compared: one side is counters that were written down")
        elif self._wanted.seconds:
            self._time()
        return self.result

    def _count(self) -> None:
        for number in range(_RUNS_OF_A_COUNTER):
            self._say(f"counting, {number + 1} of {_RUNS_OF_A_COUNTER}")
            self._count_once(number)
        for name in {**self.result.counts[0], **self.result.counts[1]}:
            first, second = (self.result.counts[side].get(name, []) for side in (0, 1))
            if first and second:
                self.result.counters += compare_counts(name, first, second)

    def _count_once(self, number: int) -> None:
        """Both sides come up at once, and are asked one after the other."""
        order = (0, 1) if number % 2 else (1, 0)
        plans = {side: plan for side in order if (plan := self._sides[side].plan) is not None}
        with self._labs([(plan, self._wanted.loopbacks[side]) for side, plan in plans.items()]) as labs:
            for side, lab in zip(plans, labs, strict=True):
                for name, counts in _in_loop(count_all(lab, counted_workloads())).items():
                    self.result.counts[side].setdefault(name, []).append(counts)
        for side in order:
            if side not in plans:
                self.result.counts[side].update((name, list(runs)) for name, runs in self._sides[side].written.items())

    def _time(self) -> None:
        began = time.monotonic()
        until = began + self._wanted.seconds
        longest = 0.0
        sessions = self.result.sessions
        while len(sessions) < self._wanted.most_sessions and time.monotonic() + longest < until:
            session_began = time.monotonic()
            sessions.append(self._session(len(sessions), until))
            longest = max(longest, time.monotonic() - session_began)
            self._say(
                f"session {len(sessions)} of times: {time.monotonic() - began:.0f} s of {self._wanted.seconds:.0f}"
            )
        if sessions:
            self.result.times = judge_times(sessions, self._wanted.resolution)

    def _session(self, number: int, until: float) -> Session:
        first, second = (side.plan for side in self._sides)
        assert first is not None and second is not None
        one, other = self._wanted.loopbacks[:: 1 if number % 2 else -1]
        plans = [(first, one), (second, other)]
        with self._labs(plans if number % 4 < 2 else plans[::-1]) as labs:
            pair = labs if number % 4 < 2 else labs[::-1]
            affinity = os.sched_getaffinity(0)
            try:
                pinned = pin_alike(pair)
                if not number:
                    self.result.remarks.append(pinned)
                return _in_loop(measure_session(pair[0], pair[1], BLOCKS, lambda: time.monotonic() > until))
            finally:
                os.sched_setaffinity(0, affinity)

    @contextmanager
    def _labs(self, plans: Sequence[tuple[LabPlan, str]]) -> Iterator[list[LabUnderTest]]:
        """All of them come up at once, and go in any case."""
        with ExitStack() as ends:
            labs = []
            for plan, loopback in plans:
                folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="cdnlab-regress-"))
                lab = LabUnderTest(plan, Path(folder, "lab"), loopback)
                starting = lab.begin()
                ends.callback(_end, lab, starting)
                labs.append((lab, starting))
            for lab, starting in labs:
                lab.ready(starting)
            yield [lab for lab, _ in labs]


def _end(lab: LabUnderTest, starting: Any) -> None:
    """Also of a lab that is still coming up: its own command cleans up when it is asked to end."""
    with uninterrupted():
        if starting.poll() is None:
            starting.terminate()
            try:
                starting.wait(DOWN_SECONDS)
            except subprocess.TimeoutExpired:
                starting.kill()
                starting.wait()
        lab.down()


def _in_loop(work: Coroutine[Any, Any, Result]) -> Result:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
