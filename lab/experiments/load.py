"""Starts Locust headless against a running lab: one subprocess, bounded in time, cleaned up however it ends.

What viewers do is in loadtests/; here is only which profile, from which populations, for how long, and where the
results go. `run_load` is `cdnlab load`; a scenario holds a `LoadRun` and does other things meanwhile.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import loadtests
from lab.clients.management_api import Distribution, ManagementApi
from lab.cluster.interface import Cluster, LabFacts
from lab.cluster.status import LabStatus
from lab.errors import LabError
from lab.experiments.links import check_before_run
from lab.experiments.run_sites import create_site
from lab.scenarios.load_entry import LoadEntry
from lab.scenarios.reader import find_scenario
from lab.topology.layout import Role
from loadtests.catalogue import PROFILES, module_name, read_options, refuse_rate
from loadtests.intensity import Intensity
from loadtests.plan import LoadPlan, parse_address
from loadtests.profile_options import OptionsError
from loadtests.workload import Population

# Of a load generator on a busy machine, until it writes its first second.
START_SECONDS = 30.0
_LOOK_SECONDS = 0.05
# Locust starts, lets requests in flight finish and writes its last seconds; beyond this it hangs.
GRACE_SECONDS = 20.0
# Requests in flight when the time is over may finish; a video user is between requests most of the time.
STOP_TIMEOUT_SECONDS = 2
# Locust's own default: 1 when any request failed.
EXIT_FAILURES = 1

LOAD_FILE = "load.jsonl"
# What the load generator writes; left over from a run before, they would be taken for this one's.
_OWN_FILES = (LOAD_FILE, "failures.jsonl", "load_totals.json")


class LoadError(LabError):
    """The load could not be run; the message says why, with the last lines of Locust's log."""


