"""What a link is, and when bytes that are sent now come out of it. Pure: `now` and chance are arguments.

A *link* is the modelled path between two places, with two *paths*, one in each direction. The model of a path, in this order:

1. *Bandwidth*: one queue for all connections and datagrams. Bytes leave it one after the other, at the path's rate. When it is full, streams wait (TCP's senders would
   have been slowed down), datagrams are dropped at the tail.
2. *Delay*, with jitter: a sample for each piece. Streams stay in order, so that a late piece makes those behind it late; datagrams overtake each other.
3. *Loss*: a datagram is gone. Of a stream nothing may be missing, so a lost segment is a stall: everything behind it waits for the retransmission timeout,
   RTT + 4 jitters and 200 ms at least (RFC 6298 section 2.3 with Linux's lower bound), doubled when the retransmission is lost too (section 5.5).
   There is no congestion window, so that nothing is halved, and no fast retransmit: a real stream would lose less time to a loss in its middle, and rate after it.

What bounds the bytes that wait, and what is read when, is not here but in pipes.py and tcp_session.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

SEGMENT_BYTES: Final = 1_460
"""Of a stream on Ethernet: 1500 less the headers of IPv4 and TCP. What is lost is one of these."""
LEAST_RETRANSMISSION_SECONDS: Final = 0.2
"""Linux's lower bound; RFC 6298 section 2.4 has a second."""
FIRST_RETRANSMISSION_SECONDS: Final = 1.0
"""Of a SYN, before any round trip is known (RFC 6298 section 2.1)."""
MOST_RETRANSMISSIONS: Final = 6
PIECE_SECONDS: Final = 0.005
"""A piece of a stream takes so long to leave: finer than what anybody measures here, coarse enough to be cheap."""
LARGEST_PIECE_BYTES: Final = 262_144
DEFAULT_QUEUE_SECONDS: Final = 0.1
LEAST_QUEUE_BYTES: Final = 65_536

_PARETO_SHAPE: Final = 3.0
_PARETO_MEAN: Final = 1.5
_PARETO_DEVIATION: Final = 0.75**0.5
_PARETO_MEDIAN: Final = 2 ** (1 / 3)


class Chance(Protocol):
    """What is asked of a generator of random numbers (`random.Random`)."""

    def random(self) -> float:
        """From 0 to 1."""

    def gauss(self, mu: float, sigma: float) -> float:
        """Normally distributed."""

    def paretovariate(self, alpha: float) -> float:
        """Pareto's distribution, from 1 on."""


class Distribution(StrEnum):
    """Of delays around the mean."""

    UNIFORM = "uniform"
    """From delay - jitter to delay + jitter."""
    NORMAL = "normal"
    """The jitter is the standard deviation."""
    PARETO = "pareto"
    """The same, with shape 3: most a little early, a few very late."""


