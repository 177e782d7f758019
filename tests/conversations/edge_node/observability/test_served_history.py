"""The history's table of answers: a row for each, of the fast path as well, and what it says is what the viewer got."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_node.observability.served_history import SERVED, SERVED_COLUMNS, ServedHistory
from proto.history_file import NULL
from proto.history_recorder import HistoryRecorder
from tests.conversations.dialogue import Http1Viewer, Node

FRESH = ("cache-control", "max-age=60")
AHEAD_SECONDS = 1_000.0
"""Of the host's clock, which the node's own is."""
NANOSECONDS = 1_000_000_000


class RecordedNode:
    """A node whose answers are written down."""

    def __init__(self, folder: Path) -> None:
        self.node = Node()
        self._folder = folder
        self.recorder = HistoryRecorder(folder, "edge-1", {SERVED: SERVED_COLUMNS}, boot_id="boot")
        history = ServedHistory(
            self.recorder, lambda: self.node.state.applied_index, lambda steady: steady - AHEAD_SECONDS
        )
        self.node.records.log = history  # type: ignore[assignment]  # which takes batches as the access log does
        self.recorder.before_flush(self.node.records.flush)
        told = self.recorder.answer("POST", "/history", json.dumps({"run": "r"}).encode())
        assert told is not None and told[0] == 200

    def rows(self) -> list[dict[str, Any]]:
        self.recorder.flush()
        lines = (self._folder / "served.tsv").read_text().split("\n")
        assert lines.pop() == ""
        return [dict(zip(SERVED_COLUMNS, line.split("\t"), strict=True)) for line in lines[1:]]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[RecordedNode]:
    made = RecordedNode(tmp_path)
    yield made
    made.recorder.close()


async def test_a_miss_and_hits_are_rows_alike(recorded: RecordedNode) -> None:
    node = recorded.node
    viewer = node.viewer().asks("/a?b=c")
    (await node.fetch()).answers(200, b"body", FRESH)
    answers = [await viewer.answer()]
    for _ in range(3):
        node.passes(1)
        viewer.asks_again()
        answers.append(await viewer.answer())
    rows = recorded.rows()
    assert [row["request_id"] for row in rows] == [answer.fields["x-amz-cf-id"] for answer in answers]
    assert not isinstance(viewer, Http1Viewer) or viewer.fast_answers >= 2
    told = {(row["node"], row["method"], row["host"], row["path"], row["status"], row["index"]) for row in rows}
    assert told == {("edge-1", "GET", "d1.cdn.localhost", "/a?b=c", "200", "1")}
    assert [(row["result"], row["reason"]) for row in rows] == [("miss", "not_stored"), *[("hit", "fresh")] * 3]


async def test_a_row_is_of_the_index_that_was_applied_and_of_the_host_s_clock(recorded: RecordedNode) -> None:
    node = recorded.node
    await node.stores("/a", b"body", FRESH)
    viewer = node.viewer().asks("/a")
    await viewer.answer()
    began = node.now
    node.records.flush()  # what `proto/history_applier.py` has done before an entry is applied
    node.state.apply(2)
    node.passes(2)
    viewer.asks_again()
    await viewer.answer()
    *_, before, after = recorded.rows()
    assert (before["index"], after["index"]) == ("1", "2")
    started = [int(row["started_ns"]) / NANOSECONDS for row in (before, after)]
    assert started == pytest.approx([began - AHEAD_SECONDS, began + 2 - AHEAD_SECONDS], abs=1e-3)
    assert all(int(row["started_ns"]) <= int(row["first_byte_ns"]) <= int(row["ended_ns"]) for row in (before, after))


async def test_what_a_viewer_sends_breaks_no_line(recorded: RecordedNode) -> None:
    await recorded.node.stores("/a%09\\b", b"body", FRESH, status=200)
    (row,) = recorded.rows()
    assert row["path"] == "/a%09\ufffdb"


async def test_a_viewer_who_leaves_before_an_answer_got_none(recorded: RecordedNode) -> None:
    viewer = recorded.node.viewer().asks("/a")
    await recorded.node.fetch()
    viewer.leaves()
    (row,) = recorded.rows()
    assert (row["status"], row["first_byte_ns"], row["reason"]) == ("0", NULL, "viewer_left")
