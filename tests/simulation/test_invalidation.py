"""Invalidation that cannot lie (DESIGN section 4), searched for a viewer who sees old content after a receipt.

A failure tells the shortest schedule that fails as a story. CDNLAB_SIMULATION_SEEDS sets how many are searched; `make simulate` searches many more.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.plan import plan_of
from tests.simulation.planted import PLANTED, SHOWN_BY, SHOWN_BY_SCHEDULE
from tests.simulation.scenario import PRODUCT, Simulation
from tests.simulation.search import Totals, first_failure, quiet_meanwhile, runs
from tests.simulation.shrink import Shrinker, shortest_story, story

SEEDS = int(os.environ.get("CDNLAB_SIMULATION_SEEDS", "2000"))
PORTIONS = 4
PLANTED_SEEDS = 2000
"""A planted bug has to show within so many."""
WITH_SHELLS = 85
"""A seed in which the shells are the product's."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A node says what a disk does to it; thousands of them would say a lot."""
    with quiet_meanwhile():
        yield


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_viewer_sees_content_older_than_a_receipt(portion: int) -> None:
    """And, of every tenth seed, after the faults every node is routable and every receipt complete."""
    totals = Totals()
    for simulation in runs(range(portion, SEEDS, PORTIONS)):
        if simulation.violations:
            pytest.fail(shortest_story(simulation.plan))
        assert not any(node.stamps_beyond_total for node in simulation.nodes.values()), (
            f"seed {simulation.plan.seed}: a stamp beyond the journal"
        )
        totals.add(simulation)
        if totals.runs % 10 == 0:
            problems = simulation.come_to_rest()
            assert not problems and not simulation.violations, (
                f"seed {simulation.plan.seed}: {problems or simulation.violations[0]}"
            )
    print(totals)
    assert totals.receipts > 5 * totals.runs, "the simulation has become too quiet to find anything"
    assert totals.warm_starts > totals.runs, "the journal is hardly ever relied on"


@pytest.mark.parametrize("bug", [bug for bug in PLANTED if bug not in SHOWN_BY_SCHEDULE])
def test_a_planted_bug_is_found(bug: str) -> None:
    seeds = [*([SHOWN_BY[bug]] if bug in SHOWN_BY else []), *range(PLANTED_SEEDS)]
    found = first_failure(seeds, PLANTED[bug])
    assert found is not None, f"{bug}: not found in {PLANTED_SEEDS} seeds"
    print(f"{bug}: seed {found.plan.seed}: {found.violations[0]}")


def test_what_is_known_of_rare_bugs_is_about_bugs_that_there_are() -> None:
    assert SHOWN_BY.keys() <= PLANTED.keys()
    assert all(seed < PLANTED_SEEDS for seed in SHOWN_BY.values())


def test_a_bug_is_planted_for_each_rule() -> None:
    rules = {bug.partition(":")[0] for bug in PLANTED}
    assert {f"rule {number}" for number in range(1, 11)} <= rules


def test_a_failing_seed_is_cut_down_to_what_makes_it_fail_and_told() -> None:
    parts = PLANTED["rule 2: not checked on lookup"]
    found = first_failure(range(PLANTED_SEEDS), parts)
    assert found is not None
    shortest = Shrinker(parts).shortest(found.plan)
    assert [event.kind for event in shortest.events] == ["look", "change"], "stored at a look, old after a receipt"
    for event in shortest.events:
        rest = tuple(other for other in shortest.events if other is not event)
        with Simulation(replace(shortest, events=rest), parts) as simulation:
            assert not simulation.run(), f"it fails without {event}"
    told = story(shortest, parts)
    assert told == story(Shrinker(parts).shortest(found.plan), parts), "the same seed, another story"
    said = (
        "the origin has",
        "is entry 1",
        "has applied entry 1",
        "RECEIPT of I1",
        "VIOLATION: a viewer who asked edge-",
    )
    assert list(_in_order(said, told)) == list(said)


def test_what_does_not_fail_is_not_cut_down() -> None:
    with pytest.raises(ValueError, match="seed 0 does not fail"):
        Shrinker(PRODUCT).shortest(plan_of(0))


def outcome(seed: int) -> str:
    """All that has been thrown, in one number, and what came of it."""
    with Simulation(plan_of(seed)) as simulation:
        simulation.run()
    thrown = [simulation.world.dice(name).random() for name in ("viewers", "edge-1 > plane", "upstream of edge-2")]
    return f"{sum(thrown)} {simulation.receipts_total} {simulation.answers_total}"


def digest_of_story(seed: int) -> str:
    """All that has happened, in a few letters."""
    return hashlib.blake2b(story(plan_of(seed)).encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_replays_in_another_process(hash_seed: str) -> None:
    """In which sets and hashes have another order; and with the product's shells its story, to the last byte."""
    assert plan_of(WITH_SHELLS).conditions.has_shells
    replayed = f"outcome(7), outcome(582), digest_of_story({WITH_SHELLS})"
    program = f"from {outcome.__module__} import digest_of_story, outcome; print({replayed})"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[-2] == f"{outcome(7)} {outcome(582)} {digest_of_story(WITH_SHELLS)}"


def _in_order(parts: Sequence[str], text: str) -> Iterator[str]:
    for part in parts:
        _, found, text = text.partition(part)
        yield found
