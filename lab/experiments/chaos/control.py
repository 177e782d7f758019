"""The control that makes an experiment of Chaos Toolkit a run of the lab: it brings the lab up before, judges and takes it down afterwards.

`cdnlab run` has made the run already; under `chaos run` it is made here, from the file and from CDNLAB_STATE, CDNLAB_RUNNER and CDNLAB_RUN in the environment.
Chaos Toolkit swallows what a control raises, but for InterruptExecution: here nothing is left to it.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaoslib.exceptions import InterruptExecution

from lab.checkers.verdict import Outcome
from lab.errors import LabError, UsageError
from lab.experiments.chaos.running import RUN
from lab.experiments.run import Run, RunStoppedError
from lab.experiments.run_choice import choice_of_environment, make_run, scenario_of

_logger = logging.getLogger("chaostoolkit")


def before_experiment_control(context: Mapping[str, Any], configuration: dict[str, Any]) -> None:
    """Brings the lab up, its viewers too. InterruptExecution, which ends the experiment, when that fails."""
    try:
        if context.get("dry"):
            raise UsageError("a lab does nothing dry: `cdnlab run --plan FILE` shows what would be done, and when")
        if RUN not in configuration:
            configuration[RUN] = make_run(scenario_of(context), choice_of_environment(os.environ, Path.cwd()))
        configuration[RUN].begin()
    except LabError as error:
        raise InterruptExecution(str(error)) from error
    except Exception as error:
        _logger.exception("the lab cannot be brought up")
        raise InterruptExecution(f"the lab cannot be brought up: {error!r}") from error


def before_activity_control(context: Mapping[str, Any], configuration: dict[str, Any]) -> None:  # noqa: ARG001
    """Nothing more is done once a stop rule, or somebody, has ended the run."""
    run = configuration.get(RUN)
    if isinstance(run, Run):
        try:
            run.check_stop()
        except RunStoppedError as error:
            raise InterruptExecution(str(error)) from error


def after_experiment_control(
    context: Mapping[str, Any],  # noqa: ARG001 - Chaos Toolkit's names
    state: dict[str, Any],
    configuration: dict[str, Any],
) -> None:
    """Judges, and takes the lab down. The journal has deviated when a promise was broken; it has failed when none of it is known, so that nobody takes it for good."""
    run = configuration.get(RUN)
    if not isinstance(run, Run):
        return
    outcome = Outcome.UNKNOWN
    try:
        outcome = run.finish(state)
    except Exception as error:
        _logger.exception("the run cannot be finished")
        run.trouble = run.trouble or error
    if run.trouble is not None:
        _logger.error(str(run.trouble))
    state["cdnlab"] = {"run": str(run.directory), "outcome": str(outcome)}
    if outcome is Outcome.INVALID:
        state["deviated"] = True
    elif outcome is Outcome.UNKNOWN and state["status"] == "completed":
        state["status"] = "failed"
