"""What a Locust process writes down of a run: `load.jsonl` and `failures.jsonl`, or what a worker tells its master of both.

Without Locust, which joins it to a run in recording.py: a single process writes each second as it ends, a worker sends its closed seconds, and the master adds up what
its workers say of one second. Seconds are whole ones of the host's steady clock (proto/host_clock.py): a step of the wall clock makes none longer.
"""

import json
from collections import Counter, deque
from pathlib import Path
from typing import Any, TextIO

from loadtests.plan import LoadPlan
from loadtests.run_clocks import note_clock
from loadtests.seats import Seats
from loadtests.seconds import Outcome, RegionSecond, SecondsByRegion
from proto.host_clock import HostClock, host_nanoseconds, host_seconds
from proto.moments import NANOSECONDS_PER_SECOND, SECONDS_SINCE_EPOCH, ClockAnchor, Moment, read_anchor

# Workers report every 3 s (locust.runners.WORKER_REPORT_INTERVAL); one report may be late.
MASTER_LAG_SECONDS = 7
# Whoever did not look at the clock for so long, which is done each second, stood still (SIGSTOP) or got no processor.
STANDSTILL_SECONDS = 2.0
# Failures kept until they are written or reported; all of them are counted in load.jsonl in any case.
MAXIMUM_PENDING_FAILURES = 2_000
MAXIMUM_WRITTEN_FAILURES = 20_000


class RunFiles:
    """`load.jsonl` and `failures.jsonl`, each line written whole and at once, so that a reader can follow.

    At the end `load_totals.json`: the same sums over the whole run, whose percentiles no reader could get from seconds.
    """

    def __init__(self, output: Path | None, profile: str, anchor: ClockAnchor) -> None:
        self._profile = profile
        self._anchor = anchor
        self._output = output
        self._totals: dict[str, RegionSecond] = {}
        self.standstill_seconds = 0.0
        """The longest time for which a process of the load did nothing, not even look at the clock."""
        self._written_failures = 0
        self._load: TextIO | None = None
        self._failures: TextIO | None = None
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            note_clock(output.parent, "load", anchor)
            self._load = output.open("w", encoding="utf-8", buffering=1)
            self._failures = output.with_name("failures.jsonl").open("w", encoding="utf-8", buffering=1)

    def write_second(self, second: int, region: str, sums: RegionSecond) -> None:
        self._totals.setdefault(region, RegionSecond()).add(sums)
        if self._load is not None:
            self._load.write(json.dumps(sums.to_line(second, self._anchor, region, self._profile)) + "\n")

    def write_failure(self, failure: dict[str, Any]) -> None:
        if self._failures is not None and self._written_failures < MAXIMUM_WRITTEN_FAILURES:
            self._written_failures += 1
            self._failures.write(json.dumps(failure | {"profile": self._profile}) + "\n")

    def close(self) -> None:
        for file in (self._load, self._failures):
            if file is not None:
                file.close()
        self._load = self._failures = None
        if self._output is not None:
            totals = {region: sums.to_totals() for region, sums in sorted(self._totals.items())}
            document = {
                "profile": self._profile,
                "standstill_seconds": round(self.standstill_seconds, 3),
                "regions": totals,
            }
            text = json.dumps(document, indent=2) + "\n"
            self._output.with_name("load_totals.json").write_text(text, encoding="utf-8")


