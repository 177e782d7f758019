"""What a node serves of a resource that it cannot honour: from an entry, from a snapshot, or found on disk by another version of the program (DESIGN section 3)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_node.control import resource_reader
from edge_node.control.resource_kinds import KINDS
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resources import cache_policy_name, name_message
from tests.builders import (
    behavior_message,
    distribution_message,
    entry_message,
    origin_message,
    policy_id,
    policy_message,
    snapshot_message,
)
from tests.edge_over_disk import EdgeOverDisk

NEWER_SEMANTICS = configuration_pb2.Semantics.ValueType(77)
"""That a later version of this program may know."""


class Node(EdgeOverDisk):
    """A node that is told of one kind of resource."""

    def snapshot(self, index: int, *distributions: configuration_pb2.Distribution, log_id: str = "log-1") -> None:
        self.client.apply_snapshot(snapshot_message(index, *distributions, log_id=log_id))

    def put(self, index: int, distribution: configuration_pb2.Distribution) -> None:
        self.client.apply_entry(entry_message(index, distribution))

    def ports(self) -> dict[str, int]:
        """The port of each distribution's origin, which tells its versions apart."""
        served = self.state.router.snapshot.distributions
        return {name: distribution.default_behavior.origin.port for name, distribution in served.items()}

    def rejections(self) -> dict[str, int]:
        """The index of what is refused, by distribution."""
        return {change.rejection.id: change.rejection.index for change in self.client.rejected().values()}

    def kept_ports(self) -> dict[str, int]:
        served = [each.served for each in self.kept() if each.name.kind == sync_pb2.RESOURCE_KIND_DISTRIBUTION]
        messages = [configuration_pb2.Distribution.FromString(each.body) for each in served if each.body]
        return {message.id: message.origins[0].port for message in messages}


def version(port: int, identifier: str = "E1", *, is_newer: bool = False) -> configuration_pb2.Distribution:
    """A version of a distribution, which this program cannot honour if it `is_newer`."""
    behavior = behavior_message(semantics=NEWER_SEMANTICS) if is_newer else behavior_message()
    name = f"{identifier.lower()}.cdn.localhost"
    return distribution_message(origin_message("127.0.0.1", port), behavior, id=identifier, domain_name=name)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """At 5, with E1 at port 1001."""
    node = Node(tmp_path / "state")
    node.snapshot(5, version(1001))
    yield node
    node.client.close()


def test_an_entry_that_is_refused_leaves_the_last_good_version_also_over_a_restart(node: Node) -> None:
    node.put(6, version(1002, is_newer=True))
    after = node.restarted()
    for process in (node, after):
        assert process.ports() == {"E1": 1001} and process.rejections() == {"E1": 6}
        assert process.client.position() == LogPosition("log-1", 6)
    assert after.restored.is_warm
    after.client.close()


def test_a_resource_that_is_refused_in_a_snapshot_stays_on_its_last_good_version(node: Node) -> None:
    """It was dropped before, and acknowledged: viewers got 403."""
    node.snapshot(9, version(1002, is_newer=True), version(2001, "E2"), version(3001, "E3", is_newer=True))
    after = node.restarted()
    for process in (node, after):
        assert process.ports() == {"E1": 1001, "E2": 2001} and process.rejections() == {"E1": 2, "E3": 4}
    assert after.client.position() == LogPosition("log-1", 9) and after.kept_ports() == {"E1": 1001, "E2": 2001}
    after.client.close()


def test_of_another_log_there_is_no_last_good_version(node: Node) -> None:
    node.snapshot(9, version(1002, is_newer=True), log_id="log-2")
    assert node.ports() == {} and node.rejections() == {"E1": 2}


