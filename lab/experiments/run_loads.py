"""The viewers of a scenario: a load generator for each entry of `load`, each with files of its own."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lab.clients.management_api import Distribution
from lab.cluster.interface import Cluster
from lab.experiments.load import LOAD_FILE, LoadRun, LoadUntilTold, load_run, viewers_of
from lab.experiments.stage import Stage
from lab.history.raw_files import raw_folder
from lab.scenarios.load_entry import LoadEntry
from lab.topology.layout import Role
from loadtests.plan import LoadPlan, parse_address

_ROUNDING_SECONDS: Final = 0.001
"""Times of a run that is longer or shorter than its scenario says are products: two that are meant to be the same may differ in the last bit."""


@dataclass(frozen=True, slots=True)
class RunOfLoads:
    """What loads have to know of their run."""

    directory: Path
    duration_seconds: float


class Loads:
    """Use as a context manager: whatever happens inside, no load generator is left."""

    def __init__(self, runs: Sequence[tuple[float, LoadRun]], files: tuple[Path, ...]) -> None:
        """Each with the seconds after which it begins."""
        self._runs = tuple(runs)
        self._timers = [threading.Timer(begins, run.start) for begins, run in runs if begins]
        self.files = files
        """What each of them writes, second by second."""

    @property
    def is_running(self) -> bool:
        """Whether one still goes on that ends by itself."""
        waiting = any(timer.is_alive() for timer in self._timers)
        return waiting or any(run.is_running for _, run in self._runs if not isinstance(run, LoadUntilTold))

    @property
    def has_anybody(self) -> bool:
        """Whether any goes on, or will begin."""
        return any(timer.is_alive() for timer in self._timers) or any(run.is_running for _, run in self._runs)

    def end(self) -> None:
        """Ends those that go on until they are told, and waits for all. LoadError when one did not run to its end."""
        for timer in self._timers:
            timer.join()
        for _, run in self._runs:
            if isinstance(run, LoadUntilTold):
                run.end()
            else:
                run.wait()

    def stop(self) -> None:
        """Ends them now."""
        for timer in self._timers:
            timer.cancel()
        for timer in self._timers:
            if timer.ident is not None:
                timer.join()
        for _, run in self._runs:
            run.stop()

    def __enter__(self) -> Self:
        try:
            for begins, run in self._runs:
                if not begins:
                    run.start()
            for timer in self._timers:
                timer.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def make_loads(lab: Cluster, entries: Sequence[LoadEntry], stage: Stage, site: Distribution, run: RunOfLoads) -> Loads:
    """Not begun. An entry alone leaves its files in the run's folder, several have folders of their own below `load/`.

    Those that last as long as the run go on until they are told to end.
    """
    router, *others = (parse_address(each.reached_at) for each in stage.of_role(Role.DNS_ROUTER))
    plan = LoadPlan(
        dns=router,
        more_dns=tuple(others),
        domain_name=site.domain_name,
        viewer_port=stage.facts.viewer_port,
        populations=viewers_of(stage.facts),
    )
    runs, files = [], []
    for entry in entries:
        folder = run.directory if len(entries) == 1 else run.directory / "load" / entry.name
        own = replace(plan, history=(raw_folder(run.directory) / f"load-{entry.name}").resolve())
        lasts_to_the_end = entry.ends_seconds >= run.duration_seconds - _ROUNDING_SECONDS and not entry.stages
        kind = LoadUntilTold if lasts_to_the_end else LoadRun
        runs.append((entry.begins_seconds, load_run(lab, entry, own, folder, kind)))
        files.append(folder / LOAD_FILE)
    return Loads(runs, tuple(files))


def scaled(entry: LoadEntry, by: float) -> LoadEntry:
    """The same in a run that takes so many times as long."""
    stages = tuple(replace(stage, at_seconds=stage.at_seconds * by) for stage in entry.stages)
    return replace(
        entry, begins_seconds=entry.begins_seconds * by, lasts_seconds=max(1.0, entry.lasts_seconds * by), stages=stages
    )
