"""The requests of a profile of load, told without sending any: the same seats, the same choices by the same random numbers, in the order in which they are due. Pure.

For profiles whose step is one request, which depends on nothing that an answer brings but its ETag. An answer takes no time here: of a plan without a rate each
request of a run is a little later than predicted, by what the answers before it took.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from lab.errors import UsageError
from lab.prediction.simulation import Simulation
from lab.prediction.tiers import NOTHING_KNOWN
from lab.prediction.viewers import Router, ViewerPlace
from loadtests.catalogue import PROFILES, read_options
from loadtests.plan import LoadPlan
from loadtests.profile_options import CacheBustingOptions, ConditionalOptions, ObjectsOptions
from loadtests.request_choice import (
    PRODUCT_PAGES,
    SeenObjects,
    api_pause,
    busting_query,
    next_object,
    next_products_page,
    pause_after,
)
from loadtests.seats import Seat, Seats
from loadtests.stages import users_at
from loadtests.traces.trace_request import TraceRequest
from loadtests.workload import RegionalPopularity

WHY_NOT: Final = {
    "website": "a page decides which images, styles and scripts are asked for next",
    "video": "what a player asks for next depends on how fast its segments came",
    "download": "which ranges are asked for depends on how far a download came",
    "mixed": "most of its viewers are of website, video and download",
    "slow-readers": "it is about connections, not about what is cached",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: what for, and the tag of what the viewer has, if it asks by that."""

    path: str
    tag: str = ""


class Steps(Protocol):
    """What one user does, request by request."""

    def next(self, rng: Random) -> Wanted:
        """The next one."""

    def pause_seconds(self, rng: Random) -> float:
        """Until the one after it, where no rate says when that is."""

    def answered(self, wanted: Wanted, tag: str) -> None:
        """The answer has come; `tag` tells versions apart."""


class ObjectSteps:
    """`objects` and `flash-crowd`."""

    def __init__(self, options: ObjectsOptions, region: str) -> None:
        self._options = options
        self._region = region

    def next(self, rng: Random) -> Wanted:
        """See Steps."""
        return Wanted(next_object(self._options, self._region, rng))

    def pause_seconds(self, rng: Random) -> float:
        """See Steps."""
        return pause_after(self._options, rng)

    def answered(self, wanted: Wanted, tag: str) -> None:
        """Nothing is remembered."""


class BustingSteps(ObjectSteps):
    """`cache-busting`."""

    def __init__(self, options: CacheBustingOptions, region: str) -> None:
        super().__init__(options, region)
        self._busting = options

    def next(self, rng: Random) -> Wanted:
        """See Steps."""
        path = next_object(self._busting, self._region, rng)
        return Wanted(path + busting_query(self._busting, rng))


class ConditionalSteps(ObjectSteps):
    """`conditional`."""

    def __init__(self, options: ConditionalOptions, region: str) -> None:
        super().__init__(options, region)
        self._seen = SeenObjects(options)

    def next(self, rng: Random) -> Wanted:
        """See Steps."""
        path = ObjectSteps.next(self, rng).path
        return Wanted(path, self._seen.tag_to_ask_with(path, rng))

    def answered(self, wanted: Wanted, tag: str) -> None:
        """See Steps."""
        self._seen.remember(wanted.path, tag)


class ApiSteps:
    """`api`."""

    def __init__(self, region: str) -> None:
        self._popularity = RegionalPopularity(PRODUCT_PAGES, region)

    def next(self, rng: Random) -> Wanted:
        """See Steps."""
        page = next_products_page(self._popularity, rng)
        return Wanted("/api/me" if page is None else f"/api/products?page={page}")

    def pause_seconds(self, rng: Random) -> float:
        """See Steps."""
        return api_pause(rng)

    def answered(self, wanted: Wanted, tag: str) -> None:
        """Nothing is remembered."""


MakeSteps = Callable[[str], Steps]


