"""The quick start's probe as a process of its own, which can be stopped: `python -m tests.integration.prober_process FOLDER HOST PATH EDGE=ADDRESS...`."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from lab.history.observations import Sighting
from lab.history.witnesses import ObjectProbe
from loadtests.run_clocks import note_clock, read_clocks
from proto.host_clock import HostClock
from proto.moments import ClockAnchor, Moment

ROOT = Path(__file__).parents[2]
OTHER_CLOCKS = Path(__file__).with_name("other_clocks.py")
PROBES_FILE = "probes.jsonl"
WRITE_INTERVAL_SECONDS = 0.05


class Prober:
    """A probe under a wall clock that is set again and again, seen from outside."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._process = process

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT."""
        self._process.send_signal(number)

    @property
    def anchor(self) -> ClockAnchor:
        """Of its clock."""
        return read_clocks(self._folder)["lab"]

    def sightings(self) -> list[Sighting]:
        """What it has seen so far."""
        path = self._folder / PROBES_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [_sighting(json.loads(line), self.anchor.boot_id) for line in lines]


def _sighting(line: Mapping[str, object], boot_id: str) -> Sighting:
    version, nanoseconds = line["version"], line["monotonic_ns"]
    assert isinstance(nanoseconds, int) and (version is None or isinstance(version, int))
    return Sighting(str(line["node"]), Moment(boot_id, nanoseconds), version, str(line["result"]))


@contextlib.contextmanager
def prober(folder: Path, host: str, path: str, edges: Mapping[str, str]) -> Iterator[Prober]:
    """Asks until the end."""
    words = [str(folder), host, path, *(f"{node}={address}" for node, address in edges.items())]
    command = [sys.executable, str(OTHER_CLOCKS), "tests.integration.prober_process", *words]
    process = subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    try:
        yield Prober(folder, process)
    finally:
        process.kill()
        process.wait()


async def _main(folder: Path, host: str, path: str, edges: Mapping[str, str]) -> None:
    clock = HostClock()
    note_clock(folder, "lab", clock.anchor)
    probe = ObjectProbe(edges, host, path, clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(probe.run())
        while True:
            probe.write(folder / "unfinished")
            (folder / "unfinished").replace(folder / PROBES_FILE)
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)


if __name__ == "__main__":
    _edges = dict(word.split("=", 1) for word in sys.argv[4:])
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], _edges))
