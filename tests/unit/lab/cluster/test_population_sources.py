"""When viewers on this machine can connect from the networks of containers: the addresses are its own, and its kernel takes answers that come another way."""

from pathlib import Path

import pytest

from lab.cluster.interface import PopulationRecord
from lab.cluster.population_sources import usable_sources

HERE = PopulationRecord("us-east-1", "10.1.0.0/16", 3, "127.68.0.9/32")
ELSEWHERE = PopulationRecord("eu-central-1", "10.2.0.0/16", 3, "192.0.2.9/32")
NOWHERE = PopulationRecord("eu-central-1", "10.2.0.0/16", 3)


def filters(folder: Path, of_all: int, of_new: int) -> Path:
    for name, value in (("all", of_all), ("default", of_new)):
        (folder / name).mkdir()
        (folder / name / "rp_filter").write_text(f"{value}\n")
    return folder


@pytest.mark.parametrize(("of_all", "of_new"), [(0, 0), (2, 1), (0, 2), (1, 2)])
def test_a_kernel_that_asks_only_for_any_way_back_or_for_none(tmp_path: Path, of_all: int, of_new: int) -> None:
    """0 asks for none, 2 for any; the larger one counts (the kernel's ip-sysctl.rst)."""
    assert usable_sources([HERE, NOWHERE], filters(tmp_path, of_all, of_new)) == (HERE, NOWHERE)


@pytest.mark.parametrize(("of_all", "of_new"), [(1, 0), (0, 1), (1, 1)])
def test_a_kernel_that_asks_for_the_same_way_has_viewers_elsewhere(tmp_path: Path, of_all: int, of_new: int) -> None:
    assert [each.source for each in usable_sources([HERE], filters(tmp_path, of_all, of_new))] == [""]


def test_where_the_addresses_are_another_machine_s_nobody_has_a_source(tmp_path: Path) -> None:
    """All or none: figures of populations are compared with each other."""
    assert [each.source for each in usable_sources([HERE, ELSEWHERE], filters(tmp_path, 0, 0))] == ["", ""]


def test_another_system_has_no_such_files(tmp_path: Path) -> None:
    (without,) = usable_sources([HERE], tmp_path)
    assert (without.source, without.users) == ("", 3)
