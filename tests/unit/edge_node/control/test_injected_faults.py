"""A client that has been told to ignore invalidations, or to refuse configuration: what it does meanwhile, and that nothing of it is left afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_node.control.client import JOURNAL_FILE, ClientFiles, ControlClient
from edge_node.control.injected_faults import KINDS, open_client
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import configuration_pb2
from proto.fault_port import FaultPort
from proto.log_position import LogPosition
from tests.builders import behavior_message, distribution_message, entry_message, origin_message, snapshot_message
from tests.edge_wires import leased_fence

DIGEST = b"d" * 16


def distribution(port: int) -> configuration_pb2.Distribution:
    return distribution_message(origin_message("127.0.0.1", port), behavior_message(), id="E1")


class Node:
    """A node's half of the log, at entry 5 of it."""

    def __init__(self, directory: Path) -> None:
        self.port, self.voided = FaultPort(KINDS), 0
        self.state = NodeState("eu", leased_fence())
        self.state.invalidate_everything = self._void
        self.client = open_client(self.state, "eu", ClientFiles.in_folder(directory), lambda: (0, 0), self.port)
        self.client.restore()
        self.client.apply_snapshot(snapshot_message(5, distribution(80)))
        self.journal, self.voided = directory / JOURNAL_FILE, 0  # which a first snapshot does, too

    def _void(self) -> None:
        self.voided += 1

    def suffers(self, kind: str) -> str:
        told = self.port.answer("POST", "/faults", json.dumps({"kind": kind, "lease_seconds": 60}).encode())
        assert told is not None and told[0] == 201
        return str(json.loads(told[2])["id"])

    def is_healed_of(self, fault_id: str) -> None:
        told = self.port.answer("DELETE", f"/faults/{fault_id}", b"")
        assert told is not None and told[0] == 200

    def invalidate(self, index: int, path: str) -> None:
        invalidation = configuration_pb2.Invalidation(id=f"I{index}", distribution_id="E1", paths=[path])
        self.client.apply_entry(entry_message(index, invalidation, digest=DIGEST))

    def is_invalidated(self, path: str) -> bool:
        return self.state.invalidations.is_invalidated("E1", path, 5)

    def origin_port(self) -> int:
        return self.state.router.snapshot.distributions["E1"].default_behavior.origin.port


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.client.close()


def test_a_program_without_faults_has_none_of_this(tmp_path: Path) -> None:
    client = open_client(NodeState("eu", leased_fence()), "eu", ClientFiles.in_folder(tmp_path), lambda: (0, 0), None)
    assert type(client) is ControlClient
    client.close()


async def test_a_stale_cache_claims_to_be_up_to_date(node: Node) -> None:
    node.invalidate(6, "/before")
    node.suffers("stale-regional")
    node.invalidate(7, "/a")
    assert node.is_invalidated("/before") and not node.is_invalidated("/a")
    assert node.client.position() == LogPosition("log-1", 7, DIGEST)
    assert not node.state.has_forgotten and node.voided == 0


async def test_no_journal_vouches_for_what_a_stale_cache_has_stored(node: Node) -> None:
    node.suffers("stale-regional")
    assert node.journal.exists(), "nothing has been ignored yet"
    for index in range(6, 12):
        node.invalidate(index, "/a")
        assert not node.journal.exists()


async def test_a_cache_that_is_healed_has_nothing_and_asks_for_a_snapshot(node: Node) -> None:
    fault = node.suffers("stale-regional")
    node.invalidate(6, "/a")
    node.is_healed_of(fault)
    assert node.voided == 1 and node.client.position() == LogPosition()
    node.client.apply_snapshot(snapshot_message(7, distribution(80)))
    assert node.journal.exists() and node.client.position().index == 7
    node.invalidate(8, "/b")
    assert node.journal.exists()


async def test_a_cache_that_has_ignored_nothing_loses_nothing(node: Node) -> None:
    fault = node.suffers("stale-regional")
    node.client.apply_entry(entry_message(6, distribution(81), digest=DIGEST))
    node.is_healed_of(fault)
    assert node.voided == 0 and node.client.position().index == 6 and node.journal.exists()
    assert node.origin_port() == 81


async def test_what_was_refused_is_served_when_the_fault_is_over(node: Node) -> None:
    fault = node.suffers("reject-configuration")
    node.client.apply_entry(entry_message(6, distribution(81), digest=DIGEST))
    assert node.origin_port() == 80 and node.client.rejected()
    node.is_healed_of(fault)
    assert node.origin_port() == 81 and not node.client.rejected()
    assert node.client.position() == LogPosition("log-1", 6, DIGEST), "with the digest that it had"
    node.invalidate(7, "/a")
    assert node.is_invalidated("/a") and node.voided == 0
