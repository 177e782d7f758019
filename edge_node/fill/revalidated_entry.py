"""What the answer to a question about a stored response makes of it: a 304 that confirms it, or the head of its present form (RFC 9111 sections 4.3.4, 4.3.5, 3.2)."""

from dataclasses import dataclass

from edge_node.caching.entries import Arrival, confirmed_entry
from edge_node.caching.entry import Entry
from edge_node.caching.key import primary_key, variant_key
from edge_node.caching.storing import terms_of
from edge_node.caching.terms import LifetimeRule, not_stored
from edge_node.caching.updating import update_fields
from edge_node.keeping import error_minimum_ttl, varying_of
from edge_node.model import Headers, ResponseHead
from edge_node.policy.answers import content_length, write_fields
from edge_node.policy.compression import weak_etag, with_vary
from edge_node.policy.traits import TraitsTable
from edge_node.policy.upstream_requests import Question
from edge_node.policy.viewer_fields import viewer_fields
from edge_node.upstream.connection import make_response_head

_NOT_FOR_THIS_REQUEST = frozenset({LifetimeRule.REQUEST_NO_STORE, LifetimeRule.AUTHORIZATION})
"""The request is why nothing of this answer is stored: what was stored before stays as it is."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A stored response with the fields of a new answer."""

    entry: Entry
    """Answers those who asked. Its key is another one if the answer brought another Vary."""
    replaces: bool
    """It takes the place of what was stored."""
    is_outdated: bool
    """What was stored has to go, and this is not to be stored either."""


def confirm(
    question: Question, stored: Entry, answer: ResponseHead, arrival: Arrival, traits: TraitsTable
) -> Confirmed:
    """Put the fields of the answer into the stored response, with a new age and new terms."""
    plan, request = question.plan, question.head
    update = _of_coded(stored.headers, viewer_fields(answer, plan.behavior))
    fields = update_fields(stored.headers, update, arrival.response_time)
    merged = make_response_head(stored.status, stored.traits.reason, fields)
    get = request.as_get() if request.method == b"HEAD" else request
    minimum = error_minimum_ttl(plan, stored.status)
    terms = terms_of(get, merged, plan.behavior, minimum, arrival.response_time)
    key = stored.key
    if plan.is_strict and b"vary" in merged.fields:
        key = variant_key(primary_key(key), varying_of(request, plan, merged))
    shared = traits.of(
        (stored.status, stored.traits.reason),
        merged.fields.get(b"content-type", b""),
        terms if terms.is_storable else not_stored(LifetimeRule.NO_STORE),
        is_strict=plan.is_strict,
    )
    lines = write_fields(fields) + content_length(stored.length)
    entry = confirmed_entry(stored, key, lines, shared, arrival)
    is_outdated = not terms.is_storable and terms.rule not in _NOT_FOR_THIS_REQUEST
    return Confirmed(entry, terms.is_storable, is_outdated)


def _of_coded(stored: Headers, update: Headers) -> Headers:
    """A body that was coded here keeps its own weak tag, and its Vary, where the origin repeats what it says of the body before (RFC 9110 section 8.8.1)."""
    before, said = dict(stored), dict(update)
    etag = said.get(b"etag")
    if etag is None or b"content-encoding" not in before or etag == before.get(b"etag"):
        return update
    if weak_etag(etag) != before.get(b"etag"):
        return update
    kept = tuple(pair for pair in update if pair[0] != b"etag")
    return with_vary(kept) if b"vary" in said else kept
