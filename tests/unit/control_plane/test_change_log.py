"""Entries and snapshots as frames that are made once for all nodes."""

from collections.abc import Sequence

import pytest

from control_plane import change_log
from control_plane.change_log import Frames, TooFarBehindError, issued_invalidation, part_for, snapshot_pieces, to_entry
from control_plane.nodes import Role
from control_plane.resource_kinds import (
    delete_distribution,
    put_cache_policy,
    put_distribution,
    put_geo_table,
    put_routing_table,
)
from control_plane.state import Change, Invalidate
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from tests.builders import bodies_in, geo_table_message, resource_message


class FakeLog:
    """A log of so many entries, of which the newest are retained; it counts how often it is read."""

    def __init__(self, head_index: int, retained: int) -> None:
        self.head_index = head_index
        self.oldest = head_index - retained + 1
        self.reads = 0
        self.snapshot_bytes = 0

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        self.reads += 1
        first = max(index + 1, self.oldest)
        return [sync_pb2.Entry(index=number) for number in range(first, min(first + limit, self.head_index + 1))]

    def snapshot(self) -> sync_pb2.Snapshot:
        self.reads += 1
        return sync_pb2.Snapshot(index=self.head_index, log_id="x" * self.snapshot_bytes)


def index_of(frame: bytes | None) -> int:
    assert frame is not None
    return sync_pb2.ControlMessage.FromString(frame).entry.index


def test_entries_are_read_in_batches_and_kept() -> None:
    log = FakeLog(300, 300)
    frames = Frames(log)
    assert [index_of(frames.after(index, Role.EDGE)) for index in range(300)] == list(range(1, 301))
    assert frames.after(300, Role.EDGE) is None
    for index in range(300):
        frames.after(index, Role.EDGE)
    assert log.reads == 3


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "MAXIMUM_CACHED_FRAMES", 200)
    log = FakeLog(1000, 1000)
    frames = Frames(log)
    for index in range(1000):
        assert index_of(frames.after(index, Role.EDGE)) == index + 1
    assert index_of(frames.after(0, Role.EDGE)) == 1
    assert log.reads == 9


def test_an_entry_that_is_gone_is_an_error_of_its_own() -> None:
    with pytest.raises(TooFarBehindError):
        Frames(FakeLog(100, 10)).after(5, Role.EDGE)


def test_a_snapshot_is_made_once_for_all_that_start_together_until_the_log_has_grown_by_a_quarter_of_it() -> None:
    log = FakeLog(5, 5)
    log.snapshot_bytes = 4_000
    frames = Frames(log)
    assert frames.snapshot(Role.EDGE) is frames.snapshot(Role.EDGE)
    assert frames.snapshot(Role.DNS_ROUTER).index == 5 and log.reads == 1
    log.head_index = 6
    frames.add(sync_pb2.Entry(index=6, log_id="x" * 900))
    assert frames.snapshot(Role.EDGE).index == 5, "the entry after it follows"
    log.head_index = 7
    frames.add(sync_pb2.Entry(index=7, log_id="x" * 200))
    assert frames.snapshot(Role.EDGE).index == 7 and log.reads == 2


def test_a_snapshot_whose_entries_are_gone_is_not_sent_again() -> None:
    log = FakeLog(10, 10)
    log.snapshot_bytes = 100_000
    frames = Frames(log)
    assert frames.snapshot(Role.EDGE).index == 10
    log.head_index, log.oldest = 100, 91
    with pytest.raises(TooFarBehindError):
        frames.after(10, Role.EDGE)
    assert frames.snapshot(Role.EDGE).index == 100


def test_a_large_snapshot_comes_in_pieces_that_are_whole_together() -> None:
    resources = [
        resource_message(configuration_pb2.Distribution(id=f"D{n}", aliases=["a" * 300_000]), n) for n in range(1, 11)
    ]
    snapshot = sync_pb2.Snapshot(log_id="log", index=10, digest=b"d" * 16, resources=resources)
    pieces = snapshot_pieces(snapshot, Role.EDGE)
    assert [piece.remaining_pieces for piece in pieces] == [3, 2, 1, 0]
    assert all(piece.ByteSize() < change_log.PIECE_BYTES + 100 for piece in pieces)
    assert {(piece.log_id, piece.index, piece.digest) for piece in pieces} == {("log", 10, b"d" * 16)}
    assert [resource for piece in pieces for resource in piece.resources] == resources


