"""A bit of a file that a node trusts is the other way round: it serves what it served, or nothing, and never something else (DESIGN sections 3 and 4)."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_node.control.client import DIRECTORY_FILE, JOURNAL_FILE, ControlClient
from edge_node.policy.router import Snapshot
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resource_files import POSITION_FILE
from tests.builders import (
    behavior_message,
    distribution_message,
    entry_message,
    geo_table_message,
    origin_message,
    snapshot_message,
)
from tests.edge_wires import leased_fence

VIEWER = "192.0.2.1"


class Node:
    """A process over a state directory."""

    def __init__(self, directory: Path) -> None:
        self.invalidated = 0
        self.state = NodeState("eu", leased_fence())
        self.state.invalidate_everything = self._invalidate
        self.client = ControlClient(self.state, "eu", directory, lambda: (0, 0))
        self.restored = self.client.restore()

    def _invalidate(self) -> None:
        self.invalidated += 1

    def configuration(self) -> object:
        """All that decides whom it asks for what."""
        served: Snapshot = self.state.router.snapshot
        return served.distributions, self.state.latency_milliseconds, self.state.geo_table.country_of(VIEWER)

    def regionals(self) -> list[str]:
        return [f"{peer.id} {peer.host}:{peer.port}" for peer in self.state._regionals]


def fill(directory: Path) -> None:
    """A node that has heard everything, a refused distribution included."""
    node = Node(directory)
    table = configuration_pb2.RoutingTable(zone="cdn.localhost")
    table.latencies.add(from_region="eu", to_region="us", milliseconds=45)
    countries = geo_table_message({"192.0.2.0/24": "US"})
    node.client.apply_snapshot(snapshot_message(5, _distribution("E1"), table, countries))
    refused = _distribution("E2")
    refused.default_behavior.origin_id = "nowhere"
    node.client.apply_entry(entry_message(6, refused))
    invalidation = configuration_pb2.Invalidation(id="I1", distribution_id="E1", paths=["/a"])
    node.client.apply_entry(entry_message(7, invalidation))
    regional = sync_pb2.Node(id="regional-1", role=sync_pb2.ROLE_REGIONAL, region="eu", http_address="127.0.0.2:8080")
    node.client.apply_directory(sync_pb2.Directory(version=1, nodes=[regional]))
    node.client.close()


def _distribution(identifier: str) -> configuration_pb2.Distribution:
    origin = origin_message(host="127.0.0.1", port=8080)
    return distribution_message(origin, behavior_message(), id=identifier, domain_name=f"{identifier}.cdn.localhost")


def restarted(directory: Path, files: Mapping[str, bytes]) -> Node:
    for name, content in files.items():
        (directory / name).write_bytes(content)
    node = Node(directory)
    node.client.close()
    return node


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    fill(tmp_path)
    return {name: (tmp_path / name).read_bytes() for name in (POSITION_FILE, DIRECTORY_FILE, JOURNAL_FILE)}


@pytest.mark.parametrize("name", [POSITION_FILE, DIRECTORY_FILE, JOURNAL_FILE])
def test_no_flipped_bit_makes_another_configuration(tmp_path: Path, files: dict[str, bytes], name: str) -> None:
    """One bit of each byte in turn."""
    rng = random.Random(1)
    sound = restarted(tmp_path, files)
    assert sound.restored.is_warm and sound.client.position() == LogPosition("log-1", 7) and sound.client.rejected()
    assert sound.regionals() == ["regional-1 127.0.0.2:8080"]
    for at in range(len(files[name])):
        flipped = bytearray(files[name])
        flipped[at] ^= 1 << rng.randrange(8)
        _check(restarted(tmp_path, {**files, name: bytes(flipped)}), sound, name)


def _check(node: Node, sound: Node, name: str) -> None:
    nothing = Node.configuration(_nobody())
    assert node.client.file_statistics.refused_total == (name != JOURNAL_FILE)
    assert node.regionals() == ([] if name == DIRECTORY_FILE else sound.regionals())
    assert node.configuration() == (nothing if name == POSITION_FILE else sound.configuration())
    if (
        name == DIRECTORY_FILE
    ):  # whom it asks is told at the start of each stream; what it has stored is worth what it was
        assert node.restored.is_warm and node.client.position() == LogPosition("log-1", 7)
    else:
        assert node.client.position() == LogPosition() and node.invalidated >= 1


def _nobody() -> Node:
    node = Node.__new__(Node)
    node.state = NodeState("eu", leased_fence())
    return node


@pytest.mark.parametrize("name", [POSITION_FILE, DIRECTORY_FILE])
def test_files_that_are_cut_exchanged_or_of_before_there_were_digests_are_refused(
    tmp_path: Path, files: dict[str, bytes], name: str
) -> None:
    other = DIRECTORY_FILE if name == POSITION_FILE else POSITION_FILE
    old = snapshot_message(7, _distribution("E1")).SerializeToString()
    for content in (b"", files[name][:-1], files[name][:20], files[name] + b"\0", files[other], old):
        node = restarted(tmp_path, {**files, name: content})
        assert node.client.file_statistics.refused_total == 1
        _check(node, restarted(tmp_path, files), name)


def test_a_flipped_bit_in_the_file_of_a_resource_costs_that_resource_and_what_refers_to_it(tmp_path: Path) -> None:
    """The rest is served, nothing that was stored is, and everything is asked for anew."""
    fill(tmp_path)
    rng = random.Random(1)
    paths = sorted(tmp_path.glob("configuration-*/*"))
    assert [path.name.partition("-")[0] for path in paths] == [
        "cache_policy",
        "distribution",
        "distribution",
        "geo_table",
        "routing_table",
    ]
    sound = restarted(tmp_path, {})
    for path in paths:
        whole = path.read_bytes()
        for at in rng.sample(range(len(whole)), 20):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            node = restarted(tmp_path, {})
            assert node.client.position() == LogPosition() and node.invalidated >= 1
            assert node.client.file_statistics.refused_total == 1
            served, (lost, *_) = node.state.router.snapshot.distributions, path.name.split("-")
            is_lost = lost == "cache_policy" or path.name.startswith("distribution-E1")
            assert served == ({} if is_lost else sound.state.router.snapshot.distributions)
            assert (node.state.geo_table.country_of(VIEWER) is None) == (lost == "geo_table")
        path.write_bytes(whole)


def test_a_resource_whose_file_is_missing_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    (path,) = tmp_path.glob("configuration-*/distribution-E1-*")
    path.unlink()
    node = restarted(tmp_path, {})
    assert node.client.position() == LogPosition() and node.state.router.snapshot.distributions == {}
    assert node.restored.has_configuration and not node.restored.is_warm