def test_a_version_that_can_be_honoured_ends_the_rejection_and_so_does_the_removal(node: Node) -> None:
    for index, identifier in enumerate(("E1", "E2"), start=6):
        node.put(index, version(1002, identifier, is_newer=True))
    node.put(8, version(1003))
    assert node.ports() == {"E1": 1003} and node.rejections() == {"E2": 7}
    node.client.apply_entry(entry_message(9, deleted_distributions=["E2"]))
    after = node.restarted()
    assert node.rejections() == after.rejections() == {} and after.ports() == {"E1": 1003}
    after.client.close()


def test_a_program_that_has_learned_more_serves_what_the_one_before_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.put(6, version(1002, is_newer=True))
    node.snapshot(7, version(1003, is_newer=True), version(2002, "E2", is_newer=True))
    with monkeypatch.context() as patch:
        of_today = resource_reader._SEMANTICS
        patch.setattr(
            resource_reader, "_SEMANTICS", {**of_today, NEWER_SEMANTICS: of_today[configuration_pb2.SEMANTICS_RFC9111]}
        )
        after = node.restarted()
        assert after.ports() == {"E1": 1003, "E2": 2002} and after.rejections() == {}
        assert after.restored.is_warm and after.client.position() == LogPosition("log-1", 7)
        after.put(8, version(3001, "E3"))
    again = after.restarted()  # the older program once more
    assert again.ports() == {"E1": 1001, "E3": 3001} and again.rejections() == {"E1": 2, "E2": 3}
    assert again.client.position() == LogPosition("log-1", 8)
    again.client.close()


def test_a_kind_that_the_program_does_not_know_is_refused_by_name_and_served_by_one_that_does(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = sync_pb2.ResourceKind.ValueType(77)
    for index in (6, 7):
        entry = entry_message(index)
        entry.changes.add(put=sync_pb2.Resource(kind=kind, id=f"f{index}", revision=index))
        node.client.apply_entry(entry)
    still = node.restarted()
    assert still.client.position() == LogPosition("log-1", 7) and still.rejections() == {"f6": 6, "f7": 7}
    known = {**KINDS, 77: KINDS[sync_pb2.RESOURCE_KIND_ROUTING_TABLE]}
    with monkeypatch.context() as patch:
        patch.setattr("edge_node.control.client.KINDS", known)
        after = still.restarted()
    assert after.client.position() == LogPosition("log-1", 7) and after.restored.is_warm and not after.rejections()
    after.client.close()


def test_what_the_disk_does_not_take_of_a_rejection_is_not_said_either(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _refuse)
        with pytest.raises(OSError):
            node.put(6, version(1002, is_newer=True))
    assert node.client.position() == LogPosition("log-1", 5) and node.rejections() == {}
    assert node.client.file_statistics.write_failures_total == 1


def _refuse(*_: object) -> Path:
    raise OSError("no space left on device")


def test_what_is_refused_twice_and_mended_then_has_forgotten_no_invalidation(node: Node) -> None:
    """It stays on its last good version meanwhile, also when that is the only one which still needs its cache policy."""
    moved_to = policy_message(default_ttl_seconds=7)
    unusable = distribution_message(
        origin_message("127.0.0.1", 1002),
        behavior_message(policy=moved_to, semantics=NEWER_SEMANTICS),
        id="E1",
        domain_name="e1.cdn.localhost",
    )
    stamp = node.state.applied_index
    node.client.apply_entry(
        entry_message(6, configuration_pb2.Invalidation(id="I1", distribution_id="E1", paths=["/a"]))
    )
    moved = entry_message(7, unusable)
    moved.changes.add().delete.MergeFrom(name_message(cache_policy_name(policy_id(policy_message()))))
    node.client.apply_entry(moved)
    node.put(8, unusable)
    assert node.ports() == {"E1": 1001} and node.state.invalidations.is_invalidated("E1", "/a", stamp)
    node.put(9, version(1003))
    after = node.restarted()
    for process in (node, after):
        assert process.ports() == {"E1": 1003} and process.rejections() == {}
        assert process.state.invalidations.is_invalidated("E1", "/a", stamp)
    after.client.close()
