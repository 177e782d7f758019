"""Who a user is: its population, its number, what its random choices derive from, and when it is meant to ask.

A user that is stopped leaves its seat, and the next one takes the first that is free: with the newest users stopped
first (load_shape.py) the seats that are taken are always the first ones, so however many there are, each population has
its share.
"""

import heapq
from dataclasses import dataclass
from random import Random

from loadtests.plan import LoadPlan
from loadtests.schedule import POISSON, Slots, random_slots_of, slots_of
from loadtests.workload import Population, seating_order

NUMBERS_OF_A_WORKER = 1_000_000
"""Users of two workers of one run never have the same number."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Of one user, from its start to its end."""

    index: int
    number: int
    """Of the user, never given to another one in this run."""
    population: Population
    name: str
    """`load/eu-west-1/17`: the load generator, the region, the number. Nobody else of a run is called so."""
    seed: str
    """What the user's random choices derive from: its name, behind the seed of the plan if it has one."""
    slots: Slots | None
    """When it is meant to ask; None: the pauses of its profile say."""


class Seats:
    """All seats of one Locust process."""

    def __init__(self, plan: LoadPlan, worker: int, began_at: float) -> None:
        """`worker`: index of the process among its run's. `began_at`: when the run began, in seconds of the clock by which users wait."""
        self._plan = plan
        self._order = seating_order(plan.populations)
        self._worker = worker
        self._began_at = began_at
        self._free: list[int] = []
        self._seen = 0
        self._users = 0

    def take(self) -> Seat:
        """For one more user."""
        if self._free:
            index = heapq.heappop(self._free)
        else:
            index, self._seen = self._seen, self._seen + 1
        number = self._worker * NUMBERS_OF_A_WORKER + self._users
        self._users += 1
        wanted = self._plan.intensity
        population = self._order[(self._worker + index) % len(self._order)]
        name = f"{wanted.name}/{population.region}/{number}"
        seed = f"{wanted.seed}/{name}" if wanted.seed is not None else name
        return Seat(index, number, population, name, seed, self._slots_of(index, seed))

    def _slots_of(self, index: int, seed: str) -> Slots | None:
        wanted = self._plan.intensity
        if wanted.rate is None:
            return None
        if wanted.arrivals == POISSON:
            return random_slots_of(self._plan.users, wanted.rate, Random(f"{seed}/arrivals"))
        return slots_of(index, self._plan.users, wanted.rate, self._began_at)

    def leave(self, seat: Seat) -> None:
        """The user has ended."""
        heapq.heappush(self._free, seat.index)
