"""Request bodies on their way upstream, on a clock that stands still: an early answer ends the sending, wherever it stands (RFC 9112 sections 9.3, 9.5)."""

import pytest

from edge_node.delivery.request_body import RequestBodyStream
from edge_node.upstream.connection import UpstreamConnection
from tests.builders import behavior_message, caching_disabled
from tests.conversations.dialogue import Node, Viewer, flush
from tests.conversations.origins import Link, Origins
from tests.turns import settle

ORIGIN = "192.0.2.1"
POSTING = behavior_message(
    policy=caching_disabled(), allowed_methods=["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
)


class KeptOrigins(Origins):
    """Connections are kept for the next request, as the real pool does."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[UpstreamConnection] = []

    def release(self, address: tuple[str, int], connection: UpstreamConnection, keepalive_seconds: float) -> None:
        if connection.is_open:
            self.kept.append(connection)


async def posting(length: int | None) -> tuple[KeptOrigins, Viewer, RequestBodyStream, Link]:
    """A POST whose head has arrived at the origin."""
    origins = KeptOrigins()
    viewer = Node(POSTING, upstream=origins.fetcher).viewer()
    body = RequestBodyStream(viewer, length)
    framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
    viewer.asks("/a", framing, method="POST", body=body)
    return origins, viewer, body, await origins.asked(ORIGIN)


@pytest.mark.parametrize("length", [10, None])
@pytest.mark.parametrize("is_chunk_first", [True, False])
@pytest.mark.parametrize("is_last", [True, False])
async def test_a_chunk_that_comes_together_with_the_answer_is_not_sent(
    length: int | None, is_chunk_first: bool, is_last: bool
) -> None:
    origins, viewer, body, link = await posting(length)

    def more_comes() -> None:
        body.feed(b"0123456789" if is_last else b"hello")
        if is_last:
            body.end()

    if is_chunk_first:
        more_comes()
    link.answers(403, b"no")
    if not is_chunk_first:
        more_comes()
    assert (await viewer.answer()).status == 403
    await settle()
    assert (link.body, origins.kept) == (b"", [])
    assert link.is_closed


@pytest.mark.parametrize(("length", "sent"), [(10, b"0123456789"), (None, b"0123456789"), (0, b"")])
async def test_behind_a_body_that_was_sent_whole_the_connection_is_kept(length: int | None, sent: bytes) -> None:
    origins, viewer, body, link = await posting(length)
    if length != 0:
        body.feed(b"0123456789")
    body.end()
    await flush(lambda: link.is_heard_out)
    assert link.body == sent
    link.answers(200, b"done")
    assert (await viewer.answer()).body == b"done"
    assert len(origins.kept) == 1 and not link.is_closed


async def test_each_piece_of_a_body_goes_on_as_it_comes() -> None:
    _, _, body, link = await posting(100)
    sent = b""
    for piece in (b"a", b"bc", b"def"):
        body.feed(piece)
        sent += piece
        await flush(lambda expected=sent: link.body == expected)


async def test_a_viewer_that_leaves_in_its_body_ends_the_request() -> None:
    origins, viewer, body, link = await posting(10)
    body.feed(b"hello")
    await flush(lambda: link.body == b"hello")
    viewer.leaves()
    await flush(lambda: link.is_closed)
    assert origins.kept == []


@pytest.mark.parametrize("length", [10, None])
async def test_a_body_that_breaks_off_ends_the_request_also_while_the_viewer_is_there(length: int | None) -> None:
    """What comes of a body may turn out to be none: upstream, which waits for the rest, hears of it at once."""
    origins, viewer, body, link = await posting(length)
    body.feed(b"hello")
    await flush(lambda: link.body == b"hello")
    body.break_off()
    await flush(lambda: link.is_closed)
    assert (origins.kept, viewer.is_open, viewer.has_got_nothing) == ([], True, True)
    assert not origins.counters.upstream_errors
