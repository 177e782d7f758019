"""A locustfile of viewers without pauses, for history_cost.py: how many requests a Locust process does with and without a history, in turns.

Both within one process and within a second, so that what else the machine does meets both alike. The counts go to the file that CLOSED_LOOP_REPORT names.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events

from loadtests.connection import Request
from loadtests.recording import record_load
from loadtests.request_history import PersonHistory
from loadtests.users import ViewerUser
from loadtests.workload import group_name

WARM_UP_SECONDS = 2.0
OBJECTS = 500


class ClosedLoopUser(ViewerUser):
    """The next request begins when the last one is over."""

    profile = "closed loop"
    _kept: PersonHistory | None = None

    def ask(self) -> None:
        """One object of many."""
        path = f"/images/{self.rng.randrange(OBJECTS)}.png"
        self.intended_start = time.monotonic()
        kept = self._kept = self._history or self._kept
        self._history = kept if self.environment.is_history_kept else None
        self.fetch(Request(path, keeps_body=False), group_name(path), self.intended_start)

    tasks = [ask]  # noqa: RUF012  # Locust reads and may rewrite this list on the class


def measure(environment: Any) -> None:
    """Counts, writes and ends the run."""
    gevent.sleep(WARM_UP_SECONDS)
    seconds = float(os.environ["CLOSED_LOOP_SECONDS"])
    pairs = [
        # Every other pair in the opposite order: what grows with time meets both.
        {is_kept: turn(environment, is_kept, seconds) for is_kept in ((False, True) if number % 2 else (True, False))}
        for number in range(int(os.environ["CLOSED_LOOP_PAIRS"]))
    ]
    report = {
        "failures": environment.stats.total.num_failures,
        "without": [pair[False] for pair in pairs],
        "with": [pair[True] for pair in pairs],
    }
    Path(os.environ["CLOSED_LOOP_REPORT"]).write_text(json.dumps(report), encoding="utf-8")
    environment.runner.quit()


def turn(environment: Any, is_kept: bool, seconds: float) -> dict[str, float]:
    """Requests of some time, with what it took."""
    environment.is_history_kept = is_kept
    count = environment.stats.total.num_requests
    began, cpu = time.perf_counter(), time.process_time()
    gevent.sleep(seconds)
    # What was added is written within the turn that added it.
    environment.request_history.flush()
    return {
        "requests": environment.stats.total.num_requests - count,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def begin(environment: Any, **_: Any) -> None:
    """With the test."""
    environment.is_history_kept = True
    gevent.spawn(measure, environment)


record_load(events, profile="website")
events.test_start.add_listener(begin)
