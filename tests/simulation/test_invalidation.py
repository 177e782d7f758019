"""Invalidation that cannot lie (DESIGN section 4), searched for a viewer who sees old content after a receipt.

A failure names its seed, and `Simulation(seed).run()` replays it. CDNLAB_SIMULATION_SEEDS sets how many are searched.
"""

import os

import pytest

from edge_node.control import journal
from tests.simulation.planted import PLANTED
from tests.simulation.scenario import Simulation, Violation

SEEDS = int(os.environ.get("CDNLAB_SIMULATION_SEEDS", "3200"))
PORTIONS = 4
PLANTED_SEEDS = 2000
"""A planted bug has to show within so many; most show within ten."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node says what a disk does to it; thousands of them would say a lot."""
    monkeypatch.setattr(journal.logger, "disabled", True)


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_viewer_sees_content_older_than_a_receipt(portion: int) -> None:
    receipts_total = answers_total = warm_starts_total = 0
    for seed in range(portion, SEEDS, PORTIONS):
        simulation = Simulation(seed)
        violations = simulation.run()
        assert not violations, f"seed {seed}, faults {sorted(simulation.faults)}: {violations[0]}"
        receipts_total += simulation.receipts_total
        answers_total += simulation.answers_total
        warm_starts_total += sum(node.warm_starts_total for node in simulation.nodes)
        assert not any(node.stamps_beyond_total for node in simulation.nodes), (
            f"seed {seed}: a stamp beyond the journal"
        )
    print(f"{receipts_total} receipts, {answers_total} answers, {warm_starts_total} warm starts")
    assert receipts_total > 5 * SEEDS // PORTIONS, "the simulation has become too quiet to find anything"
    assert warm_starts_total > SEEDS // PORTIONS, "the journal is hardly ever relied on"


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str) -> None:
    found = _first_violation(bug)
    assert found is not None, f"{bug}: not found in {PLANTED_SEEDS} seeds"
    seed, violation = found
    print(f"{bug}: seed {seed}: {violation}")


def test_after_the_faults_every_node_is_routable_and_every_receipt_complete() -> None:
    for seed in range(300):
        simulation = Simulation(seed)
        simulation.run()
        problems = simulation.come_to_rest()
        assert not problems, f"seed {seed}: {problems}"
        assert not simulation.violations, f"seed {seed}: {simulation.violations[0]}"


def test_a_seed_replays() -> None:
    first, second = Simulation(7), Simulation(7)
    first.run(), second.run()
    assert (first.receipts_total, first.answers_total) == (second.receipts_total, second.answers_total)


def _first_violation(bug: str) -> tuple[int, Violation] | None:
    for seed in range(PLANTED_SEEDS):
        violations = Simulation(seed, PLANTED[bug]).run()
        if violations:
            return seed, violations[0]
    return None
