"""Joins the stages of a load plan to Locust, which asks once a second how many users there should be.

Only in a run whose plan has stages: otherwise Locust's own options and its page say how many. Users are stopped newest
first, so that those who stay are the same persons, and of each population its share (seats.py).
"""

from collections.abc import Iterator
from typing import Any

from gevent.pool import Group
from locust import LoadTestShape
from locust.runners import WorkerRunner

from loadtests.plan import LoadPlan
from loadtests.stages import peak_users, users_at


class PlanShape(LoadTestShape):  # type: ignore[misc]  # locust is not analysed (pyproject), its classes are Any
    """The stages, and the end of the run."""

    def __init__(self, plan: LoadPlan) -> None:
        super().__init__()
        self._stages = plan.intensity.stages
        self._duration_seconds = plan.intensity.duration_seconds or 0.0

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them may come or go in one second: all. None: the run is over."""
        seconds = self.get_run_time()
        if seconds >= self._duration_seconds:
            return None
        return users_at(self._stages, seconds), float(peak_users(self._stages))


class NewestFirst(Group):  # type: ignore[misc]  # gevent is not analysed (pyproject), its classes are Any
    """The greenlets of users. Locust stops those that it comes to first, and knows the user by its greenlet's argument."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(self.greenlets, key=_number, reverse=True))


def _number(greenlet: Any) -> int:
    """Of its user; a greenlet that has ended has none any more."""
    return int(greenlet.args[0].number) if greenlet.args else -1


def shape_users(environment: Any, plan: LoadPlan) -> None:
    """Called before any user is started."""
    if not plan.intensity.stages:
        return
    environment.runner.user_greenlets = NewestFirst()
    if not isinstance(environment.runner, WorkerRunner):
        environment.shape_class = PlanShape(plan)
        environment.shape_class.runner = environment.runner
