"""Which regional caches are left out for a while: outlier ejection, as load balancers do it, by kind of failure and by peer. Pure: `now` is an argument.

What counts is what a failure says of the peer itself:

- *unreachable* (refused, no connection in time, no such name): two in a row eject it;
- *silent* (the connection ended before a response, or the read timeout): that may be the fault of one object behind the peer, or of a peer that hangs. A reset weighs as
  much as a refused connection; of timeouts it takes three in a row, since each of them may be one slow origin;
- everything else (a body that broke off, a response that is none, a status that fails over) came from whoever the peer asked, and says nothing of the peer.

A whole response makes up for the failures before it. The first ejection lasts BASE_EJECTION_SECONDS, each further one twice as long, up to MAXIMUM_EJECTION_SECONDS. Who
comes back is on probation: one failure is enough to go again, and the ejections are forgotten
when it answers after as long a time as it was out.

No more than MAXIMUM_EJECTED_SHARE of the peers (but always one) are ejected for silence: else whoever finds an object that makes peers silent sends all traffic round the
tier, to the origins. Those that cannot be connected to are ejected whatever their share is: nothing would get through to them anyway.
"""

from typing import Final

from edge_node.model.errors import UpstreamErrorKind

BASE_EJECTION_SECONDS: Final = 2.0
"""About as long as the control plane needs to notice that a node is gone and to take it out of the directory."""
MAXIMUM_EJECTION_SECONDS: Final = 60.0
"""A peer that is well again gets its keys back within a minute, however long it was gone."""
MAXIMUM_EJECTED_SHARE: Final = 0.5
"""With half of the tier left the origins get nothing of the rest: the next peer is asked for the keys of one that is out."""
EJECTION_SCORE: Final = 6
MOST_REMEMBERED_PEERS: Final = 256
"""Far more than a lab has; peers that left the directory are forgotten from the oldest on."""

_UNREACHABLE: Final = frozenset({UpstreamErrorKind.REFUSED, UpstreamErrorKind.CONNECT_TIMEOUT, UpstreamErrorKind.NAME})
_SCORES: Final = {
    UpstreamErrorKind.REFUSED: 3,
    UpstreamErrorKind.CONNECT_TIMEOUT: 3,
    UpstreamErrorKind.NAME: 3,
    UpstreamErrorKind.RESET: 3,
    UpstreamErrorKind.READ_TIMEOUT: 2,
}
"""Two of three or three of two reach EJECTION_SCORE. What is not here says nothing of the peer."""
_PROBATION_SCORE: Final = EJECTION_SCORE - min(_SCORES.values())


class _Record:
    """What is remembered of a peer that has failed."""

    __slots__ = ("ejected_until", "ejection_seconds", "score")

    def __init__(self) -> None:
        self.score = 0
        self.ejected_until = 0.0
        self.ejection_seconds = 0.0
        """Of the last ejection; 0: there was none."""


class PeerHealth:
    """The health of regional caches, as far as this node has seen it."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    @property
    def is_clean(self) -> bool:
        """Nobody has failed of late: there is nothing that an answer could make up for."""
        return not self._records

    def is_ejected(self, peer_id: str, now: float) -> bool:
        """Whether to ask somebody else."""
        record = self._records.get(peer_id)
        return record is not None and record.ejected_until > now

    def answered(self, peer_id: str, now: float) -> None:
        """A whole response has come."""
        record = self._records.get(peer_id)
        if record is None or record.ejected_until > now:
            return  # it was asked before it failed
        record.score = 0
        if now >= record.ejected_until + record.ejection_seconds:
            del self._records[peer_id]

    def failed(self, peer_id: str, kind: UpstreamErrorKind, now: float, peers: int) -> bool:
        """An attempt has failed, at one of so many peers; True when that ejects it."""
        score = _SCORES.get(kind)
        if score is None:
            return False
        record = self._record_of(peer_id)
        if record.ejected_until > now:  # they were asked together, and one death is counted once
            return False
        record.score = min(record.score + score, EJECTION_SCORE)
        if record.score < EJECTION_SCORE or not (kind in _UNREACHABLE or self._may_eject(now, peers)):
            return False
        record.ejection_seconds = min(max(BASE_EJECTION_SECONDS, record.ejection_seconds * 2), MAXIMUM_EJECTION_SECONDS)
        record.ejected_until = now + record.ejection_seconds
        record.score = _PROBATION_SCORE
        return True

    def _may_eject(self, now: float, peers: int) -> bool:
        ejected = sum(record.ejected_until > now for record in self._records.values())
        return ejected < max(1, int(peers * MAXIMUM_EJECTED_SHARE))

    def _record_of(self, peer_id: str) -> _Record:
        record = self._records.get(peer_id)
        if record is None:
            if len(self._records) >= MOST_REMEMBERED_PEERS:
                del self._records[next(iter(self._records))]
            record = self._records[peer_id] = _Record()
        return record
