"""Toxics: what Toxiproxy does to one direction of one connection, under its names and with its attributes (its README, version 2). Pure.

What they do is in stages.py. `half_open` is ours. Differences are listed in docs/wan.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from lab.wan.links import Chance
from lab.wan.stages import Bandwidth, HalfOpen, Latency, LimitData, ResetPeer, Slicer, SlowClose, Stage, Timeout

LARGEST_ATTRIBUTE: Final = 10**12


class Stream(StrEnum):
    """The direction that a toxic is for."""

    UPSTREAM = "upstream"
    """From the client to the server."""
    DOWNSTREAM = "downstream"
    FORWARD = "forward"
    """Of links only, whoever is the client there: from the link's first place to the other one."""
    BACKWARD = "backward"


OF_CONNECTIONS: Final = (Stream.UPSTREAM, Stream.DOWNSTREAM)


@dataclass(frozen=True, slots=True)
class Toxic:
    """One toxic of a proxy."""

    name: str
    kind: str
    stream: Stream
    toxicity: float
    attributes: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """As Toxiproxy writes it."""
        return {
            "name": self.name,
            "type": self.kind,
            "stream": self.stream.value,
            "toxicity": self.toxicity,
            "attributes": dict(self.attributes),
        }


class ToxicError(ValueError):
    """What is asked for is no toxic; the message says why."""


@dataclass(frozen=True, slots=True)
class _Kind:
    attributes: tuple[str, ...]
    make: Callable[[Mapping[str, int], Chance], Stage]


KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "latency": _Kind(("latency", "jitter"), Latency),
        "bandwidth": _Kind(("rate",), Bandwidth),
        "slicer": _Kind(("average_size", "size_variation", "delay"), Slicer),
        "limit_data": _Kind(("bytes",), LimitData),
        "timeout": _Kind(("timeout",), Timeout),
        "reset_peer": _Kind(("timeout",), ResetPeer),
        "slow_close": _Kind(("delay",), SlowClose),
        "half_open": _Kind((), HalfOpen),
    }
)


class ToxicsAtWork:
    """The toxics of one direction of one connection. A toxic that stays keeps its stage, and whether it applies at all is decided once, by its toxicity."""

    def __init__(self, stream: Stream, chance: Chance, along: Stream | None = None) -> None:
        """`along` is the direction of the link that this one of the connection takes."""
        self._streams = (stream, along)
        self._chance = chance
        self._decided: list[tuple[Toxic, Stage | None]] = []

    def update(self, toxics: Sequence[Toxic], now: float) -> tuple[Stage, ...]:
        """The stages of these toxics, in their order."""
        self._decided = [(toxic, self._stage_of(toxic, now)) for toxic in toxics if toxic.stream in self._streams]
        return tuple(stage for _, stage in self._decided if stage is not None)

    def _stage_of(self, toxic: Toxic, now: float) -> Stage | None:
        for known, stage in self._decided:
            if known is toxic:
                return stage
        if toxic.toxicity < 1 and self._chance.random() >= toxic.toxicity:
            return None
        made = KINDS[toxic.kind].make(toxic.attributes, self._chance)
        made.begin(now)
        return made


def read_toxic(document: object, streams: Sequence[Stream] = OF_CONNECTIONS) -> Toxic:
    """From JSON, with the defaults of Toxiproxy; ToxicError for what is none. `streams`: those that its owner has."""
    if not isinstance(document, dict):
        raise ToxicError("bad request body: a toxic is an object")
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ToxicError(f"invalid toxic type: there are {', '.join(KINDS)}")
    stream = _read_stream(document.get("stream", ""), streams)
    name = document.get("name") or f"{kind}_{stream.value}"
    if not isinstance(name, str) or len(name) > 200 or "/" in name:
        raise ToxicError("bad request body: a name is text without '/'")
    return Toxic(
        name,
        kind,
        stream,
        _read_toxicity(document),
        _read_attributes(kind, document.get("attributes"), MappingProxyType({})),
    )


def changed_toxic(toxic: Toxic, document: object) -> Toxic:
    """Another toxicity or other attributes; those that are not given stay."""
    if not isinstance(document, dict):
        raise ToxicError("bad request body: a toxic is an object")
    toxicity = _read_toxicity(document) if "toxicity" in document else toxic.toxicity
    attributes = _read_attributes(toxic.kind, document.get("attributes"), toxic.attributes)
    return Toxic(toxic.name, toxic.kind, toxic.stream, toxicity, attributes)


def _read_stream(word: object, streams: Sequence[Stream]) -> Stream:
    if word == "":
        return Stream.DOWNSTREAM
    for stream in streams:
        if word == stream.value:
            return stream
    raise ToxicError(f"stream was invalid, can be either {' or '.join(streams)}")


def _read_toxicity(document: Mapping[str, object]) -> float:
    value = document.get("toxicity", 1.0)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ToxicError("bad request body: toxicity is a number from 0 to 1")


def _read_attributes(kind: str, document: object, before: Mapping[str, int]) -> Mapping[str, int]:
    given = {} if document is None else document
    if not isinstance(given, dict):
        raise ToxicError("bad request body: attributes are an object")
    known = KINDS[kind].attributes
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise ToxicError(f"bad request body: {kind} has no attribute {', '.join(unknown)}")
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_ATTRIBUTE:
            raise ToxicError(f"bad request body: {name} is a whole number, not negative")
    return MappingProxyType({name: given.get(name, before.get(name, 0)) for name in known})
