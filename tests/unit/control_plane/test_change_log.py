"""Entries and snapshots as frames that are made once for all nodes."""

from collections.abc import Sequence

import pytest

from control_plane import change_log
from control_plane.change_log import Frames, TooFarBehindError, issued_invalidation, to_entry
from control_plane.state import Change, Invalidate, PutDistribution, PutGeoTable, PutRoutingTable, RemoveDistribution
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.log_position import LogPosition
from tests.builders import geo_table_message


class FakeLog:
    """A log of so many entries, of which the newest are retained; it counts how often it is read."""

    def __init__(self, head_index: int, retained: int) -> None:
        self.head_index = head_index
        self._oldest = head_index - retained + 1
        self.reads = 0

    def entries_after(self, index: int, limit: int) -> Sequence[sync_pb2.Entry]:
        self.reads += 1
        first = max(index + 1, self._oldest)
        return [sync_pb2.Entry(index=number) for number in range(first, min(first + limit, self.head_index + 1))]

    def snapshot(self) -> sync_pb2.Snapshot:
        self.reads += 1
        return sync_pb2.Snapshot(index=self.head_index)


def index_of(frame: bytes | None) -> int:
    assert frame is not None
    return sync_pb2.ControlMessage.FromString(frame).entry.index


def test_entries_are_read_in_batches_and_kept() -> None:
    log = FakeLog(300, 300)
    frames = Frames(log)
    assert [index_of(frames.after(index)) for index in range(300)] == list(range(1, 301))
    assert frames.after(300) is None
    for index in range(300):
        frames.after(index)
    assert log.reads == 3


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "MAXIMUM_CACHED_FRAMES", 200)
    log = FakeLog(1000, 1000)
    frames = Frames(log)
    for index in range(1000):
        assert index_of(frames.after(index)) == index + 1
    assert index_of(frames.after(0)) == 1
    assert log.reads == 9


def test_an_entry_that_is_gone_is_an_error_of_its_own() -> None:
    with pytest.raises(TooFarBehindError):
        Frames(FakeLog(100, 10)).after(5)


def test_a_snapshot_is_made_once_per_head() -> None:
    log = FakeLog(5, 5)
    frames = Frames(log)
    assert frames.snapshot() == frames.snapshot()
    assert log.reads == 1
    log.head_index = 6
    assert frames.snapshot()[0] == 6
    assert log.reads == 2


def test_each_change_is_an_entry() -> None:
    distribution = configuration_pb2.Distribution(id="D1")
    table = configuration_pb2.RoutingTable(zone="z")
    invalidation = configuration_pb2.Invalidation(id="I1", distribution_id="D1", paths=["/*"])
    assert to_entry(PutDistribution(distribution), LogPosition("log", 0), 5.0).put_distribution == distribution
    assert to_entry(RemoveDistribution("D1"), LogPosition("log", 1), 5.0).remove_distribution_id == "D1"
    assert to_entry(PutRoutingTable(table), LogPosition("log", 2), 5.0).put_routing_table == table
    countries = geo_table_message({"192.0.2.0/24": "US"})
    assert to_entry(PutGeoTable(countries), LogPosition("log", 2), 5.0).put_geo_table == countries
    entry = to_entry(Invalidate(invalidation), LogPosition("log", 3), 5.0)
    assert (entry.log_id, entry.index, entry.invalidation) == ("log", 4, invalidation)
    assert issued_invalidation(to_entry(RemoveDistribution("D1"), LogPosition("log", 1), 5.0), 5.0) is None
    issued = issued_invalidation(entry, 5.0)
    assert issued is not None and (issued.identifier, issued.index, issued.paths) == ("I1", 4, ("/*",))


def test_a_digest_is_of_the_entry_and_of_all_before_it() -> None:
    def history(*changes: Change, now: float = 5.0) -> list[bytes]:
        position, digests = LogPosition("log"), []
        for change in changes:
            entry = to_entry(change, position, now)
            position = LogPosition("log", entry.index, entry.digest)
            digests.append(entry.digest)
        return digests

    one, two, three = (RemoveDistribution(identifier) for identifier in ("D1", "D2", "D3"))
    whole = history(one, two, three)
    assert [len(digest) for digest in whole] == [16, 16, 16] and len(set(whole)) == 3
    assert history(one, two, three) == whole and history(one, two) == whole[:2]
    assert set(history(two, two, three)).isdisjoint(whole), "the same entry after another one"
    assert set(history(one, two, three, now=6.0)).isdisjoint(whole), "the same said again later"
