"""The lab's clock at a control plane: what may be asked for, that the log has it once, and that the wall times of what is written down follow it."""

import contextlib
import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from control_plane.lab_time import LabTime
from control_plane.resource_kinds import EVERYBODY, KINDS
from control_plane.state import Invalidate
from control_plane.store import SqlStore
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.lab_clock import MOST_AHEAD_SECONDS, ahead_in
from proto.moments import ClockAnchor
from proto.resources import LAB_CLOCK

DAY = 86_400.0
ANCHOR = ClockAnchor("boot-1", 1_800_000_000_000_000_000, 5_000_000_000)


class Plane:
    """A store, and its clock's port."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.lab_time = LabTime(store)
        self._port = Starlette(routes=[self.lab_time.route()])

    async def put(self, document: object) -> tuple[int, Any]:
        return await self.ask("POST", json.dumps(document).encode())

    async def ask(self, method: str, body: bytes = b"") -> tuple[int, Any]:
        """Status, and the JSON of an answer or the text of a refusal."""
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": "/clock",
            "raw_path": b"/clock",
            "query_string": b"",
            "headers": [],
        }
        await self._port(scope, receive, send)
        content = b"".join(each.get("body", b"") for each in sent)
        status = int(sent[0]["status"])
        return status, json.loads(content) if status == 200 else content.decode()

    def entries(self) -> list[float]:
        """What the log says of the clock, in its order."""
        changes = (change for entry in self.store.entries_after(0, 100) for change in entry.changes)
        return [ahead_in(each.put.body) for each in changes if each.put.kind == sync_pb2.RESOURCE_KIND_LAB_CLOCK]


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    with contextlib.closing(SqlStore(tmp_path, lambda: 6.0, anchor=ANCHOR)) as store:
        yield Plane(store)


async def test_the_log_has_each_move_once_and_its_answer_is_the_index(plane: Plane) -> None:
    assert await plane.ask("GET") == (200, {"ahead_seconds": 0.0, "index": 0})
    assert await plane.put({"ahead_seconds": DAY}) == (200, {"ahead_seconds": DAY, "index": 1})
    assert await plane.put({"ahead_seconds": DAY}) == (200, {"ahead_seconds": DAY, "index": 1}), "asked for twice"
    assert await plane.put({"ahead_seconds": 2 * DAY}) == (200, {"ahead_seconds": 2 * DAY, "index": 2})
    assert await plane.ask("GET") == (200, {"ahead_seconds": 2 * DAY, "index": 2})
    assert plane.entries() == [DAY, 2 * DAY]


async def test_it_only_goes_forward(plane: Plane) -> None:
    await plane.put({"ahead_seconds": DAY})
    status, told = await plane.put({"ahead_seconds": DAY - 1})
    assert status == 409 and "only goes forward" in str(told)
    assert plane.entries() == [DAY]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"ahead_seconds": "1d"},
        {"ahead_seconds": True},
        {"ahead_seconds": -1},
        {"ahead_seconds": 1, "x": 1},
        {"ahead_seconds": MOST_AHEAD_SECONDS + 1},
        {"ahead_seconds": float("nan")},
        {"ahead_seconds": "x" * 2_000},
    ],
)
async def test_what_is_no_clock_is_refused(plane: Plane, document: object) -> None:
    status, told = await plane.put(document)
    assert status == 400 and str(told).endswith("\n") and plane.entries() == []


def test_every_role_gets_it() -> None:
    assert [kind.roles for kind in KINDS if kind.number == LAB_CLOCK.kind] == [EVERYBODY]


async def test_wall_times_follow_and_moments_do_not(plane: Plane) -> None:
    await plane.put({"ahead_seconds": DAY})
    with plane.store.transaction() as transaction:
        invalidation = configuration_pb2.Invalidation(id="I1", distribution_id="E1", paths=["/*"])
        index = transaction.append(Invalidate(invalidation))
    (entry,) = plane.store.entries_after(index - 1, 1)
    assert entry.committed_at.ToSeconds() == ANCHOR.wall_seconds(6.0) + DAY
    assert plane.store.anchor.monotonic_ns == ANCHOR.monotonic_ns and plane.store.anchor.shares_base_with(ANCHOR)
    assert plane.store.anchor.moment(6.0) == ANCHOR.moment(6.0)


async def test_a_process_that_begins_later_has_it_from_the_log(plane: Plane, tmp_path: Path) -> None:
    await plane.put({"ahead_seconds": DAY})
    with contextlib.closing(SqlStore(tmp_path, lambda: 6.0, anchor=ANCHOR)) as store:
        assert LabTime(store).look() == DAY and store.anchor == ANCHOR.ahead_by(DAY)
