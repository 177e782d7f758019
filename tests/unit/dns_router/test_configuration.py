"""The router's part in the change log: entries, rejections, snapshots, and what is on disk when (applier, configuration)."""

import random
from pathlib import Path

import pytest
from google.protobuf.message import Message

from dns_router.applier import RouterApplier
from dns_router.counters import Counters
from dns_router.responder import Responder
from dns_router.translation import zone_settings
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from proto.resource_files import POSITION_FILE
from proto.resources import ROUTING_TABLE, distribution_name
from proto.served_configuration import UnusableResourceError
from proto.state_files import StateFiles
from tests.builders import entry_message
from tests.router_builders import (
    TWO_EDGES_EACH,
    US,
    ZONE,
    addresses_in,
    ask,
    directory_message,
    distribution,
    edge,
    routing_table,
    snapshot,
    subnet,
)

D1, D2 = "d1.cdn.localhost", "d2.cdn.localhost"


def standing(index: int) -> LogPosition:
    """Where a router stands that has applied it; the snapshot of `router_builders.py` has no digest."""
    return LogPosition("log-a", index, b"" if index == 7 else b"%16d" % index)


class Router:
    """An applier over a state folder, and what it serves."""

    def __init__(self, folder: Path) -> None:
        self.responder = Responder(Counters(), random.Random(1))
        self.files = StateFiles(folder)
        self.applier = RouterApplier(self.files, self.responder, Counters(), {})
        self.applier.recover()

    def answers(self, name: str) -> list[str]:
        assert self.responder.zone is not None
        return addresses_in(ask(self.responder.zone, self.responder.directory, name))

    def put(self, index: int, *bodies: Message, deleted: str = "") -> str | None:
        """Why it is rejected, if it is."""
        entry = entry_message(
            index,
            *bodies,
            deleted_distributions=[deleted] if deleted else [],
            log_id="log-a",
            digest=standing(index).digest,
        )
        return self.applies(entry)

    def applies(self, entry: sync_pb2.Entry) -> str | None:
        index = entry.index
        self.applier.apply_entry(entry)
        rejections = [change.rejection for change in self.applier.rejected().values()]
        return next((rejection.reason for rejection in rejections if rejection.index == index), None)


@pytest.fixture
def router(tmp_path: Path) -> Router:
    started = Router(tmp_path)
    started.applier.apply_snapshot(snapshot(distribution()))
    started.applier.apply_directory(directory_message(*TWO_EDGES_EACH))
    return started


def test_a_new_router_knows_nothing(tmp_path: Path) -> None:
    fresh = Router(tmp_path / "new")
    assert fresh.applier.position() == LogPosition() and fresh.responder.zone is None


def test_entries_change_what_is_served_and_move_the_position(router: Router) -> None:
    assert router.put(8, distribution("E2", D2)) is None
    assert router.answers(D1) and router.answers(D2)
    assert router.put(9, deleted="E1") is None
    assert not router.answers(D1) and router.answers(D2)
    assert router.put(10, routing_table(maximum_answers=1)) is None
    assert len(router.answers(D2)) == 1
    assert router.applier.position() == standing(10)


def test_a_distribution_that_is_renamed_leaves_its_old_name(router: Router) -> None:
    router.put(8, distribution("E1", D2))
    assert not router.answers(D1) and router.answers(D2)


def test_a_rejected_distribution_leaves_the_last_good_version_and_the_index_advances(router: Router) -> None:
    reason = router.put(8, distribution("E1", "a..b.cdn.localhost"))
    assert reason is not None and "a..b.cdn.localhost" in reason
    assert router.answers(D1) and router.applier.position() == standing(8)


def test_a_rejected_routing_table_names_all_its_problems(router: Router) -> None:
    bad = routing_table(client_subnets=[subnet("10.0.0.1/8", US), subnet("nonsense", US)], maximum_answers=1000)
    reason = router.put(8, bad)
    assert reason is not None and all(part in reason for part in ("10.0.0.1/8", "nonsense", "1000"))
    assert len(router.answers(D1)) == 2


@pytest.mark.parametrize("zone", ["", ".", "a..b", "x" * 64 + ".test", ".".join(["x" * 49] * 5)])
def test_a_zone_that_cannot_be_served_is_refused(zone: str) -> None:
    with pytest.raises(UnusableResourceError, match=r"zone|domain name"):
        zone_settings(configuration_pb2.RoutingTable(zone=zone))


def test_a_latency_that_is_not_a_number_is_refused() -> None:
    latency = configuration_pb2.Latency(from_region="a", to_region="b", milliseconds=float("nan"))
    with pytest.raises(UnusableResourceError, match="latency"):
        zone_settings(configuration_pb2.RoutingTable(zone=ZONE, latencies=[latency]))


def test_a_restart_serves_what_was_last_known(router: Router, tmp_path: Path) -> None:
    router.put(8, distribution("E2", D2))
    again = Router(tmp_path)
    assert again.applier.position() == standing(8)
    assert again.answers(D1) == router.answers(D1) and again.answers(D2) == router.answers(D2)


def test_an_invalidation_moves_the_position_without_a_write(router: Router, tmp_path: Path) -> None:
    before = (tmp_path / POSITION_FILE).stat().st_mtime_ns
    assert router.put(8, configuration_pb2.Invalidation(id="I1", paths=["/*"])) is None
    assert router.applier.position() == standing(8)
    assert (tmp_path / POSITION_FILE).stat().st_mtime_ns == before
    assert Router(tmp_path).applier.position() == standing(7), "it is learned again, which does no harm without a cache"