def refuse_unpredictable(profile: str) -> None:
    """UsageError for a profile whose requests cannot be told, with the reason."""
    if profile in WHY_NOT:
        known = ", ".join(name for name in PROFILES if name not in WHY_NOT)
        raise UsageError(
            f"profile {profile} cannot be predicted: {WHY_NOT[profile]}. There are {known}; or predict a trace"
        )


def steps_of(profile: str, given: Mapping[str, object]) -> MakeSteps:
    """For a user of a region. UsageError as of `refuse_unpredictable`; OptionsError for wrong options."""
    refuse_unpredictable(profile)
    options = read_options(profile, given)
    if isinstance(options, CacheBustingOptions):
        return lambda region: BustingSteps(options, region)
    if isinstance(options, ConditionalOptions):
        return lambda region: ConditionalSteps(options, region)
    if isinstance(options, ObjectsOptions):
        return lambda region: ObjectSteps(options, region)
    return ApiSteps


class _User:
    """One user, from its start to its end."""

    __slots__ = ("_is_leaving", "intended_start", "rng", "seat", "steps")

    def __init__(self, seat: Seat, steps: Steps, now: float) -> None:
        self.seat = seat
        self.steps = steps
        self.rng = Random(seat.seed)
        self.intended_start = seat.slots.first(now) if seat.slots is not None else now + self.rng.random()

    def schedule_next(self) -> None:
        """A pause is drawn in either case."""
        pause, slots = self.steps.pause_seconds(self.rng), self.seat.slots
        before = self.intended_start
        self.intended_start = before + pause if slots is None else slots.after(before)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a user, when it is due. Whoever takes it says what came of it before the next one is taken."""

    user_number: int
    region: str
    at_seconds: float
    wanted: Wanted
    answered: Callable[[Wanted, str], None]


def requests_of(plan: LoadPlan, make_steps: MakeSteps, lasts_seconds: float) -> Iterator[Asked]:
    """Of all users of a plan, in order. Those of stages come and go at whole seconds, as Locust looks at them, the newest first."""
    seats = Seats(plan, 0, 0.0)
    waiting: list[tuple[float, int, _User]] = []
    present: dict[int, _User] = {}
    changes = _changes(plan, lasts_seconds)
    second, users = next(changes)
    while True:
        if waiting and waiting[0][0] < second:
            due, number, user = heapq.heappop(waiting)
            if number not in present:
                continue
            region = user.seat.population.region
            yield Asked(number, region, due, user.steps.next(user.rng), user.steps.answered)
            user.schedule_next()
            heapq.heappush(waiting, (user.intended_start, number, user))
            continue
        if second >= lasts_seconds:
            return
        while len(present) > users:
            seats.leave(present.pop(max(present)).seat)
        while len(present) < users:
            seat = seats.take()
            user = present[seat.number] = _User(seat, make_steps(seat.population.region), second)
            heapq.heappush(waiting, (user.intended_start, seat.number, user))
        second, users = next(changes)


def _changes(plan: LoadPlan, lasts_seconds: float) -> Iterator[tuple[float, int]]:
    """From which second on there are how many users; ends with the end of the run."""
    stages = plan.intensity.stages
    yield 0.0, users_at(stages, 0.0) if stages else plan.users
    if stages:
        for second in range(1, int(lasts_seconds) + 1):
            if second < lasts_seconds:
                yield float(second), users_at(stages, float(second))
    yield lasts_seconds, 0


class ProfileDriver:
    """Puts the requests of a profile into one simulation: each user asks the edge that its own resolver has."""

    def __init__(self, simulation: Simulation, router: Router) -> None:
        self._simulation = simulation
        self._router = router
        self._places: dict[int, ViewerPlace] = {}

    def ask(self, asked: Asked) -> str:
        """The tag of what the viewer has then."""
        place = self._places.get(asked.user_number)
        if place is None:
            place = self._places[asked.user_number] = ViewerPlace(self._router, asked.region)
        request = TraceRequest(asked.at_seconds, asked.wanted.path, 0)
        known_version = int(asked.wanted.tag) if asked.wanted.tag else NOTHING_KNOWN
        return str(self._simulation.ask(request, place.edge(asked.at_seconds), known_version))
