"""`cdnlab shrink RUN`: the smallest experiment that fails as a run has failed."""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console

from lab.durations import parse_duration
from lab.experiments.run_record import RunRecord, command_of, read_record
from lab.experiments.shrink_trials import Came, Trials, failure_of, standing_alone
from lab.experiments.shrinking import Document, Search, extension_of, shrink
from lab.history.run_folders import find_run
from lab.interrupts import interruptible
from lab.run_options import RunOptions, ShrinkChoice
from lab.scenarios.reader import parse_scenario
from lab.terminal import make_console
from lab.topology.choice import TopologyChoice

FOLDER, SMALLEST_FILE = "shrink", "smallest.yaml"


def run(*, run: str, choice: ShrinkChoice, state_dir: Path) -> int:
    """0 when something smaller was found, 1 when nothing was, or when it does not fail again as it is."""
    directory = find_run(run)
    record = read_record(directory, state_dir)
    failure = failure_of(directory, choice.checks)
    seconds = parse_duration(choice.within)
    whole = standing_alone(record, failure.seed)
    options = _options(record.options, state_dir, choice.loopback)
    console = make_console()
    folder = directory / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    trials = Trials(replace(record, document=whole), failure, options)
    found = _Found(trials, console, folder, choice.tries, choice.most, time.monotonic() + seconds)
    counts = ", ".join(failure.checks)
    console.print(
        f"{record.name} broke {counts}: does it again? Then at most {choice.most} smaller ones are tried, {choice.within} long"
    )
    with interruptible():
        try:
            return found.search(whole, _duration(record))
        finally:
            found.tell()


def _options(options: RunOptions, state_dir: Path, loopback: str | None) -> RunOptions:
    """As of the run; topology and seed are in the document."""
    topology = TopologyChoice(None, loopback or options.topology.loopback, options.topology.has_relays)
    return replace(options, state_dir=state_dir, topology=topology, seed=None)


def _duration(record: RunRecord) -> float | None:
    """Of what the command line said nothing shorter is tried."""
    if record.options.duration_seconds is not None:
        return None
    return parse_scenario(yaml.safe_dump(dict(record.document)), Path(record.source)).duration_seconds


@dataclass(slots=True)
class _Found:
    """The search, and the smallest so far, which is in its file as soon as it is known."""

    trials: Trials
    console: Console
    folder: Path
    tries: int
    most: int
    until: float
    number: int = 0
    smallest: Document | None = None

    def search(self, whole: Document, duration_seconds: float | None) -> int:
        if not self._fails(whole, f"as it was, {_describe(whole)}"):
            self.console.print("it did not fail again: nothing is known of what makes it fail. More --tries may help")
            return 1
        search = Search(self._is_smaller, self.most, lambda: time.monotonic() >= self.until)
        shrink(whole, search, duration_seconds)
        return 0 if self.smallest is not None else 1

    def _is_smaller(self, document: Document) -> bool:
        if not self._fails(document, _describe(document)):
            return False
        self.smallest = document
        text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=150)
        beside = self.folder / f"{SMALLEST_FILE}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.folder / SMALLEST_FILE)
        return True

    def _fails(self, document: Document, what: str) -> bool:
        """In one of the tries; each has a folder of its own."""
        for attempt in range(self.tries):
            if attempt and time.monotonic() >= self.until:
                break
            self.number += 1
            began = time.monotonic()
            came = self.trials.run(document, self.folder / f"{self.number:02}")
            took = time.monotonic() - began
            self.console.print(f"{self.number:3}  {what}: {came.value} ({took:.0f} s)", soft_wrap=True)
            if came is Came.FAILS:
                return True
            if came is Came.NO_EXPERIMENT:
                break
        return False

    def tell(self) -> None:
        """What was found, however it ended."""
        if self.smallest is None:
            self.console.print(f"nothing smaller was found to fail, in {_counted(self.number, 'experiment')}")
            return
        path = self.folder / SMALLEST_FILE
        record = self.trials.record
        again = replace(record, source=str(path), options=replace(record.options, topology=TopologyChoice()))
        told = (
            f"{_describe(record.document)} became {_describe(self.smallest)}, in {_counted(self.number, 'experiment')}"
        )
        self.console.print(f"{told}\n{command_of(again, None)}", soft_wrap=True)


def _describe(document: Document) -> str:
    """What there is to be reduced."""
    extension = extension_of(document)
    loads = extension.get("load", [])
    users = sum(each.get("users") or 0 for each in loads)
    parts = [_counted(len(document["method"]), "step"), _counted(len(loads), "load")]
    parts += [_counted(users, "user")] if users else []
    return f"{', '.join(parts)}, {extension.get('duration', 'the usual time')}" + (
        " s" if isinstance(extension.get("duration"), int | float) else ""
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
