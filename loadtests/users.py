"""A Locust user that is a viewer: a seat in a population, a browser, its own schedule and random numbers.

A subclass has one task, one step of its profile, and says when the next step is due (`schedule_next`); response times
count from when a request was meant to start. What the steps are belongs to website.py, api.py, video.py, download.py.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import gevent
from locust import User

from loadtests.connection import Request, Response
from loadtests.exchange import Exchange
from loadtests.request_history import PersonHistory
from loadtests.request_row import Asker
from loadtests.seats import Seat
from loadtests.viewer import Viewer
from loadtests.workload import next_intended_start
from proto.host_clock import host_nanoseconds
from proto.moments import NANOSECONDS_PER_SECOND


class ViewerError(Exception):
    """What the viewer saw go wrong, as Locust counts it."""


class ViewerUser(User):  # type: ignore[misc]  # locust is not analysed (pyproject), its classes are Any
    """One viewer of the lab's distribution."""

    abstract = True
    profile = ""
    """What kind of viewer it is, as histories say."""

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._session = self.environment.load_session
        self._history: PersonHistory | None = None
        self._persons = 0
        self.pace: float = self._session.plan.pace
        self._domain_name: str = self._session.plan.domain_name
        self._seat: Seat = self._session.seats.take()
        self.number, self.population = self._seat.number, self._seat.population
        # What the user chooses, and nothing else, for how often the network needs a number depends on the time.
        self.rng = Random(self._seat.seed)
        self._sit_down()
        self.intended_start: float = self._first_start(time.monotonic())

    def _first_start(self, now: float) -> float:
        """Spread over a second: people do not arrive in step."""
        slots = self._seat.slots
        return slots.first(now) if slots is not None else now + self.rng.random() / self.pace

    def on_start(self) -> None:
        """Locust would run the first task at once."""
        self._session.user_started(self.population.region)
        gevent.sleep(self.wait_time())

    def on_stop(self) -> None:
        self._session.user_stopped(self.population.region)
        self._session.seats.leave(self._seat)
        self.viewer.close()

    def new_viewer(self) -> None:
        """Another person of the same population takes the seat: new address, no connections, no cache."""
        self.viewer.close()
        self._sit_down()

    def _sit_down(self) -> None:
        self._persons += 1
        self.viewer = self.new_person()
        history = self.environment.request_history
        if history is not None:
            asker = Asker(self.profile, self.population.region, "", self.viewer.client_address, self._domain_name)
            self._history = history.of_person(self.number, self._persons, asker)

    def new_person(self) -> Viewer:
        """Whoever takes the seat now."""
        return Viewer(self._session.plan, self.population, Random(f"{self._seat.seed}/{self._persons}"))

    def schedule_next(self, pause_seconds: float) -> None:
        """So long after the start of this one; with a rate at the user's next slot."""
        slots = self._seat.slots
        if slots is not None:
            self.intended_start = slots.after(self.intended_start)
        else:
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
        exchange = self.viewer.fetch(request)
        error, response = exchange.error, exchange.response
        if not error and response is not None:
            error = _status_fault(response) or (find_fault(response) if find_fault is not None else "")
        self._report(request, name, intended_start, exchange, error)
        return Fetched(response, error)

    def report_stalls(self, stalls: int) -> None:
        """The picture stopped. Not a request: the run counts it as a stall, Locust's page shows it as a row."""
        self._session.count_stalls(self.population.region, stalls)
        for _ in range(stalls):
            self.environment.events.request.fire(
                request_type="STALL", name="playback", response_time=0, response_length=0, exception=None, context={}
            )

    def _report(self, request: Request, name: str, intended_start: float, exchange: Exchange, error: str) -> None:
        response, seconds = exchange.response, time.monotonic() - intended_start
        if self._history is not None:
            # By the other clock, which is read a moment later: nothing begins before it is meant to.
            intended_ns = host_nanoseconds() - int(seconds * NANOSECONDS_PER_SECOND)
            intended_ns = min(intended_ns, exchange.started_ns or exchange.ended_ns)
            self._history.add(intended_ns, request, exchange, error)
        self.environment.events.request.fire(
            request_type=request.method,
            name=name,
            response_time=seconds * 1000,
            response_length=response.received_bytes if response is not None else 0,
            response=None,
            context={
                "region": self.population.region,
                "x_cache": response.headers.get("x-cache", "") if response is not None else "",
                "url": request.path,
                "address": exchange.address if error else "",
            },
            exception=ViewerError(error) if error else None,
        )


def _status_fault(response: Response) -> str:
    """Profiles ask only for what exists: a refusal is an error of the CDN, or of the lab."""
    return f"status {response.status}" if response.status >= 400 else ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a request: a response and no error, or an error and whatever had come by then."""

    response: Response | None
    error: str

    @property
    def usable(self) -> Response | None:
        return None if self.error else self.response
