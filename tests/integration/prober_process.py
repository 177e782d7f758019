"""The lab's witness of an object as a process of its own, which can be stopped: `python -m tests.integration.prober_process FOLDER HOST PATH EDGE=ADDRESS...`."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.checkers.freshness import freshness_after_receipts
from lab.checkers.judgement import Judgement
from lab.history.reader import history_of
from lab.history.witnesses import Watched, watch_object
from loadtests.run_clocks import note_clock, read_clocks
from proto.host_clock import HostClock
from proto.moments import ClockAnchor

ROOT = Path(__file__).parents[2]
OTHER_CLOCKS = Path(__file__).with_name("other_clocks.py")
ROWS_FILE = "requests.jsonl"
EVERY_SECONDS = 0.02


class Prober:
    """A witness under a wall clock that is set again and again, seen from outside."""

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

    def rows(self) -> list[dict[str, Any]]:
        """What it has seen so far, as rows of `requests`; the last line may not be whole yet."""
        path = self._folder / ROWS_FILE
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def judged(rows: Sequence[Mapping[str, Any]], invalidations: Sequence[Mapping[str, Any]]) -> Judgement:
    """By the checker of receipts: whether a request that began after one got what was made before."""
    history = history_of(
        {"requests": rows, "invalidations": invalidations, "origin_requests": [], "leases": [], "nodes": []}
    )
    try:
        return freshness_after_receipts(history, "in_key", every_receipt=True, strict_invalidation=True)
    finally:
        history.close()


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
    note_clock(folder, "lab", HostClock().anchor)
    with (folder / ROWS_FILE).open("w", encoding="utf-8", buffering=1) as file:

        def write(row: Mapping[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")

        await watch_object(edges, Watched(host, path, EVERY_SECONDS), write)


if __name__ == "__main__":
    _edges = dict(word.split("=", 1) for word in sys.argv[4:])
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], _edges))