class LoadSession:
    """What the users of one Locust process share: the plan, the seats of the populations, the open seconds."""

    def __init__(self, plan: LoadPlan, first_seat: int, clock: HostClock) -> None:
        self.plan = plan
        self.clock = clock
        self.seconds = SecondsByRegion()
        self.failures: deque[dict[str, Any]] = deque(maxlen=MAXIMUM_PENDING_FAILURES)
        self.seats = Seats(plan, first_seat, host_seconds())
        self._users: Counter[str] = Counter()
        self._looked_at = host_seconds()
        self.standstill_seconds = 0.0
        """See RunFiles."""

    def user_started(self, region: str) -> None:
        self._users[region] += 1

    def user_stopped(self, region: str) -> None:
        self._users[region] -= 1

    def on_request(self, **event: Any) -> None:
        """Locust's request event; requests of users that are not viewers carry no region and are not ours."""
        context = event["context"]
        region = context.get("region")
        if region is None:
            return
        now_ns = host_nanoseconds()
        exception = event["exception"]
        outcome = Outcome(
            region=region,
            latency_milliseconds=event["response_time"],
            received_bytes=event["response_length"],
            is_failure=exception is not None,
            x_cache=context["x_cache"],
        )
        self.seconds.at(now_ns // NANOSECONDS_PER_SECOND, region).count(outcome)
        if exception is not None:
            url, address = context["url"], context["address"]
            described = {"region": region, "url": url, "address": address, "error": str(exception)}
            self.failures.append(self._times(now_ns, outcome.latency_milliseconds) | described)

    def _times(self, now_ns: int, latency_milliseconds: float) -> dict[str, Any]:
        wall = self.clock.wall_seconds_at(Moment(self.clock.anchor.boot_id, now_ns))
        began_ns = now_ns - round(latency_milliseconds * 1e6)
        return {"time": round(wall, 3), "monotonic_ns": now_ns, "began_monotonic_ns": began_ns}

    def count_stalls(self, region: str, stalls: int) -> None:
        self.seconds.at(int(host_seconds()), region).stalls += stalls

    def close_seconds(self, now: float) -> list[tuple[int, str, RegionSecond]]:
        """Every second that is over at this one of the host's clock; also one with users and no request, for that is what an outage looks like."""
        if now - self._looked_at > STANDSTILL_SECONDS:
            self.standstill_seconds = max(self.standstill_seconds, now - self._looked_at)
        self._looked_at = now
        last = int(now) - 1
        for region, users in self._users.items():
            if users:
                self.seconds.at(last, region).users = users
        return self.seconds.close_before(int(now))

    def take_failures(self) -> list[dict[str, Any]]:
        taken = list(self.failures)
        self.failures.clear()
        return taken


class LocalRecording:
    """A single process: it saw everything itself, so a second is written as soon as it is over."""

    def __init__(self, session: LoadSession, files: RunFiles) -> None:
        self._session = session
        self._files = files

    def tick(self, now: float) -> None:
        for second, region, sums in self._session.close_seconds(now):
            self._files.write_second(second, region, sums)
        for failure in self._session.take_failures():
            self._files.write_failure(failure)
        self._files.standstill_seconds = self._session.standstill_seconds

    def finish(self, now: float) -> None:
        self.tick(now + 1)
        self._files.close()


class WorkerRecording:
    """A worker: closed seconds wait for Locust's next report to the master."""

    def __init__(self, session: LoadSession) -> None:
        self._session = session
        # Ten minutes of ten regions: far beyond what a worker keeps before Locust gives the master up.
        self._closed: deque[tuple[int, str, dict[str, Any]]] = deque(maxlen=6_000)

    def tick(self, now: float) -> None:
        closed = self._session.close_seconds(now)
        self._closed.extend((second, region, sums.to_message()) for second, region, sums in closed)

    def on_report_to_master(self, client_id: str, data: dict[str, Any], **_: Any) -> None:  # noqa: ARG002  # Locust's names
        self.tick(host_seconds())
        data["cdn_standstill_seconds"] = self._session.standstill_seconds
        data["cdn_clock"] = self._session.clock.anchor.to_json()
        data["cdn_seconds"] = list(self._closed)
        data["cdn_failures"] = self._session.take_failures()
        self._closed.clear()

    def finish(self, now: float) -> None:
        """Nothing to write: the last report has gone with Locust's own, at the end of the test."""


class MasterRecording:
    """The master: adds what workers say of one second and writes it when no report about it is due any more."""

    def __init__(self, files: RunFiles, anchor: ClockAnchor) -> None:
        self._files = files
        self._anchor = anchor
        self._seconds = SecondsByRegion()

    def on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:  # noqa: ARG002  # Locust's names
        """On another machine a worker's second is the one that its wall clock says; nothing is compared with a moment of its failures."""
        clock = read_anchor(data.get("cdn_clock")) or SECONDS_SINCE_EPOCH
        standstill_seconds = float(data.get("cdn_standstill_seconds", 0.0))
        self._files.standstill_seconds = max(self._files.standstill_seconds, standstill_seconds)
        for second, region, message in data.get("cdn_seconds", ()):
            own_second = round(self._anchor.seconds_of(clock, second))
            self._seconds.at(own_second, region).add(RegionSecond.from_message(message))
        for failure in data.get("cdn_failures", ()):
            is_comparable = self._anchor.shares_base_with(clock)
            unknown = {} if is_comparable else {"monotonic_ns": None, "began_monotonic_ns": None}
            self._files.write_failure(failure | unknown)

    def tick(self, now: float) -> None:
        for second, region, sums in self._seconds.close_before(int(now) - MASTER_LAG_SECONDS):
            self._files.write_second(second, region, sums)

    def finish(self, now: float) -> None:
        self.tick(now + MASTER_LAG_SECONDS + 1)
        self._files.close()
