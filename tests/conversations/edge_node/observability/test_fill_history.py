"""The history's table of fills: a row for each request that goes upstream, whatever becomes of it, judged by the origins that were asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_node.model.errors import UpstreamErrorKind
from edge_node.observability.fill_history import FILLS, FILLS_COLUMNS, FillHistory
from proto.cdn.v1 import configuration_pb2
from proto.history_recorder import HistoryRecorder
from tests.conversations.dialogue import Node, flush
from tests.conversations.origins import Origins
from tests.conversations.tiers import strict

ORIGIN = "192.0.2.1"
FRESH = ("cache-control", "max-age=60")


class RecordedNode:
    """A node behind a real fetcher, with its history."""

    def __init__(self, folder: Path, *behaviors: configuration_pb2.Behavior) -> None:
        self.origins = Origins()
        self.node = Node(*behaviors, upstream=self.origins.fetcher)
        self._folder = folder
        self.recorder = HistoryRecorder(folder, "edge-1", {FILLS: FILLS_COLUMNS}, boot_id="boot")
        self.origins.fetcher.observer = FillHistory(self.recorder)
        told = self.recorder.answer("POST", "/history", json.dumps({"run": "r"}).encode())
        assert told is not None and told[0] == 200

    def fills(self) -> list[dict[str, Any]]:
        self.recorder.flush()
        lines = (self._folder / "fills.tsv").read_text().splitlines()
        return [dict(zip(FILLS_COLUMNS, line.split("\t"), strict=True)) for line in lines[1:]]

    def outcomes(self) -> list[tuple[str, str, str]]:
        return [(each["status"], each["received_bytes"], each["error"]) for each in self.fills()]


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[RecordedNode]:
    made = RecordedNode(tmp_path)
    yield made
    made.recorder.close()


async def test_a_miss_is_one_row_with_what_the_origin_was_asked(recorded: RecordedNode) -> None:
    viewer = recorded.node.viewer().asks("/a?b=c")
    link = await recorded.origins.asked(ORIGIN)
    link.answers(200, b"body", FRESH)
    await viewer.answer()
    (fill,) = recorded.fills()
    assert fill["request_id"] == link.request["x-amz-cf-id"] and link.line == f"GET {fill['path']} HTTP/1.1".encode()
    told = {
        name: fill[name]
        for name in (
            "node",
            "tier",
            "upstream",
            "method",
            "is_conditional",
            "range",
            "index",
            "is_shared",
            "must_confirm",
        )
    }
    assert told == {
        "node": "edge-1", "tier": "origin", "upstream": f"{ORIGIN}:8000", "method": "GET", "is_conditional": "False", "range": "\\N", "index": "1", "is_shared": "True",
        "must_confirm": "False",
    }  # fmt: skip
    assert recorded.outcomes() == [("200", "4", "\\N")] and int(fill["started_ns"]) <= int(fill["ended_ns"])


async def test_those_who_join_ask_nothing_and_a_revalidation_is_conditional(recorded: RecordedNode) -> None:
    viewers = [recorded.node.viewer().asks("/a") for _ in range(3)]
    (await recorded.origins.asked(ORIGIN)).answers(200, b"body", FRESH, ("etag", '"1"'))
    assert [(await viewer.answer()).body for viewer in viewers] == [b"body"] * 3
    recorded.node.passes(61)
    again = recorded.node.viewer().asks("/a")
    (await recorded.origins.asked(ORIGIN, 2)).answers(304, b"", FRESH, ("etag", '"1"'))
    await again.answer()
    first, second = recorded.fills()
    assert (first["is_conditional"], second["is_conditional"]) == ("False", "True")
    assert (second["status"], second["is_shared"]) == ("304", "True") and first["key"] == second["key"] != "\\N"


async def test_variants_of_one_key_are_told_apart_and_the_head_has_its_moment(tmp_path: Path) -> None:
    recorded = RecordedNode(tmp_path, strict())
    for number, language in enumerate(("de", "en", "de"), 1):
        viewer = recorded.node.viewer().asks("/a", ("accept-language", language), ("cache-control", "no-cache"))
        link = await recorded.origins.asked(ORIGIN, number)
        link.answers(200, language.encode(), FRESH, ("vary", "accept-language"))
        await viewer.answer()
    first, second, third = recorded.fills()
    assert first["key"] == second["key"] == third["key"]
    assert first["variant"] == third["variant"] != second["variant"] and "\\N" not in (
        first["variant"],
        second["variant"],
    )
    assert int(first["started_ns"]) <= int(first["head_ns"]) <= int(first["ended_ns"])
    recorded.recorder.close()


async def test_what_a_node_without_a_lease_fetches_is_marked_also_where_nothing_was_stored(
    recorded: RecordedNode,
) -> None:
    recorded.node.state.fence.lease_lost()
    viewers = [recorded.node.viewer().asks("/a") for _ in range(2)]
    for number, viewer in enumerate(viewers, 1):
        (await recorded.origins.asked(ORIGIN, number)).answers(200, b"body", FRESH)
        await viewer.answer()
    assert [(each["is_shared"], each["must_confirm"]) for each in recorded.fills()] == [("True", "True")] * 2


async def test_each_attempt_is_a_row(recorded: RecordedNode) -> None:
    viewer = recorded.node.viewer().asks("/a")
    (await recorded.origins.asked(ORIGIN)).fails(UpstreamErrorKind.RESET)
    (await recorded.origins.asked(ORIGIN, 2)).answers(200, b"body", FRESH)
    await viewer.answer()
    assert recorded.outcomes() == [("\\N", "0", "reset"), ("200", "4", "\\N")]
    assert [each["is_shared"] for each in recorded.fills()] == ["\\N", "True"]


async def test_a_connection_that_could_not_be_had_is_a_row_without_status(recorded: RecordedNode) -> None:
    recorded.origins.unreachable[ORIGIN] = UpstreamErrorKind.REFUSED
    answer = await recorded.node.viewer().asks("/a").answer()
    assert answer.status == 502 and len(recorded.origins.attempts) == len(recorded.fills()) > 1
    assert set(recorded.outcomes()) == {("\\N", "0", "refused")}


async def test_a_response_that_breaks_off_and_is_continued_is_two_rows(recorded: RecordedNode) -> None:
    viewer = recorded.node.viewer().asks("/a")
    first = await recorded.origins.asked(ORIGIN)
    first.begins(200, FRESH, ("etag", '"1"'), ("content-length", "4")).sends(b"bo").ends()
    second = await recorded.origins.asked(ORIGIN, 2)
    second.answers(206, b"dy", FRESH, ("etag", '"1"'), ("content-range", "bytes 2-3/4"))
    assert (await viewer.answer()).body == b"body"
    assert recorded.outcomes() == [("200", "2", "truncated"), ("206", "2", "\\N")]
    assert [each["range"] for each in recorded.fills()] == ["\\N", second.request["range"]]


async def test_what_nobody_waits_for_is_given_up(recorded: RecordedNode) -> None:
    viewer = recorded.node.viewer().asks("/a")
    link = await recorded.origins.asked(ORIGIN)
    link.begins(200, ("cache-control", "no-store"), ("content-length", "1000000")).sends(b"some")
    viewer.leaves()
    await flush(lambda: link.is_closed)
    assert recorded.outcomes() == [("200", "4", "given_up")]


async def test_without_a_recording_nothing_stands_in_between(recorded: RecordedNode) -> None:
    recorded.recorder.answer("DELETE", "/history", b"")
    viewer = recorded.node.viewer().asks("/a")
    (await recorded.origins.asked(ORIGIN)).answers(200, b"body", FRESH)
    assert (await viewer.answer()).body == b"body" and recorded.fills() == []
