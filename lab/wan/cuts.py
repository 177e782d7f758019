"""Cuts: black holes between some clients and some proxies, beside those of links, so that one node can be cut off from others at its own place too. Pure.

A cut is known by its name, and has *pairs*. What it holds back, and what happens when it is gone, is as for the cut of a link (pipes.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from lab.wan.configuration import is_name, parse_network
from lab.wan.toxics import Stream
from lab.wan.toxiproxy_documents import BAD_REQUEST, ApiError

MOST_CUTS: Final = 256
MOST_PAIRS: Final = 64
"""Of one cut."""
MOST_NAMES: Final = 4_096
"""Of clients or proxies in one pair."""

BOTH: Final = frozenset((Stream.UPSTREAM, Stream.DOWNSTREAM))
NEITHER: Final[frozenset[Stream]] = frozenset()
_STREAMS: Final[Mapping[str, frozenset[Stream]]] = {
    "both": BOTH,
    Stream.UPSTREAM.value: frozenset((Stream.UPSTREAM,)),
    Stream.DOWNSTREAM.value: frozenset((Stream.DOWNSTREAM,)),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Between these clients and these proxies nothing gets through."""

    clients: tuple[str, ...]
    """Places, and networks; none of them: everybody."""
    proxies: tuple[str, ...]
    streams: frozenset[Stream] = BOTH

    def has_client(self, address: str, place: str) -> bool:
        """Whether a client with this address, at this place (empty: at none), is one of them."""
        if not self.clients or (place and place in self.clients):
            return True
        parsed = ip_address(address.partition("%")[0])
        networks = (parse_network(each) for each in self.clients)
        return any(network is not None and parsed in network for network in networks)

    def to_json(self) -> dict[str, object]:
        """As it was asked for."""
        word = next(word for word, streams in _STREAMS.items() if streams == self.streams)
        return {"clients": list(self.clients), "proxies": list(self.proxies), "stream": word}


@dataclass(frozen=True, slots=True)
class Cut:
    """Several pairs that come and go together."""

    name: str
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, object]:
        """As it was asked for."""
        return {"name": self.name, "pairs": [pair.to_json() for pair in self.pairs]}


def severed(cuts: Iterable[Cut], proxy: str, address: str, place: str) -> frozenset[Stream]:
    """In which directions nothing gets through between a client and a proxy."""
    pairs = (pair for cut in cuts for pair in cut.pairs if proxy in pair.proxies)
    return NEITHER.union(*(pair.streams for pair in pairs if pair.has_client(address, place)))


def read_cut(document: object, places: Collection[str], proxies: Collection[str]) -> Cut:
    """From JSON; ApiError for what is none, or names what there is not."""
    fields = _object(document, "a cut")
    _refuse_unknown(fields, ("name", "pairs"))
    name, pairs = fields.get("name"), fields.get("pairs")
    if not isinstance(name, str) or not is_name(name):
        raise _wrong("a cut has a name, of up to 200 characters without '/'")
    if not isinstance(pairs, list) or not 0 < len(pairs) <= MOST_PAIRS:
        raise _wrong(f"pairs are a list of 1 to {MOST_PAIRS}")
    return Cut(name, tuple(_read_pair(each, places, proxies) for each in pairs))


def _read_pair(document: object, places: Collection[str], proxies: Collection[str]) -> Pair:
    fields = _object(document, "a pair")
    _refuse_unknown(fields, ("clients", "proxies", "stream"))
    streams = _STREAMS.get(str(fields.get("stream", "both")))
    if streams is None:
        raise _wrong(f"stream is one of {', '.join(_STREAMS)}")
    pair = Pair(_names(fields, "clients"), _names(fields, "proxies"), streams)
    for each in pair.clients:
        if each not in places and parse_network(each) is None:
            raise _wrong(f"no place {each!r}, and no network: there are {', '.join(places) or 'no places'}")
    for each in pair.proxies:
        if each not in proxies:
            raise _wrong(f"no proxy {each!r}: there are {', '.join(proxies) or 'none'}")
    return pair


def _names(fields: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    if isinstance(value, list) and len(value) <= MOST_NAMES and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise _wrong(f"{name} are a list of at most {MOST_NAMES} names")


def _object(document: object, what: str) -> Mapping[str, object]:
    if isinstance(document, dict):
        return document
    raise _wrong(f"{what} is an object")


def _refuse_unknown(fields: Mapping[str, object], known: Collection[str]) -> None:
    unknown = [str(name) for name in fields if name not in known]
    if unknown:
        raise _wrong(f"unknown {', '.join(unknown)}; there are {', '.join(known)}")


def _wrong(reason: str) -> ApiError:
    return ApiError(BAD_REQUEST, f"bad request body: {reason}")
