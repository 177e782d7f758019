"""What the node understands of a viewer's bytes, beside what RFC 9112 makes of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_node.delivery.downstream import DownstreamStream
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.listeners.serving import KeptAliveStream
from edge_node.model.errors import ViewerError, ViewerLeftError
from edge_node.model.http import RequestHead
from edge_node.policy.parse_cache import HeaderSection, ParseCache
from tests.edge_wires import BodyReading, FakeListener, reply
from tests.fuzz.strict_http import End, Fields, Request, read_requests, read_responses
from tests.turns import settle

REFUSALS = {400, 408, 414, 494, 501, 505}


@dataclass
class Understood:
    """One request as the node handed it on."""

    head: RequestHead
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False

    @property
    def meaning(self) -> tuple[object, ...]:
        head = self.head
        return head.method, head.target, head.host, head.minor_version, head.headers


class RecordingService:
    """Reads each request to its end and answers it with 204, a plain GET of known parts on the fast path, as the pipeline does."""

    def __init__(self, parse_cache: ParseCache) -> None:
        self.section_of = parse_cache.section_of
        self.head_of = parse_cache.head_of
        self._parse_cache = parse_cache
        self.fast_answers = 0
        self.requests: list[Understood] = []
        self.violations: list[ViewerError] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def handle(self, downstream: DownstreamStream, head: RequestHead, body: RequestBodyStream | None) -> None:
        request = Understood(head)
        self.requests.append(request)
        if body is None:
            request.is_whole = True
            reply(downstream, 204)
            return
        downstream.begin(BodyReading(body))
        body.take_up()
        task = asyncio.get_running_loop().create_task(self._read(downstream, request, body))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def answer(self, wire: KeptAliveStream, section: HeaderSection, line: bytes, request_bytes: int) -> bool:
        del request_bytes
        head = self.head_of(line, section)
        if head is None or head.method != b"GET" or not head.is_plain:
            return False
        self.requests.append(Understood(head, is_whole=True))
        self.fast_answers += 1
        wire.write(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n")
        return True

    def remember(self, data: bytes, head: RequestHead, *, is_answered: bool) -> None:
        self._parse_cache.remember(data, head, with_line=is_answered)

    def remember_target(self, head: RequestHead) -> None:
        """Nothing is stored here, and so no request made of known parts is answered at once from what is stored."""

    async def _read(self, downstream: DownstreamStream, request: Understood, body: RequestBodyStream) -> None:
        try:
            while (chunk := await body.next_chunk()) is not None:
                request.body += chunk
        except ViewerLeftError:  # there is nobody to answer any more
            return
        request.is_whole = True
        reply(downstream, 204)

    def refuse_malformed(self, downstream: DownstreamStream, error: ViewerError) -> None:
        self.violations.append(error)
        reply(downstream, error.status)


@dataclass
class Outcome:
    """What became of one connection."""

    requests: list[Understood]
    refusal: int | None
    is_ended: bool
    """The node takes nothing more on this connection."""
    written: bytes
    fast_answers: int


async def outcome_of(pieces: Sequence[bytes], parse_cache: ParseCache) -> Outcome:
    """Feed a fresh connection as a socket would."""
    service = RecordingService(parse_cache)
    listener = FakeListener(service, service)
    _, transport = listener.connect()
    for piece in pieces:
        transport.feed(piece)
        if service.tasks:
            await asyncio.sleep(0)
    await _settle(service)
    assert transport.is_closing() or not transport.unread_bytes, "reading stays paused"
    is_ended = transport.is_closing() or transport.has_written_eof
    refusal = service.violations[0].status if service.violations else None
    outcome = Outcome(service.requests, refusal, is_ended, bytes(transport.written), service.fast_answers)
    if not transport.is_lost:
        transport.abort()
    await settle()
    assert not service.tasks, "somebody still waits for a body that will not come"
    assert not listener.open, "the connection was not released"
    assert len(service.violations) <= 1
    return outcome


async def _settle(service: RecordingService) -> None:
    """Until whoever still reads a body waits for more of it than will come, and nobody begins another one."""
    before, quiet_turns = -1, 0
    while quiet_turns < 6:
        progress = sum(1 + len(request.body) + request.is_whole for request in service.requests)
        quiet_turns = quiet_turns + 1 if progress == before else 0
        before = progress
        await asyncio.sleep(0)


def judge(outcome: Outcome, strict: list[Request], end: End) -> None:
    """The node's requests are the first of the strict reader's, word for word; where the node stops early it says so and takes nothing more."""
    assert len(outcome.requests) <= len(strict), f"a request that nobody sent: {outcome.requests[len(strict)].head!r}"
    for mine, theirs in zip(outcome.requests, strict, strict=False):
        assert mine.meaning == (theirs.method, theirs.target, theirs.host, theirs.minor_version, fields_to_keep(theirs))
        assert theirs.body.startswith(bytes(mine.body)), f"{bytes(mine.body)!r} is not the body {theirs.body!r}"
        if mine.is_whole:
            assert theirs.is_whole and bytes(mine.body) == theirs.body
    if not outcome.is_ended:
        whole = [request for request in outcome.requests if request.is_whole]
        assert len(whole) == sum(request.is_whole for request in strict), "a request went unheard"
    if outcome.refusal is not None:
        assert outcome.is_ended and outcome.refusal in REFUSALS
    if end is End.INVALID and strict and not strict[-1].is_whole:
        assert not outcome.requests[len(strict) - 1 :] or not outcome.requests[-1].is_whole
    judge_answers(outcome)


def fields_to_keep(request: Request) -> Fields:
    """All but those that Connection names, which end here (RFC 9110 section 7.6.1), unless they say where the message goes and where it ends."""
    options = {option.strip(b" \t").lower() for value in request.values(b"connection") for option in value.split(b",")}
    ending = options - {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"}
    return tuple((name, value) for name, value in request.fields if name not in ending)


def judge_answers(outcome: Outcome) -> None:
    """One answer for each whole request, in order, and one for the refusal."""
    finals = [request.head.method for request in outcome.requests if request.is_whole]
    methods = [*finals, b"GET"] if outcome.refusal is not None else finals
    answers, end = read_responses(outcome.written, methods, is_closed=False)
    statuses = [answer.status for answer in answers if answer.status >= 200]
    expected = [204] * len(finals) + ([outcome.refusal] if outcome.refusal is not None else [])
    rest = [answer.status for answer in answers if answer.status < 200]
    if end is End.INVALID:  # a 100 to a request that never became whole
        assert outcome.written.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert statuses == expected
    assert set(rest) <= {100}


def same(first: Outcome, second: Outcome) -> bool:
    """How a stream is cut must not change what is understood."""
    mine, theirs = ([(r.meaning, bytes(r.body)) for r in o.requests if r.is_whole] for o in (first, second))
    return mine == theirs and first.is_ended == second.is_ended


def read_strictly(data: bytes) -> tuple[list[Request], End]:
    """The strict reader's requests up to the last one that this connection may carry (RFC 9112 section 9.3): a close, HTTP/1.0, a WebSocket."""
    requests, end = read_requests(data)
    for number, request in enumerate(requests):
        if is_last(request):
            return requests[: number + 1], End.CLEAN if request.is_whole else end
    return requests, end


def is_last(request: Request) -> bool:
    options = {option.strip(b" \t").lower() for value in request.values(b"connection") for option in value.split(b",")}
    if b"close" in options or (request.minor_version == 0 and b"keep-alive" not in options):
        return True
    protocols = [one.strip(b" \t").lower() for value in request.values(b"upgrade") for one in value.split(b",")]
    has_body = bool(request.values(b"transfer-encoding")) or any(
        v.strip(b"0") for v in request.values(b"content-length")
    )
    return b"upgrade" in options and b"websocket" in protocols and not has_body


def one_by_one(stream: bytes, strict: Sequence[Request]) -> list[bytes]:
    """A read for each request, as a viewer sends them that waits for its answers: only such reads are remembered."""
    pieces = []
    for request in strict:
        before, found, rest = stream.partition(request.raw)
        if not found:
            break
        pieces += [before, found]
        stream = rest
    return [piece for piece in (*pieces, stream) if piece]
