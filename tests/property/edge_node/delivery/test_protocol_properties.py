"""Whatever protocol viewers speak, and in whatever pieces upstream's responses come, the answers are the same: status, fields and body, and whether they are whole.

The bytes of HTTP/1.1 and the frames of a shared connection are each read by a strict reader of their own; only what belongs to a connection differs.
"""

import asyncio
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, policy_message
from tests.conversations.dialogue import Arrival, Fetch, Http1Viewer, Node, Viewer
from tests.conversations.multiplexed_viewer import MultiplexedViewer
from tests.conversations.tiers import ALL_METHODS, Tiers, strict
from tests.depth import examples
from tests.edge_wires import turn
from tests.property.histories import STEPS, Ask, Exchange, Outcome, Watch, play

WAYS: list[tuple[type[Viewer], Arrival]] = [
    (Http1Viewer, Arrival.PIECES),
    (Http1Viewer, Arrival.WHOLE),
    (MultiplexedViewer, Arrival.PIECES),
    (MultiplexedViewer, Arrival.WHOLE),
    (MultiplexedViewer, Arrival.SPLIT),
]
OF_A_CONNECTION = frozenset({"connection", "transfer-encoding"})
Seen = tuple[Any, ...]


def seen_by(viewer: Viewer) -> Seen:
    """What a viewer can tell of its answer."""
    viewer.judge()
    answer = viewer.read()
    if answer is None:
        return None, viewer.is_cut
    lines = tuple(sorted(line for line in answer.lines if line[0] not in OF_A_CONNECTION))
    body = answer.body
    if answer.fields.get("content-encoding") == "gzip":  # where it was cut is not said by what was compressed
        body = zlib.decompressobj(31).decompress(body) if answer.is_whole else b""
    return answer.status, lines, body, answer.is_whole, viewer.is_done, viewer.is_cut, tuple(answer.interims)


def all_agree(results: list[list[Seen]]) -> None:
    for (kind, arrival), result in zip(WAYS[1:], results[1:], strict=True):
        for number, (expected, found) in enumerate(zip(results[0], result, strict=True)):
            assert found == expected, (kind.__name__, arrival, number)


# -- histories of requests and answers that overlap


@dataclass(frozen=True)
class Request:
    target: str
    method: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Response:
    """To the fetch of this number, from the last one back."""

    fetch: int
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    has_length: bool
    breaks_off: bool
    interim: bool


def fields_of(*choices: tuple[str, str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return st.lists(st.sampled_from(choices), max_size=2, unique_by=lambda pair: pair[0]).map(tuple)


REQUESTS = st.builds(
    Request,
    st.sampled_from(["/a", "/a", "/b"]),
    st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "POST"]),
    fields_of(
        ("range", "bytes=0-3"), ("range", "bytes=2-"), ("range", "bytes=0-0,4-5"), ("range", "bytes=900-"), ("if-none-match", '"1"'),
        ("accept-encoding", "gzip"), ("cache-control", "no-cache"),
    ),
)  # fmt: skip
RESPONSES = st.builds(
    Response,
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([200, 200, 200, 200, 200, 200, 404, 500, 503, 204, 304, 301, 206]),
    fields_of(
        ("cache-control", "max-age=60"), ("cache-control", "private"), ("cache-control", "max-age=0"), ("etag", '"1"'), ("vary", "accept-encoding"),
        ("set-cookie", "a=1"), ("content-type", "text/plain"), ("connection", "x-hop"), ("x-hop", "1"),
    ),
    st.sampled_from([b"", b"x", b"0123456789" * 3, b"text " * 400]),
    st.booleans(),
    st.integers(0, 9).map(lambda number: number == 0),
    st.integers(0, 4).map(lambda number: number == 0),
)  # fmt: skip
HISTORIES = st.lists(
    st.one_of(
        st.tuples(REQUESTS, RESPONSES),
        st.tuples(REQUESTS, RESPONSES),
        st.tuples(REQUESTS, REQUESTS, RESPONSES, RESPONSES),
        st.tuples(st.sampled_from([1.0, 61.0, 400.0])),
    ),
    min_size=2,
    max_size=8,
).map(lambda groups: [step for group in groups for step in group])