@dataclass(frozen=True, slots=True)
class Path:
    """One direction of a link."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    distribution: Distribution = Distribution.NORMAL
    bytes_per_second: float = 0.0
    """0: unlimited."""
    loss: float = 0.0
    """Share of segments and datagrams, 0 to 1."""
    queue_bytes: int = 0
    """0: what leaves in 100 ms, 64 KiB at least."""
    is_cut: bool = False
    """Nothing gets through, and nobody is told."""

    def problems(self) -> Iterator[str]:
        """What makes no sense."""
        if not 0 <= self.delay_seconds <= 60:
            yield f"a delay must be from 0 to 60 s, not {self.delay_seconds:g} s"
        if not 0 <= self.jitter_seconds <= max(0.0, self.delay_seconds):
            yield f"a jitter must be from 0 to the delay ({self.delay_seconds:g} s), not {self.jitter_seconds:g} s"
        if self.bytes_per_second and self.bytes_per_second < SEGMENT_BYTES:
            yield f"a bandwidth must be 0 (unlimited) or a segment ({SEGMENT_BYTES} bytes) a second at least"
        if not 0 <= self.loss < 1:
            yield f"a loss must be at least 0 and less than all, not {self.loss:.3g}"
        if self.queue_bytes and self.queue_bytes < SEGMENT_BYTES:
            yield f"a queue must hold a segment ({SEGMENT_BYTES} bytes) at least, not {self.queue_bytes} bytes"

    @property
    def is_plain(self) -> bool:
        """Bytes that go in come out at once."""
        return not (self.delay_seconds or self.bytes_per_second or self.loss or self.is_cut)

    @property
    def piece_bytes(self) -> int:
        """How much of a stream is read, and comes out, at a time."""
        if not self.bytes_per_second:
            return LARGEST_PIECE_BYTES
        return min(LARGEST_PIECE_BYTES, max(SEGMENT_BYTES, int(self.bytes_per_second * PIECE_SECONDS)))

    @property
    def most_queued_bytes(self) -> int:
        """The size of the queue."""
        return self.queue_bytes or max(LEAST_QUEUE_BYTES, int(self.bytes_per_second * DEFAULT_QUEUE_SECONDS))

    @property
    def median_delay_seconds(self) -> float:
        """Of many samples: half of them are earlier."""
        if self.distribution is Distribution.PARETO:
            return self.delay_seconds + self.jitter_seconds * (_PARETO_MEDIAN - _PARETO_MEAN) / _PARETO_DEVIATION
        return self.delay_seconds

    def sample_delay(self, chance: Chance) -> float:
        """Seconds; never less than none."""
        jitter = self.jitter_seconds
        if not jitter:
            return self.delay_seconds
        match self.distribution:
            case Distribution.UNIFORM:
                deviation = 2 * chance.random() - 1
            case Distribution.NORMAL:
                deviation = chance.gauss(0.0, 1.0)
            case Distribution.PARETO:
                deviation = (chance.paretovariate(_PARETO_SHAPE) - _PARETO_MEAN) / _PARETO_DEVIATION
        return max(0.0, self.delay_seconds + jitter * deviation)


@dataclass(frozen=True, slots=True)
class Link:
    """Between two places: `forward` leads from the first to the second."""

    ends: tuple[str, str]
    forward: Path
    backward: Path

    @property
    def name(self) -> str:
        """As it is called in the API and in reports."""
        return f"{self.ends[0]}--{self.ends[1]}"

    @property
    def is_cut(self) -> bool:
        """In at least one direction, which no handshake survives."""
        return self.forward.is_cut or self.backward.is_cut


class SharedQueue:
    """The queue in front of a path, which everything that takes it shares."""

    __slots__ = ("_busy_until", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._busy_until = 0.0

    def transmit(self, size: int, now: float) -> float:
        """Queue so many bytes; when the last of them has left."""
        rate = self.path.bytes_per_second
        if not rate:
            return now
        self._busy_until = max(now, self._busy_until) + size / rate
        return self._busy_until

    def queued_bytes(self, now: float) -> float:
        """What has not left yet."""
        return max(0.0, self._busy_until - now) * self.path.bytes_per_second

    def has_room(self, size: int, now: float) -> bool:
        """Whether so many bytes fit in, as anything does into an empty queue."""
        queued = self.queued_bytes(now)
        return not queued or queued + size <= self.path.most_queued_bytes

    def room_at(self, size: int, now: float) -> float:
        """When they do, if nothing else comes."""
        rate = self.path.bytes_per_second
        if not rate:
            return now
        room = max(0, self.path.most_queued_bytes - size)
        return max(now, self._busy_until - room / rate)

    def change(self, path: Path, now: float) -> None:
        """Another path from now on: what waits leaves at its rate."""
        queued = self.queued_bytes(now)
        self.path = path
        self._busy_until = now + queued / path.bytes_per_second if path.bytes_per_second else now


def retransmission_seconds(one: Path, other: Path) -> float:
    """The timeout after which a lost segment is sent again, from the paths of both directions."""
    round_trip = one.delay_seconds + other.delay_seconds
    variation = 4 * (one.jitter_seconds + other.jitter_seconds)
    return max(LEAST_RETRANSMISSION_SECONDS, round_trip + variation)


def stall_seconds(loss: float, segments: int, timeout_seconds: float, chance: Chance) -> float:
    """How long a stream waits because of losses among so many segments; 0 mostly."""
    if not loss or chance.random() >= 1 - (1 - loss) ** segments:
        return 0.0
    stall = timeout_seconds
    for _ in range(MOST_RETRANSMISSIONS - 1):
        if chance.random() >= loss:
            break
        timeout_seconds *= 2
        stall += timeout_seconds
    return stall


class StreamPath:
    """One direction of one connection: pieces arrive in order."""

    __slots__ = ("_chance", "_last_at", "_opposite", "not_before", "queue")

    def __init__(self, queue: SharedQueue, opposite: SharedQueue, chance: Chance) -> None:
        self.queue = queue
        self._opposite = opposite
        self._chance = chance
        self._last_at = 0.0
        self.not_before = 0.0
        """When the sender's side of the handshake is over: nothing is sent earlier."""

    def arrival(self, size: int, now: float) -> float:
        """When a piece that is sent now is there; 0 bytes for an end."""
        path = self.queue.path
        sent = max(self.queue.transmit(size, now), self.not_before)
        at = sent + path.sample_delay(self._chance)
        if path.loss:
            timeout = retransmission_seconds(path, self._opposite.path)
            at += stall_seconds(path.loss, -(-size // SEGMENT_BYTES) or 1, timeout, self._chance)
        self._last_at = max(self._last_at, at)
        return self._last_at

    def retransmitted_at(self, now: float) -> float:
        """When what was held up by a cut that ends now is sent again and there."""
        path = self.queue.path
        return now + path.delay_seconds + retransmission_seconds(path, self._opposite.path)


def datagram_arrival(queue: SharedQueue, size: int, now: float, chance: Chance) -> float | None:
    """When a datagram that is sent now is there; None: never."""
    path = queue.path
    if path.is_cut or not queue.has_room(size, now):
        return None
    left = queue.transmit(size, now)
    if path.loss and chance.random() < path.loss:
        return None
    return left + path.sample_delay(chance)


@dataclass(frozen=True, slots=True)
class Handshake:
    """RFC 9293 section 3.5, in seconds after the client's SYN."""

    syn_seconds: float
    """The SYN is at the server."""
    client_seconds: float
    """The SYN-ACK is at the client, which may send from then on."""
    server_seconds: float
    """The ACK is at the server, which may send from then on."""


def sample_handshake(forward: Path, backward: Path, chance: Chance) -> Handshake:
    """Three delays; a SYN or SYN-ACK that is lost costs a second, then two."""

    def crossing(path: Path) -> float:
        return path.sample_delay(chance) + stall_seconds(path.loss, 1, FIRST_RETRANSMISSION_SECONDS, chance)

    syn = crossing(forward)
    client = syn + crossing(backward)
    return Handshake(syn, client, client + forward.sample_delay(chance))
