"""SIGKILL at random moments, of agent, watchdog and commands: rounds of sigkill_rounds.py, a few here and many at night."""

import random
from pathlib import Path

import pytest

from tests.depth import TIMES, examples
from tests.integration.lab.sigkill_rounds import Rounds

LOOPBACK = "127.62.0.0/16"


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * TIMES)
def test_whatever_is_killed_nothing_is_left_behind_and_the_lab_heals(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, LOOPBACK, random.Random(1130))
    try:
        rounds.play(examples(3))
        rounds.end()
    finally:
        print(rounds.figures)
        rounds.abandon()
