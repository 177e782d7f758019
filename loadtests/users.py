"""A Locust user that is a viewer: a seat in a population, a browser, its own schedule and random numbers.

A subclass has one task, one step of its profile, and says when the next step is due (`schedule_next`); response times
count from when a request was meant to start. What the steps are belongs to website.py, api.py, video.py, download.py.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import gevent
from locust import User

from loadtests.connection import Request, Response
from loadtests.viewer import Viewer, ViewerError
from loadtests.workload import next_intended_start


class ViewerUser(User):  # type: ignore[misc]  # locust is not analysed (pyproject), its classes are Any
    """One viewer of the lab's distribution."""

    abstract = True
    _numbers = itertools.count()

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._session = self.environment.load_session
        self.pace: float = self._session.plan.pace
        self.number = next(self._numbers)
        self.population = self._session.take_seat()
        self.rng = Random(f"{self.population.region}/{self.number}")
        self.viewer = Viewer(self._session.plan, self.population, self.rng)
        # Spread over a second: people do not arrive in step.
        self.intended_start: float = time.monotonic() + self.rng.random() / self.pace

    def on_start(self) -> None:
        """Locust would run the first task at once."""
        self._session.user_started(self.population.region)
        gevent.sleep(self.wait_time())

    def on_stop(self) -> None:
        self._session.user_stopped(self.population.region)
        self.viewer.close()

    def new_viewer(self) -> None:
        """Another person of the same population takes the seat: new address, no connections, no cache."""
        self.viewer.close()
        self.viewer = Viewer(self._session.plan, self.population, self.rng)

    def schedule_next(self, pause_seconds: float) -> None:
        self.intended_start = next_intended_start(self.intended_start, pause_seconds / self.pace, time.monotonic())

    def continue_after(self, pause_seconds: float) -> None:
        """The next step depends on this one, so it is due counted from now; `schedule_next` counts from the plan."""
        self.intended_start = time.monotonic() + pause_seconds / self.pace

    def wait_time(self) -> float:
        """Asked by Locust after each task."""
        return max(0.0, self.intended_start - time.monotonic())

    def fetch(
        self, request: Request, name: str, intended_start: float, find_fault: Callable[[Response], str] | None = None
    ) -> "Fetched":
        """One request with all its attempts; Locust and the run are told of it, as `name`.

        `find_fault` looks at a whole response and says what is wrong with its content (somebody else's data, bytes of
        another version), or nothing.
        """
        response: Response | None = None
        failure: ViewerError | None = None
        try:
            response = self.viewer.fetch(request)
            fault = _status_fault(response) or (find_fault(response) if find_fault is not None else "")
            if fault:
                failure = ViewerError(fault, response.address, response)
        except ViewerError as error:
            response, failure = error.response, error
        fetched = Fetched(response, failure)
        self._report(request, name, intended_start, fetched)
        return fetched

    def report_stalls(self, stalls: int) -> None:
        """The picture stopped. Not a request: the run counts it as a stall, Locust's page shows it as a row."""
        self._session.count_stalls(self.population.region, stalls)
        for _ in range(stalls):
            self.environment.events.request.fire(
                request_type="STALL", name="playback", response_time=0, response_length=0, exception=None, context={}
            )

    def _report(self, request: Request, name: str, intended_start: float, fetched: "Fetched") -> None:
        response, failure = fetched.response, fetched.failure
        self.environment.events.request.fire(
            request_type=request.method,
            name=name,
            response_time=(time.monotonic() - intended_start) * 1000,
            response_length=response.received_bytes if response is not None else 0,
            response=None,
            context={
                "region": self.population.region,
                "x_cache": response.headers.get("x-cache", "") if response is not None else "",
                "url": request.path,
                "address": failure.address if failure is not None else "",
            },
            exception=failure,
        )


def _status_fault(response: Response) -> str:
    """Profiles ask only for what exists: a refusal is an error of the CDN, or of the lab."""
    return f"status {response.status}" if response.status >= 400 else ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a request: a response and no failure, or a failure and whatever had come by then."""

    response: Response | None
    failure: ViewerError | None

    @property
    def usable(self) -> Response | None:
        return self.response if self.failure is None else None
