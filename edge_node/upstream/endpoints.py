"""Whom to ask for a response, with what words and how long to wait."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from edge_node.model.configuration import Origin, Peer
from edge_node.model.http import Header


class Tier(StrEnum):
    """Label of the upstream metrics."""

    REGIONAL = "regional"
    ORIGIN = "origin"


REGIONAL_CONNECT_TIMEOUT_SECONDS: Final = 1.0
"""A regional cache that takes longer is as good as dead: the next one is asked."""
REGIONAL_KEEPALIVE_SECONDS: Final = 30.0
REGIONAL_MARGIN_SECONDS: Final = 5.0
"""On top of what the regional cache itself may wait for the origin."""


class Endpoint:
    """One upstream to try."""

    __slots__ = (
        "address", "completion_timeout", "connect_timeout", "connection_attempts", "failover_statuses", "keepalive", "peer_id", "read_timeout", "request",
        "tier",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one for each part of the value
        self,
        tier: Tier,
        peer_id: str,
        address: tuple[str, int],
        connection_attempts: int,
        connect_timeout: float,
        read_timeout: float,
        keepalive: float,
        request: bytes,
        completion_timeout: float = 0.0,
        failover_statuses: frozenset[int] | None = None,
    ) -> None:
        self.tier: Final = tier
        self.peer_id: Final = peer_id
        """Of a regional cache; the origin's id for an origin."""
        self.address: Final = address
        self.connection_attempts: Final = connection_attempts
        self.connect_timeout: Final = connect_timeout
        self.read_timeout: Final = read_timeout
        self.keepalive: Final = keepalive
        self.request: Final = request
        """Request line and field lines."""
        self.completion_timeout: Final = completion_timeout
        """Bound on the whole response, seconds; 0: none."""
        self.failover_statuses: Final = failover_statuses
        """Of the primary of an origin group: what sends a request to the next target (reference 1.5); None: it is in no group."""

    def render(self, extra: Sequence[Header] = ()) -> bytes:
        """The bytes of the request head."""
        return (
            b"".join((self.request, *[b"%b: %b\r\n" % pair for pair in extra], b"\r\n"))
            if extra
            else self.request + b"\r\n"
        )


def origin_endpoint(origin: Origin, request: bytes, failover_statuses: frozenset[int] | None = None) -> Endpoint:
    """The origin, with the time that the distribution configures (reference 1.4)."""
    return Endpoint(
        Tier.ORIGIN,
        origin.id,
        (origin.host, origin.port),
        origin.connection_attempts,
        origin.connection_timeout,
        origin.read_timeout,
        origin.keepalive_timeout,
        request,
        origin.completion_timeout,
        failover_statuses,
    )


def regional_endpoint(peer: Peer, origins: Sequence[Origin], request: bytes) -> Endpoint:
    """A regional cache: quick to give up connecting, but as long as the regional cache may be with the origins that it asks in turn."""
    origin_seconds = sum(
        origin.connection_attempts * (origin.connection_timeout + origin.read_timeout) for origin in origins
    )
    return Endpoint(
        tier=Tier.REGIONAL,
        peer_id=peer.id,
        address=(peer.host, peer.port),
        connection_attempts=1,
        connect_timeout=REGIONAL_CONNECT_TIMEOUT_SECONDS,
        read_timeout=origin_seconds + REGIONAL_MARGIN_SECONDS,
        keepalive=REGIONAL_KEEPALIVE_SECONDS,
        request=request,
    )
