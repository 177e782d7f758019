"""What is sent in which order, with which waits: a response becomes a list of steps.

Pure: the steps say everything, so that a truncated, paced or gated answer can be tested without a socket. `connection` performs them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from origin.messages import PROMPT, Delivery, Framing, Generated, Request, Response, sliced
from origin.patterns import pieces
from origin.wire import framing_of, has_body

_MAX_PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PassGate:
    """Wait until a gate is open."""

    gate: str


@dataclass(frozen=True, slots=True)
class SendHead:
    """Send the status line and headers."""


@dataclass(frozen=True, slots=True)
class SendBody:
    """Send part of the body, in pieces, with a wait before each piece but the first of the body."""

    start: int
    end: int
    piece_bytes: int
    interval_seconds: float


@dataclass(frozen=True, slots=True)
class EndChunks:
    """Mark the end of a chunked body."""


@dataclass(frozen=True, slots=True)
class SendRaw:
    """Send bytes that are not this response."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close in good order: everything sent arrives, then the end."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Close with RST once what was sent has left."""


Step = Pause | PassGate | SendHead | SendBody | EndChunks | SendRaw | Close | Reset


def is_prompt(response: Response) -> bool:
    """Whether head and body can simply be written at once."""
    return (
        isinstance(response.body, bytes)
        and len(response.body) <= _MAX_PIECE_BYTES
        and response.framing is Framing.LENGTH
        and response.delivery is PROMPT
    )


def script(request: Request, response: Response, is_last: bool) -> list[Step]:
    """The steps of a response, up to the end of its connection if `is_last` or if it is cut short."""
    plan = response.delivery
    steps = list(_before_head(plan))
    if plan.is_dropped or plan.is_reset:
        return [*steps, Reset() if plan.is_reset else Close()]
    if plan.raw is not None:
        return [*steps, SendRaw(plan.raw), Close()]
    steps.append(SendHead())
    if has_body(request, response):
        steps.extend(_body_steps(plan, len(response.body)))
        if isinstance(steps[-1], Close | Reset):
            return steps
        if framing_of(request, response) is Framing.CHUNKED:
            steps.append(EndChunks())
    return [*steps, Close()] if is_last else steps


def _before_head(plan: Delivery) -> Iterator[Step]:
    if plan.delay_seconds:
        yield Pause(plan.delay_seconds)
    if plan.gate:
        yield PassGate(plan.gate)


def _body_steps(plan: Delivery, length: int) -> Iterator[Step]:
    cuts = [cut for cut in (plan.truncate_after_bytes, plan.reset_after_bytes) if cut is not None]
    end = min([length, *cuts])
    piece_bytes = plan.piece_bytes or _MAX_PIECE_BYTES
    half = min(length // 2, end) if plan.gate_body else 0
    if plan.first_byte_delay_seconds:
        yield Pause(plan.first_byte_delay_seconds)
    if half:
        yield SendBody(0, half, piece_bytes, plan.interval_seconds)
    if plan.gate_body:
        yield PassGate(plan.gate_body)
    if half < end:
        yield SendBody(half, end, piece_bytes, plan.interval_seconds)
    if plan.reset_after_bytes is not None and plan.reset_after_bytes == end:
        yield Reset()
    elif end < length:
        yield Close()


def body_pieces(response: Response, step: SendBody) -> Iterator[bytes | memoryview]:
    """The body's bytes from start to end, in pieces of at most the step's size, with the one corrupt byte if that is wanted."""
    corrupt_at = response.delivery.corrupt_at_byte
    position = step.start
    for piece in _clean_pieces(response, step):
        end = position + len(piece)
        if corrupt_at is not None and position <= corrupt_at < end:
            broken = bytearray(piece)
            broken[corrupt_at - position] ^= 0xFF
            yield bytes(broken)
        else:
            yield piece
        position = end


def _clean_pieces(response: Response, step: SendBody) -> Iterator[bytes | memoryview]:
    body = sliced(response.body, step.start, step.end - step.start)
    blocks = pieces(body) if isinstance(body, Generated) else (body,)
    limit = min(step.piece_bytes, _MAX_PIECE_BYTES)
    for block in blocks:
        if len(block) <= limit:
            yield block
        else:
            view = memoryview(block)
            yield from (view[start : start + limit] for start in range(0, len(block), limit))