class LoadRun:
    """One run of a profile. Use as a context manager: whatever happens inside, no Locust process is left."""

    extra_seconds: ClassVar[float] = 0.0
    """How much longer than its duration it would go on if nobody ended it."""

    def __init__(
        self,
        profile: str,
        plan: LoadPlan,
        duration_seconds: float,
        users: int,
        run_directory: Path,
        mark: Mapping[str, str] | None = None,
    ) -> None:
        """`users`: at once; a plan with stages has its own. `mark`: of the lab that it is for, so that it is found when this process is killed."""
        if profile not in PROFILES:
            raise LoadError(f"no profile {profile!r}: choose one of {', '.join(PROFILES)}")
        if users < 1 or duration_seconds <= 0:
            raise LoadError(f"nothing to do with {users} users for {duration_seconds:g} s")
        try:
            read_options(profile, plan.intensity.options)
            refuse_rate(profile, plan.intensity.rate)
        except OptionsError as error:
            raise LoadError(str(error)) from error
        stages_of = PROFILES[profile].stages
        self._profile = profile
        self._plan = plan.for_run(users, duration_seconds, stages_of(users, duration_seconds) if stages_of else ())
        self._duration_seconds = duration_seconds
        self._users = users
        self._directory = run_directory
        self._mark = dict(mark or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self._directory / "locust.log"

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        for name in _OWN_FILES:
            (self._directory / name).unlink(missing_ok=True)
        plan_path = self._directory / "load_plan.json"
        plan_path.write_text(self._plan.to_json(), encoding="utf-8")
        with self.log_path.open("wb") as log:
            # Its own session: an interrupt at the terminal reaches this process, which then ends Locust in order.
            self._process = subprocess.Popen(
                self._command(plan_path),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=_repository(),
                env={**os.environ, **self._mark},
                start_new_session=True,
            )

    def _command(self, plan_path: Path) -> list[str]:
        locustfile = Path(loadtests.__file__).parent / f"{module_name(self._profile)}.py"
        options = {
            "--locustfile": str(locustfile),
            "--load-plan": str(plan_path.resolve()),
            "--stop-timeout": str(STOP_TIMEOUT_SECONDS),
        }
        if not self._plan.intensity.stages:  # which say the rest
            options |= {
                "--users": str(self._users),
                "--spawn-rate": str(max(self._users, 1)),
                "--run-time": f"{max(round(self._duration_seconds + self.extra_seconds), 1)}s",
            }
        flags = [part for option in options.items() for part in option]
        return [sys.executable, "-m", "locust", "--headless", "--only-summary", *flags]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        """Locust's exit status: 0, or 1 when viewers saw failures. LoadError when it did not run to its end."""
        assert self._process is not None, "start() comes first"
        try:
            status = self._process.wait(self._duration_seconds + self.extra_seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.stop()
            raise LoadError(f"Locust did not end in time\n{self._last_lines()}") from error
        if status not in (0, EXIT_FAILURES) or not (self._directory / LOAD_FILE).exists():
            raise LoadError(f"Locust ended with status {status}\n{self._last_lines()}")
        return status

    def stop(self) -> None:
        """Ends Locust now: asked first, then killed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_lines(self) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([*lines[-12:], f"(whole log: {self.log_path})"])

    def __enter__(self) -> "LoadRun":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class LoadUntilTold(LoadRun):
    """One that goes on after its duration until it is told to end: what is done to a lab may take longer than was meant, and viewers are to see it."""

    extra_seconds: ClassVar[float] = 900.0

    def end(self) -> int:
        """As `wait`, after Locust was asked to end in order: not before viewers have come for a second, since it is deaf while it starts."""
        output = self._directory / LOAD_FILE
        deadline = time.monotonic() + START_SECONDS
        while self.is_running and time.monotonic() < deadline and not (output.exists() and output.stat().st_size):
            time.sleep(_LOOK_SECONDS)
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        return self.wait()


def _repository() -> Path:
    """Where `loadtests` is importable from, which is what Locust adds to its path."""
    return Path(loadtests.__file__).parent.parent


class LoadFollower:
    """Reads load.jsonl while it grows: each call gives the lines that are new, whole ones only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> list[dict[str, object]]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def run_load(lab: Cluster, entry: LoadEntry, run_directory: Path) -> int:
    """`cdnlab load`: 0 when no viewer saw an error, 1 when some did. LoadError when there was nothing to measure."""
    run = load_run(lab, entry, plan_for(lab, None), run_directory)
    check_before_run(lab, run_directory, lambda line: print(line, file=sys.stderr))
    with run:
        return run.wait()


def load_run(
    lab: Cluster, entry: LoadEntry, plan: LoadPlan, run_directory: Path, kind: type[LoadRun] = LoadRun
) -> LoadRun:
    """One of the loads of a run, not started; `run_directory` is its alone. `plan` (of `plan_for`) says where viewers go,
    the entry what they do and how many of which regions they are. LoadError when the lab has no such region."""
    here = [each.region for each in plan.populations]
    unknown = sorted(set(entry.regions) - set(here))
    if unknown:
        raise LoadError(
            f"load {entry.name}: no viewers in {', '.join(unknown)} (there are {', '.join(here) or 'none'})"
        )
    own = replace(
        plan,
        populations=tuple(each for each in plan.populations if not entry.regions or each.region in entry.regions),
        output=(run_directory / LOAD_FILE).resolve(),
        intensity=Intensity(
            name=entry.name,
            seed=lab.facts.seed,
            users=entry.users,
            stages=entry.stages,
            rate=entry.rate,
            arrivals=entry.arrivals,
            options=entry.options,
        ),
    )
    return kind(entry.profile, own, entry.lasts_seconds, own.users, run_directory, lab.mark)


def plan_for(lab: Cluster, output: Path | None) -> LoadPlan:
    """Viewers of the populations of the lab's topology. CDNLAB_DOMAIN sends them to another distribution (docs/load.md)."""
    facts, status = lab.facts, lab.status()
    routers = [parse_address(each.node.reached_at) for each in status.of_role(Role.DNS_ROUTER)]
    if not routers:
        raise LoadError("the lab has no DNS router: viewers would not know where to go")
    return LoadPlan(
        dns=routers[0],
        more_dns=tuple(routers[1:]),
        domain_name=_distribution_for(status).domain_name,
        viewer_port=facts.viewer_port,
        populations=viewers_of(facts),
        output=output,
        intensity=Intensity(seed=facts.seed),
    )


def viewers_of(facts: LabFacts) -> tuple[Population, ...]:
    """As the load generator has them."""
    return tuple(Population(each.region, each.client_subnet, each.users, each.source) for each in facts.populations)


def _distribution_for(status: LabStatus) -> Distribution:
    """The quick start's, made at first use: its behaviors fit the profiles. A lab in front of somebody else's
    application has no origin of its own; there it is the first distribution that the application was given."""
    origins = status.of_role(Role.ORIGIN)
    if not origins:
        if not status.distributions:
            raise LoadError("the lab has no distribution: there is nothing to load")
        return Distribution(status.distributions[0].id, status.distributions[0].domain_name)
    site = find_scenario("quickstart").main_site
    with ManagementApi(status.api) as api:
        addresses = {each.node.id: each.node.reached_at for each in origins}
        addresses.setdefault(site.origin, origins[0].node.reached_at)
        distribution = api.find_distribution(site.comment) or create_site(api, site, addresses)
        api.wait_deployed(distribution.id)
    return distribution
