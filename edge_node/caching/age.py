"""How old a response was when it arrived (RFC 9111 section 4.2.3), and how old it is now."""

from collections.abc import Mapping

from edge_node.http.cache_control import parse_delta_seconds
from edge_node.http.dates import parse_http_date
from edge_node.model.configuration import Semantics


def age_value(fields: Mapping[bytes, bytes]) -> int:
    """What the Age field says: the first member of a list, 0 when there is none or it is no number (RFC 9111 section 5.1)."""
    said = fields.get(b"age")
    return 0 if said is None else parse_delta_seconds(said.split(b",", 1)[0].strip(b" \t")) or 0


def corrected_age(fields: Mapping[bytes, bytes], request_time: float, response_time: float) -> float:
    """The Age field plus how long the request took; a clock that was set back meanwhile makes nothing younger."""
    return age_value(fields) + max(0.0, response_time - request_time)


def initial_age(
    fields: Mapping[bytes, bytes], request_time: float, response_time: float, semantics: Semantics
) -> float:
    """corrected_initial_age, in seconds; by the RFCs no less than what the Date field shows, and the time that the request took always counts.

    CloudFront says that Age is the time since the object was stored (reference 2.2), so what comes from the origin itself begins at 0; about the Age of a
    response from a cache behind the origin its documents are silent, so the RFC decides. Their table never looks at the origin's clock: no apparent_age there.
    """
    if semantics is Semantics.CLOUDFRONT:
        return corrected_age(fields, request_time, response_time) if b"age" in fields else 0.0
    corrected = corrected_age(fields, request_time, response_time)
    made = parse_http_date(fields.get(b"date", b""), response_time)
    return corrected if made is None else max(corrected, response_time - made)
