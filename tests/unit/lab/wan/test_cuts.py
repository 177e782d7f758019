"""Cuts of some clients from some proxies: whom they are about, and what is refused."""

from typing import Any

import pytest

from lab.wan.cuts import BOTH, NEITHER, Cut, Pair, read_cut, severed
from lab.wan.toxics import Stream
from lab.wan.toxiproxy_documents import ApiError

PLACES, PROXIES = ("eu", "us"), ("edge-1", "edge-2")
UP = frozenset((Stream.UPSTREAM,))


@pytest.mark.parametrize(
    ("proxy", "address", "place", "streams"),
    [
        ("edge-1", "127.0.11.1", "", UP),
        ("edge-1", "127.0.11.2", "eu", BOTH),
        ("edge-1", "127.0.11.1", "eu", BOTH),
        ("edge-1", "127.0.11.2", "us", NEITHER),
        ("edge-1", "127.0.11.2", "", NEITHER),
        ("edge-2", "127.0.11.1", "eu", NEITHER),
    ],
)
def test_pairs_of_all_cuts_together_say_what_is_lost(
    proxy: str, address: str, place: str, streams: frozenset[Stream]
) -> None:
    by_address = Cut("a", (Pair(("127.0.11.1/32",), ("edge-1",), UP),))
    by_place = Cut("b", (Pair(("eu",), ("edge-1",)),))
    assert severed((by_address, by_place), proxy, address, place) == streams


def test_without_clients_it_is_everybody() -> None:
    assert severed((Cut("a", (Pair((), ("edge-1",)),)),), "edge-1", "::1", "") == BOTH


def test_it_is_written_as_it_is_read() -> None:
    document = {
        "name": "f-1",
        "pairs": [
            {"clients": ["eu", "127.0.11.0/24"], "proxies": ["edge-1"], "stream": "downstream"},
            {"clients": [], "proxies": ["edge-1", "edge-2"], "stream": "both"},
        ],
    }
    assert read_cut(document, PLACES, PROXIES).to_json() == document


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "a cut is an object"),
        ({"name": "x", "pairs": []}, "pairs are a list of 1 to 64"),
        ({"name": "a/b", "pairs": [{}]}, "a cut has a name"),
        ({"name": "x", "pairs": [7]}, "a pair is an object"),
        ({"name": "x", "pairs": [{"proxy": "edge-1"}]}, "unknown proxy; there are clients, proxies, stream"),
        ({"name": "x", "pairs": [{"proxies": ["edge-3"]}]}, "no proxy 'edge-3': there are edge-1, edge-2"),
        ({"name": "x", "pairs": [{"clients": ["mars"]}]}, "no place 'mars', and no network: there are eu, us"),
        ({"name": "x", "pairs": [{"clients": ["127.0.0.1/8"]}]}, "no place '127.0.0.1/8'"),
        ({"name": "x", "pairs": [{"clients": "eu"}]}, "clients are a list"),
        ({"name": "x", "pairs": [{"stream": "up"}]}, "stream is one of both, upstream, downstream"),
    ],
)
def test_what_makes_no_sense_is_refused(document: Any, problem: str) -> None:
    with pytest.raises(ApiError, match=problem):
        read_cut(document, PLACES, PROXIES)
