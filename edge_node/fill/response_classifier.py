"""What becomes of a final response that has just begun: when it was made, what of it is for whom, whether and how it is kept.

Worked out from its head alone, before anything of its body is passed on (`cache_fill.py`).
"""

from typing import Final

from edge_node.caching.age import initial_age
from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.caching.entry import EntryTemplate
from edge_node.caching.entry_factory import ResponseTiming
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import Reason, Result
from edge_node.caching.revalidation import with_date
from edge_node.fill.storage_decision import StorageDecision, decide_storage
from edge_node.model.http import Headers, RequestHead, ResponseHead
from edge_node.policy.response_headers import divided_fields
from edge_node.policy.router import Route
from edge_node.storage.entry_templates import EntryTemplates
from edge_node.upstream.connection import make_response_head
from edge_node.upstream.endpoints import Endpoint, Tier

_RESULTS: Final = {result.value: result for result in Result}


class FetchContext:
    """What a response answers, and when that was requested."""

    __slots__ = ("head", "requested_at", "route", "stamp")

    def __init__(
        self,
        head: RequestHead,
        route: Route,
        stamp: int,
        requested_at: float,
    ) -> None:
        self.head: Final = head
        self.route: Final = route
        self.stamp: Final = stamp
        """The log index that was applied then (DESIGN section 4, rule 1)."""
        self.requested_at: Final = requested_at
        """Seconds since the epoch."""


class ResponseClassification:
    """What becomes of one response."""

    __slots__ = ("fields", "head", "own_fields", "storage_decision", "timing")

    def __init__(
        self,
        head: ResponseHead,
        fields: Headers,
        own_fields: Headers,
        storage_decision: StorageDecision | None,
        timing: ResponseTiming,
    ) -> None:
        self.head: Final = head
        self.fields: Final = fields
        """Those for everybody, as they are stored."""
        self.own_fields: Final = own_fields
        """Those for the viewer alone who began it."""
        self.storage_decision: Final = storage_decision
        """None: it is not looked at."""
        self.timing: Final = timing

    @property
    def is_storable(self) -> bool:
        """Its cache metadata allows to store it."""
        return self.storage_decision is not None and self.storage_decision.cache_metadata.is_storable

    @property
    def is_for_all(self) -> bool:
        """Those who joined may have it too, if it is stored (reference 2.10)."""
        storage_decision = self.storage_decision
        return (
            storage_decision is not None
            and storage_decision.part is None
            and storage_decision.cache_metadata.may_be_shared(self.timing.initial_age)
        )


def classify_response(
    context: FetchContext, key: CacheKey | None, head: ResponseHead, answered_at: float
) -> ResponseClassification:
    """A response whose head came at `answered_at`; without a key it is not kept."""
    route = context.route
    fields, own_fields = divided_fields(head, route.behavior)
    storage_decision = None if key is None else decide_storage(context.head, route, key, head, fields, answered_at)
    return ResponseClassification(head, fields, own_fields, storage_decision, timing_of(context, head, answered_at))


def head_with_date(head: ResponseHead, received_at: float) -> ResponseHead:
    """With the time of receipt as its Date, where the origin gave none (RFC 9110 section 6.6.1)."""
    if b"date" in head.fields:
        return head
    return make_response_head(head.status, head.reason, with_date(head.headers, received_at))


def parent_result(head: ResponseHead, target: Endpoint | None) -> Result | None:
    """The regional cache's own result; an origin that sends this field is not believed. An error status of the origin's own is a miss like any other."""
    value = head.fields.get(b"x-edge-result")
    if value is None or target is None or target.tier is not Tier.REGIONAL:
        return None
    result, _, reason = value.decode("latin-1").partition(";")
    return Result.MISS if reason == Reason.UPSTREAM_STATUS else _RESULTS.get(result)


def timing_of(context: FetchContext, head: ResponseHead, answered_at: float) -> ResponseTiming:
    """When it came, and how old it was then (RFC 9111 section 4.2.3)."""
    age = initial_age(head.fields, context.requested_at, answered_at, context.route.behavior.semantics)
    return ResponseTiming(context.stamp, answered_at, age)


def template_of(
    table: EntryTemplates, route: Route, head: ResponseHead, cache_metadata: CacheMetadata
) -> EntryTemplate:
    """What the entry shares with others of its kind."""
    content_type = head.fields.get(b"content-type", b"")
    return table.of(head.status, head.reason, content_type, cache_metadata, is_strict=route.is_strict)
