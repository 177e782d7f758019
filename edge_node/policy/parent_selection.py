"""Which regional caches an edge asks for a key, best first: nearest region, and inside it rendezvous hashing (reference 3: one region per POP, next best on failure)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edge_node.model.configuration import Peer

MAXIMUM_CANDIDATES: Final = 3
"""After so many dead regional caches the origin is asked directly: a viewer waits only so long."""


def rank_regionals(
    peers: Sequence[Peer], latency_milliseconds: Mapping[str, float], key: bytes, is_down: Callable[[str], bool]
) -> tuple[Peer, ...]:
    """The regional caches to try in order. Those known to be down are left out; all of them down means none, and the origin."""
    ordered = sorted(
        (peer for peer in peers if not is_down(peer.id)),
        key=lambda peer: (latency_milliseconds.get(peer.region, float("inf")), _score(peer.id, key), peer.id),
    )
    return tuple(ordered[:MAXIMUM_CANDIDATES])


def _score(peer_id: str, key: bytes) -> bytes:
    """Rendezvous weight: each key sees the peers in its own stable order, and losing one peer moves only that peer's keys."""
    return hashlib.blake2b(key, key=peer_id.encode()[:64], digest_size=8).digest()
