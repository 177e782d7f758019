"""The programs of a comparison: each on its core, its output in a file, ended at the end whatever happened."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.install_peers import find

SERVER_CORE, LOAD_CORE = "0", "1"
START_SECONDS = 20.0
END_SECONDS = 15.0
TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(RuntimeError):
    """A figure cannot be had, or would be worthless."""


class UnsupportedError(BenchmarkError):
    """This build of the edge cannot do yet what is to be measured; no failure of the benchmark."""


def program(name: str) -> str:
    """Where a program is, or why the benchmark cannot run."""
    path = find(name)
    if path is None:
        raise BenchmarkError(f"{name} is not installed: make bench-setup")
    return path


def pinned(core: str, command: Sequence[str]) -> list[str]:
    """The command on one core, where there are several."""
    is_possible = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    return ["taskset", "-c", core, *command] if is_possible else list(command)


@dataclass
class Programs:
    """What was started, to be ended in the opposite order."""

    folder: Path
    processes: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(self, name: str, core: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process in a group of its own, so that its children end with it."""
        with (self.folder / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                pinned(core, command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.processes.append((name, process))
        return process

    def said(self, name: str) -> str:
        """The end of what a program printed."""
        return (self.folder / f"{name}.out").read_text(encoding="utf-8", errors="replace")[-2_000:]

    def end(self, prefixes: tuple[str, ...] = ("",)) -> None:
        """Those whose names begin with one of the prefixes; politely first."""
        ending = [process for name, process in reversed(self.processes) if name.startswith(prefixes)]
        self.processes = [(name, process) for name, process in self.processes if not name.startswith(prefixes)]
        for process in ending:
            process.terminate()
        for process in ending:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(END_SECONDS)


@contextmanager
def programs(folder: Path) -> Iterator[Programs]:
    """Where to start them; all have ended afterwards."""
    started = Programs(folder)
    try:
        yield started
    finally:
        started.end()


def wait_until(condition: Callable[[], bool], why_not: Callable[[], str], seconds: float = START_SECONDS) -> None:
    """With a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(why_not())
        time.sleep(0.05)


def resident_bytes(process_id: int) -> int:
    """What a process keeps in memory now."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


def core_seconds(core: str) -> tuple[float, float]:
    """How long a core has been busy, and how long it has existed, in seconds (proc(5), /proc/stat)."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            values = [int(tick) / TICKS for tick in ticks[:8]]
            return sum(values) - values[3] - values[4], sum(values)
    raise BenchmarkError(f"/proc/stat knows no core {core}")


def cpu_seconds(process_ids: set[int]) -> float:
    """What some processes and all that descend from them have used (proc(5), /proc/PID/stat); what has ended is not counted."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        parents[int(entry.name)], used[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    return sum(ticks for process_id, ticks in used.items() if _descends(process_id, process_ids, parents)) / TICKS


def _descends(process_id: int, ancestors: set[int], parents: dict[int, int]) -> bool:
    while process_id:
        if process_id in ancestors:
            return True
        process_id = parents.get(process_id, 0)
    return False
