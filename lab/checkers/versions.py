"""No version from before a write after the receipt that followed it: the second witness of freshness, which does not believe what an origin says about when it answered.

A write of an object (`writes`) that was confirmed before an invalidation of its path was issued must be what every request gets that began after the receipt; a
later write of the run may be seen as well. Versions that no write of the run has made count as older only when an origin gave them away before the first write.
"""

from lab.checkers.judgement import LISTED, Judgement, counted, findings_of
from lab.history.path_patterns import matches, patterns_of
from lab.history.reader import History


def versions_after_receipts(history: History) -> Judgement:
    """Of the objects that the run has written."""
    writes = history.records(
        "SELECT * FROM writes WHERE kind = 'object' AND version IS NOT NULL ORDER BY subject, asked_ns"
    )
    receipts = history.records("SELECT * FROM invalidations WHERE completed_ns IS NOT NULL AND issued_ns IS NOT NULL")
    promises = []
    for number, write in enumerate(writes):
        for receipt in receipts if write["confirmed_ns"] is not None else ():
            covers = any(matches(pattern, write["subject"]) for pattern in patterns_of(receipt["paths"]))
            if covers and receipt["host"] and receipt["issued_ns"] > write["confirmed_ns"]:
                promises.append((receipt["host"].lower(), write["subject"], number, receipt["completed_ns"]))
    if not promises:
        return Judgement(0, ("no write was confirmed before an invalidation of its object",))
    columns = [list(column) for column in zip(*promises, strict=True)]
    columns += [[row["subject"] for row in writes], [row["version"] for row in writes], list(range(len(writes)))]
    row = history.records(_QUESTION + _COUNTS, columns)[0]
    rows = history.records(_QUESTION + _WRONG, [*columns, LISTED]) if row["old"] else []
    facts = (f"{counted(row['judged'], 'request')} for written objects began after a receipt",)
    return Judgement(row["judged"], facts, (), row["old"], findings_of(rows))


_QUESTION = """
WITH promises AS (
    SELECT unnest(?::VARCHAR[]) AS host, unnest(?::VARCHAR[]) AS subject, unnest(?::BIGINT[]) AS number, unnest(?::BIGINT[]) AS completed_ns
), series AS (
    SELECT host, subject, completed_ns, max(number) OVER (PARTITION BY host, subject ORDER BY completed_ns) AS number FROM promises
), written AS (
    SELECT unnest(?::VARCHAR[]) AS subject, unnest(?::VARCHAR[]) AS version, unnest(?::BIGINT[]) AS number
), before AS (
    SELECT DISTINCT w.subject, o.version, -1::BIGINT AS number
    FROM (SELECT subject, min(asked_ns) AS asked_ns FROM writes WHERE kind = 'object' GROUP BY subject) w
    JOIN origin_requests o ON split_part(o.path, '?', 1) = w.subject AND o.started_ns < w.asked_ns
    ANTI JOIN written k ON k.subject = w.subject AND k.version = o.version
    WHERE o.version IS NOT NULL AND o.method = 'GET'
), known AS (SELECT subject, version, max(number) AS number FROM (FROM written UNION ALL FROM before) GROUP BY ALL
), asked AS (
    SELECT id, request_id, started_ns, address, stamp_version, x_cache, lower(host) AS host, split_part(path, '?', 1) AS subject FROM requests
    WHERE stamp_version IS NOT NULL AND started_ns IS NOT NULL AND split_part(path, '?', 1) IN (SELECT subject FROM promises)
), judged AS (
    SELECT a.*, s.number AS promised, s.completed_ns, k.number AS seen FROM asked a
    ASOF JOIN series s ON s.host = a.host AND s.subject = a.subject AND a.started_ns > s.completed_ns
    JOIN known k ON k.subject = a.subject AND k.version = a.stamp_version
)
"""
_COUNTS = "SELECT count(*) AS judged, count(*) FILTER (seen < promised) AS old FROM judged"
_WRONG = """
SELECT id, request_id, format('{} came from {} in version {} ({}) to a request that began {:.3f} s after the receipt that followed version {}',
    j.subject, address, stamp_version, x_cache, (started_ns - completed_ns) / 1e9, w.version) AS sentence
FROM judged j JOIN written w ON w.number = j.promised WHERE seen < promised ORDER BY started_ns, id LIMIT ?
"""
