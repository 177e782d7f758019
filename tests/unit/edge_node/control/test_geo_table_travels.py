"""The table of countries on its way to the serving state, as snapshot and as entry, through restarts, and what is left of one that cannot be read (DESIGN section 3)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_node.control.resource_kinds import KINDS
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resources import GEO_TABLE
from tests.builders import distribution_message, entry_message, geo_table_message, origin_message, snapshot_message
from tests.edge_over_disk import EdgeOverDisk

US = geo_table_message({"192.0.2.0/24": "US"})
DE = geo_table_message({"192.0.2.0/24": "DE"})
UNREADABLE = geo_table_message({"192.0.2.0/24": "nowhere"})
VIEWER = "192.0.2.1"


class Node(EdgeOverDisk):
    """A node that is told of one kind of resource."""

    def country(self) -> bytes | None:
        """Of the viewer."""
        return self.state.geo_table.country_of(VIEWER)

    def snapshot(self, index: int, table: configuration_pb2.GeoTable | None, log_id: str = "log-1") -> None:
        distribution = distribution_message(origin_message("127.0.0.1", 80))
        bodies = [distribution] if table is None else [distribution, table]
        self.client.apply_snapshot(snapshot_message(index, *bodies, log_id=log_id))

    def put(self, index: int, table: configuration_pb2.GeoTable) -> str | None:
        """Why it is rejected, if it is."""
        self.client.apply_entry(entry_message(index, table))
        change = self.client.rejected().get(GEO_TABLE)
        return None if change is None else change.rejection.reason

    def on_disk(self) -> list[configuration_pb2.GeoTable]:
        """The table that is served, if there is one."""
        served = [each.served for each in self.kept() if each.name.kind == sync_pb2.RESOURCE_KIND_GEO_TABLE]
        return [configuration_pb2.GeoTable.FromString(each.body) for each in served if each.body]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state")
    yield node
    node.client.close()


def test_before_anything_is_heard_nobody_has_a_country(node: Node) -> None:
    assert node.country() is None


def test_a_snapshot_brings_it_and_it_is_there_after_a_restart(node: Node) -> None:
    node.snapshot(5, US)
    assert node.country() == b"US"
    after = node.restarted()
    assert after.restored.is_warm and after.country() == b"US" and after.client.position() == LogPosition("log-1", 5)
    after.client.close()


def test_an_entry_changes_it_and_that_is_there_after_a_restart(node: Node) -> None:
    node.snapshot(5, US)
    assert node.put(6, DE) is None
    assert node.country() == b"DE" and node.client.position() == LogPosition("log-1", 6)
    after = node.restarted()
    assert after.restored.is_warm and after.country() == b"DE" and after.client.position() == LogPosition("log-1", 6)
    assert after.put(7, geo_table_message({})) is None and after.country() is None
    again = after.restarted()
    assert again.country() is None and again.client.position() == LogPosition("log-1", 7)
    again.client.close()


def test_other_entries_leave_it(node: Node) -> None:
    node.snapshot(5, US)
    put = distribution_message(origin_message("127.0.0.1", 80), id="E2", domain_name="d2.cdn.localhost")
    node.client.apply_entry(entry_message(6, put))
    node.client.apply_entry(entry_message(7, deleted_distributions=["E2"]))
    assert node.country() == b"US" and node.state.applied_index == 7


@pytest.mark.parametrize("log_id", ["log-1", "log-2"])
def test_a_snapshot_without_a_table_takes_it_away(node: Node, log_id: str) -> None:
    """So is every snapshot of an older control plane."""
    node.snapshot(5, US)
    node.snapshot(9, None, log_id)
    assert node.country() is None


def test_a_snapshot_without_a_table_is_loaded(node: Node) -> None:
    """Neither a table nor a restriction nor a viewer protocol policy is in it: nobody has a country, and all are served."""
    node.snapshot(5, None)
    assert node.on_disk() == []
    after = node.restarted()
    assert after.restored.is_warm and after.country() is None
    assert after.state.router.snapshot.distributions["E1"].geo_restriction is None
    after.client.close()


def test_an_entry_that_cannot_be_read_is_rejected_and_the_last_good_table_stays(node: Node) -> None:
    node.snapshot(5, US)
    assert node.put(6, UNREADABLE) == "'nowhere' is no country"
    assert node.country() == b"US" and node.client.position() == LogPosition("log-1", 6)
    after = node.restarted()
    assert after.country() == b"US" and after.client.position() == LogPosition("log-1", 6)
    after.client.close()


def test_a_snapshot_whose_table_cannot_be_read_leaves_the_last_good_one_of_its_log(node: Node) -> None:
    node.snapshot(5, US)
    node.snapshot(9, UNREADABLE)
    assert node.country() == b"US" and node.on_disk() == [US]
    node.snapshot(10, UNREADABLE, "log-2")
    assert node.country() is None and node.on_disk() == []


def test_a_table_on_disk_that_this_program_cannot_read_does_not_keep_a_node_from_serving(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that could has written it."""
    lenient = KINDS[sync_pb2.RESOURCE_KIND_ROUTING_TABLE].read
    kind = replace(KINDS[sync_pb2.RESOURCE_KIND_GEO_TABLE], read=lenient)
    with monkeypatch.context() as patch:
        patch.setattr("edge_node.control.client.KINDS", {**KINDS, sync_pb2.RESOURCE_KIND_GEO_TABLE: kind})
        node.snapshot(5, UNREADABLE)
    after = node.restarted()
    assert after.client.rejected()[GEO_TABLE].rejection.reason == "'nowhere' is no country"
    assert after.restored.is_warm and after.country() is None and "E1" in after.state.router.snapshot.distributions
    after.client.close()


def test_a_node_that_has_forgotten_what_was_invalidated_still_knows_countries(node: Node) -> None:
    """It serves from the snapshot, cold; a restriction holds all the same."""
    node.snapshot(5, US)
    (node.directory / "invalidations.journal").unlink()
    after = node.restarted()
    assert after.restored.has_configuration and not after.restored.is_warm and after.country() == b"US"
    after.client.close()
