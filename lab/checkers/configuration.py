"""Configuration never goes back: what a node has applied of one log only grows, and two routers that follow one directory agree on it.

A node that is started again may go on from what its disk has (`how` is `disk`). That is at least what it had acknowledged (docs/invalidation.md, rule 7), or
nothing at all: a cold node, which has voided what it stored. Routers store nothing that an invalidation could void, so they keep the place of their last
configuration only (docs/request-routing.md, What it knows). Versions of a directory are those of one life of a control plane, so routers are compared only
where there was one.
"""

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.history.reader import History


def configuration_monotonic(history: History) -> Judgement:
    """Of all nodes that follow a log."""
    steps = history.value("SELECT count(*) FROM applied")
    rows = history.records(_BACK) + history.records(_FORGOTTEN) + history.records(_DISAGREEING)
    facts = [
        f"{counted(steps, 'step')} of {counted(history.value('SELECT count(DISTINCT node) FROM applied'), 'node')}"
    ]
    return Judgement(steps, tuple(facts), (), len(rows), findings_of(rows[:LISTED]))


_LIVES = """
WITH steps AS (
    SELECT node, log_id, at_ns, "index", how,
        count(*) FILTER (how = 'disk') OVER (PARTITION BY node ORDER BY at_ns, "index" ROWS UNBOUNDED PRECEDING) AS life FROM applied
)
"""
_BACK = (
    _LIVES
    + """
SELECT format('{} went back from index {} to {} of log {} ({})', node, before, "index", log_id, how) AS sentence FROM (
    SELECT *, max("index") OVER (PARTITION BY node, log_id, life ORDER BY at_ns, "index" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM steps) WHERE "index" < before ORDER BY at_ns, node
"""
)
_FORGOTTEN = (
    _LIVES
    + """
SELECT format('{} was started again at index {} of log {}, and had acknowledged {}', s.node, s."index", s.log_id, max(i."index")) AS sentence
FROM steps s JOIN acknowledgements a ON a.node = s.node AND a.state = 'acknowledged' AND a.at_ns < s.at_ns
JOIN invalidations i ON i.id = a.invalidation_id
LEFT JOIN nodes n ON n.node = s.node
WHERE s.how = 'disk' AND s."index" > 0 AND n.role IS DISTINCT FROM 'dns_router' AND s.log_id = (
    SELECT arg_max(b.log_id, b.at_ns) FROM steps b WHERE b.node = s.node AND b.at_ns < s.at_ns)
    -- indexes of different logs are never compared (docs/invalidation.md, rule 9)
    AND a.at_ns >= (SELECT min(c.at_ns) FROM steps c WHERE c.node = s.node AND c.log_id = s.log_id AND c.at_ns > coalesce(
        (SELECT max(b.at_ns) FROM steps b WHERE b.node = s.node AND b.log_id <> s.log_id AND b.at_ns < s.at_ns), 0))
GROUP BY s.node, s.at_ns, s."index", s.log_id HAVING max(i."index") > s."index" ORDER BY s.at_ns
"""
)
_DISAGREEING = """
SELECT format('{} and {} follow version {} of the directory, and name different edges: {} and {}', a.node, b.node, a.version, a.routable, b.routable) AS sentence
FROM routed a JOIN routed b ON b.version = a.version AND b.node > a.node AND b.routable <> a.routable
WHERE (SELECT count(*) FROM lives l JOIN nodes n ON n.node = l.node AND n.role = 'control_plane') = 1 ORDER BY a.at_ns
"""
