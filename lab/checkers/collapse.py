"""One fetch at a time for what can be shared (reference 2.10): a node that is fetching something for a key begins no second fetch of the same for others.

Two fills break that when both could be shared, are whole GETs of one node, tier, key and variant, began at the same index of the log, and the second began
while the first was under way. What is allowed:

- after five seconds without a head those who wait ask alone (COALESCE_TIMEOUT), and such fills are joined by nobody;
- for ten seconds after an answer that could not be shared nobody waits for its key (hit-for-miss);
- a node that must confirm what it stores fetches each request anew, and so does a regional cache for an edge that must (docs/invalidation.md, rule 10). The node says
  of each fill whether that was so when it began: it may be so without anything stored, and a moment before anybody hears that it has no lease;
- behaviors with cookies in the key never share a fetch (reference 2.10): `not_collapsed` are their path patterns;
- a body that is larger than `largest_bytes` may be no longer whole in memory for who comes late.
"""

import re

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.history.reader import History


def collapse(
    history: History,
    bound_seconds: float,
    hit_for_miss_seconds: float,
    largest_bytes: int,
    not_collapsed: tuple[str, ...] = (),
) -> Judgement:
    """Fills that began at one moment and index are compared, with these bounds of the rules above."""
    values = [[_expression(pattern) for pattern in not_collapsed], largest_bytes, hit_for_miss_seconds * 1e9]
    question = _QUESTION.replace("$BOUND", str(round(bound_seconds * 1e9)))
    row = history.records(question + _COUNTS, values)[0]
    rows = history.records(question + _WRONG, [*values, LISTED]) if row["wrong"] else []
    facts = (f"{counted(row['judged'], 'fill')} that could be shared, {row['alone']:,} of them after the bound",)
    return Judgement(row["judged"], facts, (), row["wrong"], findings_of(rows))


def _expression(pattern: str) -> str:
    """A path pattern (reference 1.6) as a regular expression: `*` is anything, `?` one character."""
    return "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)


_QUESTION = """
WITH shared AS (
    SELECT node, request_id, tier, path, key, coalesce(variant, '') AS variant, "index", started_ns, head_ns, ended_ns, received_bytes FROM fills f
    WHERE is_shared AND NOT must_confirm AND key IS NOT NULL AND range IS NULL AND method = 'GET' AND ended_ns IS NOT NULL
        AND NOT list_bool_or(list_transform(?::VARCHAR[], lambda p: regexp_full_match(split_part(f.path, '?', 1), p)) || [false])
), crowded AS (
    SELECT * FROM shared WHERE coalesce(received_bytes, 0) <= ?
    QUALIFY count(*) OVER (PARTITION BY node, tier, key, variant, "index") > 1
), marked AS (
    SELECT *, coalesce(max(CASE WHEN head_ns IS NULL OR head_ns > started_ns + $BOUND THEN ended_ns END) OVER (
        PARTITION BY node, tier, key, variant, "index" ORDER BY started_ns RANGE BETWEEN UNBOUNDED PRECEDING AND $BOUND PRECEDING) > started_ns, false) AS is_alone
    FROM crowded
), pairs AS (
    SELECT *, max(ended_ns) OVER w AS other_ns, arg_max(request_id, ended_ns) OVER w AS other_id
    FROM marked WHERE NOT is_alone
    WINDOW w AS (PARTITION BY node, tier, key, variant, "index" ORDER BY started_ns, request_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), unshared AS (
    SELECT DISTINCT p.node, p.tier, p.key, p.started_ns FROM pairs p JOIN fills u ON u.node = p.node AND u.tier = p.tier AND u.key = p.key
    WHERE p.other_ns > p.started_ns AND NOT u.is_shared AND u.started_ns <= p.started_ns AND u.ended_ns + ? >= p.started_ns
), wrong AS (
    SELECT p.* FROM pairs p ANTI JOIN unshared u ON u.node = p.node AND u.tier = p.tier AND u.key = p.key AND u.started_ns = p.started_ns
    WHERE p.other_ns > p.started_ns
)
"""
_COUNTS = """
SELECT (SELECT count(*) FROM shared) AS judged, (SELECT count(*) FROM marked WHERE is_alone) AS alone, (SELECT count(*) FROM wrong) AS wrong
"""
_WRONG = """
SELECT any_value(r.id) AS id, w.request_id, any_value(format('{} asked the {} for {} while its fetch for request {} was under way for {:.3f} s more',
    w.node, w.tier, w.path, w.other_id, (w.other_ns - w.started_ns) / 1e9)) AS sentence
FROM wrong w LEFT JOIN requests r ON r.request_id = w.request_id GROUP BY w.request_id, w.node, w.tier, w.started_ns ORDER BY w.started_ns LIMIT ?
"""
