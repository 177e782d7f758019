"""What becomes of a final response that has just begun: when it was made, what of it is for whom, whether and how it is kept.

Worked out from its head alone, for a fill that goes on with what comes behind it, and for a plain fetch that has it all (`fills.py`, `plain_fetches.py`).
"""

from typing import Final

from edge_node.caching.age import initial_age
from edge_node.caching.decisions import Reason, Result
from edge_node.caching.entries import Arrival
from edge_node.caching.entry import Traits
from edge_node.caching.key import CacheKey
from edge_node.caching.terms import Terms
from edge_node.caching.updating import with_date
from edge_node.keeping import Keeping, keep
from edge_node.model import Headers, RequestHead, ResponseHead
from edge_node.policy.routing import Plan
from edge_node.policy.traits import TraitsTable
from edge_node.policy.viewer_fields import fields_for_one, viewer_fields
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.targets import Target, Tier

_RESULTS = {result.value: result for result in Result}


class Asked:
    """What a response answers, and when that was asked."""

    __slots__ = ("asked_at", "head", "plan", "stamp")

    def __init__(
        self,
        head: RequestHead,
        plan: Plan,
        stamp: int,
        asked_at: float,
    ) -> None:
        self.head: Final = head
        self.plan: Final = plan
        self.stamp: Final = stamp
        """The log index that was applied then (DESIGN section 4, rule 1)."""
        self.asked_at: Final = asked_at
        """Seconds since the epoch."""


class Reception:
    """What becomes of one response."""

    __slots__ = ("arrival", "fields", "head", "keeping", "own_fields")

    def __init__(
        self,
        head: ResponseHead,
        fields: Headers,
        own_fields: Headers,
        keeping: Keeping | None,
        arrival: Arrival,
    ) -> None:
        self.head: Final = head
        self.fields: Final = fields
        """Those for everybody, as they are stored."""
        self.own_fields: Final = own_fields
        """Those for the viewer alone who began it."""
        self.keeping: Final = keeping
        """None: it is not looked at."""
        self.arrival: Final = arrival

    @property
    def is_storable(self) -> bool:
        """Its terms allow to store it."""
        return self.keeping is not None and self.keeping.terms.is_storable

    @property
    def is_for_all(self) -> bool:
        """Those who joined may have it too, if it is stored (reference 2.10)."""
        keeping = self.keeping
        return keeping is not None and keeping.part is None and keeping.terms.may_be_shared(self.arrival.initial_age)


def receive(asked: Asked, key: CacheKey | None, head: ResponseHead, answered_at: float) -> Reception:
    """A response whose head came at `answered_at`; without a key it is not kept."""
    plan = asked.plan
    behavior = plan.behavior
    fields = viewer_fields(head, behavior)
    keeping = None if key is None else keep((asked.head, plan, key), head, fields, answered_at)
    return Reception(head, fields, fields_for_one(head, behavior), keeping, arrival_of(asked, head, answered_at))


def dated(head: ResponseHead, received_at: float) -> ResponseHead:
    """With the time of receipt as its Date, where the origin gave none (RFC 9110 section 6.6.1)."""
    if b"date" in head.fields:
        return head
    return make_response_head(head.status, head.reason, with_date(head.headers, received_at))


def said_by_regional(head: ResponseHead, target: Target | None) -> Result | None:
    """The regional cache's own result; an origin that sends this field is not believed. An error status of the origin's own is a miss like any other."""
    said = head.fields.get(b"x-edge-result")
    if said is None or target is None or target.tier is not Tier.REGIONAL:
        return None
    word, _, reason = said.decode("latin-1").partition(";")
    return Result.MISS if reason == Reason.UPSTREAM_STATUS else _RESULTS.get(word)


def arrival_of(asked: Asked, head: ResponseHead, answered_at: float) -> Arrival:
    """When it came, and how old it was then (RFC 9111 section 4.2.3)."""
    age = initial_age(head.fields, asked.asked_at, answered_at, asked.plan.behavior.semantics)
    return Arrival(asked.stamp, answered_at, age)


def traits_of(table: TraitsTable, plan: Plan, head: ResponseHead, terms: Terms) -> Traits:
    """What the entry shares with others of its kind."""
    content_type = head.fields.get(b"content-type", b"")
    return table.of((head.status, head.reason), content_type, terms, is_strict=plan.is_strict)
