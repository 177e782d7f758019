"""What was acknowledged is not lost: objects that an origin has confirmed, invalidations and configuration that the control plane has confirmed.

An object is lost when the origin that confirmed it answers with another version later, or that there is none, before the run writes it again. What an origin has in
memory (docs/origin.md) ends with its process, which is no loss. An invalidation is lost when it has no receipt with an index afterwards. And the log is lost in part
when an index that was confirmed is given out again: what is asked for after a confirmation has a greater one.
"""

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.history.reader import History


def durability(history: History) -> Judgement:
    """Of all confirmed writes of the run."""
    writes = history.value("SELECT count(*) FROM writes WHERE confirmed_ns IS NOT NULL")
    objects = history.records(_OBJECTS)
    watched = [row for row in objects if row["asked"]]
    rows = [row for row in watched if row["lost"]]
    rows += history.records(_INVALIDATIONS) + history.records(_INDEXES)
    others = history.value("SELECT count(*) FROM writes WHERE confirmed_ns IS NOT NULL AND kind <> 'object'")
    facts = [
        f"{counted(writes, 'confirmed write')}, of {counted(len(objects), 'object')} {len(watched):,} were asked for later"
    ]
    doubts = []
    if "invalidations" in history.missing and history.value(
        "SELECT count(*) FROM writes WHERE kind = 'invalidation' AND confirmed_ns IS NOT NULL"
    ):
        rows = [row for row in rows if not row["sentence"].startswith("invalidation")]
        doubts.append("nobody wrote down invalidations")
    return Judgement(len(watched) + others, tuple(facts), tuple(doubts), len(rows), findings_of(rows[:LISTED]))


_OBJECTS = """
WITH objects AS (
    SELECT subject, node, version, confirmed_ns, lead(asked_ns, 1, 9223372036854775807) OVER (PARTITION BY subject, node ORDER BY asked_ns) AS next_ns
    FROM writes WHERE kind = 'object'
), births AS (SELECT node, min(started_ns) AS born_ns FROM lives GROUP BY node, process
), forgotten AS (
    SELECT o.subject, o.node, o.confirmed_ns, min(b.born_ns) AS forgotten_ns FROM objects o JOIN births b ON b.node = o.node AND b.born_ns > o.confirmed_ns GROUP BY ALL
), answers AS (
    SELECT node, request_id, started_ns, CASE WHEN status IN (404, 410) THEN 'none' ELSE version END AS seen, split_part(path, '?', 1) AS subject FROM origin_requests
    WHERE method IN ('GET', 'HEAD') AND ((version IS NOT NULL AND (status < 300 OR status = 304)) OR status IN (404, 410))
        AND split_part(path, '?', 1) IN (SELECT subject FROM objects)
), later AS (
    SELECT o.*, a.request_id, a.started_ns, a.seen FROM objects o
    LEFT JOIN forgotten f ON f.subject = o.subject AND f.node = o.node AND f.confirmed_ns = o.confirmed_ns
    LEFT JOIN answers a ON a.subject = o.subject AND a.node = o.node AND a.started_ns > o.confirmed_ns AND a.started_ns < least(o.next_ns, f.forgotten_ns)
    WHERE o.confirmed_ns IS NOT NULL AND o.version IS NOT NULL
)
SELECT subject, count(started_ns) AS asked, count(*) FILTER (seen <> version) AS lost, min(request_id) FILTER (seen <> version) AS request_id,
    format('version {} of {} was confirmed, and {} answered with version {} {:.3f} s later', version, subject, node,
        coalesce(arg_min(seen, started_ns) FILTER (seen <> version), ''),
        coalesce(min(started_ns) FILTER (seen <> version) - confirmed_ns, 0) / 1e9) AS sentence
FROM later GROUP BY subject, node, version, confirmed_ns ORDER BY confirmed_ns
"""
_INVALIDATIONS = """
SELECT format('invalidation {} was confirmed, and the control plane knows of none with an index', w.subject) AS sentence
FROM writes w LEFT JOIN invalidations i ON i.id = w.subject
WHERE w.kind = 'invalidation' AND w.confirmed_ns IS NOT NULL AND i."index" IS NULL ORDER BY w.asked_ns
"""
_INDEXES = """
WITH entries AS (
    SELECT kind, subject, asked_ns, confirmed_ns, try_cast(version AS BIGINT) AS "index" FROM writes WHERE kind <> 'object' AND confirmed_ns IS NOT NULL
), highest AS (
    SELECT confirmed_ns, max("index") OVER (ORDER BY confirmed_ns) AS "index" FROM entries WHERE "index" IS NOT NULL
)
SELECT format('{} {} has index {}, and {} was confirmed before it was asked for', e.kind, e.subject, e."index", h."index") AS sentence
FROM entries e ASOF JOIN highest h ON e.asked_ns > h.confirmed_ns WHERE e."index" <= h."index" ORDER BY e.asked_ns
"""