def answers(fetch: Fetch, response: Response) -> None:
    if fetch.is_over or fetch.is_cancelled:
        return
    status, fields, body = response.status, response.fields, response.body
    if response.interim:
        fetch.informs(103, ("link", "</a>"))
    if status == 206:
        status, fields = (200, fields) if "range" not in fetch.request else (416, fields)
    if fetch.method == b"HEAD" or status in (204, 304):
        fetch.begins(status, *fields)
        fetch.ends()
    elif response.has_length and not response.breaks_off:
        fetch.answers(status, body, *fields)
    else:
        length = (("content-length", str(len(body) + 1)),) if response.breaks_off else ()
        fetch.begins(status, *fields, *length)
        if body:
            fetch.sends(body)
        fetch.fails() if response.breaks_off else fetch.ends()


async def live_through(node: Node, history: list[Request | Response | float]) -> list[Seen]:
    viewers: list[Viewer] = []
    for step in history:
        match step:
            case Request(target=target, method=method, fields=fields):
                viewers.append(node.viewer().asks(target, *fields, method=method))
            case Response():
                if len(node.fetcher.fetches) > step.fetch:
                    answers(node.fetcher.fetches[-1 - step.fetch], step)
            case _:
                node.passes(step)
        await turn(8)
    for _ in range(6):  # what is asked for once more is lost
        for fetch in tuple(node.fetcher.fetches):
            if not fetch.is_over:
                fetch.fails()
        node.passes(1.0)
        await turn(8)
    assert node.counters.internal_errors == 0
    return [seen_by(viewer) for viewer in viewers]


@pytest.mark.parametrize("is_strict", [False, True])
def test_the_bytes_of_http1_say_what_the_frames_say(is_strict: bool) -> None:
    statuses: Counter[object] = Counter()
    semantics = configuration_pb2.SEMANTICS_RFC9111 if is_strict else configuration_pb2.SEMANTICS_CLOUDFRONT
    policy = policy_message(accept_encoding_gzip=True)
    behavior = behavior_message(semantics=semantics, policy=policy, compress=True, allowed_methods=ALL_METHODS)

    @settings(max_examples=examples(100))
    @given(HISTORIES)
    def every_history(history: list[Request | Response | float]) -> None:
        results = []
        for kind, arrival in WAYS:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Node, "viewer_kind", kind)
                patch.setattr(Fetch, "arrival", arrival)
                results.append(asyncio.run(live_through_node(behavior, history)))
        all_agree(results)
        statuses.update(seen[0] for seen in results[0])

    async def live_through_node(
        behavior: configuration_pb2.Behavior, history: list[Request | Response | float]
    ) -> list[Seen]:
        return await live_through(Node(behavior), history)

    every_history()
    assert {200, 204, 206, 304, 404, 416, 502, 503} <= statuses.keys(), statuses


# -- the histories of the caching rules, through one tier and two


class Notes(Watch):
    """Keeps the answers; others judge them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answers: list[Seen] = []

    def judge(self, outcome: Outcome) -> None:
        answer = outcome.answer
        lines = tuple(sorted(line for line in answer.lines if line[0] not in OF_A_CONNECTION))
        self.answers.append((answer.status, lines, answer.body, answer.is_whole))

    def note(self, edge: int, exchange: Exchange) -> None:
        pass


@pytest.mark.parametrize("tiers", [1, 2])
def test_the_histories_of_the_caching_rules_are_the_same_in_each_protocol(tiers: int) -> None:
    behavior = strict(policy_message(maximum_ttl_seconds=31_536_000))

    def make() -> Notes:
        if tiers == 1:
            node = Node(behavior)
            return Notes([node], node, 0.0)
        both = Tiers(behavior, edges=2)
        return Notes(both.edges, both.regional, 1.0)

    @settings(max_examples=examples(30))
    @given(STEPS)
    def every_history(steps: list[Ask | float]) -> None:
        results = []
        for kind, arrival in WAYS:
            made: list[Notes] = []

            def keep(made: list[Notes] = made) -> Notes:
                made.append(make())
                return made[0]

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Node, "viewer_kind", kind)
                patch.setattr(Fetch, "arrival", arrival)
                play(keep, steps)
            results.append(made[0].answers)
        all_agree(results)

    every_history()
