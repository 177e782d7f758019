"""Fifty viewers on one connection of many streams: each at its own pace, joining, holding, leaving, let go, while objects are stored, not stored, or outgrow the store.

Whatever they do, nobody's body is another one's, nobody waits for a stream that does not move, the credit of each stream and of the connection is kept to the byte
(`tests/fuzz/strict_frames.py` reads the whole transcript), and what the node holds for them is bounded.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from edge_node.caching.lookup import Reason, Result
from edge_node.delivery.body_sender import BodySender
from edge_node.delivery.downstream import DownstreamHead
from edge_node.fill import response_stream
from edge_node.model.errors import UpstreamErrorKind
from tests.conversations.dialogue import Fetch, Node
from tests.conversations.multiplexed_viewer import MultiplexedViewer
from tests.edge_wires import NODE, turn
from tests.fuzz.strict_frames import CONNECTION, Data, Frame, StreamEnd
from tests.multiplexed import MultiplexedConnection

VIEWERS = 50
STEPS = 1_200
WINDOW, LARGEST_CHUNK, ADMITTED = 400, 300, 1_000
STREAM_CREDIT, CONNECTION_CREDIT, LARGEST_FRAME = 500, 2_000, 120
SIZES = {"/stored": 700, "/open": 900, "/own": 2_000, "/outgrown": 4_000}
"""By kind: kept whole, kept with its length unknown, not kept, more than the store admits."""
FIELDS = {"/own": "no-store"}


class PacedViewer(MultiplexedViewer):
    """Gives the credit of its stream back in steps of its own size."""

    def __init__(self, node: Node, connection: MultiplexedConnection, step: int) -> None:
        super().__init__(node, connection)
        self.step = step
        self.path = ""
        self._unsaid = 0

    @property
    def is_idle(self) -> bool:
        return self.stream is None or self.is_done or self.is_cut or not self.is_open

    def goes_for(self, path: str) -> None:
        self.is_open, self.is_cut, self.path, self._unsaid = True, False, path, 0
        self.asks(path)

    def _gives_back(self, stream: int, count: int) -> None:
        self.connection.gives_credit(CONNECTION, count)
        if self.stream is None or self.stream.id != stream:
            return
        self._unsaid += count
        if self._unsaid >= self.step:
            given, self._unsaid = self._unsaid, 0
            if self._is_holding:
                self._held_back += given
            else:
                self.connection.gives_credit(stream, given)


class Origin:
    """Feeds what the node fetches, a chunk at a time, as long as it is not held up."""

    def __init__(self, node: Node, rng: random.Random) -> None:
        self.node, self.rng = node, rng
        self.sent: dict[int, int] = {}
        self.bodies: dict[str, list[bytes]] = {}

    def moves(self, number: int, *, may_break: bool) -> None:
        fetch = self.node.fetcher.fetches[number]
        if fetch.is_over or fetch.is_cancelled or fetch.connection.is_paused:
            return
        path = fetch.sink.upstream_request.head.target.decode()
        kind = path[: path.index("-")]
        body = (b"%b/%d;" % (path.encode(), number) * SIZES[kind])[: SIZES[kind]]
        if number not in self.sent:
            self.sent[number] = 0
            self.bodies.setdefault(path, []).append(body)
            length = (("content-length", str(len(body))),) if kind == "/stored" or self.rng.random() < 0.5 else ()
            fetch.begins(200, ("cache-control", FIELDS.get(kind, "max-age=60")), *length)
            return
        at = self.sent[number]
        if at == len(body):
            fetch.ends()
        elif may_break and self.rng.random() < 0.01:
            fetch.fails(UpstreamErrorKind.TRUNCATED)
        else:
            size = self.rng.randint(1, LARGEST_CHUNK)
            self.sent[number] = min(at + size, len(body))
            fetch.sends(body[at : at + size])
            self.judges(fetch)

    def judges(self, fetch: Fetch) -> None:
        stream = fetch.sink.stream
        if stream.writer is None and not stream.is_ended:
            assert sum(map(len, stream.chunks)) <= max(WINDOW, ADMITTED) + LARGEST_CHUNK


async def live_through(seed: int) -> Counter[StreamEnd]:
    rng = random.Random(seed)
    node = Node(capacity=8 * ADMITTED)
    connection = MultiplexedConnection(
        node.facts, stream_credit=STREAM_CREDIT, connection_credit=CONNECTION_CREDIT, largest_frame=LARGEST_FRAME
    )
    viewers = [PacedViewer(node, connection, rng.choice([1, 7, 100, STREAM_CREDIT])) for _ in range(VIEWERS)]
    origin = Origin(node, rng)
    asked: dict[int, str] = {}
    for _ in range(STEPS):
        viewer = rng.choice(viewers)
        match rng.randrange(20):
            case number if number < 6 and viewer.is_idle:
                viewer.goes_for(f"{rng.choice(list(SIZES))}-{rng.randrange(3)}")
                assert viewer.stream is not None
                asked[viewer.stream.id] = viewer.path
            case 6 if not viewer.is_idle:
                viewer.leaves()
            case 7 | 8:
                viewer.holds()
            case 9 | 10:
                viewer.takes_more()
            case _ if node.fetcher.fetches:
                origin.moves(rng.randrange(len(node.fetcher.fetches)), may_break=True)
        assert all(stream.waiting_bytes <= max(SIZES.values()) for stream in connection.streams.values())
        if rng.random() < 0.5:
            await asyncio.sleep(0)
    for viewer in viewers:
        viewer.takes_more()
    await ends(node, connection, origin)
    return judged(node, connection, (origin, asked))


async def ends(node: Node, connection: MultiplexedConnection, origin: Origin) -> None:
    """Everybody reads, and the origin says the rest."""
    while connection.streams:
        moved = len(connection.transcript), sum(origin.sent.values()), len(node.fetcher.fetches)
        for number in range(len(node.fetcher.fetches)):
            origin.moves(number, may_break=False)
        node.passes(0.1)
        await turn(3)
        now = len(connection.transcript), sum(origin.sent.values()), len(node.fetcher.fetches)
        assert now != moved or not connection.streams or await goes_on(connection), "a viewer was left waiting"


def judged(node: Node, connection: MultiplexedConnection, said: tuple[Origin, dict[int, str]]) -> Counter[StreamEnd]:
    """Each viewer has got what it asked for, or the beginning of it and no end."""
    origin, asked = said
    seen: Counter[StreamEnd] = Counter()
    for stream_id, response in connection.responses().items():
        seen[response.end] += 1
        if response.status == 200:
            bodies, body = origin.bodies[asked[stream_id]], bytes(response.body)
            assert any(whole.startswith(body) for whole in bodies), (asked[stream_id], body)
            assert response.end is not StreamEnd.WHOLE or body in bodies
    assert node.counters.internal_errors == 0
    assert connection.credit <= CONNECTION_CREDIT
    return seen


async def goes_on(connection: MultiplexedConnection) -> bool:
    """What is on its way in the loop has had its turns."""
    before = len(connection.transcript)
    await turn(40)
    return len(connection.transcript) != before or not connection.streams


@pytest.mark.parametrize("seed", range(12))
def test_fifty_viewers_share_a_connection_and_nothing_else(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response_stream, "WINDOW_BYTES", WINDOW)
        seen = asyncio.run(live_through(seed))
    assert seen[StreamEnd.OPEN] == 0 and seen[StreamEnd.WHOLE] > 40 and seen[StreamEnd.LEFT] > 3, seen


async def test_a_viewer_that_holds_one_stream_keeps_no_other_one_waiting() -> None:
    node = Node()
    connection = MultiplexedConnection(node.facts, connection_credit=70_000)
    await node.stores("/large", b"x" * 300_000, ("cache-control", "max-age=60"))
    await node.stores("/small", b"y" * 30_000, ("cache-control", "max-age=60"))
    slow, quick = MultiplexedViewer(node, connection), MultiplexedViewer(node, connection)
    slow.holds()
    slow.asks("/large")
    for _ in range(20):
        assert (await quick.asks("/small").answer()).body == b"y" * 30_000
    assert slow.body == b"" and not slow.is_done
    slow.takes_more()
    assert (await slow.answer()).body == b"x" * 300_000


# -- bodies that are read into a buffer which all streams share


def test_streams_that_are_sent_from_one_buffer_keep_their_bodies_apart() -> None:
    """A stored body on disk is read into one buffer of the node; what a stream has to wait with is its own copy."""
    for seed in range(30):
        asyncio.run(send_from_one_buffer(random.Random(seed)))


async def send_from_one_buffer(rng: random.Random) -> None:
    buffer = bytearray(800)
    connection = MultiplexedConnection(
        NODE, stream_credit=rng.choice([50, 500, 5_000]), connection_credit=1_000, largest_frame=LARGEST_FRAME
    )

    def pieces(number: int, count: int) -> Iterator[memoryview]:
        for index in range(count):
            size = rng.randint(1, len(buffer))
            buffer[:] = bytes([number, index]) * (len(buffer) // 2)
            bodies[number] += buffer[:size]
            yield memoryview(buffer)[:size]

    def hears(frame: Frame) -> None:
        if isinstance(frame, Data):
            unsaid.append((frame.stream, len(frame.data)))

    unsaid: list[tuple[int, int]] = []
    bodies = [bytearray() for _ in range(10)]
    ends: list[list[bool]] = [[] for _ in bodies]
    streams = []
    for number, end in enumerate(ends):
        stream = connection.opens(b"GET", hears)
        streams.append(stream)
        word = b"Hit from cloudfront"
        head = DownstreamHead(200, b"", Result.HIT, Reason.FRESH, word, b"id", 0, b"", None)
        BodySender(stream, head, pieces(number, rng.randint(0, 9)), end.append).start()
    while connection.streams:
        if rng.random() < 0.02:
            rng.choice(streams).leaves()
        rng.shuffle(unsaid)
        if unsaid:
            stream_id, count = unsaid.pop()
            connection.gives_credit(stream_id, count)
            connection.gives_credit(CONNECTION, count)
        await asyncio.sleep(0)
    responses = connection.responses()
    for stream, body, end in zip(streams, bodies, ends, strict=True):
        response = responses[stream.id]
        assert end == [response.end is StreamEnd.WHOLE]
        assert bytes(body).startswith(bytes(response.body))
        assert response.end is StreamEnd.LEFT or response.body == body
