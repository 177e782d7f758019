"""Searches many seeds for one that fails."""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.simulation.plan import plan_of
from tests.simulation.planted import PLANTED
from tests.simulation.scenario import PRODUCT, Parts, Simulation

COLLECTED_EVERY = 50
"""A run leaves some megabytes in cycles. To look for them all the time takes a third of the time."""


@dataclass(slots=True)
class Totals:
    """What came of many runs: whether they looked at anything."""

    runs: int = 0
    receipts: int = 0
    answers: int = 0
    warm_starts: int = 0

    def add(self, simulation: Simulation) -> None:
        """One more."""
        self.runs += 1
        self.receipts += simulation.receipts_total
        self.answers += simulation.answers_total
        self.warm_starts += sum(node.warm_starts_total for node in simulation.nodes.values())


def quiet() -> None:
    """A node says what a disk does to it; thousands of them would say a lot. For a process that does nothing else."""
    logging.disable(logging.ERROR)


@contextmanager
def quiet_meanwhile() -> Iterator[None]:
    """The same, for a process that goes on with something else."""
    before = logging.root.manager.disable
    quiet()
    try:
        yield
    finally:
        logging.disable(before)


def runs(seeds: Sequence[int], parts: Parts = PRODUCT) -> Iterator[Simulation]:
    """Each seed's, when it is over."""
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # the modules are not looked at again and again
    try:
        for number, seed in enumerate(seeds):
            with Simulation(plan_of(seed), parts) as simulation:
                simulation.run()
                yield simulation
            if number % COLLECTED_EVERY == 0:
                gc.collect()
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def first_failure(seeds: Sequence[int], parts: Parts) -> Simulation | None:
    """The first run that fails; None: none of them."""
    return next((simulation for simulation in runs(seeds, parts) if simulation.violations), None)


def first_failing_seed(bug: str, seeds: int) -> int | None:
    """The first seed that shows a planted bug; None: none of so many."""
    failure = first_failure(range(seeds), PLANTED[bug])
    return None if failure is None else failure.plan.seed
