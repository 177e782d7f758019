"""The command that searches many seeds says how far it got, and where to go on."""

import pytest

from tests.simulation import __main__ as command
from tests.simulation import find_seeds


def test_what_has_been_searched_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "6", "--from", "40", "--processes", "1"]) == 0
    told = capsys.readouterr().out
    assert "seeds 40 to 45: " in told and "0 failures" in told


def test_a_search_whose_time_is_over_says_where_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "3", "--minutes", "0", "--processes", "1"]) == 0
    assert "go on with --from 0 --seeds 3" in capsys.readouterr().out


def test_the_table_of_seeds_names_a_bug_that_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    find_seeds.main(["rule 10: never fenced", "--seeds", "1", "--processes", "1"])
    assert "# not found in 1 seeds: rule 10: never fenced" in capsys.readouterr().out
