"""Which run an activity belongs to: Chaos Toolkit hands each its configuration, where the run is."""

from collections.abc import Mapping
from typing import Any, Final

from lab.errors import LabError, UsageError
from lab.experiments.run import Run
from lab.scenarios.steps import parse_step
from lab.scenarios.values import section_of

RUN: Final = "cdnlab_run"


def run_of(configuration: Mapping[str, Any] | None) -> Run:
    """LabError outside of a run."""
    run = (configuration or {}).get(RUN)
    if not isinstance(run, Run):
        raise LabError("there is no run: the experiment needs the control lab.experiments.chaos.control")
    return run


def do(configuration: Mapping[str, Any] | None, action: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Has the run do a step, and gives what came of it; UsageError for arguments that make no sense."""
    arguments = section_of({name: _plain(value) for name, value in given.items() if value is not None}, action)
    step = parse_step(action, arguments)
    if arguments.problems or step is None:
        raise UsageError("; ".join(problem.message for problem in arguments.problems))
    return run_of(configuration).do(step)


def _plain(value: Any) -> Any:
    """As YAML can write it."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
