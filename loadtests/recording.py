"""Joins a Locust process to the lab: its options, the load plan, and histories.py, which writes down what comes of it.

One code for both ways to run. A single process writes each second as it ends. A worker sends its closed seconds with
Locust's own reports (`report_to_master`), and the master adds up what its workers say of one second and writes it.
"""

import logging
import sys
from typing import Any

import gevent
from locust.runners import MasterRunner, WorkerRunner

from loadtests.catalogue import read_options, refuse_rate
from loadtests.histories import LoadSession, LocalRecording, MasterRecording, RunFiles, WorkerRecording
from loadtests.load_shape import shape_users
from loadtests.plan import PlanError, PlanOptions
from loadtests.profile_options import OptionsError
from loadtests.request_history import RequestHistory
from proto.host_clock import HostClock, host_seconds

logger = logging.getLogger(__name__)

_OPTIONS = (
    ("--load-plan", "CDNLAB_LOAD_PLAN", "JSON file that names the router, the distribution and the populations"),
    ("--dns", "CDNLAB_DNS", "host:port of the lab's DNS router"),
    ("--domain", "CDNLAB_DOMAIN", "domain name of the distribution"),
    ("--viewer-port", "CDNLAB_VIEWER_PORT", "port on which edges serve viewers"),
    ("--populations", "CDNLAB_POPULATIONS", 'JSON list of {"region", "client_subnet", "users", "source"}'),
    ("--load-output", "CDNLAB_LOAD_OUTPUT", "where to write load.jsonl; failures.jsonl goes beside it"),
    ("--load-history", "CDNLAB_LOAD_HISTORY", "folder to which every request is written down, as rows of a history"),
    ("--pace", "CDNLAB_PACE", "how much faster than people viewers act (default 1)"),
    ("--rate", "CDNLAB_RATE", "requests a second of all users together, for profiles whose step is one request"),
    ("--profile-options", "CDNLAB_PROFILE_OPTIONS", "JSON object with options of the profile (docs/load.md)"),
)


# Locust's own default is every address of the machine, and its page lets whoever comes start and stop the load. `--web-host '*'` gives that back.
_WEB_HOST = "127.0.0.1"


def record_load(events: Any, profile: str) -> None:
    """Called once by each locustfile with `locust.events`."""
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(lambda environment, **_: start_recording(environment, profile))


def add_options(parser: Any) -> None:
    """Which distribution to load, and from where. Fixed for the process: Locust's page does not offer them."""
    for flag, variable, text in _OPTIONS:
        parser.add_argument(flag, env_var=variable, default="", help=text, include_in_web_ui=False)
    parser.set_defaults(web_host=_WEB_HOST)


def start_recording(environment: Any, profile: str) -> None:
    """Parses the plan (an error ends the process with one line) and hooks into Locust's events."""
    options = environment.parsed_options
    names = (
        "load_plan",
        "dns",
        "domain",
        "viewer_port",
        "populations",
        "load_output",
        "load_history",
        "pace",
        "rate",
        "profile_options",
    )
    try:
        plan = PlanOptions(**{name: getattr(options, name) or "" for name in names}).plan()
        plan = plan.with_users(options.num_users)
        environment.load_options = read_options(profile, plan.intensity.options)
        refuse_rate(profile, plan.intensity.rate)
    except (PlanError, OptionsError) as error:
        logger.error("%s", error)
        sys.exit(2)
    runner = environment.runner
    first_seat = max(getattr(runner, "worker_index", 0), 0)
    # The event loop counts time from when it last ran, before all imports: Locust's --run-time would be over too early.
    gevent.get_hub().loop.update_now()
    shape_users(environment, plan)
    session = environment.load_session = LoadSession(plan, first_seat, HostClock())
    environment.request_history = history = _history_for(runner, session)
    recording = _recording_for(runner, session, profile, environment.events)
    environment.events.request.add_listener(session.on_request)
    ticker = gevent.spawn(_tick_forever, recording)

    def finish(**_: Any) -> None:
        ticker.kill()
        recording.finish(host_seconds())
        if history is not None:
            history.close()

    environment.events.quitting.add_listener(finish)


def _recording_for(
    runner: Any, session: LoadSession, profile: str, events: Any
) -> LocalRecording | WorkerRecording | MasterRecording:
    anchor = session.clock.anchor
    if isinstance(runner, MasterRunner):
        master = MasterRecording(RunFiles(session.plan.output, profile, anchor), anchor)
        events.worker_report.add_listener(master.on_worker_report)
        return master
    if isinstance(runner, WorkerRunner):
        worker = WorkerRecording(session)
        events.report_to_master.add_listener(worker.on_report_to_master)
        return worker
    return LocalRecording(session, RunFiles(session.plan.output, profile, anchor))


def _history_for(runner: Any, session: LoadSession) -> RequestHistory | None:
    """None: nothing is to be written down, or nothing is asked for by this process. What cannot be written ends the process with one line."""
    folder = session.plan.history
    if folder is None or isinstance(runner, MasterRunner):
        return None
    worker = runner.worker_index + 1 if isinstance(runner, WorkerRunner) else 0
    try:
        return RequestHistory(folder, session.plan.intensity.name, worker, session.clock.anchor.boot_id)
    except OSError as error:
        logger.error("cannot write the history to %s: %s", folder, error.strerror or error)
        sys.exit(1)


def _tick_forever(recording: LocalRecording | WorkerRecording | MasterRecording) -> None:
    while True:
        gevent.sleep(1.02 - host_seconds() % 1)  # just after the second ends
        recording.tick(host_seconds())
