"""What a term begins with, where several control planes have had the database open since before it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane import backup, settings, term
from control_plane.admission import Admission
from control_plane.leadership import Tenure
from control_plane.ledger import SqlLedger
from control_plane.metrics import ControlMetrics, Gauges
from control_plane.nodes import NodeDescription, Role, SavedNode
from control_plane.published_tables import PublishedTables
from control_plane.store import SqlStore
from control_plane.term import TermMaker

NOW = 1_000.0
ADDRESSES = [part for name in ("api", "grpc", "admin") for part in (f"--{name}", "127.0.0.1:1")]

EDGE = NodeDescription("edge-1", Role.EDGE, "us-east-1", "IAD89-P1", "127.0.0.1:80", "127.0.0.1:81")
LEASED = SavedNode(EDGE, 0, 5.0, last_seen=NOW, unleased_since=0.0, has_left=False, rejections=())


def nothing() -> int:
    return 0


METRICS = ControlMetrics(Gauges(lambda: None, nothing, lambda: True, nothing, nothing))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[SqlStore]]:
    """Of three control planes over one database, which the first of them has made."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(SqlStore(tmp_path, lambda: NOW))) for _ in range(3)]


def maker(store: SqlStore) -> TermMaker:
    chosen = settings.parse([*ADDRESSES, "--zone", "cdn.localhost", "--state-dir", "unused"])
    tables = PublishedTables.read(chosen)
    return TermMaker(chosen, store, lambda: NOW, Admission("cdn.localhost", is_certified=False), tables, None)


async def test_a_restored_copy_becomes_another_log_once_and_not_again_with_each_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term, "counted_seconds", lambda _seconds: 0.0)
    with contextlib.closing(SqlStore(tmp_path / "before", lambda: NOW)) as before:
        backup.take(tmp_path / "before", tmp_path / "copy")
        (tmp_path / "after").mkdir()
        backup.put(tmp_path / "copy", tmp_path / "after")
        log_ids = [before.log_id]
    with contextlib.ExitStack() as stack:
        planes = [stack.enter_context(contextlib.closing(SqlStore(tmp_path / "after", lambda: NOW))) for _ in range(2)]
        for number, store in enumerate(planes, 1):
            await maker(store).begin(METRICS, Tenure(number, NOW))
            log_ids.append(store.log_id)
    assert log_ids[0] != log_ids[1] == log_ids[2], "every cache would be emptied at each change of the leader"


async def test_who_made_the_log_but_leads_it_later_knows_that_others_have_led(stores: list[SqlStore]) -> None:
    assert [store.is_new for store in stores] == [True, False, False]
    await maker(stores[1]).begin(METRICS, Tenure(1, NOW))
    leading = await maker(stores[0]).begin(METRICS, Tenure(2, NOW))
    assert leading.coordinator._may_know_too_few


async def test_a_leader_that_stood_still_before_it_made_the_log_another_one_changes_nothing(tmp_path: Path) -> None:
    """Else it would forget the leases that its successor has granted."""
    with contextlib.closing(SqlStore(tmp_path / "before", lambda: NOW)):
        backup.take(tmp_path / "before", tmp_path / "copy")
        (tmp_path / "after").mkdir()
        backup.put(tmp_path / "copy", tmp_path / "after")
    with contextlib.ExitStack() as stack:
        late, successor = (
            stack.enter_context(contextlib.closing(SqlStore(tmp_path / "after", lambda: NOW))) for _ in range(2)
        )
        successor.become_another_log()
        SqlLedger(successor).save([LEASED], [], [])
        late.become_another_log()
        late.start_at_head()
        assert late.log_id == successor.log_id and not late.is_copy
        assert [node.lease_seconds for node in SqlLedger(late).saved_nodes()] == [5.0]
