"""Bodies arrive as their origin made them: whole, and of a version that there is.

Judged are whole answers (GET, 200) that no viewer saw fail. Their bytes must be as many as Content-Length says; their checksum that of the origin, from the stamp or
from the origin's own history; and the version one that an origin has answered with. Not judged are slices (206), what has a content coding (edges make those), and
what an origin misbehaved with: from then on that path is the origin's business.
"""

from lab.checkers.judgement import LISTED, Judgement, findings_of
from lab.history.reader import History

WHOLE_AND_PLAIN = """r.method = 'GET' AND r.status = 200 AND r.error IS NULL AND r.content_range IS NULL
        AND coalesce(r.content_encoding, 'identity') = 'identity'"""
"""A condition of `requests r`: the bytes are those that the origin has a checksum of."""


def bodies(history: History) -> Judgement:
    """Of all viewers."""
    row = history.records(_QUESTION + _COUNTS)[0]
    rows = history.records(_QUESTION + _WRONG, [LISTED]) if row["wrong"] else []
    facts = [
        f"whole bodies of known checksums: {row['judged']:,}",
        f"not judged: {row['slices']:,} slices, {row['coded']:,} coded, {row['unknown']:,} without a checksum",
    ]
    if row["misbehaved"]:
        facts.append(f"wrong, of paths with which an origin misbehaved: {row['misbehaved']:,}")
    doubts = () if row["versions"] else ("no origin has written down a version, so none can be told from another",)
    return Judgement(row["judged"], tuple(facts), doubts, row["wrong"], findings_of(rows))


_QUESTION = f"""
WITH versions AS (
    SELECT path, version, min(checksum) AS checksum FROM origin_requests WHERE checksum IS NOT NULL AND version IN (
        SELECT stamp_version FROM requests WHERE stamp_checksum IS NULL)
    GROUP BY path, version HAVING count(DISTINCT checksum) = 1
), there AS (SELECT DISTINCT hash(version) AS version FROM origin_requests WHERE version IS NOT NULL
), misbehaved AS (SELECT path, min(started_ns) AS began_ns FROM origin_requests WHERE misbehaviour IS NOT NULL GROUP BY path
), whole AS (
    SELECT r.id, r.request_id, r.path, r.address, r.x_cache, r.started_ns, r.ended_ns, r.content_length, r.received_bytes, r.body_checksum, r.stamp_version,
        coalesce(r.stamp_checksum, v.checksum) AS checksum,
        r.stamp_version IS NOT NULL AND t.version IS NULL AND (SELECT count(*) FROM there) > 0 AS is_of_no_version,
        m.path IS NOT NULL AND m.began_ns <= r.ended_ns AS is_misbehaved
    FROM requests r LEFT JOIN versions v ON v.path = r.path AND v.version = r.stamp_version
    LEFT JOIN there t ON t.version = hash(r.stamp_version) LEFT JOIN misbehaved m ON m.path = r.path
    WHERE {WHOLE_AND_PLAIN}
), judged AS (
    SELECT *, received_bytes <> content_length AS is_torn, body_checksum <> checksum AS is_other,
        coalesce(received_bytes <> content_length, false) OR coalesce(body_checksum <> checksum, false) OR is_of_no_version AS is_wrong
    FROM whole
)
"""
_COUNTS = """
SELECT count(*) FILTER (body_checksum IS NOT NULL AND checksum IS NOT NULL) AS judged,
    count(*) FILTER (body_checksum IS NULL OR checksum IS NULL) AS unknown,
    count(*) FILTER (is_wrong AND NOT is_misbehaved) AS wrong, count(*) FILTER (is_wrong AND is_misbehaved) AS misbehaved,
    (SELECT count(*) FROM there) AS versions,
    (SELECT count(*) FROM requests WHERE status = 206) AS slices,
    (SELECT count(*) FROM requests WHERE status = 200 AND coalesce(content_encoding, 'identity') <> 'identity') AS coded
FROM judged
"""
_WRONG = """
SELECT id, request_id, CASE WHEN is_torn THEN format('{} from {} ({}): {} bytes of {}, and no viewer was told', path, address, x_cache, received_bytes, content_length)
    WHEN is_other THEN format('{} from {} ({}), version {}: the body is another one than the origin made', path, address, x_cache, stamp_version)
    ELSE format('{} from {} ({}): no origin has given version {}', path, address, x_cache, stamp_version) END AS sentence
FROM judged WHERE is_wrong AND NOT is_misbehaved ORDER BY started_ns, id LIMIT ?
"""
