"""One execution of a scenario: a lab that is brought up, viewers, witnesses, steps, and in the end a verdict and a report.

`begin`, any number of `do`, `finish`: Chaos Toolkit calls them (chaos/control.py), in the main thread or in those of background activities. What the
steps do is run_steps.py's, who watches run_witnesses.py's, what is judged run_verdict.py's.
"""

import asyncio
from collections.abc import Mapping, MutableMapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from lab.agent.client import connect
from lab.agent.starting import start_agent
from lab.checkers.verdict import Outcome
from lab.clients.management_api import Distribution, ManagementApi
from lab.cluster.disk_room import disk_room_warning
from lab.cluster.ending import end_processes
from lab.cluster.interface import Cluster
from lab.cluster.runners import BRING_UP
from lab.cluster.state_file import StateDir
from lab.errors import LabError
from lab.experiments.journal_checks import was_played
from lab.experiments.links import LinksAreOffError, check_before_run
from lab.experiments.receipts import acknowledgement_rows, invalidation_row
from lab.experiments.run_faults import FaultRows
from lab.experiments.run_loads import Loads, RunOfLoads, make_loads, scaled
from lab.experiments.run_logs import keep_logs
from lab.experiments.run_sites import create_sites
from lab.experiments.run_steps import Grip, StepTaker
from lab.experiments.run_verdict import EndedRun, judge_run, print_verdict
from lab.experiments.run_witnesses import Told, WatchedRun, Witnesses
from lab.experiments.stage import Stage
from lab.experiments.timeline import NotInTimeError, RunStoppedError, Timeline
from lab.history.archive import archive_history
from lab.history.lab_tables import LAB, LabTables
from lab.history.places import nodes_document, places_by_airport, populations_document
from lab.history.raw_files import forget_run_before, held, raw_folder
from lab.history.recorder import Recorder, WatchedNode
from lab.history.recording import RecordedNode, Recording, collect, new_name
from lab.history.witnesses import Question, Watched
from lab.interrupts import interruptible_once, uninterrupted
from lab.report.live import LiveTable
from lab.runner import Runner
from lab.scenarios.scenario import Scenario
from lab.scenarios.steps import Due, Invalidate, Step, stretched, subject_of
from lab.topology.layout import Role
from lab.topology.model import Topology
from loadtests.run_clocks import note_clock
from proto.host_clock import HostClock, host_nanoseconds, host_seconds

__all__ = ("Run", "RunFolder", "RunStoppedError")

LOADS_LOOK_SECONDS: Final = 0.2
WHOLE_SECONDS: Final = 20.0
"""After the last step every node that was broken has so long to be live again."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run leaves its results, and where its lab keeps its state."""

    results: Path
    state: Path


