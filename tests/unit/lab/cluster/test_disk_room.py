"""What is said when the disk tiers may outgrow the disk."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.cluster.disk_room import disk_budget_mib, disk_room_warning, full_disk_line
from lab.topology.model import Topology
from lab.topology.reader import parse_topology


def topology(disk_mib: int) -> Topology:
    text = f"""\
disk_mib: {disk_mib}
regions:
  - {{name: us-east-1, airport: IAD}}
pops:
  - {{name: IAD89-P1, region: us-east-1, edges: 3}}
  - {{name: IAD89-P2, region: us-east-1, disk_mib: 0}}
regional_caches:
  - {{region: us-east-1, count: 2}}
origins: external
"""
    return parse_topology(text, "lab.yaml")


def test_the_budget_is_that_of_all_nodes_together() -> None:
    assert disk_budget_mib(topology(100)) == 5 * 100
    assert disk_budget_mib(topology(0)) == 0


def test_a_disk_that_is_too_small_is_named_with_a_way_out(tmp_path: Path) -> None:
    warning = disk_room_warning(topology(1 << 20), tmp_path / "not" / "yet")
    assert warning.startswith("warning: the disk tiers may grow to 5,242,880 MiB together, and ")
    assert str(tmp_path / "not" / "yet") in warning
    assert warning.endswith("lower disk_mib, or give another folder with --state")


def test_nothing_is_said_when_there_is_room_or_no_disk_tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk_room_warning(topology(8), tmp_path) == ""
    monkeypatch.setattr(shutil, "disk_usage", None)  # nobody asks
    assert disk_room_warning(topology(0), tmp_path) == ""


def test_a_folder_that_cannot_be_asked_about_is_left_to_those_who_use_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert disk_room_warning(topology(1 << 20), tmp_path / "file" / "lab") == ""


def test_a_full_disk_is_named_where_a_node_has_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_disk_line(tmp_path) == ""
    full = SimpleNamespace(free=44 << 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: full)
    assert full_disk_line(tmp_path).strip() == (
        f"the disk of {tmp_path} is full: make room, or give another folder with --state"
    )
