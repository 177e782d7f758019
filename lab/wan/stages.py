"""Toxics at work: each toxic of a connection is a *stage* of one of its directions. Events go in and come out, later, cut into pieces, or not at all. Pure.

What the toxics are called and how they are asked for is in toxics.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lab.wan.links import LARGEST_PIECE_BYTES, Chance

MOST_PIECES_OF_A_READ: Final = 256
"""A slicer makes so many pieces of what is read at a time, so that what waits is bounded in number too."""
BANDWIDTH_PIECE_MILLISECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that come out at a time."""

    at: float
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The sender has said all (FIN)."""

    at: float


@dataclass(frozen=True, slots=True)
class Close:
    """The connection ends on both sides, with what came before it delivered (FIN)."""

    at: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection ends on both sides at once, whatever waits (RST, RFC 9293 section 3.5.2)."""

    at: float


Event = Piece | End | Close | Reset


def moved(event: Event, at: float) -> Event:
    """The same event at another time."""
    match event:
        case Piece(_, data):
            return Piece(at, data)
        case End():
            return End(at)
        case Close():
            return Close(at)
        case Reset():
            return Reset(at)


class Stage:
    """One toxic at work on one direction of one connection. By itself it passes everything on."""

    read_bytes = LARGEST_PIECE_BYTES
    """How much may be read at a time."""
    has_dropped = False
    """Something of the stream is missing: it cannot go on without this toxic."""
    alarm: "Event | None" = None
    """What it does by itself, whatever comes."""

    def begin(self, now: float) -> None:
        """Time starts."""

    def take(self, event: Event) -> Iterator[Event]:
        """What comes out for what goes in."""
        yield event


class Latency(Stage):
    """All data later, by `latency` +/- `jitter` milliseconds."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        self._seconds = attributes["latency"] / 1000
        self._jitter_seconds = attributes["jitter"] / 1000
        self._chance = chance
        self._last_at = 0.0

    def take(self, event: Event) -> Iterator[Event]:
        """In order."""
        deviation = self._jitter_seconds * (2 * self._chance.random() - 1) if self._jitter_seconds else 0.0
        self._last_at = max(self._last_at, event.at + max(0.0, self._seconds + deviation))
        yield moved(event, self._last_at)


class Bandwidth(Stage):
    """`rate` kilobytes (of 1000 bytes) a second, for each connection by itself."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        del chance
        self._bytes_per_second = attributes["rate"] * 1000
        self._free_at = 0.0
        piece = attributes["rate"] * BANDWIDTH_PIECE_MILLISECONDS
        self.read_bytes = min(LARGEST_PIECE_BYTES, max(1, piece))

    def take(self, event: Event) -> Iterator[Event]:
        """Each piece when its last byte is through; with rate 0 nothing ever is."""
        if isinstance(event, Piece):
            if not self._bytes_per_second:
                self.has_dropped = True
                return
            self._free_at = max(self._free_at, event.at) + len(event.data) / self._bytes_per_second
        yield moved(event, max(event.at, self._free_at))


class Slicer(Stage):
    """Pieces of `average_size` +/- `size_variation` bytes, with `delay` microseconds between them."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        self._average = max(1, attributes["average_size"])
        self._variation = min(attributes["size_variation"], self._average - 1)
        self._delay_seconds = attributes["delay"] / 1e6
        self._chance = chance
        self._free_at = 0.0
        self.read_bytes = min(LARGEST_PIECE_BYTES, self._average * MOST_PIECES_OF_A_READ)

    def take(self, event: Event) -> Iterator[Event]:
        """Cut up."""
        if not isinstance(event, Piece):
            yield moved(event, max(event.at, self._free_at))
            return
        start = 0
        while start < len(event.data):
            size = self._average + round(self._variation * (2 * self._chance.random() - 1))
            at = max(event.at, self._free_at)
            yield Piece(at, event.data[start : start + size])
            self._free_at = at + self._delay_seconds
            start += size


class LimitData(Stage):
    """The connection closes after `bytes` bytes."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        del chance
        self._left = attributes["bytes"]

    def begin(self, now: float) -> None:
        """With nothing allowed it closes at once."""
        self.alarm = Close(now) if not self._left else None

    def take(self, event: Event) -> Iterator[Event]:
        """What is still allowed."""
        if not isinstance(event, Piece):
            yield event
            return
        data = event.data[: self._left]
        self._left -= len(data)
        if data:
            yield Piece(event.at, data)
            if not self._left:
                yield Close(event.at)


class Timeout(Stage):
    """Data is dropped, and the connection closes after `timeout` milliseconds; 0: never."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        del chance
        self._seconds = attributes["timeout"] / 1000

    def begin(self, now: float) -> None:
        """The time starts with the toxic."""
        self.alarm = Close(now + self._seconds) if self._seconds else None

    def take(self, event: Event) -> Iterator[Event]:
        """Only what closes the connection gets through."""
        self.has_dropped |= isinstance(event, Piece | End)
        if isinstance(event, Close | Reset):
            yield event


class ResetPeer(Stage):
    """The connection is reset after `timeout` milliseconds; 0: at once. Until then nothing gets through."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        del chance
        self._seconds = attributes["timeout"] / 1000

    def begin(self, now: float) -> None:
        """The time starts with the toxic."""
        self.alarm = Reset(now + self._seconds)

    def take(self, event: Event) -> Iterator[Event]:
        """Nothing but another reset."""
        self.has_dropped |= isinstance(event, Piece | End)
        if isinstance(event, Reset):
            yield event


class SlowClose(Stage):
    """The end of the data is told `delay` milliseconds later."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        del chance
        self._seconds = attributes["delay"] / 1000

    def take(self, event: Event) -> Iterator[Event]:
        """Data as it comes."""
        yield moved(event, event.at + self._seconds) if isinstance(event, End | Close) else event


class HalfOpen(Stage):
    """Ours: the receiver is never told that the sender has closed or reset the connection, or has crashed (RFC 9293 section 3.5.1)."""

    def __init__(self, attributes: Mapping[str, int], chance: Chance) -> None:
        del attributes, chance

    def take(self, event: Event) -> Iterator[Event]:
        """Data as it comes."""
        self.has_dropped |= not isinstance(event, Piece)
        if isinstance(event, Piece):
            yield event
