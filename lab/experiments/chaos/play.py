"""Plays a scenario by Chaos Toolkit's own library, with a run that is ready."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaoslib.caching import cache_activities, clear_cache
from chaoslib.exceptions import ChaosException
from chaoslib.experiment import ensure_experiment_is_valid
from chaoslib.run import Runner as ChaosRunner
from chaoslib.types import Strategy

from lab.errors import UsageError
from lab.experiments.chaos.running import RUN
from lab.experiments.run import Run

_LOGGER = "chaostoolkit"


class _ScenarioRunner(ChaosRunner):  # type: ignore[misc]  # chaoslib has no types
    """Gives every activity the run to do its step with."""

    def __init__(self, run: Run) -> None:
        super().__init__(Strategy.DEFAULT)
        self._run_of_lab = run

    def configure(self, experiment: Any, settings: Any, experiment_vars: Any) -> None:
        super().configure(experiment, settings, experiment_vars)
        self.config[RUN] = self._run_of_lab


def check_experiment(document: Mapping[str, Any]) -> None:
    """UsageError for what Chaos Toolkit does not take."""
    try:
        ensure_experiment_is_valid(dict(document))
    except ChaosException as error:
        raise UsageError(f"Chaos Toolkit refuses it: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # it takes the form of its blocks for granted
        raise UsageError(
            f"Chaos Toolkit cannot read it: configuration, secrets, controls and runtime are objects or lists as its own docs have them ({error})"
        ) from error


def play(run: Run) -> dict[str, Any]:
    """The journal, as `chaos run` writes it. What the library logs goes to chaos.log in the run's folder."""
    experiment = dict(run.scenario.document)
    with _logged(run.directory / "chaos.log"):
        check_experiment(experiment)
        cache_activities(experiment)
        try:
            journal: dict[str, Any] = _ScenarioRunner(run).run(experiment, settings={})
        finally:
            clear_cache()
    return journal


class _logged:  # noqa: N801 - reads as a verb where it is used
    """The library's log, in a file and nowhere else."""

    def __init__(self, path: Path) -> None:
        self._handler = logging.FileHandler(path, mode="w", encoding="utf-8", delay=True)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def __enter__(self) -> None:
        logger = logging.getLogger(_LOGGER)
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def __exit__(self, *_: object) -> None:
        logging.getLogger(_LOGGER).removeHandler(self._handler)
        self._handler.close()