def test_a_resource_larger_than_a_piece_is_one_and_an_empty_snapshot_is_one() -> None:
    large = resource_message(configuration_pb2.Distribution(id="D1", aliases=["a" * 2 * change_log.PIECE_BYTES]), 1)
    small = resource_message(configuration_pb2.Distribution(id="D2"), 2)
    snapshot = sync_pb2.Snapshot(index=2, resources=[small, large, small])
    assert [len(piece.resources) for piece in snapshot_pieces(snapshot, Role.EDGE)] == [1, 1, 1]
    assert [piece.remaining_pieces for piece in snapshot_pieces(sync_pb2.Snapshot(index=2), Role.EDGE)] == [0]


DISTRIBUTION = configuration_pb2.Distribution(id="D1")
TABLE = configuration_pb2.RoutingTable(zone="z")
COUNTRIES = geo_table_message({"192.0.2.0/24": "US"})
POLICY = configuration_pb2.CachePolicy(id="P1")
INVALIDATION = configuration_pb2.Invalidation(id="I1", distribution_id="D1", paths=["/*"])


def test_an_entry_is_a_set_of_changes_and_an_invalidation() -> None:
    changes: list[Change] = [
        put_distribution(DISTRIBUTION),
        delete_distribution("D2"),
        put_routing_table(TABLE),
        Invalidate(INVALIDATION),
    ]
    entry = to_entry(changes, LogPosition("log", 3), 5.0)
    assert (entry.log_id, entry.index, list(entry.invalidations)) == ("log", 4, [INVALIDATION])
    assert bodies_in(entry, configuration_pb2.Distribution) == [DISTRIBUTION]
    assert [change.put.revision for change in entry.changes] == [4, 0, 4]
    assert (entry.changes[1].delete.kind, entry.changes[1].delete.id) == (sync_pb2.RESOURCE_KIND_DISTRIBUTION, "D2")
    issued = issued_invalidation(entry, 5.0)
    assert issued is not None and (issued.identifier, issued.index, issued.paths) == ("I1", 4, ("/*",))
    assert issued_invalidation(to_entry(changes[:3], LogPosition("log", 3), 5.0), 5.0) is None


def test_a_role_gets_what_it_is_for() -> None:
    everything: list[Change] = [
        *map(put_cache_policy, [POLICY]),
        put_distribution(DISTRIBUTION),
        put_routing_table(TABLE),
        put_geo_table(COUNTRIES),
    ]
    entry = to_entry([*everything, Invalidate(INVALIDATION)], LogPosition("log"), 5.0)
    assert part_for(entry, Role.EDGE) is entry and part_for(entry, Role.REGIONAL) is entry
    part = part_for(entry, Role.DNS_ROUTER)
    assert (part.index, part.digest, part.committed_at) == (entry.index, entry.digest, entry.committed_at)
    assert bodies_in(part, configuration_pb2.Distribution) == [DISTRIBUTION]
    assert bodies_in(part, configuration_pb2.RoutingTable) == [TABLE]
    assert len(part.changes) == 2 and not part.invalidations
    snapshot = sync_pb2.Snapshot(index=1, resources=[change.put for change in entry.changes])
    (piece,) = snapshot_pieces(snapshot, Role.DNS_ROUTER)
    assert [resource.id for resource in piece.resources] == ["D1", ""]


def test_an_entry_that_is_the_same_for_all_is_kept_once() -> None:
    frames = Frames(FakeLog(0, 1))
    entry = to_entry([put_distribution(DISTRIBUTION)], LogPosition("log"), 5.0)
    frames.add(entry)
    frames._log.head_index = 1  # type: ignore[misc]  # of the fake
    assert frames.after(0, Role.EDGE) is frames.after(0, Role.DNS_ROUTER)


def test_a_digest_is_of_the_entry_and_of_all_before_it() -> None:
    def history(*changes: Change, now: float = 5.0) -> list[bytes]:
        position, digests = LogPosition("log"), []
        for change in changes:
            entry = to_entry([change], position, now)
            position = LogPosition("log", entry.index, entry.digest)
            digests.append(entry.digest)
        return digests

    one, two, three = (delete_distribution(identifier) for identifier in ("D1", "D2", "D3"))
    whole = history(one, two, three)
    assert [len(digest) for digest in whole] == [16, 16, 16] and len(set(whole)) == 3
    assert history(one, two, three) == whole and history(one, two) == whole[:2]
    assert set(history(two, two, three)).isdisjoint(whole), "the same entry after another one"
    assert set(history(one, two, three, now=6.0)).isdisjoint(whole), "the same said again later"
