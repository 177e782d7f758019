"""What tests of real Locust processes run beside them: other programs, and a load plan that leads to one of them."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtests.plan import Address, LoadPlan
from loadtests.workload import Population
from tests.integration.loadtests.test_viewer import ScriptedRouter

SITE = "127.16.2.1"
ROOT = Path(__file__).parents[3]
POPULATIONS = (Population("eu", "10.2.0.0/16", 2), Population("us", "10.1.0.0/16", 1))


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(url: str) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.05)


def plan_of(
    port: int, router: ScriptedRouter, output: Path, pace: float = 3.0, history: Path | None = None
) -> LoadPlan:
    """To whoever listens at the port of SITE."""
    dns = Address("127.16.1.53", router.port)
    return LoadPlan(dns, "d1.cdn.localhost", port, POPULATIONS, output, pace, history)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Of a file with an object of JSON on each."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
