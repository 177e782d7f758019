"""What an origin made for one person is given to nobody else.

An answer that depends on who asked has that in its stamp: the request must have come with the same identity. And an answer that is `private` or `no-store` as a whole
is never a hit, unless the cache policy has a minimum TTL, with which those directives mean nothing (reference 2.2).
"""

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.checkers.lifetimes import is_for_one
from lab.history.reader import History


def privacy(history: History, minimum_ttl_seconds: float) -> Judgement:
    """`minimum_ttl_seconds` of the cache policy: above 0 private answers may be hits."""
    fields = [each for (each,) in history.rows("SELECT DISTINCT cache_control FROM requests") if each is not None]
    private = [each for each in fields if is_for_one(each)] if minimum_ttl_seconds == 0 else []
    row = history.records(_QUESTION + _COUNTS, [private])[0]
    wrong = row["others"] + row["hits"]
    rows = history.records(_QUESTION + _WRONG, [private, LISTED]) if wrong else []
    facts = (f"{counted(row['judged'], 'answer')} made for one person, {row['private']:,} that must not be stored",)
    return Judgement(row["judged"] + row["private"], facts, (), wrong, findings_of(rows))


_QUESTION = """
WITH judged AS (
    SELECT id, request_id, started_ns, path, address, x_cache, identity, stamp_identity, cache_control,
        coalesce(stamp_identity, '') <> '' AS is_personal, coalesce(stamp_identity, '') <> '' AND stamp_identity IS DISTINCT FROM identity AS is_others,
        cache_control IN (SELECT unnest(?::VARCHAR[])) AS is_private, x_cache LIKE 'Hit %' OR x_cache LIKE 'RefreshHit %' AS is_hit
    FROM requests WHERE status IS NOT NULL AND (coalesce(stamp_identity, '') <> '' OR cache_control IS NOT NULL)
)
"""
_COUNTS = """
SELECT count(*) FILTER (is_personal) AS judged, count(*) FILTER (is_private) AS private, count(*) FILTER (is_others) AS others,
    count(*) FILTER (is_private AND is_hit AND NOT is_others) AS hits FROM judged
"""
_WRONG = """
SELECT id, request_id, CASE WHEN is_others
    THEN format('{} made for {} was given to {} by {} ({})', path, stamp_identity, coalesce(nullif(identity, ''), 'somebody without a name'), address, x_cache)
    ELSE format('{} with Cache-Control: {} was served by {} from a cache ({})', path, cache_control, address, x_cache) END AS sentence
FROM judged WHERE is_others OR (is_private AND is_hit) ORDER BY NOT is_others, started_ns, id LIMIT ?
"""