def test_a_snapshot_of_another_log_replaces_everything(router: Router) -> None:
    router.applier.apply_snapshot(snapshot(distribution("E9", D2), log_id="log-b", index=2))
    assert router.applier.position() == LogPosition("log-b", 2)
    assert not router.answers(D1) and router.answers(D2)


def test_a_snapshot_with_a_bad_resource_keeps_the_last_good_version_of_that_one(router: Router) -> None:
    router.applier.apply_snapshot(snapshot(distribution("E1", "a..b"), distribution("E2", D2), index=9))
    assert router.answers(D1) and router.answers(D2)
    router.applier.apply_snapshot(snapshot(distribution("E1", "a..b"), log_id="log-b"))
    assert not router.answers(D1), "nothing of another log is kept"


def test_a_rejected_resource_stays_rejected_and_as_it_was_over_a_restart(router: Router, tmp_path: Path) -> None:
    reason = router.put(8, distribution("E1", "a..b.cdn.localhost"))
    router.put(9, routing_table(maximum_answers=1000))
    again = Router(tmp_path)
    assert again.answers(D1) and again.applier.position() == standing(9)
    assert again.applier.rejected().keys() == {distribution_name("E1"), ROUTING_TABLE}
    assert again.applier.rejected()[distribution_name("E1")].rejection.reason == reason


def test_a_rejection_ends_with_a_version_that_can_be_used_or_with_the_resource(router: Router) -> None:
    for identifier in ("E1", "E2"):
        router.put(8, distribution(identifier, "a..b"))
    router.put(9, distribution("E1", D2))
    assert router.applier.rejected().keys() == {distribution_name("E2")}
    router.put(10, deleted="E2")
    assert not router.applier.rejected()


def test_a_router_that_has_learned_more_uses_what_it_had_rejected(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = routing_table(maximum_answers=1)
    with monkeypatch.context() as patch:
        patch.setattr("dns_router.translation.LARGEST_MAXIMUM_ANSWERS", 0)
        router.put(8, wanted)
        assert router.applier.rejected().keys() == {ROUTING_TABLE} and len(router.answers(D1)) == 2
    again = Router(tmp_path)
    assert not again.applier.rejected() and len(again.answers(D1)) == 1 and again.applier.position() == standing(8)


def test_a_full_disk_costs_what_a_restart_knows_and_never_what_is_served(router: Router, tmp_path: Path) -> None:
    for name in (POSITION_FILE, "directory"):
        (tmp_path / f"{name}.new").mkdir()  # no file can be made there
    router.applier.apply_directory(directory_message(*TWO_EDGES_EACH[1:], version=2))
    router.put(8, distribution("E2", D2))
    assert "127.0.1.1" not in router.answers(D1) and router.answers(D2)
    assert router.applier.position() == standing(8)
    again = Router(tmp_path)
    assert again.applier.position() == standing(7), "it says where its disk is, and learns the rest again"


def test_what_the_disk_did_not_take_is_said_once_and_written_with_the_next_change(
    router: Router, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "directory.new").mkdir()
    for version in (2, 3):
        router.applier.apply_directory(directory_message(*TWO_EDGES_EACH[version:], version=version))
    assert [record.message for record in caplog.records if "cannot be written" in record.message] == [
        f"what is served cannot be written to disk, a restart would know less: "
        f"[Errno 21] Is a directory: '{tmp_path / 'directory.new'}'"
    ]
    assert router.files.statistics.to_json() == {
        "refused_total": 0,
        "write_failures_total": 2,
        "unwritten": ["directory"],
    }
    (tmp_path / "directory.new").rmdir()
    router.put(8, distribution("E2", D2))
    assert not router.files.statistics.unwritten
    assert Router(tmp_path).answers(D1) == router.answers(D1)


def test_a_node_that_leaves_the_directory_leaves_the_answers(router: Router) -> None:
    router.applier.apply_directory(directory_message(*TWO_EDGES_EACH[1:], version=2))
    assert "127.0.1.1" not in router.answers(D1)


def test_edges_without_an_address_are_reported_once(router: Router, caplog: pytest.LogCaptureFixture) -> None:
    for version in (2, 3):
        router.applier.apply_directory(directory_message(edge("edge-1.internal", US), version=version))
    assert [record.getMessage() for record in caplog.records if "edge-1.internal" in record.getMessage()] == [
        "advertise no address and so cannot be in answers: edge-edge-1.internal"
    ]


def test_the_smaller_id_has_a_name_that_two_distributions_want(router: Router) -> None:
    router.put(8, distribution("E2", D1, enabled=False))
    assert router.answers(D1)


def test_a_kind_from_the_future_is_refused_by_name_and_the_position_moves(router: Router) -> None:
    entry = entry_message(8, log_id="log-a", digest=standing(8).digest)
    entry.changes.add(put=sync_pb2.Resource(kind=sync_pb2.ResourceKind.ValueType(77), id="f", revision=8))
    assert router.applies(entry) == "this node does not know resources of kind 77"
    assert router.applier.position() == standing(8) and router.answers(D1)


def test_an_entry_in_which_nothing_is_for_routers_only_moves_the_position(router: Router) -> None:
    assert router.put(8) is None
    assert router.applier.position() == standing(8) and router.answers(D1)
