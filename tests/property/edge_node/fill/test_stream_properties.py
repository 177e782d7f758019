"""Sentences about response streams that hold whatever the interleaving of chunks, pauses, joins, leaves and ends."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.fill import response_stream
from edge_node.model.errors import UpstreamErrorKind
from tests.conversations.dialogue import Fetch, Http1Viewer, Node, Viewer, flush
from tests.conversations.multiplexed_viewer import MultiplexedViewer
from tests.depth import examples
from tests.turns import settle

WINDOW = 400
LARGEST_CHUNK = 300
CHUNKS = st.tuples(st.just("chunk"), st.integers(1, LARGEST_CHUNK))
OTHERS = st.one_of(
    st.tuples(st.just("join")),
    st.tuples(st.just("hold"), st.integers(0, 3)),
    st.tuples(st.just("hold"), st.integers(0, 3)),
    st.tuples(st.just("let go"), st.integers(0, 3)),
    st.tuples(st.just("leave"), st.integers(0, 3)),
)
STEPS = st.lists(st.tuples(OTHERS, st.lists(CHUNKS, min_size=1, max_size=6)), min_size=2, max_size=8).map(
    lambda groups: [step for other, chunks in groups for step in (*chunks, other)]
)
"""A few chunks, then something else, and again: enough to fill windows and to outgrow the store."""
ENDS = st.sampled_from(["whole", "cut"])


@dataclass
class Run:
    """One object on its way, and everybody who asked for it."""

    node: Node
    fetch: Fetch
    viewers: list[Viewer] = field(default_factory=list)
    body: bytes = b""
    counter: int = 0

    def kept_bytes(self) -> int:
        return sum(map(len, self.fetch.sink.stream.chunks))

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("chunk", int() as size) if (
                not self.fetch.is_cancelled and not self.fetch.is_over and not self.fetch.connection.is_paused
            ):
                self.counter += 1
                data = (b"%d," % self.counter * size)[:size]
                self.body += data
                self.fetch.sends(data)
            case ("join",):
                self.viewers.append(self.node.viewer().asks("/a"))
            case ("hold", int() as number):
                self.viewer(number).holds()
            case ("let go", int() as number):
                self.viewer(number).takes_more()
            case ("leave", int() as number) if self.viewer(number).is_open:
                self.viewer(number).leaves()

    def viewer(self, number: int) -> Viewer:
        return self.viewers[number % len(self.viewers)]


def new_node(kind: type[Viewer], **changes: Any) -> Node:
    node = Node(**changes)
    node.viewer_kind = kind
    return node


async def play(node: Node, control: str, steps: list[tuple[object, ...]], end: str, admitted: int = 0) -> Run:
    """`admitted`: what the store would have taken before it gave the body up, and readers may still be waiting for."""
    first = node.viewer().asks("/a")
    run = Run(node, (await node.fetch()), [first])
    run.fetch.begins(200, ("cache-control", control))  # no length: chunked to the viewers
    for step in steps:
        if run.fetch.sink.stream.is_ended or run.fetch.is_cancelled:
            break
        run.step(step)
        stream = run.fetch.sink.stream
        if stream.writer is None and not stream.is_ended:
            assert run.kept_bytes() <= max(WINDOW, admitted) + LARGEST_CHUNK
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    if not run.fetch.is_over:
        run.fetch.ends() if end == "whole" else run.fetch.fails(UpstreamErrorKind.TRUNCATED)
    await settle()
    for viewer in run.viewers:
        viewer.takes_more()
    await settle()
    return run


def check_everybody(run: Run, end: str) -> None:
    for viewer in run.viewers:
        viewer.judge()
        answer = viewer.read()
        if answer is None or answer.status != 200:
            continue
        assert run.body.startswith(answer.body)
        assert answer.is_whole == viewer.is_done
        if viewer.is_done:
            assert answer.body == run.body
            assert end == "whole"
        elif viewer.is_open:
            raise AssertionError("a viewer was left waiting")


KINDS = pytest.mark.parametrize("kind", [Http1Viewer, MultiplexedViewer])
"""Viewers with a connection each, and all on one."""


@KINDS
@settings(max_examples=examples(37))
@given(STEPS, ENDS)
def test_every_reader_of_a_stored_stream_gets_exactly_the_body_or_a_cut(
    kind: type[Viewer], steps: list[tuple[object, ...]], end: str
) -> None:
    async def check() -> None:
        node = new_node(kind)
        run = await play(node, "max-age=60", steps, end)
        check_everybody(run, end)
        stored = [node.store.peek(key) for key in list(node.store._entries)]
        if end == "whole" and not run.fetch.is_cancelled:
            assert [entry.block[entry.body_start :] for entry in stored if entry] == [run.body]
        else:
            assert not stored
        assert node.store.statistics.used_bytes == sum(entry.cost_bytes for entry in stored if entry)
        await drop_the_rest(node)

    asyncio.run(check())


@KINDS
@settings(max_examples=examples(37))
@given(STEPS.map(lambda steps: [step for step in steps if step[0] != "join"]), ENDS)
def test_a_stream_that_is_not_stored_keeps_a_window_for_its_slowest_reader(
    kind: type[Viewer], steps: list[tuple[object, ...]], end: str
) -> None:
    async def check() -> None:
        node = new_node(kind)
        run = await play(node, "no-store", steps, end)
        check_everybody(run, end)
        await drop_the_rest(node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response_stream, "WINDOW_BYTES", WINDOW)
        asyncio.run(check())


@KINDS
@settings(max_examples=examples(37))
@given(STEPS, ENDS)
def test_a_stream_that_outgrows_the_store_goes_on_in_a_window(
    kind: type[Viewer], steps: list[tuple[object, ...]], end: str
) -> None:
    async def check() -> None:
        node = new_node(kind, capacity=8 * 1_000)  # admits 1,000 bytes
        run = await play(node, "max-age=60", steps, end, admitted=1_000)
        check_everybody(run, end)
        if len(run.body) > 1_000:
            assert not node.store.statistics.entries
        await drop_the_rest(node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response_stream, "WINDOW_BYTES", WINDOW)
        asyncio.run(check())


async def drop_the_rest(node: Node) -> None:
    """End the fetches that viewers made for themselves."""
    for task in list(node.tasks):
        task.cancel()
    await flush(lambda: not node.tasks)
