"""The seed of a lab: from the file or the command line, and told to every program and to the relays (docs/repeating.md)."""

from itertools import pairwise
from pathlib import Path

import pytest

from lab.cluster.container_facts import lab_facts, read_facts
from lab.commands.up import with_seed
from lab.topology.choice import TopologyChoice
from lab.topology.layout import SEED, Layout, Role
from lab.topology.problems import TopologyError
from lab.topology.reader import find_topology, parse_topology
from lab.topology.relay_file import relay_document
from tests.integration.lab_harness import small


def test_the_command_line_replaces_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(f"{small()}seed: 7\n")
    assert find_topology(TopologyChoice(str(file))).seed == 7
    assert find_topology(TopologyChoice(str(file), seed=0)).seed == 0


def test_one_is_drawn_where_none_is_given() -> None:
    topology = parse_topology(small(), "t.yaml")
    assert topology.seed is None
    assert len({with_seed(topology).seed for _ in range(20)}) > 1
    seven = parse_topology(f"{small()}seed: 7\n", "t.yaml")
    assert with_seed(seven) == seven


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", "100000000001"])
def test_what_is_no_seed(seed: str) -> None:
    with pytest.raises(TopologyError, match="seed must be"):
        parse_topology(f"{small()}seed: {seed}\n", "t.yaml")


def test_every_program_is_told_and_so_are_the_relays(tmp_path: Path) -> None:
    text = small().replace("relays: false", "relays: true")
    layout = Layout(parse_topology(f"{text}seed: 7\n", "t.yaml"), tmp_path)
    told = {node.id: dict(pairwise(node.flags)).get(SEED) for node in layout.nodes() if node.role is not Role.WAN}
    assert told == dict.fromkeys(told, "7") and relay_document(layout)["seed"] == 7
    without = Layout(parse_topology(text, "t.yaml"), tmp_path)
    assert not any(SEED in node.flags for node in without.nodes()) and "seed" not in relay_document(without)


@pytest.mark.parametrize(("flags", "seed"), [(["--seed", "7"], 7), ([], None), (["--seed", "x"], None)])
def test_a_lab_in_containers_is_known_by_its_control_plane_s_flag(flags: list[str], seed: int | None) -> None:
    attributes = {"Config": {"Cmd": ["python", "-m", "control_plane", "--api", "0.0.0.0:4566", *flags], "Labels": {}}}
    assert lab_facts(read_facts("c0ffee", attributes), None).seed == seed
