"""Who may speak for a node: whoever holds the certificate that names it (DESIGN section 3).

That the certificate is of the lab's authority, and that the peer holds its key, is what the TLS handshake has shown before.
What a node says of itself beside its name and role (its place, its addresses, its position in the log) is believed: docs/security.md says what is trusted.
"""

import logging
from collections.abc import Iterable, Mapping

from control_plane.nodes import NodeDescription
from proto.mutual_tls import node_uri

PEER_URI = "peer_uri"
"""gRPC's name, in the authentication context, for the URIs in the peer's certificate."""

CONTROL_PLANE_ROLE = "control_plane"
"""In the certificates of control planes, as the lab's authority makes them."""

_logger = logging.getLogger("control-plane")


class Admission:
    """The rule for the nodes of one lab; it counts those that were refused."""

    def __init__(self, zone: str, *, is_certified: bool) -> None:
        self._zone = zone
        self._is_certified = is_certified
        self._planes = node_uri(zone, CONTROL_PLANE_ROLE, "")
        self._told: set[tuple[str, ...]] = set()
        self.refused_total = 0

    def why_refused(self, peer: Mapping[str, Iterable[bytes]], node: NodeDescription) -> str | None:
        """What is wrong with a peer that says it is this node; None when nothing is, or when nodes need no certificate here."""
        if not self._is_certified:
            return None
        wanted = node_uri(self._zone, node.role.name.lower(), node.identifier)
        named = _names_of(peer)
        if named == (wanted,) or self.may_pass_on(peer):
            return None  # another control plane has asked this of the node before it passed its stream on
        reason = f"the certificate is of {' and '.join(named) or 'nobody'}, not of {wanted}"
        self._note(named, reason)
        return reason

    def may_pass_on(self, peer: Mapping[str, Iterable[bytes]]) -> bool:
        """Whether the peer is a control plane, and may speak for many nodes over one connection; anybody is where nodes need no certificate."""
        named = _names_of(peer)
        return not self._is_certified or (len(named) == 1 and named[0].startswith(self._planes))

    def _note(self, named: tuple[str, ...], reason: str) -> None:
        """Each certificate is told of once: a node tries again for ever, and it chooses what it says."""
        self.refused_total += 1
        if named not in self._told:
            self._told.add(named)
            _logger.warning("refused a node: %s; that it tries again is counted only", reason)


def _names_of(peer: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    return tuple(sorted(uri.decode("utf-8", "replace") for uri in peer.get(PEER_URI, ())))