class Run:
    """See above. What goes wrong is a LabError; `finish` takes the lab down in any case."""

    def __init__(
        self,
        scenario: Scenario,
        topology: Topology,
        runner: Runner,
        folder: RunFolder,
        console: Console,
        duration_seconds: float | None = None,
    ) -> None:
        self.scenario, self.directory = scenario, folder.results
        self._topology, self._runner, self._state, self._console = topology, runner, folder.state, console
        self.duration_seconds = duration_seconds or scenario.duration_seconds
        self.timeline = Timeline(host_seconds, self.duration_seconds / scenario.duration_seconds)
        self.told = Told("bringing the lab up")
        self._clock = HostClock()
        self._lab: Cluster | None = None
        self._tables: LabTables | None = None
        self._witnesses: Witnesses | None = None
        self._steps: StepTaker | None = None
        self._faults: FaultRows | None = None
        self._loads: Loads | None = None
        self._recording: Recording | None = None
        self._live = LiveTable(console)
        self._open = ExitStack()
        self.lease_seconds = topology.timing.lease_seconds
        self.seed: int | None = None
        """Of the lab: every random choice of the run derives from it."""
        self.place_document: dict[str, Any] = {}
        """Where it takes place, for the map of its report."""
        self.links_trouble = ""
        """Why nothing can be said about how long things take; empty: it can."""
        self.links_are_only_late = False
        """Whether that is all the trouble: upper limits that were kept are kept."""
        self._signals = ExitStack()
        self._held = ExitStack()
        """Nobody else archives what is still being written."""
        self._is_whole_in_the_end = True
        self.trouble: Exception | None = None
        """Why it could not go on."""

    def begin(self) -> None:
        """Brings the lab up and lets viewers come; LabError when that fails. `finish` cleans up in any case.

        From here on the first Ctrl-C, or SIGTERM, ends all that waits, in every thread, and raises KeyboardInterrupt in the main one.
        """
        self._signals.enter_context(interruptible_once(self.timeline.interrupt))
        try:
            self._begin()
        except Exception as error:
            self.trouble = error
            raise

    def _begin(self) -> None:
        self._held.enter_context(held(self.directory))
        forget_run_before(self.directory)
        if warning := disk_room_warning(self._topology, self._state.resolve()):
            self._say(warning)
        self._console.print(f"{self.scenario.title}: bringing up {self._topology.name}", highlight=False)
        lab = self._lab = BRING_UP[self._runner](self._topology, self._state, self._say)
        start_agent(StateDir(self._state))
        stage = Stage.of(lab)
        self.seed = stage.facts.seed
        self._check_links(lab)
        note_clock(self.directory, LAB, self._clock.anchor)
        self._tables = LabTables(raw_folder(self.directory) / LAB)
        api = self._open.enter_context(ManagementApi(lab.status().api))
        sites = create_sites(api, self.scenario.sites, stage.origin_addresses)
        agent = connect(self._state)
        self._faults = FaultRows(agent, self._note_healed)
        grip = Grip(lab, stage, api, sites, agent, self._faults, self._tables, self.timeline, self.mark)
        self._steps = StepTaker(grip)
        site = sites[self.scenario.main_site.name]
        entries = [scaled(entry, self.timeline.scale) for entry in self.scenario.loads]
        loads = make_loads(lab, entries, stage, site, RunOfLoads(self.directory, self.duration_seconds))
        recorded = [RecordedNode(node.id, node.admin) for node in stage.nodes]
        self._note_nodes(stage)
        self._recording = Recording(recorded, new_name(self.directory))
        asyncio.run(self._recording.begin())
        self._live = self._open.enter_context(LiveTable(self._console))
        watched = self._watched(stage, site, loads)
        self._witnesses = self._open.enter_context(
            Witnesses(watched, self._tables, self.timeline, self._live, self.told)
        )
        self._loads = self._open.enter_context(loads)
        self.timeline.begin()
        self.mark("load", self.scenario.name, f"viewers come for {self.duration_seconds:g} s")
        self.told.phase = "viewers come"

    def _check_links(self, lab: Cluster) -> None:
        """Over links that are off everything can be judged but how long things take."""
        try:
            check_before_run(lab, self.directory, self._tell)
        except LinksAreOffError as error:
            self.links_trouble = str(error).splitlines()[0]
            self.links_are_only_late = error.is_only_late
            self._say(f"{error}\nthe run goes on, and says nothing about how long things take")

    def _watched(self, stage: Stage, site: Distribution, loads: Loads) -> WatchedRun:
        assert self._faults is not None and self._recording is not None
        nodes = [WatchedNode(node.id, node.role, node.pop, node.admin) for node in stage.nodes]
        routers = stage.of_role(Role.DNS_ROUTER)
        watch = self.scenario.watch
        host = f"{site.domain_name}:{stage.facts.viewer_port}"
        return WatchedRun(
            recorder=Recorder(nodes, self.directory / "metrics.jsonl", self._clock),
            nodes=stage.viewers_addresses,
            questions=tuple(
                Question(router.id, router.dns, site.domain_name, each.region, each.client_subnet)
                for router in routers
                for each in stage.facts.populations
            ),
            edges={node.id: node.http for node in stage.of_role(Role.EDGE)},
            watched=None if watch is None else Watched(host, watch.path, watch.every_seconds),
            loads=loads.files,
            stops=self.scenario.stops,
            faults=self._faults,
            recording=self._recording,
        )

    def _note_nodes(self, stage: Stage) -> None:
        """Who takes part, and that the lab itself does."""
        assert self._tables is not None
        for node in stage.nodes:
            place = {"node": node.id, "role": node.role.value, "region": node.region, "pop": node.pop or None}
            self._tables.add("nodes", {**place, "address": node.reached_at.rpartition(":")[0] or None})
        self._note_life(is_ended=False)
        places = places_by_airport(stage.nodes)
        self.place_document = {
            "topology_name": stage.facts.topology,
            "users": stage.facts.users,
            "nodes": nodes_document(stage.nodes, places),
            "populations": populations_document(stage.facts.populations, places),
        }

    def _note_life(self, *, is_ended: bool) -> None:
        assert self._tables is not None
        anchor = self._clock.anchor
        life = {"node": LAB, "boot_id": anchor.boot_id, "process": str(anchor.monotonic_ns)}
        times = {"started_ns": anchor.monotonic_ns, "last_ns": host_nanoseconds()}
        self._tables.add("lives", {**life, **times, "is_ended": is_ended, "dropped_rows": self._tables.dropped_rows})

    def _say(self, text: str) -> None:
        self._console.print(text, style="dim")

    def _tell(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def _note_healed(self, _lease_id: str, lease: Mapping[str, Any]) -> None:
        self.mark("healed", str(lease["fault"]), f"{lease['fault']} at {lease['target']} is over")

    def do(self, step: Step) -> dict[str, Any]:
        """Waits until the step is due, and does it; what came of it is for the journal."""
        step = stretched(step, self.timeline.scale)
        assert self._steps is not None, "begin() comes first"
        if not self.wait_until_due(step.due):
            raise NotInTimeError(f"{step.due.condition} did not hold within {step.due.within_seconds:g} s")
        began_ns = host_nanoseconds()
        self.told.phase = str(step)
        try:
            done = self._steps.do(step)
        except LabError as error:
            self.mark("failed", subject_of(step), f"{step}: {error}", began_ns)
            raise
        if not isinstance(step, Invalidate):  # that is marked by what becomes of it
            self.mark(type(step).__name__.lower(), subject_of(step), str(step), began_ns, host_nanoseconds())
        return done

    def wait_until_due(self, due: Due) -> bool:
        """False when its condition did not hold in time; RunStoppedError when the run is over."""
        condition = due.condition

        def holds() -> bool:
            value = None if condition is None else self.value(condition.figure, condition.place)
            return condition is not None and value is not None and condition.holds(value)

        return self.timeline.wait_until_due(due, holds)

    def value(self, figure: str, place: str) -> float | None:
        """Of now; see figures.py."""
        assert self._witnesses is not None, "begin() comes first"
        return self._witnesses.value(figure, place)

    def is_whole(self, within_seconds: float) -> bool:
        """Whether every node is live, within some time."""
        assert self._lab is not None, "begin() comes first"
        deadline = host_seconds() + within_seconds
        while not self._lab.status().is_whole:
            if host_seconds() >= deadline:
                return False
            self.timeline.sleep(0.1)
        return True

    def check_stop(self) -> None:
        """RunStoppedError once a stop rule has ended the run."""
        self.timeline.check_stop()

    def mark(
        self, kind: str, subject: str, text: str, began_ns: int | None = None, ended_ns: int | None = None
    ) -> None:
        """Writes down what happens, for the report, and says it."""
        if self._tables is not None:
            began = host_nanoseconds() if began_ns is None else began_ns
            self._tables.add(
                "marks", {"kind": kind, "subject": subject, "text": text, "began_ns": began, "ended_ns": ended_ns}
            )
        words = f"{self.timeline.elapsed_seconds:5.1f} s  {text}"
        self.told.events.append(words)
        self._live.say(words)

    def finish(self, journal: MutableMapping[str, Any]) -> Outcome:
        """Waits for the last viewers, takes the lab down, judges, and writes the report. UNKNOWN for a run that could not go on.

        The status of the journal becomes `interrupted` when the run is ended here before its time.
        """
        try:
            if was_played(journal) and self.trouble is None:
                self._end_in_order()
        except (KeyboardInterrupt, RunStoppedError):
            journal["status"] = "interrupted"
        except LabError as error:
            self.trouble = error
        finally:
            with uninterrupted():
                self._take_down()
        outcome = Outcome.UNKNOWN
        self._held.close()
        if self.timeline.began_at is not None:
            archived = archive_history(self.directory)
            judged = judge_run(self._ended(archived.left_out_lines), journal)
            print_verdict(self._console, judged)
            outcome = judged.outcome
        self._signals.close()
        return outcome

    def _ended(self, left_out_lines: int) -> EndedRun:
        return EndedRun(
            directory=self.directory,
            scenario=self.scenario,
            seed=self.seed,
            lease_seconds=self.lease_seconds,
            place_document=self.place_document,
            links_trouble=self.links_trouble,
            links_are_only_late=self.links_are_only_late,
            watch_trouble="" if self._witnesses is None else self._witnesses.trouble,
            stop_reason=self.timeline.stop_reason,
            trouble="" if self.trouble is None else str(self.trouble).partition("\n")[0],
            left_out_lines=left_out_lines,
            is_whole=self._is_whole_in_the_end,
        )

    def _end_in_order(self) -> None:
        assert self._loads is not None
        self.told.phase = "the last requests"
        while self._loads.is_running or (
            self._loads.has_anybody and self.timeline.elapsed_seconds < self.duration_seconds
        ):
            self.timeline.sleep(LOADS_LOOK_SECONDS)
        self._loads.end()
        self.told.phase = "whole again"
        began_ns = host_nanoseconds()
        is_whole = self._is_whole_in_the_end = self._heal_and_wait()
        text = "every node is live in the end" if is_whole else "not every node is live in the end"
        self.mark("end", "whole" if is_whole else "not_whole", text, began_ns, host_nanoseconds())

    def _heal_and_wait(self) -> bool:
        assert self._faults is not None
        for lease_id in self._faults.in_force(None):
            self._faults.heal(lease_id)
        return self.is_whole(WHOLE_SECONDS)

    def _take_down(self) -> None:
        """Whatever of it is there; what goes wrong on the way keeps nobody from ending the lab."""
        with ExitStack() as ending:
            ending.callback(self._end_lab)
            if self._tables is not None:
                ending.callback(self._collect)
                ending.callback(self._tables.close)
            ending.callback(self._open.close)
            with suppress(LabError):
                self._write_last_rows()

    def _end_lab(self) -> None:
        if self._lab is None:
            return
        try:
            keep_logs(self._lab, self.directory)
        finally:
            if self._runner is Runner.DOCKER:
                end_processes(StateDir(self._state), lambda: None)
            stopped = self._lab.take_down()
        self._say(f"{stopped.stopped} {stopped.what} ended in {stopped.seconds:.1f} s")

    def _collect(self) -> None:
        """What nodes have written down, as long as there are nodes."""
        if self._recording is None or self._lab is None:
            return
        with suppress(LabError):
            asyncio.run(self._recording.end())
            nodes = [node.id for node in self._lab.nodes() if node.role is not Role.WAN]
            for problem in collect(self.directory, self._recording.name, nodes, self._lab.fetch_history):
                self._say(problem)

    def _write_last_rows(self) -> None:
        """Of tables whose rows are not known before the end."""
        if self._tables is None or self._steps is None or self._faults is None:
            return
        self._note_life(is_ended=True)
        for row in self._faults.rows():
            self._tables.add("faults", row)
        for invalidation_id, asked in self._steps.invalidations.items():
            receipt = self._steps.ask_receipt(invalidation_id)
            self._tables.add("invalidations", invalidation_row(asked, receipt, self._clock.anchor))
            for row in acknowledgement_rows(receipt, self._clock.anchor):
                self._tables.add("acknowledgements", row)
