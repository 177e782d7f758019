"""Whom to ask for a response, with what words and how much patience."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from edge_node.model import Header, Origin, Peer


class Tier(StrEnum):
    """Label of the upstream metrics."""

    REGIONAL = "regional"
    ORIGIN = "origin"


REGIONAL_CONNECT_TIMEOUT_SECONDS = 1.0
"""A regional cache that takes longer is as good as dead: the next one is asked."""
REGIONAL_KEEPALIVE_SECONDS = 30.0
REGIONAL_MARGIN_SECONDS = 5.0
"""On top of what the regional cache itself may wait for the origin."""


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream to try."""

    tier: Tier
    peer_id: str
    """Of a regional cache; the origin's id for an origin."""
    address: tuple[str, int]
    connection_attempts: int
    connect_timeout: float
    read_timeout: float
    keepalive: float
    request_line: bytes
    fields: tuple[Header, ...]

    def render(self, extra: Iterable[Header] = ()) -> bytes:
        """The bytes of the request head."""
        lines = [self.request_line]
        lines += [b"%b: %b\r\n" % pair for pair in self.fields]
        lines += [b"%b: %b\r\n" % pair for pair in extra]
        lines.append(b"\r\n")
        return b"".join(lines)


def origin_target(origin: Origin, request_line: bytes, fields: tuple[Header, ...]) -> Target:
    """The origin, with the patience that the distribution configures (reference 1.4)."""
    return Target(
        tier=Tier.ORIGIN,
        peer_id=origin.id,
        address=(origin.host, origin.port),
        connection_attempts=origin.connection_attempts,
        connect_timeout=origin.connection_timeout,
        read_timeout=origin.read_timeout,
        keepalive=origin.keepalive_timeout,
        request_line=request_line,
        fields=fields,
    )


def regional_target(peer: Peer, origin: Origin, request_line: bytes, fields: tuple[Header, ...]) -> Target:
    """A regional cache: quick to give up connecting, but as patient as the regional cache may be with the origin."""
    origin_patience = origin.connection_attempts * (origin.connection_timeout + origin.read_timeout)
    return Target(
        tier=Tier.REGIONAL,
        peer_id=peer.id,
        address=(peer.host, peer.port),
        connection_attempts=1,
        connect_timeout=REGIONAL_CONNECT_TIMEOUT_SECONDS,
        read_timeout=origin_patience + REGIONAL_MARGIN_SECONDS,
        keepalive=REGIONAL_KEEPALIVE_SECONDS,
        request_line=request_line,
        fields=fields,
    )
