"""Everybody who watches a run while it goes on, in one thread: scrapes, questions to routers, probes, the load's seconds, faults, stop rules, the live table."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.experiments.load import LoadFollower
from lab.experiments.run_faults import FaultRows
from lab.experiments.timeline import Timeline
from lab.history.lab_tables import LabTables
from lab.history.recorder import Recorder
from lab.history.recording import Recording
from lab.history.witnesses import PROBE, Question, Watched, interval_of, watch_object, watch_router
from lab.report.live import LiveTable, LoadNow, Picture, hit_ratios
from lab.scenarios.figures import RunFigures
from lab.scenarios.scenario import StopRule
from proto.history_file import FLUSH_SECONDS
from proto.host_clock import host_seconds

SHOW_SECONDS: Final = 0.5
FAULTS_SECONDS: Final = 0.2
CANCEL_AGAIN_SECONDS: Final = 0.1
_END_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """What there is to watch. `loads` are files that load generators write (docs/contracts.md)."""

    recorder: Recorder
    nodes: Mapping[str, str]
    """Ids by the address at which viewers find them."""
    questions: tuple[Question, ...]
    edges: Mapping[str, str]
    watched: Watched | None
    loads: tuple[Path, ...]
    stops: tuple[StopRule, ...]
    faults: FaultRows
    recording: Recording


@dataclass(slots=True)
class Told:
    """What the live table says beside figures."""

    phase: str = ""
    events: list[str] = field(default_factory=list)


class Witnesses:
    """Use as a context manager; inside it figures are of now."""

    def __init__(self, watched: WatchedRun, tables: LabTables, timeline: Timeline, live: LiveTable, told: Told) -> None:
        self._watched, self._tables, self._timeline, self._live, self._told = watched, tables, timeline, live, told
        self._figures = RunFigures()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)
        self._is_over = threading.Event()
        self._trouble: BaseException | None = None
        self._followers = [LoadFollower(path) for path in watched.loads]
        self._load_now = LoadNow()
        self._seen: dict[str, int] = {}
        self._held_since: dict[str, float] = {}

    def value(self, figure: str, place: str) -> float | None:
        """Of now; see figures.py."""
        with self._lock:
            return self._figures.value(figure, place, host_seconds())

    def __enter__(self) -> "Witnesses":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(_END_SECONDS)
        self._tables.flush()

    @property
    def trouble(self) -> str:
        """Why somebody watches no more; empty: all do."""
        error = self._trouble
        while isinstance(error, BaseExceptionGroup):  # of a group of tasks: what the first of them says
            error = error.exceptions[0]
        return "" if error is None else f"{type(error).__name__}: {error}".removesuffix(": ")

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except BaseException as error:
            self._trouble = error

    async def _watch(self) -> None:
        watched = self._watched
        every = interval_of(len(watched.questions))
        jobs: list[Coroutine[Any, Any, None]] = [
            watched.recorder.run(),
            self._repeat(FLUSH_SECONDS, self._tables.flush),
            self._repeat(SHOW_SECONDS, self._look),
            self._follow_faults(),
            watched.recording.keep(),
            *(watch_router(each, every, self._row("dns_answers"), self._heard) for each in watched.questions),
        ]
        if watched.watched is not None:
            jobs.append(watch_object(watched.edges, watched.watched, self._probed))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in jobs]
            await asyncio.to_thread(self._is_over.wait)
            await cancel_until_done(tasks)

    def _row(self, table: str) -> Callable[[Mapping[str, Any]], None]:
        return lambda row: self._tables.add(table, row)

    def _probed(self, row: Mapping[str, Any]) -> None:
        """Probes connect beside the relays; what they got is told of the address at which viewers find the edge."""
        node = str(row["viewer"]).removeprefix(f"{PROBE}/")
        known = next((address for address, each in self._watched.nodes.items() if each == node), row["address"])
        self._tables.add("requests", {**row, "address": known})

    def _heard(self, region: str, addresses: tuple[str, ...]) -> None:
        with self._lock:
            self._figures.named[region] = frozenset(
                self._watched.nodes[address] for address in addresses if address in self._watched.nodes
            )

    async def _repeat(self, seconds: float, do: Callable[[], None]) -> None:
        while True:
            do()
            await asyncio.sleep(seconds)

    async def _follow_faults(self) -> None:
        while True:
            await asyncio.to_thread(self._watched.faults.look)
            await asyncio.sleep(FAULTS_SECONDS)

    def _look(self) -> None:
        """What is new, and what follows from it."""
        lines = [line for follower in self._followers for line in follower.new_lines()]
        self._load_now.add(lines)
        with self._lock:
            self._figures.add_load(lines)
            for node, sample in self._watched.recorder.latest.items():
                if self._seen.get(node) != sample["monotonic_ns"]:
                    self._seen[node] = sample["monotonic_ns"]
                    self._figures.add_sample(sample)
                    self._write_sample(sample)
        self._judge_stops()
        self._show()

    def _write_sample(self, sample: Mapping[str, Any]) -> None:
        """A row for each result, and one with the rest."""
        place = {"node": sample["node"], "at_ns": sample["monotonic_ns"], "is_up": sample["up"]}
        rest = {name: sample[name] for name in ("sent_bytes", "origin_fetches", "store_bytes") if name in sample}
        self._tables.add("samples", place | rest | {"sent_bytes": sample.get("bytes_sent")})
        for result, requests in sample["requests"].items():
            self._tables.add("samples", place | {"result": result, "requests": requests})

    def _judge_stops(self) -> None:
        now = host_seconds()
        for rule in self._watched.stops:
            value = self._figures.value(rule.condition.figure, rule.condition.place, now)
            if value is None or not rule.condition.holds(value):
                self._held_since.pop(str(rule), None)
            elif now - self._held_since.setdefault(str(rule), now) >= rule.lasting_seconds:
                self._timeline.stop(f"stopped by the rule {rule}: it is {value:.3g}")

    def _show(self) -> None:
        latest = self._watched.recorder.latest
        dead = tuple(node for node, line in sorted(latest.items()) if not line["up"])
        picture = Picture(
            elapsed_seconds=self._timeline.elapsed_seconds,
            phase=self._told.phase,
            regions=self._load_now.regions(host_seconds()),
            hit_ratios=hit_ratios(latest, self._watched.recorder.before),
            nodes_alive=len(latest) - len(dead),
            nodes_total=len(latest),
            dead_nodes=dead,
            events=tuple(self._told.events),
        )
        self._live.show(picture)


async def cancel_until_done(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """More than once where it takes that: `asyncio.wait_for`, in which dnspython waits, loses a cancellation that comes with its result (bpo-42130, Python 3.11)."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=CANCEL_AGAIN_SECONDS)
