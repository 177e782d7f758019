"""Proof that a lab works, not only runs: one object through both tiers, seen by viewers and confirmed by the origin.

A first viewer must miss, the same edge must then hit, and a viewer of another edge that shares the regional cache must get the
object although the origin is not asked a second time.
"""

from dataclasses import dataclass

from lab.clients.http_client import Reply, UnreachableError, ask, get_json
from lab.cluster.status import LabStatus, NodeStatus
from lab.errors import LabError
from lab.topology.layout import Role

# The demo site's first image: a day of freshness, so it cannot expire meanwhile (docs/origin.md).
DEMO_PATH = "/images/1.svg"
REQUEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class VerifiedHit:
    """What was seen. `second_edge` is empty in a lab in which no two edges share a regional cache."""

    url: str
    first_edge: str
    second_edge: str

    @property
    def sentence(self) -> str:
        own = f"{self.url}: miss, then hit at {self.first_edge}"
        return f"{own}; {self.second_edge} got it from its regional cache, not the origin" if self.second_edge else own


def verify_hit_through_both_tiers(status: LabStatus, host: str, origin_admin: str) -> VerifiedHit:
    """Asks for an object of the demo site as viewers would. LabError says which tier did not do its part."""
    first, *others = _edges_of_one_region(status)
    url = f"http://{host}{DEMO_PATH}"
    before = _origin_requests(origin_admin)
    _expect(_fetch(first, host), first, "Miss")
    _expect(_fetch(first, host), first, "Hit")
    second = others[0] if others and status.of_role(Role.REGIONAL) else None
    if second is None:
        return VerifiedHit(url, first.node.id, "")
    # X-Cache speaks for both tiers (reference 2.12): a hit, since the regional cache has the object by now.
    _expect(_fetch(second, host), second, "Hit")
    asked = _origin_requests(origin_admin) - before
    if asked != 1:
        raise LabError(
            f"{DEMO_PATH} was fetched {asked} times from the origin for two edges: the regional tier does not cache"
        )
    return VerifiedHit(url, first.node.id, second.node.id)


def _edges_of_one_region(status: LabStatus) -> list[NodeStatus]:
    """Edges that share a regional cache, or one edge if no two do."""
    edges = status.of_role(Role.EDGE)
    regions = [regional.node.region for regional in status.of_role(Role.REGIONAL)] or [edges[0].node.region]
    for region in regions:
        siblings = [edge for edge in edges if edge.node.region == region]
        if len(siblings) > 1:
            return siblings
    return [edges[0]]


def _fetch(edge: NodeStatus, host: str) -> Reply:
    try:
        reply = ask(edge.node.http, DEMO_PATH, headers=[("host", host)], timeout_seconds=REQUEST_SECONDS)
    except UnreachableError as error:
        raise LabError(f"{edge.node.id} does not serve: {error}") from error
    if reply.status != 200:
        raise LabError(f"{edge.node.id} answered {DEMO_PATH} of {host} with status {reply.status}")
    return reply


def _expect(reply: Reply, edge: NodeStatus, word: str) -> None:
    x_cache = reply.headers.get("x-cache", "")
    if not x_cache.startswith(word):
        raise LabError(f"{edge.node.id} answered {DEMO_PATH} with X-Cache: {x_cache or '(none)'}; {word} was due")


def _origin_requests(admin: str) -> int:
    try:
        return int(get_json(admin, f"/count?path={DEMO_PATH}")["count"])
    except (UnreachableError, KeyError, ValueError) as error:
        raise LabError(f"the origin does not say what it was asked: {error}") from error
